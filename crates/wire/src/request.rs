// SPDX-License-Identifier: Apache-2.0
//! A request as bytes: the input of this crate, and its limits.

use http::{HeaderMap, Method, Uri};

/// The largest body that is read, in bytes.
pub const BODY_MAX_BYTES: usize = 1 << 20;
/// The largest index of a list in a form body.
pub const LIST_INDEX_MAX: usize = 1000;
/// The most parameters of a form body.
pub const PARAMETERS_MAX: usize = 10_000;
/// The deepest nesting of values.
pub const DEPTH_MAX: usize = 64;

/// A request whose body has been read.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query as they were sent.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> RequestParts<'a> {
    /// The parts of an `http::Request` that holds its body.
    pub fn of<B: AsRef<[u8]>>(request: &'a http::Request<B>) -> RequestParts<'a> {
        RequestParts {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            body: request.body().as_ref(),
        }
    }

    /// The header's value, when it is present and printable ASCII.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
