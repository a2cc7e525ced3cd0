// SPDX-License-Identifier: Apache-2.0
//! Bundles left behind: a containerd killed while it makes a container may forget the container and leave its folder,
//! and a process in it.

use std::path::Path;
use std::process::Stdio;

use super::client::{Containerd, NAMESPACE};
use super::own_folders::OwnFolders;
use crate::blocking::blocking;
use crate::{Fault, folders};

impl Containerd {
    /// Ends the processes of a bundle whose container containerd does not know, and removes it. Does nothing if there
    /// is no such bundle, or the containerd is not Berth's own.
    pub(crate) async fn clear_bundle(&self, id: &str) -> Result<(), Fault> {
        let Some(own) = &self.own else { return Ok(()) };
        let bundle = own.bundle(NAMESPACE, id);
        if !bundle.exists() {
            return Ok(());
        }
        tracing::warn!(bundle = %bundle.display(), "removing the remains of a dead containerd");
        end_in(&self.shim, own, &bundle, id).await?;
        blocking("cleaner of bundles", move || folders::remove_folder(&bundle)).await
    }
}

/// Ends what runs in a bundle, as containerd does for a shim that died.
async fn end_in(program: &Path, own: &OwnFolders, bundle: &Path, id: &str) -> Result<(), Fault> {
    let mut shim = tokio::process::Command::new(program);
    shim.args(["-namespace", NAMESPACE, "-id", id, "-bundle"]).arg(bundle);
    shim.arg("-address").arg(own.socket()).arg("delete").current_dir(bundle);
    shim.env("TTRPC_ADDRESS", own.state.join("containerd.sock.ttrpc")).stdin(Stdio::null());
    let said = shim.output().await.map_err(Fault::system(format!("run {} for {id}", program.display())))?;
    // Gone in the meantime: containerd has remembered it.
    if said.status.success() || !bundle.exists() {
        return Ok(());
    }
    let cause = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    Err(Fault::system(format!("clean up {id} with {}", program.display()))(std::io::Error::other(cause)))
}
