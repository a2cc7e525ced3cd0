// SPDX-License-Identifier: Apache-2.0
//! The names in one source file: modules it declares, items it defines, names it imports, paths it writes.
//!
//! Items under `#[cfg(test)]` are left out. Imports inside functions count as imports of the file. An inline module is
//! part of its file.

use std::collections::BTreeSet;

use crate::sources::{Kind, Token, tokens};

/// A path as written, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Its segments; the first may be `crate`, `self` or `super`.
    pub segments: Vec<String>,
    /// Inline modules around it, from which `super` and `self` count.
    pub within: Vec<String>,
    /// Its line, from 1.
    pub line: usize,
}

/// One name that a `use` brings into a file.
#[derive(Clone, Debug)]
pub struct Import {
    /// The name in this file; `*` for a glob.
    pub name: String,
    /// Path of the imported item.
    pub path: Path,
    /// True if other modules may name it through this file (`pub use`, in any visibility).
    pub is_public: bool,
    /// True if the file itself names it, outside imports.
    pub is_used: bool,
}

/// The names of one file.
#[derive(Debug, Default)]
pub struct Names {
    /// Items defined at the top of the file.
    pub items: BTreeSet<String>,
    /// Macros defined anywhere in the file.
    pub macros: BTreeSet<String>,
    /// Everything imported.
    pub imports: Vec<Import>,
    /// Paths of at least two segments outside imports.
    pub paths: Vec<Path>,
    /// Macros called by a bare name.
    pub calls: Vec<(String, usize)>,
    /// Modules declared under `#[cfg(test)]`.
    pub test_modules: BTreeSet<String>,
}

const DEFINITIONS: &[&str] = &["struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod"];

/// Keywords between the first keyword of an item and its name.
const NOT_NAMES: &[&str] = &["fn", "unsafe", "extern", "async", "mut"];

/// Reads the names of a file.
pub fn read(text: &str) -> Names {
    let mut names = Names::default();
    let all = tokens(text);
    let tokens = without_test_items(&all, &mut names.test_modules);
    Reader { tokens: &tokens, at: 0, depth: 0, inline: Vec::new(), bare: BTreeSet::new(), names: &mut names }.run();
    names
}

/// The tokens without items under `#[cfg(test)]`; adds the names of such modules that are files to `modules`.
fn without_test_items<'a>(tokens: &[Token<'a>], modules: &mut BTreeSet<String>) -> Vec<Token<'a>> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut left, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let is_test = tokens.len() >= at + attribute.len()
            && attribute.iter().zip(&tokens[at..]).all(|(text, token)| match token.kind {
                Kind::Word(word) => word == *text,
                Kind::Sign(sign) => text.starts_with(sign),
                Kind::Separator => false,
            });
        if is_test {
            let start = at + attribute.len();
            at = item_end(tokens, start);
            modules.extend(declared_module(&tokens[start..at]));
        } else {
            left.push(tokens[at]);
            at += 1;
        }
    }
    left
}

/// The index after the item (with its attributes) that begins at `start`.
fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') if depth == 0 => return at,
            Kind::Sign(sign @ (')' | ']' | '}')) => {
                depth -= 1;
                if depth == 0 && sign == '}' {
                    return at + 1;
                }
            }
            Kind::Sign(';') if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn declared_module(item: &[Token<'_>]) -> Option<String> {
    let at = item.iter().position(|token| token.word() == Some("mod"))?;
    item.get(at + 2).filter(|token| token.is(';'))?;
    item.get(at + 1)?.word().map(str::to_owned)
}

struct Reader<'a, 'n> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    /// Inline modules around the current token, each with the depth of its content.
    inline: Vec<(String, usize)>,
    /// Single words, to find the imports that the file itself uses.
    bare: BTreeSet<&'a str>,
    names: &'n mut Names,
}

impl<'a> Reader<'a, '_> {
    fn run(mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            match token.kind {
                Kind::Sign('{') => self.depth += 1,
                Kind::Sign('}') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.inline.retain(|(_, depth)| *depth <= self.depth);
                }
                Kind::Word("use") if !self.follows_sign('.') && !self.next_is('<') => {
                    self.import();
                    continue;
                }
                Kind::Word(word) => {
                    self.word(word, token.line);
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        let bare = self.bare;
        for import in &mut self.names.imports {
            import.is_used = bare.contains(import.name.as_str());
        }
    }

    fn kind(&self, at: usize) -> Option<Kind<'a>> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn word_at(&self, at: usize) -> Option<&'a str> {
        self.tokens.get(at).and_then(Token::word)
    }

    fn next_is(&self, sign: char) -> bool {
        self.kind(self.at + 1) == Some(Kind::Sign(sign))
    }

    fn follows_sign(&self, sign: char) -> bool {
        self.at > 0 && self.tokens[self.at - 1].is(sign)
    }

    fn within(&self) -> Vec<String> {
        self.inline.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Reads a word outside imports: a definition, a call of a macro, or the start of a path.
    fn word(&mut self, word: &'a str, line: usize) {
        if self.define(word) {
            // The definition of a name is not a use of it.
            self.at += 2;
            return;
        }
        let mut segments = vec![word];
        self.at += 1;
        while self.kind(self.at) == Some(Kind::Separator) {
            let Some(next) = self.word_at(self.at + 1) else { break };
            segments.push(next);
            self.at += 2;
        }
        let start = self.at - (2 * segments.len() - 1);
        let is_member = start > 0 && (self.tokens[start - 1].is('.') || self.kind(start - 1) == Some(Kind::Separator));
        if is_member {
            return;
        }
        self.bare.insert(word);
        if segments.len() > 1 {
            let segments = segments.into_iter().map(str::to_owned).collect();
            self.names.paths.push(Path { segments, within: self.within(), line });
        } else if self.calls_macro() && word != "macro_rules" {
            self.names.calls.push((word.to_owned(), line));
        }
    }

    /// True if a `!` that is not `!=` comes next.
    fn calls_macro(&self) -> bool {
        self.kind(self.at) == Some(Kind::Sign('!')) && self.kind(self.at + 1) != Some(Kind::Sign('='))
    }

    /// Records the item that begins here, if any.
    fn define(&mut self, word: &str) -> bool {
        let Some(name) = self.word_at(self.at + 1) else {
            let defined = self.word_at(self.at + 2).filter(|_| word == "macro_rules" && self.next_is('!'));
            self.names.macros.extend(defined.map(str::to_owned));
            return false;
        };
        // In `const fn name`, `fn` begins the item.
        if !DEFINITIONS.contains(&word) || NOT_NAMES.contains(&name) {
            return false;
        }
        if self.depth == 0 {
            self.names.items.insert(name.to_owned());
        }
        if word == "mod" && self.kind(self.at + 2) == Some(Kind::Sign('{')) {
            self.inline.push((name.to_owned(), self.depth + 1));
        }
        // `*const Name` in a type.
        !self.follows_sign('*')
    }

    /// Reads one `use ...;`.
    fn import(&mut self) {
        let is_public = self.at > 0 && self.is_after_visibility();
        self.at += 1;
        if self.kind(self.at) == Some(Kind::Separator) {
            self.at += 1;
        }
        self.tree(&[], is_public);
        while self.at < self.tokens.len() && !self.tokens[self.at].is(';') {
            self.at += 1;
        }
    }

    /// True if `pub` or `pub(...)` stands before the current token.
    fn is_after_visibility(&self) -> bool {
        let mut before = self.at - 1;
        if self.tokens[before].is(')') {
            while before > 0 && !self.tokens[before].is('(') {
                before -= 1;
            }
            before = before.saturating_sub(1);
        }
        self.word_at(before) == Some("pub")
    }

    /// Reads one branch of a `use`, after the segments of `prefix`.
    fn tree(&mut self, prefix: &[&'a str], is_public: bool) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.kind(self.at) {
                Some(Kind::Sign('{')) => {
                    self.at += 1;
                    while self.at < self.tokens.len() && !self.tokens[self.at].is('}') {
                        if self.tokens[self.at].is(',') {
                            self.at += 1;
                        } else {
                            self.tree(&segments, is_public);
                        }
                    }
                    self.at += 1;
                    return;
                }
                Some(Kind::Sign('*')) => {
                    self.at += 1;
                    return self.imported("*", &segments, line, is_public);
                }
                Some(Kind::Word(word)) => segments.push(word),
                _ => {
                    // Not a path; skip it, so that the loop always advances.
                    self.at += 1;
                    return;
                }
            }
            self.at += 1;
            if self.kind(self.at) != Some(Kind::Separator) {
                break;
            }
            self.at += 1;
        }
        if segments.len() > 1 && segments.last() == Some(&"self") {
            segments.pop();
        }
        let mut name = segments.last().copied().unwrap_or_default();
        if self.word_at(self.at) == Some("as") {
            name = self.word_at(self.at + 1).unwrap_or("_");
            self.at += 2;
        }
        self.imported(name, &segments, line, is_public);
    }

    fn imported(&mut self, name: &str, segments: &[&str], line: usize, is_public: bool) {
        let segments = segments.iter().map(|&segment| segment.to_owned()).collect();
        let path = Path { segments, within: self.within(), line };
        self.names.imports.push(Import { name: name.to_owned(), path, is_public, is_used: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &Path) -> String {
        path.segments.join("::")
    }

    #[test]
    fn imports_are_written_out_of_braces() {
        let names = read(
            "pub(crate) use crate::{a::{B, self, c::D as E}, f::*};\nuse super::g;\nfn h() { use self::i::J; }\n\
             // use crate::comment;\n",
        );
        let imports: Vec<String> = names
            .imports
            .iter()
            .map(|import| format!("{} {} {}", import.name, shown(&import.path), import.is_public))
            .collect();
        assert_eq!(
            imports,
            [
                "B crate::a::B true",
                "a crate::a true",
                "E crate::a::c::D true",
                "* crate::f true",
                "g super::g false",
                "J self::i::J false"
            ]
        );
    }

    #[test]
    fn paths_of_expressions_and_types_are_read_whole() {
        let names =
            read("fn f(x: &super::a::B) -> Vec<crate::c::D> { x.e::<crate::g::H>(); i::J::k(); \"crate::no\" }");
        let paths: Vec<String> = names.paths.iter().map(shown).collect();
        assert_eq!(paths, ["super::a::B", "crate::c::D", "crate::g::H", "i::J::k"]);
    }

    #[test]
    fn items_of_tests_are_left_out() {
        let names = read(
            "#[cfg(test)]\nmod cases;\n#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::a::B; }\n\
             #[cfg(test)]\nuse crate::{c, d};\nstruct E;\n",
        );
        assert!(names.imports.is_empty(), "{:?}", names.imports);
        assert_eq!(names.test_modules, BTreeSet::from(["cases".to_owned()]));
        assert_eq!(names.items, BTreeSet::from(["E".to_owned()]));
    }

    #[test]
    fn an_import_is_used_when_the_file_names_it_elsewhere() {
        let names = read("pub use a::{B, C};\nfn d(b: B) { b.C }\n");
        let used: Vec<bool> = names.imports.iter().map(|import| import.is_used).collect();
        assert_eq!(used, [true, false]);
    }

    #[test]
    fn paths_in_inline_modules_know_where_they_are() {
        let names =
            read("mod a { fn b() { super::c::d(); } }\nfn e() { super::f::g(); }\nmacro_rules! h { () => {} }\nh!();");
        assert_eq!(names.paths[0].within, ["a"]);
        assert!(names.paths[1].within.is_empty());
        assert_eq!(names.calls, [("h".to_owned(), 4)]);
        assert!(names.macros.contains("h"));
    }
}
