// SPDX-License-Identifier: Apache-2.0
//! The edge of an installation on one host: the process that answers at the regional endpoints.
//!
//! It runs in the namespace of the endpoints (`berth_fabric::edge_namespace`), outlives server and node, and relays
//! connections to the server as bytes, each with its origin before it. It ends no TLS, knows no key and reads no request:
//! whoever takes it over from inside a VPC gains what the server answers to strangers.
//!
//! * `relay`: one connection.
//! * `places`: how many connections each sender may hold.

mod places;
mod relay;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_fabric::senders::Senders;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use places::Places;
use relay::Relay;

/// Ports of the endpoints, and whether clients speak TLS there.
pub const PORTS: [(u16, bool); 2] = [(80, false), (443, true)];
/// Pause after the kernel could not give a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for connections to end when the edge stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Settings of an edge.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Name of the host's instance, which finds its data path.
    pub instance: String,
    /// Run folder of the host's instance.
    pub run_dir: PathBuf,
    /// The socket at which the server takes relayed connections.
    pub server_socket: PathBuf,
}

/// The edge cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A port is taken, or the process is in the wrong namespace.
    #[error("cannot listen at port {port} of the regional endpoints; is another edge running in the namespace?")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Listens at the ports of the endpoints in the namespace of the calling thread, and relays until `shutdown`.
pub async fn run(config: EdgeConfig, shutdown: CancellationToken) -> Result<(), Fault> {
    let mut listeners = Vec::new();
    for (port, is_tls) in PORTS {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
        listeners.push((listener.map_err(|cause| Fault::Listen { port, cause })?, is_tls));
    }
    let (instance, run_dir) = (config.instance.clone(), config.run_dir.clone());
    let senders = Mutex::new(None);
    let relay = Arc::new(Relay::new(config.server_socket, move |from, to| {
        let mut senders = senders.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match senders.take().map_or_else(|| Senders::open(&instance, &run_dir), Ok) {
            Ok(open) => senders.insert(open).sender(from, to),
            Err(fault) => Err(fault),
        };
        found.unwrap_or_else(|fault| {
            tracing::warn!(%fault, "the sender of a connection stays unknown");
            *senders = None;
            None
        })
    }));
    tracing::info!(instance = config.instance, "the regional endpoints are answered");
    serve(relay, listeners, shutdown).await;
    Ok(())
}

/// Relays the connections of listeners until `shutdown`.
async fn serve(relay: Arc<Relay>, listeners: Vec<(TcpListener, bool)>, shutdown: CancellationToken) {
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let accepting = TaskTracker::new();
    for (listener, is_tls) in listeners {
        let (relay, shutdown, tasks, cut) = (relay.clone(), shutdown.clone(), tasks.clone(), cut.clone());
        accepting.spawn(async move {
            while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a connection; raise the limit of open files if this repeats");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let (relay, cut) = (relay.clone(), cut.clone());
                tasks.spawn(async move {
                    if let Some(Err(error)) = cut.run_until_cancelled(relay.connection(stream, is_tls)).await {
                        tracing::debug!(%error, "a relayed connection ended early");
                    }
                });
            }
        });
    }
    accepting.close();
    accepting.wait().await;
    tasks.close();
    if tokio::time::timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
        cut.cancel();
        tasks.wait().await;
    }
}
