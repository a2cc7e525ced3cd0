// SPDX-License-Identifier: Apache-2.0
//! Finding or starting the server of a container.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::types::introspection::RuntimeInfo;
use nix::fcntl::{Flock, FlockArg};

use crate::call::Call;
use crate::fault::Fault;
use crate::program::{NAME, this_program};
use crate::read;
use crate::sockets::{remove, socket};
use crate::spec::Spec;

/// Maximum length of a socket's path in the kernel, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Prints the address of the container's server, which listens already, and notes it in the bundle, where containerd
/// finds it again. The bundle is the working folder.
pub(crate) fn start(call: &Call) -> Result<(), Fault> {
    let spec = Spec::of(Path::new("."))?;
    let group = spec.group().unwrap_or(&call.id);
    let socket = socket(call, group);
    let dir = socket.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Fault::file("create", dir))?;
    let only = File::open(dir).map_err(Fault::file("open", dir))?;
    // Another call must not take this socket for an abandoned one.
    let only = Flock::lock(only, FlockArg::LockExclusive).map_err(|(_, cause)| Fault::file("lock", dir)(cause))?;
    if UnixStream::connect(&socket).is_err() {
        remove(&socket)?;
        let listener = UnixListener::bind(&socket).map_err(Fault::file("listen on", &socket))?;
        spawn(call, group, listener)?;
    }
    drop(only);
    let address = format!("unix://{}", socket.display());
    fs::write("address.new", &address)
        .and_then(|()| fs::rename("address.new", "address"))
        .map_err(Fault::system("note the address"))?;
    io::stdout().write_all(address.as_bytes()).map_err(Fault::system("answer containerd"))
}

/// Prints the information that containerd 2 asks for before it makes a container.
pub(crate) fn info() -> Result<(), Fault> {
    let told = RuntimeInfo { name: NAME.to_owned(), ..RuntimeInfo::default() };
    let told = told.write_to_bytes().map_err(|cause| Fault::Invalid(cause.to_string()))?;
    io::stdout().write_all(&told).map_err(Fault::system("answer containerd"))
}

/// File beside containerd's socket with the cgroup servers are to be in. A containerd that is not Berth's own has none.
pub fn cgroup_note(containerd_socket: &Path) -> PathBuf {
    containerd_socket.with_file_name("shims-cgroup")
}

/// Moves this process, and so the server it starts, to the cgroup of the servers.
fn enter_cgroup(call: &Call) -> Result<(), Fault> {
    let note = cgroup_note(&call.address);
    let cgroup = match read::file_at_most(&note, PATH_BYTES_MAX) {
        Ok(cgroup) => PathBuf::from(OsString::from_vec(cgroup)).join("cgroup.procs"),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Fault::file("read", &note)(cause)),
    };
    fs::write(&cgroup, "0").map_err(Fault::file("write", &cgroup))
}

fn spawn(call: &Call, group: &str, listener: UnixListener) -> Result<(), Fault> {
    enter_cgroup(call)?;
    let mut command = this_program()?;
    command.args(["-namespace", &call.namespace, "-id", group, "-address"]).arg(&call.address);
    command.arg("serve").stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop).map_err(Fault::system("start the server"))
}
