//! The endpoints that are not AWS's: `/_berth/health` and `/_berth/metrics`. Not signed; they tell no secrets.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request};

use super::Front;
use crate::metrics::Gauges;

const PREFIX: &str = "/_berth/";

/// The answer, when the request is for one of these endpoints.
pub(super) fn answer(front: &Front, head: &request::Parts) -> Option<Response<Bytes>> {
    let name = head.uri.path().strip_prefix(PREFIX)?;
    let is_read = head.method == Method::GET || head.method == Method::HEAD;
    Some(match name {
        "health" | "metrics" if !is_read => text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".to_owned()),
        "health" => health(front),
        "metrics" => metrics(front),
        _ => text(StatusCode::NOT_FOUND, "text/plain", format!("there is {PREFIX}health and {PREFIX}metrics\n")),
    })
}

fn health(front: &Front) -> Response<Bytes> {
    let is_failing = front.committer.stats().is_failing.load(Ordering::Relaxed);
    let (status, word) = if is_failing {
        (StatusCode::SERVICE_UNAVAILABLE, "changes cannot be stored; the server's log says why")
    } else {
        (StatusCode::OK, "ready")
    };
    let body = serde_json::json!({
        "status": word,
        "instance": front.instance,
        "version": env!("CARGO_PKG_VERSION"),
        "region": front.place.region,
        "account": front.place.account,
        "revision": front.published.snapshot().revision,
    });
    text(status, "application/json", format!("{body}\n"))
}

fn metrics(front: &Front) -> Response<Bytes> {
    let gauges = Gauges {
        revision: front.published.snapshot().revision,
        hosts_connected: front.hosts.connected(),
        commit: front.committer.stats(),
    };
    text(StatusCode::OK, "text/plain; version=0.0.4", front.metrics.text(&gauges))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
