// SPDX-License-Identifier: Apache-2.0
//! Parameters of the query protocols: `Filter.1.Value.2=x`, from the query string and the form body.
//!
//! Parameters are a flat list, sorted so that all parameters below one prefix are adjacent (indexes by number). Reading
//! a nested value is a walk over a slice; no tree is built, and nothing is allocated by index.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::percent;
use crate::request::{DEPTH_MAX, PARAMETERS_MAX, RequestParts};

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Cow<'a, str>,
}

/// Reason why the parameters could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("The query string is malformed: it is not UTF-8.")]
    NotUtf8,
    #[error("The request has more than {PARAMETERS_MAX} parameters.")]
    TooMany,
    #[error("A parameter name is nested more than {DEPTH_MAX} deep.")]
    TooDeep,
}

/// All parameters of the request, sorted.
pub(crate) fn parameters<'a>(parts: &RequestParts<'a>) -> Result<Vec<Parameter<'a>>, FormError> {
    let mut found = Vec::new();
    read(parts.uri.query().unwrap_or_default(), &mut found)?;
    read(std::str::from_utf8(parts.body).map_err(|_| FormError::NotUtf8)?, &mut found)?;
    found.sort_by(|a, b| by_segments(&a.key, &b.key));
    Ok(found)
}

/// The value of a top-level parameter.
pub(crate) fn value<'p>(parameters: &'p [Parameter<'_>], key: &str) -> Option<&'p str> {
    parameters.iter().find(|parameter| parameter.key == key).map(|parameter| parameter.value.as_ref())
}

fn read<'a>(text: &'a str, found: &mut Vec<Parameter<'a>>) -> Result<(), FormError> {
    for pair in text.trim_end_matches(['\r', '\n']).split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent::decode(key).ok_or(FormError::NotUtf8)?;
        let value = percent::decode(value).ok_or(FormError::NotUtf8)?;
        if key.bytes().filter(|byte| *byte == b'.').count() >= DEPTH_MAX {
            return Err(FormError::TooDeep);
        }
        if found.len() == PARAMETERS_MAX {
            return Err(FormError::TooMany);
        }
        found.push(Parameter { key, value });
    }
    Ok(())
}

/// Compares indexes by number, everything else by bytes; a prefix sorts before longer keys.
fn by_segments(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => {
                return match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(x), Ok(y)) => x.cmp(&y).then_with(|| a.cmp(b)),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    (Err(_), Err(_)) => a.cmp(b),
                };
            }
        }
    }
}

/// Parameters that share their next segment.
pub(crate) struct Group<'p, 'a> {
    /// The shared segment.
    pub(crate) segment: &'p str,
    /// End of the segment in every key of the group.
    pub(crate) end: usize,
    /// The parameters.
    pub(crate) parameters: &'p [Parameter<'a>],
}

/// Splits sorted parameters, whose keys are equal before `start`, by the segment that begins at `start`.
pub(crate) fn groups<'p, 'a>(
    mut rest: &'p [Parameter<'a>],
    start: usize,
) -> impl Iterator<Item = Group<'p, 'a>> + use<'p, 'a> {
    std::iter::from_fn(move || {
        let segment = segment_at(&rest.first()?.key, start);
        let count = rest.iter().take_while(|parameter| segment_at(&parameter.key, start) == segment).count();
        let (parameters, after) = rest.split_at(count);
        rest = after;
        Some(Group { segment, end: start + segment.len(), parameters })
    })
}

fn segment_at(key: &str, start: usize) -> &str {
    let after = key.get(start..).unwrap_or_default();
    after.split_once('.').map_or(after, |(segment, _)| segment)
}
