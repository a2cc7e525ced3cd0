// SPDX-License-Identifier: Apache-2.0
//! One request: determines operation and caller, decides, and encodes the answer.

use std::time::Instant;

use berth_shapes::{Operation, Refusal};
use berth_wire::{Call, ErrorForm, RequestParts, Unroutable, encode_refusal, refuse as wire_refuse, route};
use bytes::Bytes;
use http::{Response, request};

use super::budget::Share;
use super::connections::UnderWay;
use super::dispatch::{self, Answering, AuthenticatedCall};
use super::{Front, authenticate};
use crate::clock::{now, request_id};

/// A request whose caller is not authenticated yet, and its share of the budget.
pub(super) struct Stranger {
    /// Released when the caller is authenticated.
    pub(super) share: Option<Share>,
    pub(super) under_way: UnderWay,
}

impl Stranger {
    fn is_verified(&mut self) {
        self.share = None;
        self.under_way.verified();
    }
}

/// Answers a request whose body has been read.
pub(super) async fn answer(
    front: &Front,
    head: &request::Parts,
    body: &Bytes,
    mut stranger: Stranger,
) -> Response<Bytes> {
    let began = Instant::now();
    let id = request_id();
    let parts = RequestParts { method: &head.method, uri: &head.uri, headers: &head.headers, body };
    let (operation, form, outcome) = match route(&parts) {
        Ok(call) => {
            let (operation, form) = (call.operation, call.error_form());
            // `call` borrows the request; the work after the commit does not.
            let answering = decide(front, &parts, call, &id, &mut stranger);
            (Some(operation), form, finish(answering).await)
        }
        Err(Unroutable { form, refusal }) => (None, form, Err(refusal)),
    };
    let code = outcome.as_ref().err().map(|refusal| refusal.code.code());
    let response = outcome.unwrap_or_else(|refusal| refuse(operation, form, &refusal, &id));
    front.metrics.answered(operation, code, began.elapsed());
    response
}

/// Refuses a request whose body is not read completely.
pub(super) fn refuse_early(front: &Front, refused: &Unroutable) -> Response<Bytes> {
    let began = Instant::now();
    let response = refuse(None, refused.form, &refused.refusal, &request_id());
    front.metrics.answered(None, Some(refused.refusal.code.code()), began.elapsed());
    response
}

fn decide(front: &Front, parts: &RequestParts<'_>, call: Call<'_>, id: &str, stranger: &mut Stranger) -> Answering {
    let snapshot = front.published.snapshot();
    let caller =
        match authenticate::caller(front, parts, call.operation.service, &snapshot, stranger.under_way.source()) {
            Ok(caller) => caller,
            Err(refusal) => return Answering::Now(Err(refusal)),
        };
    stranger.is_verified();
    if !front.throttle.admits(call.operation, now()) {
        return Answering::Now(Err(wire_refuse::throttled(call.operation.service)));
    }
    dispatch::answer(AuthenticatedCall {
        call: &call,
        snapshot: &snapshot,
        env: front.locality.env(caller),
        request_id: id,
        committer: &front.committer,
    })
}

async fn finish(answering: Answering) -> Result<Response<Bytes>, Refusal> {
    match answering {
        Answering::Now(outcome) => outcome,
        Answering::Later(outcome) => outcome.await,
    }
}

fn refuse(operation: Option<&Operation>, form: ErrorForm, refusal: &Refusal, id: &str) -> Response<Bytes> {
    let operation = operation.map_or("unknown", |operation| operation.action);
    tracing::debug!(operation, request = id, %refusal, "refused");
    encode_refusal(form, refusal, id)
}
