// SPDX-License-Identifier: Apache-2.0
//! The Unix socket of hosts and of the local command line.
//!
//! The first frame identifies the peer: `Hello` begins a host's session (`session`), `Admin` is one request of the
//! command line (`admin`). Only the socket's owner can connect, so requests are not signed.

mod admin;
mod frames;
mod hosts;
mod session;
mod shared;

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_types::link::{ToNode, ToServer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use hosts::Hosts;
pub(crate) use shared::Link;

use crate::fault::Fault;
use frames::{Inbound, Outbound};

/// Name of the socket of hosts and command lines in the run folder.
pub(crate) const SOCKET: &str = "server.sock";
/// Path of the socket; short, because a socket's path may have 107 bytes.
const BEING_MADE: &str = ".new";
/// Open connections of hosts and command lines; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// From the connection to its first frame.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(10);
/// Pause after the kernel could not give a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Creates a socket in the run folder. It appears under its name with its permissions set, and replaces one without a listener.
pub(crate) async fn bind(run_dir: &Path, name: &str) -> Result<UnixListener, Fault> {
    let path = run_dir.join(name);
    if UnixStream::connect(&path).await.is_ok() {
        return Err(Fault::SocketInUse { path });
    }
    let make = || -> io::Result<UnixListener> {
        // A private folder, so that no process can connect between `bind` and the change of permissions.
        let folder = run_dir.join(BEING_MADE);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let beside = folder.join(name);
        let made = UnixListener::bind(&beside).and_then(|listener| {
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
            std::fs::rename(&beside, &path)?;
            Ok(listener)
        });
        std::fs::remove_dir_all(&folder)?;
        made
    };
    make().map_err(|cause| Fault::Socket { path: path.clone(), cause })
}

/// Serves until `stop`.
pub(crate) async fn serve(link: Arc<Link>, listener: UnixListener, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    while let Some(Ok(slot)) = stop.run_until_cancelled(slots.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, _)) => {
                let (link, stop) = (link.clone(), stop.clone());
                connections.spawn(async move {
                    stop.run_until_cancelled(attend(&link, stream)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a local connection; raise the limit of open files if this repeats");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn attend(link: &Link, stream: UnixStream) {
    let (reader, writer) = stream.into_split();
    let (mut inbound, mut outbound) = (Inbound::new(reader), Outbound::new(writer));
    let first = match tokio::time::timeout(FIRST_FRAME_LIMIT, inbound.next()).await {
        Ok(Ok(Some(first))) => first,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a local connection began with something that is not a frame");
            return;
        }
    };
    let ended = match first {
        ToServer::Hello(hello) => session::attend(link, *hello, inbound, outbound).await,
        ToServer::Admin(request) => admin::attend(link, request, &mut outbound).await,
        ToServer::Task(_)
        | ToServer::Eni(_)
        | ToServer::FreeSpace(_)
        | ToServer::Runtime(_)
        | ToServer::Programmed { .. }
        | ToServer::FlowTable(_) => {
            let reason = "the first frame of a host must be its hello; upgrade the node".to_owned();
            outbound.send(&ToNode::Refused { reason }).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a local connection ended");
    }
}
