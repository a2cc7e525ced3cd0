// SPDX-License-Identifier: Apache-2.0
//! The parser of expressions.

use regex::RegexBuilder;

use super::condition::{Comparison, Expression, Subject, Test};
use super::time;

/// Maximum length of an expression in characters.
const CHARACTERS_MAX: usize = 2000;

/// Maximum depth of nested parentheses and negations.
const DEPTH_MAX: usize = 64;

/// Maximum memory of one compiled regular expression. An expression has room for a hundred of them, and nested
/// repetitions multiply.
const PATTERN_BYTES_MAX: usize = 1 << 18;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name, a literal, or an operator that is a word.
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

/// The signs; one that begins with another comes before it.
const SIGNS: [&str; 16] = ["&&", "||", "==", "!=", "=~", "!~", ">=", "<=", ">", "<", "!", "(", ")", "[", "]", ","];

/// Parses an expression; the error is the reason for the user.
pub(in super::super) fn read(text: &str) -> Result<Expression, String> {
    if text.chars().count() > CHARACTERS_MAX {
        return Err(format!("an expression has at most {CHARACTERS_MAX} characters"));
    }
    let tokens = tokens(text)?;
    let mut reader = Reader { tokens: &tokens, depth: 0 };
    let expression = reader.any()?;
    match reader.tokens.first() {
        None => Ok(expression),
        Some(token) => Err(format!("{} is not expected", show(token))),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if matches!(first, '\'' | '"') {
            let (inside, after) = rest[1..].split_once(first).ok_or("a quotation has no end")?;
            tokens.push(Token::Quoted(inside.to_owned()));
            rest = after;
        } else {
            let is_end = |c: char| c.is_whitespace() || "()[],=!<>&|'\"".contains(c);
            let end = rest.find(is_end).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("'{first}' is not expected"));
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn show(token: &Token) -> String {
    match token {
        Token::Word(text) | Token::Quoted(text) => format!("'{text}'"),
        Token::Sign(sign) => format!("'{sign}'"),
    }
}

struct Reader<'t> {
    tokens: &'t [Token],
    depth: usize,
}

impl Reader<'_> {
    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.takes("||", "or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.takes("&&", "and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn one(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels"));
        }
        let read = if self.takes("!", "not") {
            Expression::Not(Box::new(self.one()?))
        } else if self.takes("(", "(") {
            let inside = self.any()?;
            if !self.takes(")", ")") {
                return Err("a ')' is missing".to_owned());
            }
            inside
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(read)
    }

    fn predicate(&mut self) -> Result<Expression, String> {
        let subject = match self.next() {
            Some(Token::Word(word)) => subject(&word)?,
            Some(other) => return Err(format!("{} is not expected", show(&other))),
            None => return Err("something is missing at the end".to_owned()),
        };
        let (is_negative, test) = self.test()?;
        check(&subject, &test)?;
        let is = Expression::Is(subject, test);
        Ok(if is_negative { Expression::Not(Box::new(is)) } else { is })
    }

    /// An operator with its argument, and whether the operator is negative.
    fn test(&mut self) -> Result<(bool, Test), String> {
        let compare = |reader: &mut Self, comparison| Ok((false, Test::Compare(comparison, reader.literal()?)));
        if self.takes("==", "equals") {
            return compare(self, Comparison::Equal);
        }
        if self.takes("!=", "not_equals") {
            return Ok((true, Test::Compare(Comparison::Equal, self.literal()?)));
        }
        for (sign, word, comparison) in [
            (">=", "greater_than_equal", Comparison::GreaterOrEqual),
            (">", "greater_than", Comparison::Greater),
            ("<=", "less_than_equal", Comparison::LessOrEqual),
            ("<", "less_than", Comparison::Less),
        ] {
            if self.takes(sign, word) {
                return compare(self, comparison);
            }
        }
        if self.takes("=~", "matches") {
            return Ok((false, self.pattern()?));
        }
        if self.takes("!~", "not_matches") {
            return Ok((true, self.pattern()?));
        }
        let is_negative = self.takes("!", "!");
        for (word, negative) in [("exists", false), ("not_exists", true)] {
            if self.takes(word, word) {
                return Ok((negative || is_negative, Test::Exists));
            }
        }
        for (word, negative) in [("in", false), ("not_in", true)] {
            if self.takes(word, word) {
                return Ok((negative || is_negative, Test::In(self.list()?)));
            }
        }
        match self.next() {
            Some(token) => Err(format!("{} is no operator", show(&token))),
            None => Err("an operator is missing".to_owned()),
        }
    }

    fn pattern(&mut self) -> Result<Test, String> {
        let text = self.literal()?;
        let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
        // The whole value has to match. `a)|(b` is valid only between these parentheses, so it is refused.
        let pattern = build(&text).and_then(|_| build(&format!("^(?:{text})$")));
        pattern.map(Test::Matches).map_err(|_| format!("'{text}' is no regular expression"))
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        if !self.takes("[", "[") {
            return Ok(vec![self.literal()?]);
        }
        let mut list = vec![self.literal()?];
        while self.takes(",", ",") {
            list.push(self.literal()?);
        }
        if self.takes("]", "]") { Ok(list) } else { Err("a ']' is missing".to_owned()) }
    }

    fn literal(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(text) | Token::Quoted(text)) => Ok(text),
            Some(other) => Err(format!("{} is not expected", show(&other))),
            None => Err("an argument is missing".to_owned()),
        }
    }

    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    /// Consumes the sign or the word, if it is next.
    fn takes(&mut self, sign: &str, word: &str) -> bool {
        let is_next = match self.tokens.first() {
            Some(Token::Sign(next)) => *next == sign,
            Some(Token::Word(next)) => next == word,
            Some(Token::Quoted(_)) | None => false,
        };
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }
}

fn subject(word: &str) -> Result<Subject, String> {
    match word {
        "agentConnected" => Ok(Subject::AgentConnected),
        "agentVersion" => Ok(Subject::AgentVersion),
        "ec2InstanceId" => Ok(Subject::Ec2InstanceId),
        "registeredAt" => Ok(Subject::RegisteredAt),
        "runningTasksCount" => Ok(Subject::RunningTasksCount),
        "task:group" => Ok(Subject::TaskGroup),
        other => match other.strip_prefix("attribute:").filter(|name| !name.is_empty()) {
            Some(name) => Ok(Subject::Attribute(name.to_owned())),
            None => Err(format!("'{other}' is no subject")),
        },
    }
}

/// Refuses operators and arguments that the subject does not support.
fn check(subject: &Subject, test: &Test) -> Result<(), String> {
    let is_argument = |asked: &String| match subject {
        Subject::RegisteredAt => time::milliseconds(asked).is_some(),
        Subject::RunningTasksCount => asked.parse::<u64>().is_ok(),
        Subject::AgentConnected => matches!(asked.as_str(), "true" | "false"),
        Subject::AgentVersion | Subject::Attribute(_) | Subject::Ec2InstanceId | Subject::TaskGroup => true,
    };
    let wrong = match test {
        Test::Compare(_, asked) => Some(asked).filter(|asked| !is_argument(asked)),
        Test::In(asked) => asked.iter().find(|asked| !is_argument(asked)),
        Test::Exists | Test::Matches(_) => None,
    };
    match wrong {
        Some(asked) => Err(format!("'{asked}' cannot be compared with {subject:?}")),
        None => Ok(()),
    }
}
