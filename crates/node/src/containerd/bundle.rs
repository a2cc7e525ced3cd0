//! Bundles left behind: a containerd killed while it makes a container may forget the container and leave its folder,
//! and a process in it.

use std::path::Path;
use std::process::Stdio;

use super::supervise::Private;
use super::{Containerd, NAMESPACE};
use crate::Fault;
use crate::blocking::blocking;
use crate::container::files;

impl Containerd {
    /// Ends what runs in the bundle of a container that containerd does not know, and removes it. Nothing is
    /// done if there is none, or nobody here may because the containerd is somebody else's.
    pub(crate) async fn clear_bundle(&self, id: &str) -> Result<(), Fault> {
        let Some(state) = self.own.as_ref().map(Private::state) else { return Ok(()) };
        let bundle = state.join("io.containerd.runtime.v2.task").join(NAMESPACE).join(id);
        if !bundle.exists() {
            return Ok(());
        }
        tracing::warn!(bundle = %bundle.display(), "removing what a containerd that died has left");
        end_in(&self.shim, state, &bundle, id).await?;
        blocking("cleaner of bundles", move || files::remove_dir(&bundle)).await
    }
}

/// Ends what runs in a bundle, as containerd does for a shim that died.
async fn end_in(program: &Path, state: &Path, bundle: &Path, id: &str) -> Result<(), Fault> {
    let mut shim = tokio::process::Command::new(program);
    shim.args(["-namespace", NAMESPACE, "-id", id, "-bundle"]).arg(bundle);
    shim.arg("-address").arg(state.join("containerd.sock")).arg("delete").current_dir(bundle);
    shim.env("TTRPC_ADDRESS", state.join("containerd.sock.ttrpc")).stdin(Stdio::null());
    let said = shim.output().await.map_err(Fault::system(format!("run {} for {id}", program.display())))?;
    // Gone in the meantime: containerd has remembered it.
    if said.status.success() || !bundle.exists() {
        return Ok(());
    }
    let cause = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    Err(Fault::system(format!("clean up {id} with {}", program.display()))(std::io::Error::other(cause)))
}
