//! Connections: HTTP/1.1 and HTTP/2 (prior knowledge) on one port, their limits, and their end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use berth_wire::BODY_MAX_BYTES;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Front, answer, own};

/// Open connections; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// All headers of a request together.
const HEADERS_MAX_BYTES: usize = 64 << 10;
/// Requests at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// From the first byte of a request's head to its last, and the longest pause between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// From the head of a request to the last byte of its body.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// How long requests under way may take when the server stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Pause after the kernel could not give us a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets requests under way finish.
pub(crate) async fn serve(front: Arc<Front>, listener: TcpListener, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some(Ok(slot)) = stop.run_until_cancelled(slots.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, _)) => {
                let (front, stop, cut) = (front.clone(), stop.clone(), cut.clone());
                connections.spawn(async move {
                    front.metrics.connections.fetch_add(1, Ordering::Relaxed);
                    cut.run_until_cancelled(converse(&front, stream, &stop)).await;
                    front.metrics.connections.fetch_sub(1, Ordering::Relaxed);
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection; raise the limit of open files if this repeats");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "requests were still under way when the server stopped");
        cut.cancel();
        connections.wait().await;
    }
}

async fn converse(front: &Arc<Front>, stream: TcpStream, stop: &CancellationToken) {
    // Answers are written whole, so there is nothing to wait for; without this a connection loses 40 ms now and then.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEADERS_MAX_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADERS_MAX_BYTES as u32)
        .max_concurrent_streams(STREAMS_MAX);
    let service = service_fn(|request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(respond(&front, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond(front: &Front, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    if let Some(answer) = own::answer(front, &head) {
        return answer.map(Full::new);
    }
    name_the_host(&mut head);
    let body = match tokio::time::timeout(BODY_LIMIT, read_up_to_limit(body)).await {
        Ok(Some(body)) => body,
        Ok(None) => return bare(StatusCode::BAD_REQUEST),
        Err(_) => return bare(StatusCode::REQUEST_TIMEOUT),
    };
    answer::answer(front, &head, &body).await.map(Full::new)
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

/// The body; of one that is too long only as much as shows that it is. `None` when the client went away.
async fn read_up_to_limit(mut body: Incoming) -> Option<Bytes> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        // Nearly every body comes in one piece and is not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if first.len().max(rest.len()) > BODY_MAX_BYTES {
            break;
        }
    }
    Some(if rest.is_empty() { first } else { rest.freeze() })
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
