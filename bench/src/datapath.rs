//! Task to task through the fabric, beside a raw veth pair and a Linux bridge with nftables.
//!
//! Each round runs every path back to back; the best sample of all rounds counts, because noise only slows things
//! down. The raw pair is measured twice: how far the two are apart is the error of the run.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::sample::{Kind, take};
use crate::table;
use crate::topology::{Ground, PathUnderTest};

/// Measures and prints.
pub fn run(rounds: u32) -> Result<()> {
    let mut ground = Ground::new()?;
    let mut paths =
        vec![ground.raw("raw")?, ground.raw("raw2")?, ground.bridge("nft1", 1)?, ground.bridge("nft1000", 1000)?];
    paths.extend(ground.fabric(&[("fabric1", 1, 1500), ("fabric1000", 1000, 1500), ("fabric9001", 1, 9001)])?);
    let mut best = BTreeMap::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for path in &paths {
            for kind in Kind::ALL {
                let figure = take(kind, &path.client, &path.server, path.address)?;
                best.entry((path.name, kind)).and_modify(|best| *best = kind.better(*best, figure)).or_insert(figure);
            }
        }
    }
    report(&paths, &best);
    Ok(())
}

fn report(paths: &[PathUnderTest], best: &BTreeMap<(&'static str, Kind), f64>) {
    let figure = |name, kind| best.get(&(name, kind)).copied().unwrap_or(f64::NAN);
    let row = |path: &PathUnderTest| {
        let mut cells = vec![path.name.to_owned()];
        for kind in Kind::ALL {
            let value = figure(path.name, kind);
            cells.extend([format!("{value:.1}"), table::ratio(value, figure("raw", kind))]);
        }
        cells
    };
    let header = ["path", "RTT us", "x raw", "conn/s", "x raw", "Gbit/s", "x raw"];
    table::print(&header, &paths.iter().map(row).collect::<Vec<_>>());
    let rules = table::ratio(figure("fabric1000", Kind::Connections), figure("fabric1", Kind::Connections));
    println!("\nconnections/s with 1,000 rules against 1 rule: {rules} (goal >= 0.97)");
    println!("goals against raw: RTT <= 1.08, connections >= 0.90, stream >= 0.94 (MTU 1500), >= 1.10 (MTU 9001)");
}
