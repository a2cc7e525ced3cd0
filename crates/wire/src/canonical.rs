// SPDX-License-Identifier: Apache-2.0
//! The canonical request of SigV4 and the signature over it.
//!
//! This module does not use the `aws-sigv4` crate, because that crate only signs. It adds `host` and `x-amz-date` to
//! the signed headers, chooses the order itself and rewrites the presigning parameters, so it cannot recompute requests
//! that a client signed in another way (a `Date` header instead of `X-Amz-Date`, another set of signed headers, a query
//! string with other escapes).

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::percent;
use crate::request::RequestParts;
use crate::scope::{ALGORITHM, Credential, TERMINATOR};

/// Form of the query string in the canonical request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryForm {
    /// Decoded and encoded again, as the specification says.
    Normalised,
    /// Sorted but spelled as it was sent, as botocore does with a query string that came with the URL.
    AsSent,
}

/// The signature, as 32 bytes.
pub(crate) fn signature(
    secret_access_key: &str,
    credential: &Credential,
    amz_date: &str,
    canonical_request: &str,
) -> [u8; 32] {
    let mut to_sign = String::with_capacity(160);
    for line in [ALGORITHM, amz_date, &credential.scope()] {
        to_sign.push_str(line);
        to_sign.push('\n');
    }
    push_hex(&sha256(canonical_request.as_bytes()), &mut to_sign);

    let mut first = String::with_capacity(4 + secret_access_key.len());
    first.push_str("AWS4");
    first.push_str(secret_access_key);
    let key = hmac(first.as_bytes(), credential.date.as_bytes());
    let key = hmac(&key, credential.region.as_bytes());
    let key = hmac(&key, credential.service.as_bytes());
    let key = hmac(&key, TERMINATOR.as_bytes());
    hmac(&key, to_sign.as_bytes())
}

/// The canonical request; `None` when a signed header is absent or the query is not text.
pub(crate) fn canonical_request(
    parts: &RequestParts<'_>,
    signed_headers: &str,
    query_form: QueryForm,
) -> Option<String> {
    let mut out = String::with_capacity(512);
    out.push_str(parts.method.as_str());
    out.push('\n');
    push_path(parts.uri.path(), &mut out);
    out.push('\n');
    push_query(parts.uri.query().unwrap_or_default(), query_form, &mut out)?;
    out.push('\n');
    let mut names: Vec<&str> = signed_headers.split(';').collect();
    names.sort_unstable();
    for name in names {
        push_header(parts, name, &mut out)?;
    }
    out.push('\n');
    out.push_str(signed_headers);
    out.push('\n');
    push_hex(&sha256(parts.body), &mut out);
    Some(out)
}

/// Lower-case hexadecimal.
pub(crate) fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Dot segments and doubled slashes are removed, then everything is encoded once more than in the request.
fn push_path(path: &str, out: &mut String) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    for segment in &segments {
        out.push('/');
        percent::encode(segment, out);
    }
    let is_folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    if segments.is_empty() || is_folder {
        out.push('/');
    }
}

fn push_query(query: &str, form: QueryForm, out: &mut String) -> Option<()> {
    let mut pairs = Vec::new();
    // botocore keeps the empty pair of `a=1&&b=2`; the specification has none.
    let keeps_empty = form == QueryForm::AsSent && !query.is_empty();
    for pair in query.split('&').filter(|pair| keeps_empty || !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key == "X-Amz-Signature" {
            continue;
        }
        pairs.push(match form {
            QueryForm::AsSent => (key.to_owned(), value.to_owned()),
            QueryForm::Normalised => (normalised(key)?, normalised(value)?),
        });
    }
    pairs.sort_unstable();
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(key);
        out.push('=');
        out.push_str(value);
    }
    Some(())
}

/// `+` is a space, as for the reader of the parameters; otherwise two requests with one signature could differ.
fn normalised(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    percent::encode(&percent::decode(text)?, &mut out);
    Some(out)
}

fn push_header(parts: &RequestParts<'_>, name: &str, out: &mut String) -> Option<()> {
    out.push_str(name);
    out.push(':');
    let mut found = false;
    for value in parts.headers.get_all(name) {
        if found {
            out.push(',');
        }
        found = true;
        push_collapsed(std::str::from_utf8(value.as_bytes()).ok()?, out);
    }
    if !found {
        // HTTP/2 has no Host header; its value is the authority.
        let authority = parts.uri.authority().filter(|_| name == "host")?;
        out.push_str(authority.as_str());
    }
    out.push('\n');
    Some(())
}

/// The text without white space at the ends, and with one space for each run inside.
fn push_collapsed(value: &str, out: &mut String) {
    for (index, word) in value.split_ascii_whitespace().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(word);
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}
