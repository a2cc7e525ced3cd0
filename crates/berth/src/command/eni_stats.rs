// SPDX-License-Identifier: Apache-2.0
//! `berth eni stats`: packets that each interface and each bridge port of this machine's hosts passed and dropped.

use std::process::ExitCode;

use anyhow::{Result, bail};
use berth_fabric::EniStats;
use berth_fabric::ports::{PortStats, read_port_stats};
use berth_types::EniId;
use serde_json::{Value, json};

use crate::args::{Format, OnHost};
use crate::hosts;
use crate::installation::Installation;
use crate::show;

/// Counters with the number of their host, if that is a simulated one.
struct Read<T> {
    of: T,
    host: Option<u32>,
}

type Interface = Read<(EniId, EniStats)>;
type Port = Read<PortStats>;

/// Prints the counters, read from the kernel.
pub fn run(installation: &Installation, only: Option<&str>, on: &OnHost, format: Format) -> Result<ExitCode> {
    let (mut interfaces, mut ports) = read(installation, on)?;
    if let Some(only) = only {
        let id = EniId::parse(only)?;
        interfaces.retain(|read| read.of.0 == id);
        ports.clear();
        if interfaces.is_empty() {
            bail!("{id} is not plugged here");
        }
    }
    let values: Vec<Value> = interfaces.iter().map(value).chain(ports.iter().map(port_value)).collect();
    let rows: Vec<Vec<String>> = interfaces.iter().map(row).chain(ports.iter().map(port_row)).collect();
    let mut columns = vec!["ENI OR PORT", "PACKETS OUT", "BYTES OUT", "PACKETS IN", "BYTES IN", "FLOWS", "DROPPED"];
    if interfaces.iter().any(|read| read.host.is_some()) || ports.iter().any(|read| read.host.is_some()) {
        columns.push("HOST");
    }
    show::print(format, &values, &columns, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn read(installation: &Installation, on: &OnHost) -> Result<(Vec<Interface>, Vec<Port>)> {
    let hosts = hosts::chosen(installation, on.host.as_deref())?;
    if hosts.is_empty() {
        // Fails, with the reason.
        berth_fabric::read_stats(&installation.instance, &installation.run)?;
    }
    let (mut interfaces, mut ports) = (Vec::new(), Vec::new());
    for host in hosts {
        let stats = berth_fabric::read_stats(&host.installation.instance, &host.installation.run)?;
        interfaces.extend(stats.into_iter().map(|of| Read { of, host: host.number }));
        let stats = read_port_stats(&host.installation.instance, &host.installation.run)?;
        // The row of ports without a lease is not shown while it is empty.
        let told = stats.into_iter().filter(|port| !port.device.is_empty() || !port.drops.is_empty());
        ports.extend(told.map(|of| Read { of, host: host.number }));
    }
    Ok((interfaces, ports))
}

fn counted(drops: impl Iterator<Item = (String, u64)>) -> Value {
    Value::Object(drops.map(|(reason, count)| (reason, json!(count))).collect())
}

fn port_value(Read { of: port, host }: &Port) -> Value {
    json!({
        "eni": null,
        "port": port.device,
        "address": port.address,
        "packets_out": port.packets,
        "bytes_out": port.bytes,
        "drops": counted(port.drops.iter().map(|(reason, count)| (reason.to_string(), *count))),
        "host": host,
    })
}

fn port_row(Read { of: port, host }: &Port) -> Vec<String> {
    let drops: Vec<String> = port.drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let name = match port.device.as_str() {
        "" => "ports without a lease".to_owned(),
        device => format!("{device} {}", port.address),
    };
    let out = [port.packets, port.bytes].map(|number| number.to_string());
    std::iter::once(name)
        .chain(out)
        .chain(["-", "-", "-"].map(str::to_owned))
        .chain(std::iter::once(if drops.is_empty() { "-".to_owned() } else { drops.join(", ") }))
        .chain(host.map(|number| number.to_string()))
        .collect()
}

fn value(Read { of: (eni, stats), host }: &Interface) -> Value {
    json!({
        "eni": eni.as_str(),
        "packets_out": stats.packets_out,
        "bytes_out": stats.bytes_out,
        "packets_in": stats.packets_in,
        "bytes_in": stats.bytes_in,
        "flows": stats.flows,
        "drops": counted(stats.drops.iter().map(|(reason, count)| (reason.to_string(), *count))),
        "host": host,
    })
}

fn row(Read { of: (eni, stats), host }: &Interface) -> Vec<String> {
    let drops: Vec<String> = stats.drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let numbers = [stats.packets_out, stats.bytes_out, stats.packets_in, stats.bytes_in, stats.flows.into()];
    std::iter::once(eni.to_string())
        .chain(numbers.into_iter().map(|number| number.to_string()))
        .chain(std::iter::once(if drops.is_empty() { "-".to_owned() } else { drops.join(", ") }))
        .chain(host.map(|number| number.to_string()))
        .collect()
}
