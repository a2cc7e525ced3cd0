// SPDX-License-Identifier: Apache-2.0
//! Decides from the head of a request, before its body is read, how long the body may be.
//!
//! A caller whose head names a known key and the right day and region may send as much as the largest operation needs.
//! Any other caller may send as much as an ordinary request has, so that the refusal can be in the words of the
//! operation.

use berth_state::iam::AccessKeyId;
use berth_wire::sigv4::{self, AuthError, Secret};
use berth_wire::{BODY_MAX_BYTES, RequestParts, Unroutable, refuse_early, refuse_too_large};
use http::{header, request};

use super::Front;
use crate::clock::now;

/// The longest body of a caller without a known key.
const STRANGER_BODY_MAX_BYTES: usize = 16 << 10;

/// The limit of a body.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) body_max_bytes: usize,
    /// The answer to a longer body.
    pub(super) beyond: Unroutable,
}

/// Checks the head only.
pub(super) fn allowance(front: &Front, head: &request::Parts) -> Allowance {
    let parts = RequestParts { method: &head.method, uri: &head.uri, headers: &head.headers, body: &[] };
    let snapshot = front.published.snapshot();
    let secret = |id: &str| {
        let key = snapshot.iam().access_keys.get(&AccessKeyId(id.to_owned()))?;
        Some(Secret { secret_access_key: key.secret.clone(), session: None })
    };
    match sigv4::check_head(&parts, &secret, now().0, &front.locality.region) {
        Err(AuthError::UnknownKey) if front.trust_any_key => known(&parts),
        Err(error) => Allowance { body_max_bytes: STRANGER_BODY_MAX_BYTES, beyond: refuse_early(&parts, &error) },
        Ok(()) => known(&parts),
    }
}

fn known(parts: &RequestParts<'_>) -> Allowance {
    Allowance { body_max_bytes: BODY_MAX_BYTES, beyond: refuse_too_large(parts) }
}

/// The length that the head declares.
pub(super) fn announced_bytes(head: &request::Parts) -> Option<usize> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Approximate memory size of the head.
pub(super) fn bytes_of(head: &request::Parts) -> usize {
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    headers.sum::<usize>() + head.uri.path_and_query().map_or(0, |target| target.as_str().len())
}
