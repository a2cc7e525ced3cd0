// SPDX-License-Identifier: Apache-2.0
//! The door of the pages that are not AWS's: `/_berth/health` and `/_berth/metrics`.
//!
//! They are not signed and contain account, region and counts, so they have their own listener on loopback (ADR 25).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request};
use hyper::body::Incoming;

use super::Front;
use super::connections::UnderWay;
use super::doors::{Answering, Door, whole};
use crate::metrics::Gauges;

/// Open connections to the own pages.
pub(super) const CONNECTIONS_MAX: usize = 64;
const PREFIX: &str = "/_berth/";

/// The own pages of the server behind the front door.
pub(super) struct OwnPages {
    pub(super) front: Arc<Front>,
}

impl Door for OwnPages {
    fn respond(self: Arc<Self>, head: request::Parts, _: Incoming, _: UnderWay) -> Answering {
        Box::pin(async move { whole(answer(&self.front, &head.method, head.uri.path())) })
    }
}

fn answer(front: &Front, method: &Method, path: &str) -> Response<Bytes> {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    match path.strip_prefix(PREFIX) {
        Some("health" | "metrics") if !is_read => {
            text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".to_owned())
        }
        Some("health") => health(front),
        Some("metrics") => metrics(front),
        _ => text(StatusCode::NOT_FOUND, "text/plain", format!("there is {PREFIX}health and {PREFIX}metrics\n")),
    }
}

fn health(front: &Front) -> Response<Bytes> {
    let (status, word) = if front.committer.stats().is_failing() {
        (StatusCode::SERVICE_UNAVAILABLE, "changes cannot be stored; the server's log says why")
    } else {
        (StatusCode::OK, "ready")
    };
    let body = serde_json::json!({
        "status": word,
        "instance": front.instance,
        "version": env!("CARGO_PKG_VERSION"),
        "region": front.locality.region,
        "account": front.locality.account,
        "revision": front.published.snapshot().revision,
    });
    text(status, "application/json", format!("{body}\n"))
}

fn metrics(front: &Front) -> Response<Bytes> {
    let gauges = Gauges {
        revision: front.published.snapshot().revision,
        hosts_connected: front.hosts.connected(),
        flow_tables: front.hosts.flow_tables(),
        commit: front.committer.stats(),
        connections: front.connections.count(),
        displaced: front.connections.displaced.load(Ordering::Relaxed),
        refused: front.connections.refused.load(Ordering::Relaxed),
        unverified_bytes: front.unverified.bytes(),
    };
    text(StatusCode::OK, "text/plain; version=0.0.4", front.metrics.text(&gauges))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
