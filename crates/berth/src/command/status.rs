// SPDX-License-Identifier: Apache-2.0
//! `berth status`: the running processes, server and hosts.

use std::process::ExitCode;

use anyhow::Result;
use berth_node::Identity;
use berth_types::admin::Status;
use serde::Serialize;
use serde_json::json;

use crate::admin;
use crate::args::Format;
use crate::hosts::{self, LocalHost};
use crate::installation::{Installation, Role};
use crate::show::table;

/// A host of this machine and its processes.
#[derive(Serialize)]
struct Here {
    /// Its number among the simulated ones.
    number: Option<u32>,
    #[serde(flatten)]
    identity: Option<Identity>,
    /// Process ids.
    node: Option<i32>,
    containerd: Option<i32>,
    is_up: bool,
}

impl Here {
    fn look(host: &LocalHost) -> Result<Self> {
        Ok(Self {
            number: host.number,
            identity: berth_node::identity(&host.installation.data)?,
            node: host.installation.holder(Role::Node)?,
            containerd: berth_node::private_containerd(&host.installation.run),
            is_up: host.is_up(),
        })
    }

    fn is_connected(&self, status: &Status) -> bool {
        let id = self.identity.as_ref().map(|identity| &identity.host);
        status.hosts.iter().any(|host| host.connected && Some(&host.host) == id)
    }

    fn row(&self) -> Vec<String> {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![
            shown(self.number.map(|number| number.to_string())),
            shown(self.identity.as_ref().map(|identity| identity.host.to_string())),
            shown(self.identity.as_ref().map(|identity| identity.instance.to_string())),
            shown(self.node.map(|pid| pid.to_string())),
            shown(self.containerd.map(|pid| pid.to_string())),
        ]
    }
}

/// Prints processes, server and hosts; fails when a required part does not run.
pub fn run(installation: &Installation, format: Format) -> Result<ExitCode> {
    let mut processes = Vec::new();
    for role in Role::ALL {
        processes.push((role.command(), installation.holder(role)?));
    }
    let status = admin::status(installation)?;
    let here = hosts::local(installation)?.iter().map(Here::look).collect::<Result<Vec<_>>>()?;
    let simulated: Vec<&Here> = here.iter().filter(|host| host.number.is_some() && host.is_up).collect();
    let healthy =
        status.hosts.iter().any(|host| host.connected) && simulated.iter().all(|host| host.is_connected(&status));
    match format {
        Format::Json => {
            let processes: serde_json::Map<_, _> =
                processes.into_iter().map(|(name, pid)| (name.to_owned(), json!(pid))).collect();
            println!(
                "{}",
                serde_json::to_string_pretty(&json!({ "server": status, "processes": processes, "hosts": here }))?
            );
        }
        Format::Table => {
            let facts = [
                ("endpoint", status.endpoint.clone()),
                ("health and metrics", format!("{}/_berth/", status.admin_endpoint)),
                ("version", status.version.clone()),
                ("region", status.region.clone()),
                ("account", status.account.clone()),
                ("revision", status.revision.to_string()),
                ("tasks", status.tasks.to_string()),
                ("interfaces", status.enis.to_string()),
                ("vpcs", status.vpcs.to_string()),
            ];
            let facts: Vec<Vec<String>> = facts.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
            print!("{}", table(&["SERVER", ""], &facts));
            let rows: Vec<Vec<String>> = processes
                .iter()
                .map(|(name, pid)| vec![(*name).to_owned(), pid.map_or("-".into(), |pid| pid.to_string())])
                .collect();
            print!("\n{}", table(&["PROCESS", "PID"], &rows));
            if !simulated.is_empty() {
                let rows: Vec<Vec<String>> = simulated.iter().map(|host| host.row()).collect();
                print!(
                    "\n{}",
                    table(&["SIMULATED HOST", "CONTAINER INSTANCE", "EC2 INSTANCE", "NODE", "CONTAINERD"], &rows)
                );
            }
            let rows: Vec<Vec<String>> = status
                .hosts
                .iter()
                .map(|host| {
                    let connected = if host.connected { "yes" } else { "no" };
                    vec![host.host.to_string(), host.cluster.clone(), connected.into(), host.tasks.to_string()]
                })
                .collect();
            print!("\n{}", table(&["HOST", "CLUSTER", "CONNECTED", "TASKS"], &rows));
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
