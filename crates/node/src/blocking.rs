// SPDX-License-Identifier: Apache-2.0
//! Work that blocks: file systems, netlink, the journal. Done on a thread that may block, never on the runtime's own.

use crate::Fault;

/// Runs `work` and waits for it; `worker` names it should it panic.
pub(crate) async fn blocking<T: Send + 'static>(
    worker: &'static str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Fault::Ended(worker)))
}
