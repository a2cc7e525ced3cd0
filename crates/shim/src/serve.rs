//! The server's life: from the socket it was given to the shutdown containerd asks for.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::shim_async::create_task;
use containerd_shim_protos::ttrpc::r#async::Server;
use containerd_shim_protos::ttrpc::r#async::transport::Listener;
use tokio::signal::unix::{SignalKind, signal};

use crate::call::Call;
use crate::events::Events;
use crate::fault::Fault;
use crate::reaper::Reaper;
use crate::requests::Service;
use crate::tools::Tools;
use crate::{runtime, start};

/// A server without containers is told that it is over, unless containerd dies first. What it is to be used for comes at
/// once, and for a machine that is busy starting hundreds within seconds.
const UNUSED_LIMIT: Duration = Duration::from_secs(60);
/// What containerd has not been told by then is lost: it asks when it comes back.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);
/// The task service as containerd before 2.0 calls it, with the messages of version 3.
const SERVICE_V2: &str = "containerd.task.v2.Task";

/// Serves until no container is left and containerd says that it is over, or no longer can.
pub(crate) fn serve(call: &Call) -> Result<(), Fault> {
    // A signal to whoever called does not reach this process or what it starts.
    nix::unistd::setsid().map_err(Fault::system("begin a session"))?;
    // What loses its parent below becomes a child of this process: it is told how containers end.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(Fault::system("adopt orphans"))?;
    // The bundle this was started in may go before this does.
    std::env::set_current_dir("/").map_err(Fault::system("leave the bundle"))?;
    let listener = take_input().map_err(Fault::system("take the socket"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Fault::system("start"))?;
    runtime.block_on(run(call, listener))
}

/// The socket, which was the standard input.
fn take_input() -> std::io::Result<UnixListener> {
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(listener)
}

async fn run(call: &Call, listener: UnixListener) -> Result<(), Fault> {
    // What ends a service by ending all its processes does not end containers. A signal that has a handler here has its
    // usual meaning for them again.
    let _heard = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let reaper = Reaper::start().map_err(Fault::system("watch children"))?;
    let (events, telling) = Events::to(&call.address, &call.namespace);
    let (runtime_root, sockets) = (runtime::root(call), start::sockets(call));
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
    // As long as somebody listens: later it may be the socket of the next server of the group.
    start::remove(&start::socket(call, &call.id))?;
    let stopped = server.shutdown().await.map_err(refused);
    drop(server);
    tokio::time::timeout(LAST_WORDS_LIMIT, telling).await.ok();
    started.and(stopped)
}
