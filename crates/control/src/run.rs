// SPDX-License-Identifier: Apache-2.0
//! Start and stop of the server, and their order.
//!
//! Start: folders, records, commit loop, first-start records, sockets, credentials file, doors, "ready". Stop: the
//! doors close, requests in progress are answered, then the loop ends and closes the store.

use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use berth_state::Snapshot;
use berth_store::{EmbeddedStore, Store};
use berth_types::edge;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authority::{self, Authority};
use crate::clock::Locality;
use crate::commit::{self, LoadFault};
use crate::config::{Addresses, ServerConfig, Transport, check_listen};
use crate::fault::Fault;
use crate::first_start::{self, Credentials};
use crate::front::{self, Budget, Connections, Entrance, Front};
use crate::link::{self, Hosts, Link};
use crate::metrics::Metrics;
use crate::publish::Published;
use crate::reconcile::Reconcilers;
use crate::throttle::Throttle;

const RECORDS: &str = "state.redb";

/// Runs a server until `shutdown`; returns when all requests in progress are answered and the records are closed.
pub async fn run(config: ServerConfig, shutdown: CancellationToken) -> Result<(), Fault> {
    check_listen(config.listen, &config.transport, config.admin_listen)?;
    let locality = Locality { region: config.region.clone(), account: config.account.clone() };
    private_folder(&config.data_dir)?;
    private_folder(&config.run_dir)?;
    let (store, snapshot) = open_records(config.data_dir.join(RECORDS)).await?;
    first_start::check_locality(&snapshot, &locality, &config.data_dir)?;
    let published = Published::new(snapshot);
    let (committer, mut loop_ended) =
        commit::start(store, published.clone(), config.fault_points.clone()).map_err(Fault::Thread)?;
    first_start::ensure_records(&committer, &locality, config.network.clone()).await?;

    let Listeners { listener, admin_listener, tls, addresses } = listen(&config).await?;
    let socket = link::bind(&config.run_dir, link::SOCKET).await?;
    let edge_socket = link::bind(&config.run_dir, edge::SOCKET).await?;
    let endpoint = endpoint(addresses.api, tls.is_some());
    write_credentials(&config, &published.snapshot(), &endpoint)?;
    warn_of_trust(&config, &endpoint);

    // The doors stop at a shutdown, and also when the loop has ended and no answer is possible any more.
    let stop = shutdown.child_token();
    let hosts = Arc::new(Hosts::default());
    let front = Arc::new(Front {
        instance: config.instance.clone(),
        locality: locality.clone(),
        trust_any_key: config.trust_any_key,
        published: published.clone(),
        committer: committer.clone(),
        throttle: Arc::new(Throttle::new(config.rates.clone())),
        metrics: Arc::new(Metrics::new()),
        hosts: hosts.clone(),
        limits: config.limits,
        connections: Connections::new(config.limits),
        unverified: Budget::new(&config.limits),
    });
    let inside = Arc::new(front.for_callers_inside(config.endpoint_limits));
    let endpoint_tls = tls_of(&config, front::endpoint_names(&config.region, &inside))?;
    let entrance = Entrance { listener, tls, connections: front.connections.clone() };
    let link = Arc::new(Link {
        locality: locality.clone(),
        endpoint,
        admin_endpoint: format!("http://{}", addresses.admin),
        published: published.clone(),
        committer: committer.clone(),
        hosts,
    });
    let reconcilers = Reconcilers { published, committer, locality, stopped_tasks_kept: config.stopped_tasks_kept };
    let doors = async {
        tokio::join!(
            front::serve_own_pages(front.clone(), admin_listener, stop.clone()),
            front::serve(front, entrance, stop.clone()),
            front::serve_endpoints(inside, edge_socket, endpoint_tls, stop.clone()),
            link::serve(link, socket, stop.clone()),
            reconcilers.run(stop.clone()),
        )
    };
    announce(config.ready, addresses);
    tokio::pin!(doors);
    tokio::select! {
        _ = &mut doors => {}
        _ = &mut loop_ended => {
            stop.cancel();
            doors.await;
            return Err(Fault::LoopEnded);
        }
    }
    // All committers are dropped, so the loop ends by itself.
    loop_ended.await.map_err(|_| Fault::LoopEnded)
}

fn warn_of_trust(config: &ServerConfig, endpoint: &str) {
    if config.trust_any_key {
        tracing::warn!(
            "--trust-any-key is on: ANY access key is accepted as the root of account {} without verification of its \
             signature; any caller who reaches {endpoint} has full control",
            config.account
        );
    }
}

fn announce(ready: Option<tokio::sync::oneshot::Sender<Addresses>>, addresses: Addresses) {
    tracing::info!(address = %addresses.api, health_and_metrics = %addresses.admin, "the AWS API is ready");
    if let Some(ready) = ready {
        // The receiver may have been dropped.
        let _ = ready.send(addresses);
    }
}

/// The listeners of the server, and their settings.
struct Listeners {
    listener: TcpListener,
    admin_listener: TcpListener,
    tls: Option<TlsAcceptor>,
    addresses: Addresses,
}

async fn listen(config: &ServerConfig) -> Result<Listeners, Fault> {
    let fault = |cause| Fault::Listen { address: config.listen, cause };
    let (listener, api) = bind(config.listen).await.map_err(fault)?;
    let admin_fault = |cause| Fault::AdminListen { address: config.admin_listen, cause };
    let (admin_listener, admin) = bind(config.admin_listen).await.map_err(admin_fault)?;
    Ok(Listeners { listener, admin_listener, tls: acceptor(config)?, addresses: Addresses { api, admin } })
}

async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// The settings of HTTPS, if it is enabled.
fn acceptor(config: &ServerConfig) -> Result<Option<TlsAcceptor>, Fault> {
    match &config.transport {
        Transport::Tls(names) => tls_of(config, names.clone()).map(Some),
        Transport::Plain | Transport::PlainAnywhere => Ok(None),
    }
}

/// TLS with a certificate of the local authority for these names.
fn tls_of(config: &ServerConfig, names: Vec<String>) -> Result<TlsAcceptor, Fault> {
    let now = SystemTime::now();
    let authority = Authority::open(&config.data_dir, now).map_err(Fault::Tls)?;
    let config = authority::server_config(authority, names, now).map_err(Fault::Tls)?;
    Ok(TlsAcceptor::from(config))
}

/// Address of the API for clients on this machine.
fn endpoint(bound: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, bound.port()))
}

/// Creates a folder that only its owner may read.
fn private_folder(path: &Path) -> Result<(), Fault> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| Fault::Folder { path: path.to_owned(), cause })
}

async fn open_records(path: PathBuf) -> Result<(Box<dyn Store>, Snapshot), Fault> {
    let opened = tokio::task::spawn_blocking(move || -> Result<(Box<dyn Store>, Snapshot), LoadFault> {
        let store: Box<dyn Store> = Box::new(EmbeddedStore::open(&path)?);
        let snapshot = commit::load(store.as_ref())?;
        Ok((store, snapshot))
    });
    match opened.await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(LoadFault::Store(cause))) => Err(Fault::Store(cause)),
        Ok(Err(LoadFault::Record(cause))) => Err(Fault::Record(cause)),
        // The runtime is shutting down or the thread panicked.
        Err(_) => Err(Fault::LoopEnded),
    }
}

fn write_credentials(config: &ServerConfig, snapshot: &Snapshot, endpoint: &str) -> Result<(), Fault> {
    let Some(key) = first_start::administrator(snapshot, &config.account) else { return Ok(()) };
    let credentials = Credentials {
        access_key_id: key.id.0.clone(),
        secret_access_key: key.secret.clone(),
        region: config.region.clone(),
        account: config.account.clone(),
        endpoint: endpoint.to_owned(),
    };
    first_start::write_credentials(&config.data_dir, &credentials)
}
