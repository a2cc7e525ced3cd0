// SPDX-License-Identifier: Apache-2.0
//! Benchmarks: every figure is a ratio to a baseline measured in the same run.
//!
//! `berth-bench datapath` compares task to task with a raw veth pair and a Linux bridge with nftables; `berth-bench
//! cni` times the plugin chain; `berth-bench launch`, `berth-bench changes` and `berth-bench api` need a running Berth; `berth-bench
//! placement` and `berth-bench units` need none, `berth-bench idle` starts its own.

mod api;
mod changes;
mod client;
mod cni;
mod crowd;
mod datapath;
mod gateways;
mod idle;
mod idle_host;
mod launch;
mod placement;
mod sample;
mod scene;
mod table;
mod topology;
mod units;

use clap::{Parser, Subcommand};

/// Measure Berth against baselines in the same run and print ratios.
#[derive(Parser)]
#[command(name = "berth-bench", version)]
struct Arguments {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// Round trip, new connections and stream: raw veth, bridge + nftables, fabric with 1 and 1,000 rules; router, nftables
    /// masquerade, internet gateway, NAT gateway (root).
    Datapath {
        /// Number of rounds; each runs every path once, the best of all counts (noise only slows things down)
        #[arg(long, default_value_t = 25)]
        rounds: u32,
        /// Paths to measure in addition to `raw`, by their names in the table; all if none is given
        #[arg(long)]
        only: Vec<String>,
        /// Kinds to measure; all if none is given
        #[arg(long)]
        kind: Vec<sample::Kind>,
    },
    /// Cost of the program per packet, run on made-up packets: known flows, new ones, 1 to 1,000 rules (root).
    Units,
    /// The CNI chain ecs-bridge (ecs-ipam) + ecs-eni: ADD and DEL (root).
    Cni {
        /// Directory that holds ecs-eni, ecs-bridge and ecs-ipam.
        #[arg(long)]
        plugins: std::path::PathBuf,
        /// Chains to run.
        #[arg(long, default_value_t = 30)]
        rounds: u32,
    },
    /// Placement decisions per second in process, with 5,000 hosts and 100,000 tasks.
    Placement(placement::Options),
    /// RunTask to RUNNING with the image cached, compared with the same containers started with `ctr` (a running
    /// Berth).
    Launch(launch::Options),
    /// Start-up time and memory of an idle server and node (root).
    Idle(idle::Options),
    /// Changes of rules, routes and network ACLs: from the answer to the first packet that obeys, with 1,000 interfaces (a
    /// running Berth on this host).
    Changes(changes::Options),
    /// Durable RunTask and DescribeTasks through HTTP with SigV4 (a running Berth), compared with another endpoint if
    /// given.
    Api(api::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().suite {
        Suite::Datapath { rounds, only, kind } => datapath::run(rounds, &only, &kind),
        Suite::Units => units::run(),
        Suite::Cni { plugins, rounds } => cni::run(&plugins, rounds),
        Suite::Placement(options) => placement::run(&options),
        Suite::Launch(options) => launch::run(&options),
        Suite::Idle(options) => idle::run(&options),
        Suite::Changes(options) => changes::run(&options),
        Suite::Api(options) => api::run(&options),
    }
}
