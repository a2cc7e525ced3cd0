// SPDX-License-Identifier: Apache-2.0
//! Bytes in text protocols: standard base64 with padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The bytes, or `None` when the text is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
