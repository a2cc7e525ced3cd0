// SPDX-License-Identifier: Apache-2.0
//! The front door: the AWS API over HTTP, and the instance's own pages on a separate address.
//!
//! * `serve`: connections, their protocols and their end.
//! * `doors`: the table of a listener's doors, and the choice of one from the head of a request.
//! * `connections`, `budget`: limits for callers that are not authenticated yet.
//! * `aws`: the door of the AWS API: checks a head before its body is read.
//! * `head`: the decision about the head.
//! * `answer`: one request: route, authenticate, dispatch, encode.
//! * `authorize`: the place of IAM's decision.
//! * `dispatch`: from operation to rule.
//! * `outline`: the input of an operation for the log.
//! * `shared`: the state that all requests share.
//! * `edge`: the entrance of regional endpoints.
//! * `own`: the door of the pages that are not AWS's: health and metrics.

mod answer;
mod authenticate;
mod authorize;
mod aws;
mod budget;
mod connections;
mod dispatch;
mod doors;
mod edge;
mod head;
mod outline;
mod own;
mod serve;
mod shared;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use budget::Budget;
pub(crate) use connections::Connections;
pub(crate) use edge::{names as endpoint_names, serve_endpoints};
pub(crate) use serve::Entrance;
pub(crate) use shared::Front;

use crate::config::Limits;
use doors::Doors;

/// Serves the doors of the public address until `stop`.
pub(crate) async fn serve(front: Arc<Front>, entrance: Entrance, stop: CancellationToken) {
    serve::serve(Doors::new(Vec::new(), "aws-api", front), entrance, stop).await;
}

/// Serves the instance's own pages until `stop`.
pub(crate) async fn serve_own_pages(front: Arc<Front>, listener: TcpListener, stop: CancellationToken) {
    let connections = Connections::new(Limits { connections: own::CONNECTIONS_MAX, ..front.limits });
    let entrance = Entrance { listener, tls: None, connections };
    let doors = Doors::new(Vec::new(), "own-pages", Arc::new(own::OwnPages { front }));
    serve::serve(doors, entrance, stop).await;
}
