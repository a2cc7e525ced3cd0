//! `berth eni stats`: what each interface of this host passed and dropped.

use std::process::ExitCode;

use anyhow::{Result, bail};
use berth_fabric::EniStats;
use berth_types::EniId;
use serde_json::{Value, json};

use crate::args::Format;
use crate::place::Place;
use crate::{needs_root, show};

/// Prints the counters, read from the kernel.
pub fn run(place: &Place, only: Option<&str>, format: Format) -> Result<ExitCode> {
    needs_root("`berth eni stats`")?;
    let mut all = berth_fabric::read_stats(&place.instance, &place.run)?;
    if let Some(only) = only {
        let id = EniId::parse(only)?;
        all.retain(|(eni, _)| *eni == id);
        if all.is_empty() {
            bail!("{id} is not plugged on this host");
        }
    }
    let values: Vec<Value> = all.iter().map(|(eni, stats)| value(eni, stats)).collect();
    let rows: Vec<Vec<String>> = all.iter().map(|(eni, stats)| row(eni, stats)).collect();
    show::print(format, &values, &["ENI", "PACKETS OUT", "BYTES OUT", "PACKETS IN", "BYTES IN", "DROPPED"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn value(eni: &EniId, stats: &EniStats) -> Value {
    let drops: serde_json::Map<_, _> =
        stats.drops.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect();
    json!({
        "eni": eni.as_str(),
        "packets_out": stats.packets_out,
        "bytes_out": stats.bytes_out,
        "packets_in": stats.packets_in,
        "bytes_in": stats.bytes_in,
        "drops": drops,
    })
}

fn row(eni: &EniId, stats: &EniStats) -> Vec<String> {
    let drops: Vec<String> = stats.drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let numbers = [stats.packets_out, stats.bytes_out, stats.packets_in, stats.bytes_in];
    std::iter::once(eni.to_string())
        .chain(numbers.into_iter().map(|number| number.to_string()))
        .chain(std::iter::once(if drops.is_empty() { "-".to_owned() } else { drops.join(", ") }))
        .collect()
}
