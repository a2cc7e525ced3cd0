//! One request: which operation, who asks, what is decided, how it is said.

use std::time::Instant;

use berth_shapes::{Operation, Refusal};
use berth_wire::{Call, ErrorForm, RequestParts, Unroutable, encode_refusal, refuse as wire_refuse, route};
use bytes::Bytes;
use http::{Response, request};

use super::dispatch::{self, Answering, Asked};
use super::{Front, authenticate};
use crate::clock::{now, request_id};

/// Answers a request whose body has been read.
pub(super) async fn answer(front: &Front, head: &request::Parts, body: &Bytes) -> Response<Bytes> {
    let began = Instant::now();
    let id = request_id();
    let parts = RequestParts { method: &head.method, uri: &head.uri, headers: &head.headers, body };
    let (operation, form, outcome) = match route(&parts) {
        Ok(call) => {
            let (operation, form) = (call.operation, call.error_form());
            // `call` borrows the request; what goes on after the commit does not.
            let answering = decide(front, &parts, call, &id);
            (Some(operation), form, finish(answering).await)
        }
        Err(Unroutable { form, refusal }) => (None, form, Err(refusal)),
    };
    let code = outcome.as_ref().err().map(|refusal| refusal.code.code());
    let response = outcome.unwrap_or_else(|refusal| refuse(operation, form, &refusal, &id));
    front.metrics.answered(operation, code, began.elapsed());
    response
}

fn decide(front: &Front, parts: &RequestParts<'_>, call: Call<'_>, id: &str) -> Answering {
    let snapshot = front.published.snapshot();
    match authenticate::caller(front, parts, call.operation.service, &snapshot) {
        Ok(_) if !front.throttle.admits(call.operation, now()) => {
            Answering::Now(Err(wire_refuse::throttled(call.operation.service)))
        }
        Ok(caller) => dispatch::answer(Asked {
            call: &call,
            snapshot: &snapshot,
            env: front.place.env(&caller),
            request_id: id,
            committer: &front.committer,
        }),
        Err(refusal) => Answering::Now(Err(refusal)),
    }
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
