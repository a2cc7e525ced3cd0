// SPDX-License-Identifier: Apache-2.0
//! Readers of common member types: lists, texts, numbers, names.

use berth_state::Refusal;

use super::super::refuse::client;

/// Reads every item of a list that was given.
pub(super) fn each<A, T>(
    asked: Option<&[A]>,
    path: &str,
    read: impl Fn(&A, &str) -> Result<T, Refusal>,
) -> Result<Option<Vec<T>>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    asked
        .iter()
        .enumerate()
        .map(|(at, asked)| read(asked, &format!("{path}[{at}]")))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// A required text.
pub(super) fn text(given: Option<&String>, path: &str) -> Result<String, Refusal> {
    given.filter(|text| !text.is_empty()).cloned().ok_or_else(|| client(format!("{path} should not be null or empty.")))
}

/// A number that must not be negative.
pub(super) fn natural(given: Option<i32>, member: &str, container: &str) -> Result<Option<u32>, Refusal> {
    given
        .map(|given| {
            u32::try_from(given).map_err(|_| {
                client(format!("Invalid setting for container '{container}'. '{member}' must not be negative."))
            })
        })
        .transpose()
}

/// A name of a container or volume.
pub(super) fn check_name(name: &str, what: &str) -> Result<(), Refusal> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.len() > 255 || !name.chars().all(is_allowed) {
        return Err(client(format!(
            "{what} '{name}' is invalid. Up to 255 letters (uppercase and lowercase), numbers, hyphens, and \
             underscores are allowed."
        )));
    }
    Ok(())
}

/// One of AWS's enumerated values of a member.
pub(super) fn word<T>(
    given: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
    path: &str,
) -> Result<Option<T>, Refusal> {
    let read = |given: &str| parse(given).ok_or_else(|| client(format!("'{given}' is not a valid value for {path}.")));
    given.map(read).transpose()
}
