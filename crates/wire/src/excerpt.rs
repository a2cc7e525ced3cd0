// SPDX-License-Identifier: Apache-2.0
//! Client text in refusals, cut to a bounded length.

/// The longest piece of client text in a refusal, in bytes.
const EXCERPT_MAX_BYTES: usize = 160;

/// The text, or its beginning and `...`.
pub(crate) fn excerpt(text: &str) -> String {
    if text.len() <= EXCERPT_MAX_BYTES {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(EXCERPT_MAX_BYTES)])
}
