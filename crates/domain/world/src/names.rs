// SPDX-License-Identifier: Apache-2.0
//! Short names of ids, in both directions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use berth_types::HostId;
use serde_json::Value;

/// Numbers of hosts that have names.
const HOSTS: RangeInclusive<u128> = 1..=99;

/// Names of ids: those given in advance, and those given in the order in which the ids appear.
#[derive(Clone, Default)]
pub(crate) struct Names {
    of_ids: BTreeMap<String, String>,
    counts: BTreeMap<String, u32>,
}

impl Names {
    pub(crate) fn fixed(names: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { of_ids: names.into_iter().collect(), counts: BTreeMap::new() }
    }

    /// Gives a name to each id in the text that has none.
    pub(crate) fn give(&mut self, text: &str) {
        let mut before = "";
        for word in words(text) {
            if let Some(kind) = kind(word, before)
                && !self.of_ids.contains_key(word)
            {
                let name = match host_number(word) {
                    Some(number) => format!("host-{number}"),
                    None => {
                        let count = self.counts.entry(kind.to_owned()).or_default();
                        *count += 1;
                        format!("{kind}-{count}")
                    }
                };
                self.of_ids.insert(word.to_owned(), name);
            }
            before = word;
        }
    }

    /// The text with ids replaced by their names.
    pub(crate) fn shown(&self, text: &str) -> String {
        words(text).map(|word| self.of_ids.get(word).map_or(word, String::as_str)).collect()
    }

    /// The same for every text in an answer.
    pub(crate) fn shown_in(&self, answer: Value) -> Value {
        match answer {
            Value::String(text) => self.shown(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.shown_in(item)).collect(),
            Value::Object(members) => members.into_iter().map(|(name, value)| (name, self.shown_in(value))).collect(),
            other => other,
        }
    }

    /// The text with names replaced by the ids for which they stand.
    pub(crate) fn meant(&self, text: &str) -> String {
        words(text).map(|word| self.id(word).unwrap_or_else(|| word.to_owned())).collect()
    }

    fn id(&self, name: &str) -> Option<String> {
        if let Some((id, _)) = self.of_ids.iter().find(|(_, known)| *known == name) {
            return Some(id.clone());
        }
        let number: u128 = name.strip_prefix("host-")?.parse().ok()?;
        HOSTS.contains(&number).then(|| HostId::from_bits(number).to_string())
    }
}

/// The first part of the name of an id; `None` for a word that is not an id.
fn kind<'a>(word: &'a str, before: &str) -> Option<&'a str> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match word.rsplit_once('-') {
        None if word.len() == 32 && is_hex(word) => Some("task"),
        Some((prefix, hex)) if !prefix.is_empty() && hex.len() == 17 && is_hex(hex) => Some(prefix),
        // A UUID is the last part of the ARN of a container, or the id of an attachment.
        Some(_) if word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) => {
            Some(if before == "/" { "container" } else { "attachment" })
        }
        _ => None,
    }
}

/// The number of a host that a test made.
fn host_number(id: &str) -> Option<u128> {
    let number = u128::from_str_radix(id, 16).ok().filter(|_| id.len() == 32)?;
    HOSTS.contains(&number).then_some(number)
}

/// Runs of characters that an id can have, and the text between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_id_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let inside = is_id_char(first);
        let end = rest.find(|c| is_id_char(c) != inside).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}
