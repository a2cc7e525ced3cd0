//! `berth status`: what runs.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::admin;
use crate::args::Format;
use crate::place::{Place, Role};
use crate::show::table;

/// Prints processes, server and hosts; fails when a part that should run does not.
pub fn run(place: &Place, format: Format) -> Result<ExitCode> {
    let mut processes = Vec::new();
    for role in Role::ALL {
        processes.push((role.command(), place.holder(role)?));
    }
    let status = admin::status(place)?;
    let healthy = status.hosts.iter().any(|host| host.connected);
    match format {
        Format::Json => {
            let processes: serde_json::Map<_, _> =
                processes.into_iter().map(|(name, pid)| (name.to_owned(), json!(pid))).collect();
            println!("{}", serde_json::to_string_pretty(&json!({ "server": status, "processes": processes }))?);
        }
        Format::Table => {
            let facts = [
                ("endpoint", status.endpoint.clone()),
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
