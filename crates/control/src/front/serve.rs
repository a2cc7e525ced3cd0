// SPDX-License-Identifier: Apache-2.0
//! Connections: HTTP/1.1 and HTTP/2 (prior knowledge, or chosen within TLS) on one port, their limits, and their end.
//!
//! Not here: which connection is closed (`connections`), the choice of a door for a request (`doors`), and the answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, UnderWay, Visit};
use super::doors::{Answering, Doors};

/// Maximum size of all headers of a request.
const HEADERS_MAX_BYTES: usize = 64 << 10;
/// Maximum number of concurrent requests on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;
/// Bytes a peer may send before they are read: on one HTTP/2 stream, and on a whole connection.
const WINDOW_BYTES: u32 = 64 << 10;
/// Interval of pings on a quiet HTTP/2 connection, and the time limit for their answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time for an idle connection to end its protocol.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// Time for requests in progress when the server stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Pause after the kernel could not give a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address and the settings to serve it.
pub(crate) struct Entrance {
    pub(crate) listener: TcpListener,
    /// Present for HTTPS.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connections: Arc<Connections>,
}

/// Serves until `stop`, then waits for requests in progress.
pub(super) async fn serve(doors: Doors, entrance: Entrance, stop: CancellationToken) {
    let Entrance { listener, tls, connections } = entrance;
    let doors = Arc::new(doors);
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection; raise the limit of open files if this repeats");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A new connection without a place is closed at once.
        let Some(visit) = connections.admit(peer.ip(), &cut) else { continue };
        let (doors, tls, connections, stop) = (doors.clone(), tls.clone(), connections.clone(), stop.clone());
        tasks.spawn(async move {
            // Answers are written whole, so there is nothing to wait for; without this a connection sometimes loses 40 ms.
            let _ = stream.set_nodelay(true);
            visit.cut.run_until_cancelled(attend(doors, stream, tls, &visit, &stop)).await;
            connections.leave(&visit);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
        tracing::warn!(open = tasks.len(), "requests were still in progress when the server stopped");
        cut.cancel();
        tasks.wait().await;
    }
}

/// Serves one connection: TLS, if it has it, then requests.
pub(super) async fn attend(
    doors: Arc<Doors>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<TlsAcceptor>,
    visit: &Arc<Visit>,
    stop: &CancellationToken,
) {
    let Some(tls) = tls else { return converse(doors, stream, visit, stop).await };
    let handshake = tokio::select! {
        handshake = tls.accept(stream) => handshake,
        () = visit.too_long_idle() => return,
        () = stop.cancelled() => return,
    };
    match handshake {
        Ok(stream) => converse(doors, stream, visit, stop).await,
        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
    }
}

async fn converse(
    doors: Arc<Doors>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    visit: &Arc<Visit>,
    stop: &CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `too_long_idle` limits the time to a complete head, for both protocols and from the first byte on.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEADERS_MAX_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADERS_MAX_BYTES as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let service = service_fn(|request| {
        let answering = respond(&doors, request, visit.begin());
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = visit.too_long_idle() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(FAREWELL_LIMIT, connection).await.unwrap_or(Ok(()))
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A client without a request in progress does not delay the server's end.
            tokio::select! {
                biased;
                ended = connection => ended,
                () = visit.quiet_for(FAREWELL_LIMIT) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Gives a request to the door that its head chooses.
fn respond(doors: &Doors, request: Request<Incoming>, under_way: UnderWay) -> Answering {
    let (head, body) = request.into_parts();
    let row = doors.choose(&head);
    tracing::trace!(door = row.name, method = %head.method, path = head.uri.path(), "a request");
    row.door.clone().respond(head, body, under_way)
}
