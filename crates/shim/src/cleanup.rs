// SPDX-License-Identifier: Apache-2.0
//! Ending a container whose server containerd cannot reach, usually because the server died.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use containerd_shim_protos::api::{DeleteRequest, DeleteResponse, KillRequest, ShutdownRequest, WaitRequest};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc;
use containerd_shim_protos::ttrpc::context::with_duration;
use containerd_shim_protos::{Client, TaskClient};

use crate::call::Call;
use crate::container::SIGKILL;
use crate::events::timestamp;
use crate::fault::Fault;
use crate::runtime::{self, Runtime};
use crate::spec::Spec;
use crate::{bundle, rootfs, sockets};

/// Exit code of a process killed by SIGKILL.
const KILLED: u32 = 128 + 9;
/// Maximum wait for a server's answer.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Ends the container in the bundle, removes all of it but the bundle, and prints its exit.
pub(crate) fn delete(call: &Call) -> Result<(), Fault> {
    let folder = if call.bundle.as_os_str().is_empty() { Path::new(".") } else { &call.bundle };
    let pid = runtime::pid_in(&bundle::pid_file(folder)).unwrap_or_default();
    let spec = Spec::of(folder).unwrap_or_default();
    let socket = sockets::socket(call, spec.group().unwrap_or(&call.id));
    let server = match Client::connect(&format!("unix://{}", socket.display())).map(TaskClient::new) {
        Ok(server) => end_in(&server, call)?.then_some(server),
        Err(_) => None,
    };
    let removed = match Runtime::noted(folder, &runtime::root(call)) {
        Some(runtime) => runtime.remove_by_force(&call.id),
        None => Ok(()),
    };
    rootfs::unmount_all(&folder.join(bundle::ROOT))?;
    removed?;
    match server {
        Some(server) => shut_down(&server, call)?,
        None => sockets::remove(&socket)?,
    }
    let exited_at = Some(timestamp(SystemTime::now())).into();
    let told = DeleteResponse { pid: pid as u32, exit_status: KILLED, exited_at, ..DeleteResponse::default() };
    let told = told.write_to_bytes().map_err(|cause| Fault::Invalid(cause.to_string()))?;
    io::stdout().write_all(&told).map_err(Fault::system("answer containerd"))
}

/// Asks a live server to end the container; false if the server has died meanwhile. The server may be making the
/// container for a caller that has disconnected: a container removed during that would be made without a record of it.
fn end_in(server: &TaskClient, call: &Call) -> Result<bool, Fault> {
    let (id, context) = (call.id.clone(), || with_duration(CALL_LIMIT));
    let kill = KillRequest { id: id.clone(), signal: SIGKILL, all: true, ..KillRequest::default() };
    if server.kill(context(), &kill).is_ok() {
        // The deletion waits for its end again and reports a failure.
        server.wait(context(), &WaitRequest { id: id.clone(), ..WaitRequest::default() }).ok();
    }
    match server.delete(context(), &DeleteRequest { id, ..DeleteRequest::default() }) {
        Ok(_) => Ok(true),
        Err(ttrpc::Error::RpcStatus(status)) if status.code() == ttrpc::Code::NOT_FOUND => Ok(true),
        Err(ttrpc::Error::Socket(_)) => Ok(false),
        Err(cause) => Err(Fault::State(format!("have {} ended: {cause}", call.id))),
    }
}

/// Asks the server to shut down. It ends if it has no other containers.
fn shut_down(server: &TaskClient, call: &Call) -> Result<(), Fault> {
    let request = ShutdownRequest { id: call.id.clone(), ..ShutdownRequest::default() };
    let told = server.shutdown(with_duration(CALL_LIMIT), &request);
    told.map(drop).map_err(|cause| Fault::State(format!("end an unused server: {cause}")))
}
