//! Bundles left behind. A containerd killed while it makes a container may forget the container and leave its folder; a
//! later one with the same name would stop at that.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use super::{Containerd, NAMESPACE};
use crate::Fault;
use crate::blocking::blocking;
use crate::container::mounts;

const SHIM: &str = "containerd-shim-runc-v2";

impl Containerd {
    /// The same connection, to a containerd of our own with its state in this folder.
    pub fn with_state(self, state: PathBuf) -> Self {
        Self { state: Some(Arc::from(state)), ..self }
    }

    /// Ends what runs in a bundle containerd does not know and removes it. False if nobody here may: the containerd is
    /// somebody else's.
    pub(super) async fn clear_bundle(&self, id: &str) -> Result<bool, Fault> {
        let Some(state) = &self.state else { return Ok(false) };
        let bundle = state.join("io.containerd.runtime.v2.task").join(NAMESPACE).join(id);
        tracing::warn!(bundle = %bundle.display(), "removing what a containerd that died has left");
        // The shim notes the runtime before it calls it; a bundle without this note makes containerd's own clean-up fail.
        if bundle.join("runtime").exists() {
            end_in(state, &bundle, id).await?;
        }
        blocking("cleaner of bundles", move || {
            mounts::remove(&bundle.join("rootfs"))?;
            std::fs::remove_dir_all(&bundle).map_err(Fault::file("remove", &bundle))
        })
        .await?;
        Ok(true)
    }
}

/// Ends what runs in a bundle, as containerd does for a shim that died.
async fn end_in(state: &Path, bundle: &Path, id: &str) -> Result<(), Fault> {
    let mut shim = tokio::process::Command::new(SHIM);
    shim.args(["-namespace", NAMESPACE, "-id", id, "-bundle"]).arg(bundle);
    shim.arg("-address").arg(state.join("containerd.sock")).arg("delete").current_dir(bundle);
    shim.env("TTRPC_ADDRESS", state.join("containerd.sock.ttrpc")).stdin(Stdio::null());
    let said = shim.output().await.map_err(Fault::system(format!("run {SHIM} for {id}")))?;
    if said.status.success() {
        return Ok(());
    }
    let cause = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    Err(Fault::system(format!("clean up {id} with {SHIM}"))(std::io::Error::other(cause)))
}
