// SPDX-License-Identifier: Apache-2.0
//! Sockets of servers and terminals: where they are, and their removal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::fault::Fault;

/// The socket of a group's server.
pub(crate) fn socket(call: &Call, group: &str) -> PathBuf {
    server_socket(&call.address, &call.namespace, group)
}

/// The socket of a group's server, for a containerd with the given socket.
pub fn server_socket(containerd_socket: &Path, namespace: &str, group: &str) -> PathBuf {
    containerd_socket.with_file_name("s").join(short(&[namespace, group]))
}

/// The folder of sockets, in the folder of containerd's socket.
pub(crate) fn sockets(call: &Call) -> PathBuf {
    call.address.with_file_name("s")
}

/// A name short enough for a socket, made of longer ones.
pub(crate) fn short(names: &[&str]) -> String {
    let digest = Sha256::digest(names.join("/"));
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a socket, if it exists.
pub(crate) fn remove(socket: &Path) -> Result<(), Fault> {
    match fs::remove_file(socket) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Fault::file("remove", socket)(cause)),
        Ok(()) | Err(_) => Ok(()),
    }
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
