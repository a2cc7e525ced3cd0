// SPDX-License-Identifier: Apache-2.0
//! Shared by `berth server` and `berth node`: logging and shutdown.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Set by `berth up` for its children: standard input is a pipe that ends when the supervisor does.
pub const SUPERVISED: &str = "BERTH_SUPERVISED";

/// Log lines go to standard error; `BERTH_LOG` sets the level (`info` by default, e.g. `debug` or `berth_node=debug`).
pub fn start_log() {
    let filter = EnvFilter::try_from_env("BERTH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Makes the kernel kill other programs first when memory is short; containerd and shims inherit this, containers do
/// not.
pub fn be_spared() {
    if let Err(cause) = std::fs::write("/proc/self/oom_score_adj", "-999") {
        tracing::warn!(
            %cause,
            "the kernel may kill this process when memory is short: start it with the capability SYS_RESOURCE"
        );
    }
}

/// Runs `work` until it ends, or until SIGTERM, SIGINT or the end of the supervisor.
pub fn run<F>(work: impl FnOnce(CancellationToken) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let on_signal = cancel.clone();
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
            on_signal.cancel();
        });
        if std::env::var_os(SUPERVISED).is_some() {
            end_with_supervisor(cancel.clone());
        }
        work(cancel).await
    })
}

fn end_with_supervisor(cancel: CancellationToken) {
    std::thread::spawn(move || {
        // This pipe is never written to: the read returns when its other end is closed.
        let ended = std::io::stdin().read_to_end(&mut Vec::new());
        tracing::info!(?ended, "the supervisor ended");
        cancel.cancel();
    });
}
