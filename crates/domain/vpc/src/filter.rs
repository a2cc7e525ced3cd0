// SPDX-License-Identifier: Apache-2.0
//! Filters of describe calls: one mechanism for all kinds of resources.
//!
//! A kind of resource has a table from filter name to the values its answer has under that name. A resource is
//! selected when every filter has a value that matches one of the resource's (AND between filters, OR inside one).
//! Values are patterns: `*` any text, `?` one character, `\` takes the next character as it is. Case matters.

use berth_shapes::ec2::{Filter, Tag};
use berth_state::Refusal;
use berth_types::SecurityGroupId;

use super::find;
use super::request::invalid;

/// The only filter that refuses values that are not ids.
const GROUP_ID: &str = "group-id";

/// Accessor of the tags of an answer.
pub(super) type TagsOf<T> = fn(&T) -> &Option<Vec<Tag>>;

/// Accessor of the values an answer has under a filter's name.
pub(super) type Values<T> = fn(&T) -> Vec<String>;

/// The filters of one kind of resource.
pub(super) struct Filters<T: 'static> {
    /// Names (AWS has more than one spelling for some) and their values.
    pub rows: &'static [(&'static [&'static str], Values<T>)],
    /// The tags, for `tag:KEY`, `tag-key` and `tag-value`; `None` for kinds without tags.
    pub tags: Option<TagsOf<T>>,
}

/// Parsed filters of a request.
pub(super) struct Conditions<'f, T: 'static>(Vec<(Look<'f, T>, &'f [String])>);

enum Look<'f, T> {
    Values(Values<T>),
    TagValue(&'f str, fn(&T) -> &Option<Vec<Tag>>),
    TagKey(fn(&T) -> &Option<Vec<Tag>>),
    AnyTagValue(fn(&T) -> &Option<Vec<Tag>>),
}

impl<T> Filters<T> {
    /// Parses the filters of a request. An unknown name is refused even when there is nothing to filter.
    pub fn understand<'f>(&self, filters: &'f Option<Vec<Filter>>) -> Result<Conditions<'f, T>, Refusal> {
        let filters = filters.iter().flatten();
        filters.map(|filter| self.condition(filter)).collect::<Result<_, _>>().map(Conditions)
    }

    fn condition<'f>(&self, filter: &'f Filter) -> Result<(Look<'f, T>, &'f [String]), Refusal> {
        let name = filter.name.as_deref().unwrap_or("null");
        let values = filter.values.as_deref().unwrap_or_default();
        let row = self.rows.iter().find(|(names, _)| names.contains(&name));
        let look = match (row, self.tags) {
            (Some((_, values)), _) => Look::Values(*values),
            (None, Some(tags)) if name == "tag-key" => Look::TagKey(tags),
            (None, Some(tags)) if name == "tag-value" => Look::AnyTagValue(tags),
            (None, Some(tags)) if name.starts_with("tag:") => Look::TagValue(&name["tag:".len()..], tags),
            (None, _) => return Err(invalid(format!("The filter '{name}' is invalid"))),
        };
        if values.is_empty() {
            return Err(invalid(format!("The filter '{name}' must have at least one value")));
        }
        if name == GROUP_ID {
            let is_pattern = |value: &&String| value.contains(['*', '?', '\\']);
            let mut ids = values.iter().filter(|value| !is_pattern(value));
            ids.try_for_each(|value| find::id::<SecurityGroupId>(value).map(drop))?;
        }
        Ok((look, values))
    }
}

impl<T> Conditions<'_, T> {
    /// True if the answer is selected.
    pub fn admit(&self, answer: &T) -> bool {
        self.0.iter().all(|(look, patterns)| {
            look.values(answer).iter().any(|value| patterns.iter().any(|pattern| matches(pattern, value)))
        })
    }
}

impl<T> Look<'_, T> {
    fn values(&self, answer: &T) -> Vec<String> {
        match self {
            Self::Values(values) => values(answer),
            Self::TagValue(key, tags) => {
                let same_key = tags(answer).iter().flatten().filter(|tag| tag.key.as_deref() == Some(key));
                same_key.filter_map(|tag| tag.value.clone()).collect()
            }
            Self::TagKey(tags) => tags(answer).iter().flatten().filter_map(|tag| tag.key.clone()).collect(),
            Self::AnyTagValue(tags) => tags(answer).iter().flatten().filter_map(|tag| tag.value.clone()).collect(),
        }
    }
}

/// One value, if present.
pub(super) fn text(value: &Option<String>) -> Vec<String> {
    value.iter().cloned().collect()
}

/// One value of another type, if present.
pub(super) fn shown(value: &Option<impl ToString>) -> Vec<String> {
    value.iter().map(ToString::to_string).collect()
}

/// The values of the items of a list.
pub(super) fn each<I>(list: &Option<Vec<I>>, value: impl Fn(&I) -> &Option<String>) -> Vec<String> {
    list.iter().flatten().filter_map(|item| value(item).clone()).collect()
}

/// True if the value matches the pattern.
pub(super) fn matches(pattern: &str, value: &str) -> bool {
    let pattern = units(pattern);
    let value: Vec<char> = value.chars().collect();
    let (mut p, mut v) = (0, 0);
    // Where to resume when the text after the last `*` does not match: the star then takes one more character.
    let mut again: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some(Unit::Any) => {
                again = Some((p, v));
                p += 1;
            }
            Some(Unit::One) => (p, v) = (p + 1, v + 1),
            Some(Unit::Exactly(c)) if *c == value[v] => (p, v) = (p + 1, v + 1),
            Some(Unit::Exactly(_)) | None => {
                let Some((star, eaten)) = again else { return false };
                again = Some((star, eaten + 1));
                (p, v) = (star + 1, eaten + 1);
            }
        }
    }
    pattern[p..].iter().all(|unit| matches!(unit, Unit::Any))
}

enum Unit {
    Any,
    One,
    Exactly(char),
}

fn units(pattern: &str) -> Vec<Unit> {
    let mut chars = pattern.chars();
    let mut units = Vec::new();
    while let Some(c) = chars.next() {
        units.push(match c {
            '*' => Unit::Any,
            '?' => Unit::One,
            '\\' => Unit::Exactly(chars.next().unwrap_or('\\')),
            c => Unit::Exactly(c),
        });
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks_are_patterns_unless_escaped() {
        for (pattern, value, expected) in [
            ("web", "web", true),
            ("web", "Web", false),
            ("w*", "web", true),
            ("*b*", "web", true),
            ("w?b", "web", true),
            ("w?", "web", false),
            ("", "", true),
            ("*", "", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            (r"a\?c", "a?c", true),
            (r"a\?c", "abc", false),
            ("*ab*abc", "xxababababc", true),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
        }
    }

    /// Reference implementation of a pattern, slow and obvious.
    fn oracle(pattern: &[char], value: &[char]) -> bool {
        match (pattern.first(), value.first()) {
            (None, None) => true,
            (Some('*'), _) => oracle(&pattern[1..], value) || (!value.is_empty() && oracle(pattern, &value[1..])),
            (Some('?'), Some(_)) => oracle(&pattern[1..], &value[1..]),
            (Some(p), Some(v)) if p == v => oracle(&pattern[1..], &value[1..]),
            (Some(_) | None, _) => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_mean_what_the_plain_reading_says(pattern in "[ab*?]{0,8}", value in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &value), oracle(&chars(&pattern), &chars(&value)));
        }

        #[test]
        fn an_escaped_text_matches_only_itself(value in r"[ab*?\\]{0,8}", other in r"[ab*?\\]{0,8}") {
            let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(matches(&escaped, &value));
            prop_assert_eq!(matches(&escaped, &other), value == other);
        }
    }
}
