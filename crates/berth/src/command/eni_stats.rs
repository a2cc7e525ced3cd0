//! `berth eni stats`: what each interface of this machine's hosts passed and dropped.

use std::process::ExitCode;

use anyhow::{Result, bail};
use berth_fabric::EniStats;
use berth_types::EniId;
use serde_json::{Value, json};

use crate::args::{Format, OnHost};
use crate::hosts;
use crate::place::Place;
use crate::{needs_root, show};

/// Counters of an interface, and the number of its host if that is a simulated one.
type Read = (EniId, EniStats, Option<u32>);

/// Prints the counters, read from the kernel.
pub fn run(place: &Place, only: Option<&str>, on: &OnHost, format: Format) -> Result<ExitCode> {
    needs_root("`berth eni stats`")?;
    let mut all = read(place, on)?;
    if let Some(only) = only {
        let id = EniId::parse(only)?;
        all.retain(|(eni, ..)| *eni == id);
        if all.is_empty() {
            bail!("{id} is not plugged here");
        }
    }
    let values: Vec<Value> = all.iter().map(value).collect();
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let mut columns = vec!["ENI", "PACKETS OUT", "BYTES OUT", "PACKETS IN", "BYTES IN", "DROPPED"];
    if all.iter().any(|(_, _, host)| host.is_some()) {
        columns.push("HOST");
    }
    show::print(format, &values, &columns, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn read(place: &Place, on: &OnHost) -> Result<Vec<Read>> {
    let hosts = hosts::chosen(place, on.host.as_deref())?;
    if hosts.is_empty() {
        // Fails, and says why.
        berth_fabric::read_stats(&place.instance, &place.run)?;
    }
    let mut all = Vec::new();
    for host in hosts {
        let stats = berth_fabric::read_stats(&host.place.instance, &host.place.run)?;
        all.extend(stats.into_iter().map(|(eni, stats)| (eni, stats, host.number)));
    }
    Ok(all)
}

fn value((eni, stats, host): &Read) -> Value {
    let drops: serde_json::Map<_, _> =
        stats.drops.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect();
    json!({
        "eni": eni.as_str(),
        "packets_out": stats.packets_out,
        "bytes_out": stats.bytes_out,
        "packets_in": stats.packets_in,
        "bytes_in": stats.bytes_in,
        "drops": drops,
        "host": host,
    })
}

fn row((eni, stats, host): &Read) -> Vec<String> {
    let drops: Vec<String> = stats.drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let numbers = [stats.packets_out, stats.bytes_out, stats.packets_in, stats.bytes_in];
    std::iter::once(eni.to_string())
        .chain(numbers.into_iter().map(|number| number.to_string()))
        .chain(std::iter::once(if drops.is_empty() { "-".to_owned() } else { drops.join(", ") }))
        .chain(host.map(|number| number.to_string()))
        .collect()
}
