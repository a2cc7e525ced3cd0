// SPDX-License-Identifier: Apache-2.0
//! `berth edge`: answers at the regional endpoints of this host. The node starts it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use berth_edge::EdgeConfig;
use berth_fabric::edge_namespace;
use berth_fabric::kernel::Namespace;

use crate::args::EdgeArgs;
use crate::command::daemon;
use crate::installation::Installation;

/// Runs until it is stopped.
pub fn run(installation: &Installation, args: &EdgeArgs) -> Result<ExitCode> {
    daemon::start_log();
    daemon::be_spared();
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
