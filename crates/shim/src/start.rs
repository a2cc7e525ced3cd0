//! Finding or starting the server of a container.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::types::introspection::RuntimeInfo;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::fault::Fault;
use crate::spec::Spec;

/// Prints the address of the container's server, which listens already, and notes it in the bundle, where containerd
/// finds it again. The bundle is the working folder.
pub(crate) fn start(call: &Call) -> Result<(), Fault> {
    let spec = Spec::of(Path::new("."))?;
    let group = spec.group().unwrap_or(&call.id);
    let socket = socket(call, group);
    let dir = socket.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Fault::file("create", dir))?;
    let only = File::open(dir).map_err(Fault::file("open", dir))?;
    // Nobody else takes a socket for abandoned that is being made.
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

/// Tells what containerd 2 asks before it makes a container.
pub(crate) fn info() -> Result<(), Fault> {
    let told = RuntimeInfo { name: crate::NAME.to_owned(), ..RuntimeInfo::default() };
    let told = told.write_to_bytes().map_err(|cause| Fault::Invalid(cause.to_string()))?;
    io::stdout().write_all(&told).map_err(Fault::system("answer containerd"))
}

/// Where the server of a group listens.
pub(crate) fn socket(call: &Call, group: &str) -> PathBuf {
    sockets(call).join(short(&[&call.namespace, group]))
}

/// Where sockets are: beside containerd's.
pub(crate) fn sockets(call: &Call) -> PathBuf {
    call.address.with_file_name("s")
}

/// A name short enough for a socket, made of longer ones.
pub(crate) fn short(names: &[&str]) -> String {
    let digest = Sha256::digest(names.join("/"));
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a socket, if it is there.
pub(crate) fn remove(socket: &Path) -> Result<(), Fault> {
    match fs::remove_file(socket) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Fault::file("remove", socket)(cause)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn spawn(call: &Call, group: &str, listener: UnixListener) -> Result<(), Fault> {
    let mut command = crate::this_program()?;
    command.args(["-namespace", &call.namespace, "-id", group, "-address"]).arg(&call.address);
    command.arg("serve").stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop).map_err(Fault::system("start the server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_a_socket_of_its_own_beside_containerds() {
        let call =
            Call { namespace: "n".to_owned(), address: "/run/berth/containerd/c.sock".into(), ..Call::default() };
        let (one, two) = (socket(&call, "one"), socket(&call, "two"));
        assert!(one != two && one == socket(&call, "one"));
        assert_eq!(one.parent(), Some(Path::new("/run/berth/containerd/s")));
    }
}
