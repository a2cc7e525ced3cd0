//! Task to task through the fabric, beside a raw veth pair and a Linux bridge with nftables.
//!
//! Each round runs every path back to back; the best sample of all rounds counts, because noise only slows things
//! down. The raw pair is measured twice: how far the two are apart is the error of the run.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::sample::{Figure, Kind, take};
use crate::table;
use crate::topology::{Ground, PathUnderTest};

type Best = BTreeMap<(&'static str, Figure), f64>;

/// Measures and prints. Empty lists mean every path and every kind.
pub fn run(rounds: u32, only: &[String], kinds: &[Kind]) -> Result<()> {
    let mut ground = Ground::new()?;
    let mut paths =
        vec![ground.raw("raw")?, ground.raw("raw2")?, ground.bridge("nft1", 1)?, ground.bridge("nft1000", 1000)?];
    paths.extend(ground.fabric(&[("fabric1", 1, 1500), ("fabric1000", 1000, 1500), ("fabric9001", 1, 9001)])?);
    paths.retain(|path| path.name == "raw" || only.is_empty() || only.iter().any(|name| name == path.name));
    let mut best = Best::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for kind in Kind::ALL.into_iter().filter(|kind| kinds.is_empty() || kinds.contains(kind)) {
            for path in &paths {
                for (figure, value) in take(kind, &path.client, &path.server, path.address)? {
                    let best = best.entry((path.name, figure)).or_insert(value);
                    *best = figure.better(*best, value);
                }
            }
        }
    }
    report(&paths, &best);
    Ok(())
}

fn report(paths: &[PathUnderTest], best: &Best) {
    let value = |name, figure| best.get(&(name, figure)).copied().unwrap_or(f64::NAN);
    let row = |path: &PathUnderTest| {
        let mut cells = vec![path.name.to_owned()];
        for figure in Figure::ALL {
            let seen = value(path.name, figure);
            cells.extend([format!("{seen:.1}"), table::ratio(seen, value("raw", figure))]);
        }
        cells
    };
    let header: Vec<&str> =
        ["path"].into_iter().chain(Figure::ALL.iter().flat_map(|figure| [figure.heading(), "x raw"])).collect();
    table::print(&header, &paths.iter().map(row).collect::<Vec<_>>());
    let rules = table::ratio(value("fabric1000", Figure::Connections), value("fabric1", Figure::Connections));
    println!("\nconnections/s with 1,000 rules against 1 rule: {rules} (goal >= 0.97)");
    println!(
        "goals against raw: RTT <= 1.08, p99 <= 1.10, connections >= 0.90, stream >= 0.94 (MTU 1500), >= 1.10 (MTU \
         9001), UDP >= 0.92"
    );
}
