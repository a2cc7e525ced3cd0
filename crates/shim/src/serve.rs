// SPDX-License-Identifier: Apache-2.0
//! The server's life: from the socket it was given to the shutdown containerd asks for.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::shim_async::create_task;
use containerd_shim_protos::ttrpc::r#async::Server;
use containerd_shim_protos::ttrpc::r#async::transport::Listener;
use nix::sys::socket::Backlog;
use tokio::signal::unix::{SignalKind, signal};

use crate::call::Call;
use crate::events::Events;
use crate::fault::Fault;
use crate::reaper::Reaper;
use crate::requests::Service;
use crate::tools::Tools;
use crate::{runtime, sockets};

/// Maximum time without containers. containerd asks an unused server to shut down, unless containerd dies first. The
/// first request follows a start at once, or within seconds on a machine that starts hundreds.
const UNUSED_LIMIT: Duration = Duration::from_secs(60);
/// Maximum wait for undelivered events at the shutdown; containerd reads the state when it comes back.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);
/// The task service as containerd before 2.0 calls it, with the messages of version 3.
const SERVICE_V2: &str = "containerd.task.v2.Task";

/// Serves until no container is left and containerd asks for the shutdown or has died.
pub(crate) fn serve(call: &Call) -> Result<(), Fault> {
    // A signal to the caller's process group does not reach this process or its children.
    nix::unistd::setsid().map_err(Fault::system("begin a session"))?;
    // Orphans below become children of this process, so it receives the exits of containers.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(Fault::system("adopt orphans"))?;
    // The bundle that is the working folder may be removed before this process ends.
    std::env::set_current_dir("/").map_err(Fault::system("leave the bundle"))?;
    let listener = take_input().map_err(Fault::system("take the socket"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Fault::system("start"))?;
    runtime.block_on(run(call, listener))
}

/// The socket, which was the standard input.
fn take_input() -> std::io::Result<UnixListener> {
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    // The kernel names a socket's listener to its clients: it must be this process, not the one that made the socket.
    nix::sys::socket::listen(&listener, Backlog::MAXCONN)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(listener)
}

async fn run(call: &Call, listener: UnixListener) -> Result<(), Fault> {
    // A service manager that ends all processes of a service must not end containers. Programs started from here have
    // the default handlers again.
    let _heard = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let reaper = Reaper::start().map_err(Fault::system("watch children"))?;
    let (events, telling) = Events::to(&call.address, &call.namespace);
    let (runtime_root, sockets) = (runtime::root(call), sockets::sockets(call));
    let service = Arc::new(Service::new(Tools { reaper, events, runtime_root, sockets }));
    let (ended, unused) = (service.ended(), service.unused(UNUSED_LIMIT));
    let services = create_task(service.clone());
    let older = create_task(service).into_values().map(|methods| (SERVICE_V2.to_owned(), methods)).collect();
    let listener = Listener::try_from(listener).map_err(Fault::system("listen"))?;
    let mut server = Server::new().add_listener(listener).register_service(services).register_service(older);
    let refused = |cause| Fault::State(format!("serve: {cause}"));
    let started = server.start().await.map_err(refused);
    if started.is_ok() {
        tokio::select! {
            () = ended.cancelled() => {}
            () = unused => {}
        }
    }
    // Removed while this process still listens: later it may be the socket of the group's next server.
    sockets::remove(&sockets::socket(call, &call.id))?;
    let stopped = server.shutdown().await.map_err(refused);
    drop(server);
    tokio::time::timeout(LAST_WORDS_LIMIT, telling).await.ok();
    started.and(stopped)
}
