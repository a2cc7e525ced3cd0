// SPDX-License-Identifier: Apache-2.0
//! The door of the AWS API: checks the head, reads the body within its allowance, then answers the call.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header, request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::budget::Share;
use super::connections::UnderWay;
use super::doors::{Answering, Door, whole};
use super::{Front, answer, head};

impl Door for Front {
    fn respond(self: Arc<Self>, head: request::Parts, body: Incoming, under_way: UnderWay) -> Answering {
        Box::pin(async move { whole(respond(&self, head, body, under_way).await) })
    }
}

async fn respond(front: &Front, mut head: request::Parts, body: Incoming, under_way: UnderWay) -> Response<Bytes> {
    name_the_host(&mut head);
    let share = front.unverified.open(under_way.peer());
    let allowance = head::allowance(front, &head);
    let announced = head::announced_bytes(&head);
    if announced.is_some_and(|bytes| bytes > allowance.body_max_bytes) {
        return answer::refuse_early(front, &allowance.beyond);
    }
    if !share.grow(head::bytes_of(&head)) {
        return bare(StatusCode::SERVICE_UNAVAILABLE);
    }
    match read(body, allowance.body_max_bytes, &share, front.limits.body).await {
        Ok(body) => answer::answer(front, &head, &body, answer::Stranger { share: Some(share), under_way }).await,
        Err(Unread::TooLong) => answer::refuse_early(front, &allowance.beyond),
        Err(Unread::Gone) => bare(StatusCode::BAD_REQUEST),
        Err(Unread::TooSlow) => bare(StatusCode::REQUEST_TIMEOUT),
        Err(Unread::GaveWay) => bare(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Reason why a body was not read completely.
#[derive(Debug)]
enum Unread {
    TooLong,
    /// The caller disconnected.
    Gone,
    TooSlow,
    /// Another request took its share of the budget.
    GaveWay,
}

async fn read(body: Incoming, max_bytes: usize, share: &Share, limit: Duration) -> Result<Bytes, Unread> {
    tokio::select! {
        read = tokio::time::timeout(limit, read_up_to(body, max_bytes, share)) => read.unwrap_or(Err(Unread::TooSlow)),
        () = share.given_up() => Err(Unread::GaveWay),
    }
}

async fn read_up_to(mut body: Incoming, max_bytes: usize, share: &Share) -> Result<Bytes, Unread> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Gone)?.into_data() else { continue };
        if !share.grow(data.len()) {
            return Err(Unread::GaveWay);
        }
        // Nearly every body arrives in one piece and is not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if first.len().max(rest.len()) > max_bytes {
            return Err(Unread::TooLong);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// HTTP/2 has the host in `:authority`; signatures have it in `host`.
fn name_the_host(head: &mut request::Parts) {
    if head.headers.contains_key(header::HOST) {
        return;
    }
    let authority = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = authority {
        head.headers.insert(header::HOST, host);
    }
}

fn bare(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
