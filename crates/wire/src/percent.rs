// SPDX-License-Identifier: Apache-2.0
//! Percent-encoding as SigV4 and form bodies use it (RFC 3986 unreserved characters stay, everything else is encoded).

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Decodes; `+` is a space, and `%` without two hex digits is kept. `None` when the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    let special = |byte: &u8| matches!(byte, b'%' | b'+');
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(special) else { return Some(Cow::Borrowed(text)) };
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => match escape(after) {
                Some(value) => {
                    out.push(value);
                    rest = &after[2..];
                }
                None => out.push(b'%'),
            },
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn escape(after: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*after.first()?)? << 4 | digit(*after.get(1)?)?)
}

/// Appends the encoded text.
pub(crate) fn encode(text: &str, out: &mut String) {
    encode_except(text, b"", out);
}

/// Appends the encoded text; the bytes in `kept` are not encoded.
pub(crate) fn encode_except(text: &str, kept: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in "\\PC*") {
            let mut encoded = String::new();
            encode(&text, &mut encoded);
            prop_assert_eq!(decode(&encoded).unwrap(), text.as_str());
        }

        #[test]
        fn decoding_never_panics(text in ".*") {
            let _ = decode(&text);
        }
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        assert_eq!(decode("100%+%2").unwrap(), "100% %2");
        assert!(decode("%ff").is_none());
    }
}
