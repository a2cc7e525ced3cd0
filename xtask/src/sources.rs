// SPDX-License-Identifier: Apache-2.0
//! Source files of a folder, and the tokens of Rust source as far as names and paths need them.
//!
//! Comments, literals and lifetimes yield no token. This is not a parser: items are recognised by their keywords.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Every `*.rs` file below a folder, without `target` and without the folders of other crates.
pub fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") && !path.join("Cargo.toml").is_file() {
                found.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// True if the file's name or folder says that it contains only tests.
pub fn is_test_file(file: &Path) -> bool {
    file.components().any(|part| matches!(part.as_os_str().to_string_lossy().as_ref(), "tests" | "tests.rs"))
        || file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests"))
}

/// A path relative to the root of the checkout, for messages.
pub fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

/// The text up to its test module, which by convention ends the file.
pub fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// Kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// An identifier or keyword.
    Word(&'a str),
    /// `::`.
    Separator,
    /// Any other sign, one character each.
    Sign(char),
}

/// A token and the line it is in.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// Its kind.
    pub kind: Kind<'a>,
    /// Its line, from 1.
    pub line: usize,
}

impl<'a> Token<'a> {
    /// The identifier or keyword.
    pub fn word(&self) -> Option<&'a str> {
        if let Kind::Word(word) = self.kind { Some(word) } else { None }
    }

    /// True if it is this sign.
    pub fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// The tokens of a source file.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let word = word_length(rest);
        let (kind, length) = if let Some(length) = skipped(rest) {
            (None, length)
        } else if word > 0 {
            (Some(Kind::Word(&rest[..word])), word)
        } else if rest.starts_with("::") {
            (Some(Kind::Separator), 2)
        } else {
            (Some(Kind::Sign(c)), c.len_utf8())
        };
        found.extend(kind.map(|kind| Token { kind, line }));
        line += rest[..length].matches('\n').count();
        at += length;
    }
    found
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The length of the space, comment, literal or lifetime that the text begins with.
fn skipped(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    if first == '\'' {
        return Some(character_or_lifetime(text));
    }
    let prefix = text.find(|c: char| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(text.len());
    let after = &text[prefix..];
    let is_prefix = matches!(&text[..prefix], "" | "b" | "c" | "r" | "br" | "cr");
    let is_raw = text[..prefix].ends_with('r');
    match after.chars().next() {
        Some('"') if is_prefix && !is_raw => Some(prefix + quoted(after, '"')),
        Some('"' | '#') if is_prefix && is_raw => raw_string(after).map(|length| prefix + length),
        Some('\'') if &text[..prefix] == "b" => Some(prefix + quoted(after, '\'')),
        _ => None,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn character_or_lifetime(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) | (Some(_), Some((_, '\''))) => quoted(text, '\''),
        _ => 1 + word_length(&text[1..]),
    }
}

/// The length of a literal that ends with this quote, which may be escaped inside.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let body = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(text.len(), |at| hashes + 1 + at + end.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        tokens(text).iter().filter_map(Token::word).collect()
    }

    #[test]
    fn comments_literals_and_lifetimes_are_no_words() {
        let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" r#\"i \" j\"# b'k' '\\'' 'l' &'m n br\"o\" p'";
        assert_eq!(words(text), ["a", "e", "n", "p"]);
    }

    #[test]
    fn raw_identifiers_and_words_that_begin_like_literals_are_words() {
        assert_eq!(words("break crab r#type bc"), ["break", "crab", "r", "type", "bc"]);
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let lines: Vec<usize> = tokens("a\n\"x\ny\"\n/*\n*/ b").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 5]);
    }
}
