// SPDX-License-Identifier: Apache-2.0
//! Tags of resources: the limits that all services share.

use std::collections::BTreeMap;

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// Maximum number of tags on one resource, without those of services.
pub const TAGS_MAX: usize = 50;
/// Maximum length of a key in characters.
pub const KEY_CHARS_MAX: usize = 128;
/// Maximum length of a value in characters.
pub const VALUE_CHARS_MAX: usize = 256;

/// Prefix of the keys reserved for services, in any case.
const RESERVED_PREFIX: &str = "aws:";

/// True if the key is reserved for services: users can neither set nor remove it.
pub fn is_reserved(key: &str) -> bool {
    key.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// True if the tags exceed [`TAGS_MAX`].
pub fn are_too_many(tags: &Tags) -> bool {
    tags.keys().filter(|key| !is_reserved(key)).count() > TAGS_MAX
}
