// SPDX-License-Identifier: Apache-2.0
//! The doors of a listener: one row for each, and the choice of one from the head of a request.
//!
//! A door is chosen before any byte of the body is read; the chosen door decides how much of the body it reads, and
//! whether its answer is one piece or a stream. Not here: connections (`serve`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use super::connections::UnderWay;

/// The body of an answer: one piece, or a stream of pieces.
pub(super) type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, io::Error>>;

/// The answer to a request, in progress.
pub(super) type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// One way to answer requests.
pub(super) trait Door: Send + Sync + 'static {
    /// Answers one request, whose body has not been read.
    fn respond(self: Arc<Self>, head: request::Parts, body: Incoming, under_way: UnderWay) -> Answering;
}

/// A door and the requests it answers.
pub(super) struct Row {
    /// For the log.
    pub(super) name: &'static str,
    /// True for the head of a request that this door answers.
    pub(super) answers: fn(&request::Parts) -> bool,
    pub(super) door: Arc<dyn Door>,
}

/// The doors of a listener.
pub(super) struct Doors {
    /// In order of precedence.
    rows: Vec<Row>,
    /// Answers the requests that no other row answers.
    last: Row,
}

impl Doors {
    /// The table of these rows, in order of precedence, and of a last row, which answers every other request.
    pub(super) fn new(rows: Vec<Row>, name: &'static str, door: Arc<dyn Door>) -> Self {
        Self { rows, last: Row { name, answers: |_| true, door } }
    }

    /// The first row that answers requests with this head.
    pub(super) fn choose(&self, head: &request::Parts) -> &Row {
        self.rows.iter().find(|row| (row.answers)(head)).unwrap_or(&self.last)
    }
}

/// An answer in one piece.
pub(super) fn whole(response: Response<Bytes>) -> Response<Body> {
    response.map(|body| Either::Left(Full::new(body)))
}

#[cfg(test)]
mod tests;
