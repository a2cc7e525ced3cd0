// SPDX-License-Identifier: Apache-2.0
//! `berth doctor`: missing requirements of this machine, with remedies.

use std::process::ExitCode;

use anyhow::Result;
use berth_types::Ipv4Cidr;
use berth_types::intent::WorldIntent;
use serde::Serialize;

use crate::args::Format;
use crate::command::node;
use crate::installation::Installation;
use crate::{admin, hosts, show};

#[derive(Serialize)]
struct Row {
    check: &'static str,
    /// A requirement is missing.
    ok: bool,
    /// Nothing is missing, but there is a warning.
    warning: bool,
    found: String,
    cure: String,
}

/// Prints every check; fails when a requirement is missing.
pub fn run(installation: &Installation, format: Format) -> Result<ExitCode> {
    let mut rows: Vec<Row> = berth_node::doctor(&installation.data)
        .into_iter()
        .map(|check| match check.found {
            Ok(found) => Row { check: check.name, ok: true, warning: false, found, cure: String::new() },
            Err(problem) => {
                Row { check: check.name, ok: false, warning: false, found: "missing".into(), cure: problem }
            }
        })
        .collect();
    for finding in berth_fabric::doctor::check() {
        if rows.iter().all(|row| row.check != finding.name) {
            let (ok, warning) = (finding.ok || finding.optional, !finding.ok && finding.optional);
            rows.push(Row { check: finding.name, ok, warning, found: finding.what, cure: finding.cure.to_owned() });
        }
    }
    rows.extend(public_pool(installation));
    rows.extend(outside_of_hosts(installation));
    rows.extend(several_hosts(installation));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let ok = match (row.ok, row.warning) {
                (true, false) => "ok",
                (true, true) => "warning",
                (false, _) => "MISSING",
            };
            vec![row.check.to_owned(), ok.to_owned(), row.found.clone(), row.cure.clone()]
        })
        .collect();
    show::print(format, &rows, &["CHECK", "", "FOUND", "CURE"], &cells)?;
    Ok(if rows.iter().all(|row| row.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Simulated hosts have nothing but Berth's devices, so only this machine is looked at: it leads to all of them.
fn public_pool(installation: &Installation) -> Option<Row> {
    let (address, prefix) = WorldIntent::DEFAULT_POOL;
    let told = admin::status(installation).ok().and_then(|status| status.public_pool);
    let pool = told.or_else(|| Ipv4Cidr::containing(address, prefix))?;
    let row =
        |ok, found: String, cure: &str| Row { check: "public pool", ok, warning: false, found, cure: cure.to_owned() };
    match berth_fabric::world::clash(pool, &installation.instance) {
        Ok(None) => Some(row(true, format!("{pool} is free"), "")),
        Ok(Some(found)) => Some(row(false, format!("{pool} overlaps {found}"), node::pool_cure())),
        Err(fault) => Some(row(false, fault.to_string(), "run `berth doctor` as root")),
    }
}

/// The machine must be connected with each simulated host that is up, or public addresses do not lead there.
fn outside_of_hosts(installation: &Installation) -> Option<Row> {
    let mut hosts = hosts::up(installation).ok()?;
    hosts.retain(|host| host.number.is_some());
    let row = |ok, found: String, cure: String| Row { check: "outside of hosts", ok, warning: false, found, cure };
    let mut lost = Vec::new();
    for host in &hosts {
        match berth_fabric::outside::is_open(&host.installation.instance) {
            Ok(true) => {}
            Ok(false) => lost.push(host.to_string()),
            Err(fault) => return Some(row(false, fault.to_string(), "run `berth doctor` as root".to_owned())),
        }
    }
    let all = format!("{} hosts are connected with this machine", hosts.len());
    match (hosts.is_empty(), lost.is_empty()) {
        (true, _) => None,
        (false, true) => Some(row(true, all, String::new())),
        (false, false) => Some(row(
            false,
            format!("no pair of devices leads to {}", lost.join(", ")),
            "run `berth doctor` in the network namespace of `berth up`; if it was, the log of the host's node (DATA/hosts/N/log) \
             says why"
                .to_owned(),
        )),
    }
}

/// Several hosts are no fault, but packets do not cross between them yet.
fn several_hosts(installation: &Installation) -> Option<Row> {
    // The server also knows hosts of other machines; without it only those of this machine are known.
    let connected =
        admin::status(installation).map_or(0, |status| status.hosts.iter().filter(|host| host.connected).count());
    let here = hosts::up(installation).map_or(0, |hosts| hosts.len());
    let count = connected.max(here);
    (count > 1).then(|| Row {
        check: "hosts",
        ok: true,
        warning: true,
        found: format!("{count} hosts"),
        cure:
            "tasks of one VPC on different hosts cannot reach each other yet, except at public addresses (dropped as \
               other_host); place tasks that talk on one host"
                .to_owned(),
    })
}
