//! Starting and stopping: the order of things.
//!
//! Start: folders, records, commit loop, first-start records, sockets, credentials file, doors, "ready". Stop: doors
//! close, requests under way are answered, then the loop ends and closes the store.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_domain::Snapshot;
use berth_store::{EmbeddedStore, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Place;
use crate::commit::{self, LoadFault};
use crate::config::ServerConfig;
use crate::fault::Fault;
use crate::first_start::{self, Credentials};
use crate::front::{self, Front};
use crate::link::{self, Hosts, Link};
use crate::metrics::Metrics;
use crate::publish::Published;
use crate::reconcile;
use crate::throttle::Throttle;

const RECORDS: &str = "state.redb";

/// Runs a server until `shutdown`; returns when everything under way is answered and the records are closed.
pub async fn run(config: ServerConfig, shutdown: CancellationToken) -> Result<(), Fault> {
    let place = Place { region: config.region.clone(), account: config.account.clone() };
    private_folder(&config.data_dir)?;
    private_folder(&config.run_dir)?;
    let (store, snapshot) = open_records(config.data_dir.join(RECORDS)).await?;
    first_start::check_place(&snapshot, &place, &config.data_dir)?;
    let published = Published::new(snapshot);
    let (committer, mut loop_ended) =
        commit::start(store, published.clone(), config.fault_points.clone()).map_err(Fault::Thread)?;
    first_start::ensure_records(&committer, &place).await?;

    let listener =
        TcpListener::bind(config.listen).await.map_err(|cause| Fault::Listen { address: config.listen, cause })?;
    let address = listener.local_addr().map_err(|cause| Fault::Listen { address: config.listen, cause })?;
    let socket = link::bind(&config.run_dir).await?;
    let endpoint = format!("http://{address}");
    write_credentials(&config, &published.snapshot(), &endpoint)?;
    if config.trust_any_key {
        tracing::warn!(
            "--trust-any-key is on: ANY access key is accepted as the root of account {} without a look at its \
             signature; whoever reaches {address} owns everything",
            config.account
        );
    }

    // The doors stop when the server is asked to, and also when the loop is gone and no answer can be given any more.
    let stop = shutdown.child_token();
    let hosts = Arc::new(Hosts::default());
    let front = Arc::new(Front {
        instance: config.instance,
        place: place.clone(),
        trust_any_key: config.trust_any_key,
        published: published.clone(),
        committer: committer.clone(),
        throttle: Throttle::new(config.rates),
        metrics: Metrics::new(),
        hosts: hosts.clone(),
    });
    let link = Arc::new(Link {
        place: place.clone(),
        endpoint,
        published: published.clone(),
        committer: committer.clone(),
        hosts,
    });
    let doors = async {
        tokio::join!(
            front::serve(front, listener, stop.clone()),
            link::serve(link, socket, stop.clone()),
            reconcile::run(published, committer, place, config.stopped_tasks_kept, stop.clone()),
        )
    };
    announce(config.ready, address);
    tokio::pin!(doors);
    tokio::select! {
        _ = &mut doors => {}
        _ = &mut loop_ended => {
            stop.cancel();
            doors.await;
            return Err(Fault::LoopEnded);
        }
    }
    // Everybody who held a committer is gone, so the loop ends by itself.
    loop_ended.await.map_err(|_| Fault::LoopEnded)
}

fn announce(ready: Option<tokio::sync::oneshot::Sender<SocketAddr>>, address: SocketAddr) {
    tracing::info!(%address, "the AWS API is ready");
    if let Some(ready) = ready {
        // Nobody may be waiting any more.
        let _ = ready.send(address);
    }
}

/// Makes a folder only its owner may look into.
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
        // The runtime is going away or the thread panicked.
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
