// SPDX-License-Identifier: Apache-2.0
//! `berth edge`: answers at the regional endpoints of this host. The node starts it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use berth_edge::EdgeConfig;
use berth_fabric::edge_namespace;
use berth_fabric::kernel::Namespace;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::args::EdgeArgs;
use crate::command::daemon;
use crate::installation::Installation;

/// Every relayed connection needs two descriptors, and an ordinary soft limit is 1,024.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(FILES), hard));
    if let Err(cause) = raised {
        tracing::warn!(%cause, "the limit of open files stays, and with it that of connections");
    }
}

/// More than the places of an edge need.
const FILES: u64 = 20_000;

/// Runs until it is stopped.
pub fn run(installation: &Installation, args: &EdgeArgs) -> Result<ExitCode> {
    daemon::start_log();
    daemon::be_spared();
    raise_file_limit();
    let config = EdgeConfig {
        instance: installation.instance.clone(),
        run_dir: installation.run.clone(),
        server_socket: args.server_socket.clone(),
    };
    let work = || daemon::run(|cancel| async { berth_edge::run(config, cancel).await.context("the edge ended") });
    // A thread inherits the namespace of its creator, so the whole process is inside.
    Namespace::open(&edge_namespace(&installation.run))?.inside(work)??;
    Ok(ExitCode::SUCCESS)
}
