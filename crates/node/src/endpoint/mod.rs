// SPDX-License-Identifier: Apache-2.0
//! The task metadata endpoint: http://169.254.170.2 for every task of this host, versions 2, 3 and 4. Each task sees
//! only itself.
//!
//! A task is known by its address: the program at each port of the host's bridges lets in frames from the leased address
//! only (`berth_fabric::ports`). Containers on the host's own network have no port; there the id in the path decides.
//!
//! Not here: what the documents say (`metadata`, `stats`), how often one may ask (`rate_limit`), how many connections one
//! may hold (`connections`), what the host itself may ask (`introspection`).

mod connections;
pub(crate) mod introspection;
mod metadata;
mod rate_limit;
pub(crate) mod stats;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use berth_types::mode::NetworkMode;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::engine::NodeHost;
use crate::engine::record::TaskRecord;
use crate::network::{METADATA_ADDRESS, NodeNetwork};
use connections::Slot;
use metadata::Version;
use rate_limit::Limits;

/// Where tasks ask.
const PORT: u16 = 80;
/// Where the socket listens, one of the ports that are reserved for the agent: port 80 of all addresses stays free for
/// a container of network mode host. Connections are led to the socket wherever it listens: one that finds the port
/// taken listens elsewhere.
const OWN_PORT: u16 = 51679;
/// Time a client may take to send its request.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Pause before a node that could not listen tries again.
const LISTEN_PAUSE: Duration = Duration::from_secs(10);

/// Listens for tasks, also before the bridge has the endpoint's address. `None` if that fails, which is reported: a node
/// runs its tasks without metadata until `serve` succeeds.
pub(crate) async fn listen(network: &NodeNetwork) -> Option<TcpListener> {
    let cure = "tasks get no metadata; it is tried again";
    try_listen(network)
        .await
        .inspect_err(|fault| tracing::error!(%fault, cure, "the metadata endpoint is not served"))
        .ok()
}

async fn try_listen(network: &NodeNetwork) -> Result<TcpListener, Fault> {
    let (own, public) = (SocketAddrV4::new(METADATA_ADDRESS, OWN_PORT), SocketAddrV4::new(METADATA_ADDRESS, PORT));
    let opened = match open(own) {
        Err(cause) if cause.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!("another process listens on {own}; the metadata endpoint listens on a free port instead");
            open(SocketAddrV4::new(METADATA_ADDRESS, 0))
        }
        opened => opened,
    };
    let listener = opened.map_err(Fault::system(format!("listen on {own} for task metadata")))?;
    network.lead(public, &listener).await?;
    Ok(listener)
}

fn open(address: SocketAddrV4) -> std::io::Result<TcpListener> {
    use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, setsockopt, sockopt};
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // The address comes and goes with the bridge; the listener stays.
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    socket::listen(&socket, Backlog::new(128)?)?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}

/// Serves until shutdown; listens first, if that failed before.
pub(crate) async fn serve(
    host: Arc<NodeHost>,
    mut listener: Option<TcpListener>,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    while listener.is_none() {
        tokio::select! {
            () = tokio::time::sleep(LISTEN_PAUSE) => listener = listen(&host.network).await,
            () = shutdown.cancelled() => return Ok(()),
        }
    }
    let Some(listener) = listener else { return Ok(()) };
    let limits = Arc::new(Limits::default());
    let serve = |stream, client: SocketAddr, slot| {
        let (host, limits) = (host.clone(), limits.clone());
        let respond = move |request: &Request<hyper::body::Incoming>| match limits
            .admit(client.ip(), std::time::Instant::now())
        {
            true => answer(&host, client.ip(), request.method(), request.uri().path()),
            false => too_many(),
        };
        serve_one(stream, slot, respond)
    };
    connections::accept_each(&listener, "metadata endpoint", &shutdown, serve).await;
    Ok(())
}

/// Serves one connection until it ends or has to give way.
async fn serve_one(
    stream: TcpStream,
    slot: Slot,
    respond: impl Fn(&Request<hyper::body::Incoming>) -> Response<Full<Bytes>>,
) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        slot.used();
        let response = respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    let server = server.timer(TokioTimer::new()).header_read_timeout(READ_LIMIT);
    tokio::select! {
        served = server.serve_connection(TokioIo::new(stream), service) => if let Err(cause) = served {
            tracing::debug!(%cause, "connection of an endpoint");
        },
        () = slot.given_way() => {}
    }
}

fn answer(host: &NodeHost, client: IpAddr, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if method != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, &json!("method not allowed"));
    }
    if path.contains("//") {
        return moved(path);
    }
    if let Some(rest) = path.strip_prefix("/v2/") {
        return by_address(host, client, rest.trim_end_matches('/'));
    }
    let Some((version, id, rest)) = parts(path) else {
        return reply(StatusCode::NOT_FOUND, &json!("404 page not found"));
    };
    let found = host
        .directory
        .all()
        .into_iter()
        .find(|task| is_of(task, client) && task.intent.containers.iter().any(|c| c.endpoint_id == id));
    let Some(task) = found else {
        return reply(StatusCode::BAD_REQUEST, &json!(unknown(version, id, rest)));
    };
    let document = match (version, rest) {
        (_, "") => metadata::container(&task, id, version),
        (_, "task" | "taskWithTags") => {
            let mut document = metadata::task(&task, version);
            if let (Version::V4, Some(metrics)) = (version, stats::ephemeral_storage(host, &task)) {
                document["EphemeralStorageMetrics"] = metrics;
            }
            Some(document)
        }
        (_, "stats") => stats::container(host, &task, id),
        (_, "task/stats") => Some(stats::task(host, &task)),
        _ => return reply(StatusCode::NOT_FOUND, &json!("404 page not found")),
    };
    match document {
        Some(document) => reply(StatusCode::OK, &document),
        None => reply(StatusCode::BAD_REQUEST, &json!(unknown(version, id, rest))),
    }
}

/// Version 2: the task is known by its address alone, its containers by their ids. Tasks of network mode host share an
/// address and get nothing, as on AWS.
fn by_address(host: &NodeHost, client: IpAddr, path: &str) -> Response<Full<Bytes>> {
    let (what, id) = path.split_once('/').unwrap_or((path, ""));
    let is_known = |task: &TaskRecord| task.intent.network_mode != NetworkMode::Host && is_of(task, client);
    let Some(task) = host.directory.all().into_iter().find(|task| is_known(task)) else {
        let text = format!("unable to get task arn from request: unable to associate '{client}' with task");
        return reply(StatusCode::NOT_FOUND, &json!(text));
    };
    let named = task.containers.iter().find(|container| container.runtime_id == id);
    let endpoint = named.and_then(|container| task.wanted(&container.name)).map(|wanted| wanted.endpoint_id.as_str());
    let document = match (what, id, endpoint) {
        ("metadata" | "metadataWithTags", "", _) => Some(metadata::task(&task, Version::V3)),
        ("metadata", _, Some(endpoint)) => metadata::container(&task, endpoint, Version::V3),
        ("stats", "", _) => Some(stats::task(host, &task)),
        ("stats", _, Some(endpoint)) => stats::container(host, &task, endpoint),
        ("metadata" | "stats", _, None) => None,
        _ => return reply(StatusCode::NOT_FOUND, &json!("404 page not found")),
    };
    match document {
        Some(document) => reply(StatusCode::OK, &document),
        None => reply(StatusCode::BAD_REQUEST, &json!(format!("unable to find container '{id}'"))),
    }
}

/// A task is who asks from its address on the bridge, or from that of one of its containers. Containers on the host's
/// network ask as the host does, from the endpoint's own address.
fn is_of(task: &TaskRecord, client: IpAddr) -> bool {
    let is_one = |address: Option<Ipv4Addr>| address.is_some_and(|address| IpAddr::V4(address) == client);
    match task.intent.network_mode {
        NetworkMode::Awsvpc => is_one(task.namespace.as_ref().and_then(|held| held.bridge_address)),
        NetworkMode::Bridge => task.containers.iter().any(|container| is_one(container.address)),
        NetworkMode::Host => is_one(Some(METADATA_ADDRESS)),
        NetworkMode::None => false,
    }
}

fn parts(path: &str) -> Option<(Version, &str, &str)> {
    let path = path.trim_start_matches('/').trim_end_matches('/');
    let (version, rest) = path.split_once('/')?;
    let version = match version {
        "v3" => Version::V3,
        "v4" => Version::V4,
        _ => return None,
    };
    let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Some((version, id, rest))
}

fn unknown(version: Version, id: &str, rest: &str) -> String {
    let version = if version == Version::V4 { "V4" } else { "V3" };
    match rest {
        "task" => format!(
            "{version} task metadata handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: {id}"
        ),
        "stats" | "task/stats" => format!(
            "{version} stats handler: unable to get container ID from request: unable to get docker ID from v3 endpoint ID: {id}"
        ),
        _ => format!(
            "{version} container metadata handler: unable to get container ID from request: unable to get docker ID from v3 endpoint ID: {id}"
        ),
    }
}

fn reply(status: StatusCode, document: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn moved(path: &str) -> Response<Full<Bytes>> {
    let mut tidy = String::with_capacity(path.len());
    for c in path.chars().filter(|c| c.is_ascii_graphic()) {
        if c != '/' || !tidy.ends_with('/') {
            tidy.push(c);
        }
    }
    let mut response = reply(StatusCode::MOVED_PERMANENTLY, &Value::Null);
    if let Ok(to) = HeaderValue::from_str(&tidy) {
        response.headers_mut().insert(hyper::header::LOCATION, to);
    }
    response
}

fn too_many() -> Response<Full<Bytes>> {
    let mut response = reply(StatusCode::TOO_MANY_REQUESTS, &json!("You have reached maximum request limit."));
    response.headers_mut().insert("x-rate-limit-limit", HeaderValue::from_static("40.00"));
    response.headers_mut().insert("x-rate-limit-duration", HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_names_version_container_and_document() {
        assert_eq!(parts("/v4/u-1"), Some((Version::V4, "u-1", "")));
        assert_eq!(parts("/v3/u-1/task/stats"), Some((Version::V3, "u-1", "task/stats")));
        assert_eq!(parts("/v4/u-1/"), Some((Version::V4, "u-1", "")));
        assert_eq!(parts("/latest/meta-data"), None);
        assert_eq!(parts("/"), None);
    }

    #[test]
    fn doubled_slashes_are_sent_elsewhere() {
        let response = moved("//v4//u-1");
        assert_eq!(response.headers()["location"], "/v4/u-1");
    }
}
