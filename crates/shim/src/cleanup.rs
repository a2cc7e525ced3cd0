//! What is left of a container whose server has died.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use containerd_shim_protos::api::{DeleteResponse, ShutdownRequest};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::context::with_duration;
use containerd_shim_protos::{Client, TaskClient};

use crate::call::Call;
use crate::events::timestamp;
use crate::fault::Fault;
use crate::runtime::{self, Runtime};
use crate::spec::Spec;
use crate::{bundle, rootfs, start};

/// What a process killed with SIGKILL ends with.
const KILLED: u32 = 128 + 9;
/// A server answers by then.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Ends the container in the bundle, removes all of it but the bundle, and tells how it ended.
pub(crate) fn delete(call: &Call) -> Result<(), Fault> {
    let folder = if call.bundle.as_os_str().is_empty() { Path::new(".") } else { &call.bundle };
    let pid = runtime::pid_in(&bundle::pid_file(folder)).unwrap_or_default();
    let removed = match Runtime::noted(folder, &runtime::root(call)) {
        Some(runtime) => runtime.remove_by_force(&call.id),
        None => Ok(()),
    };
    rootfs::unmount_all(&folder.join(bundle::ROOT))?;
    removed?;
    end_server(call, folder)?;
    let exited_at = Some(timestamp(SystemTime::now())).into();
    let told = DeleteResponse { pid: pid as u32, exit_status: KILLED, exited_at, ..DeleteResponse::default() };
    let told = told.write_to_bytes().map_err(|cause| Fault::Invalid(cause.to_string()))?;
    io::stdout().write_all(&told).map_err(Fault::system("answer containerd"))
}

/// Removes the server's socket, if no server is behind it. One that is has other containers, or was started for this one
/// and never used: then it ends when it is told that it is over.
fn end_server(call: &Call, bundle: &Path) -> Result<(), Fault> {
    let spec = Spec::of(bundle).unwrap_or_default();
    let socket = start::socket(call, spec.group().unwrap_or(&call.id));
    match Client::connect(&format!("unix://{}", socket.display())) {
        Ok(client) => {
            let request = ShutdownRequest { id: call.id.clone(), ..ShutdownRequest::default() };
            let told = TaskClient::new(client).shutdown(with_duration(CALL_LIMIT), &request);
            told.map(drop).map_err(|cause| Fault::State(format!("end an unused server: {cause}")))
        }
        Err(_) => start::remove(&socket),
    }
}
