// SPDX-License-Identifier: Apache-2.0
//! Task to task through the fabric, compared with a raw veth pair and a Linux bridge with nftables; from a task to the world
//! through gateways, compared with a router and with one that masquerades.
//!
//! Each round runs every path in sequence. The samples are read in two ways: the best of all rounds, because noise only
//! slows things down, and the median of the ratios within each round, because lasting noise affects all paths of a
//! round. The raw pair is measured twice: the difference of the two is the error of the run.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::sample::{Figure, Kind, take};
use crate::table;
use crate::topology::{Ground, PathUnderTest};

/// One value per round.
type Samples = BTreeMap<(&'static str, Figure), Vec<f64>>;

/// Measures and prints. Empty lists mean every path and every kind.
pub fn run(rounds: u32, only: &[String], kinds: &[Kind]) -> Result<()> {
    let mut ground = Ground::new()?;
    let mut paths =
        vec![ground.raw("raw")?, ground.raw("raw2")?, ground.bridge("nft1", 1)?, ground.bridge("nft1000", 1000)?];
    paths.extend(ground.fabric(&[("fabric1", 1, 1500), ("fabric1000", 1000, 1500), ("fabric9001", 1, 9001)])?);
    paths.extend([ground.router("router", false)?, ground.router("masquerade", true)?]);
    paths.extend(ground.gateways()?);
    paths.retain(|path| path.name == "raw" || only.is_empty() || only.iter().any(|name| name == path.name));
    let mut samples = Samples::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for kind in Kind::ALL.into_iter().filter(|kind| kinds.is_empty() || kinds.contains(kind)) {
            for path in &paths {
                for (figure, value) in take(kind, &path.client, &path.server, path.address)? {
                    samples.entry((path.name, figure)).or_default().push(value);
                }
            }
        }
    }
    report(&paths, &samples);
    Ok(())
}

fn report(paths: &[PathUnderTest], samples: &Samples) {
    let all = |name, figure| samples.get(&(name, figure)).map(Vec::as_slice).unwrap_or_default();
    let value =
        |name, figure: Figure| all(name, figure).iter().copied().reduce(|a, b| figure.better(a, b)).unwrap_or(f64::NAN);
    let median = |name, other, figure| {
        let mut ratios: Vec<f64> = all(name, figure).iter().zip(all(other, figure)).map(|(a, b)| a / b).collect();
        table::percentile(&mut ratios, 0.5)
    };
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
    println!("\nmedians of the ratios to raw within each round");
    let row = |path: &PathUnderTest| {
        let ratios = Figure::ALL.iter().map(|figure| format!("{:.3}", median(path.name, "raw", *figure)));
        [path.name.to_owned()].into_iter().chain(ratios).collect()
    };
    let header: Vec<&str> = ["path"].into_iter().chain(Figure::ALL.iter().map(|figure| figure.heading())).collect();
    table::print(&header, &paths.iter().map(row).collect::<Vec<_>>());
    let rules = table::ratio(value("fabric1000", Figure::Connections), value("fabric1", Figure::Connections));
    let rules_median = median("fabric1000", "fabric1", Figure::Connections);
    println!("\nconnections/s with 1,000 rules against 1 rule: {rules}, median {rules_median:.3} (goal >= 0.97)");
    println!(
        "goals against raw: RTT <= 1.08, p99 <= 1.10, connections >= 0.90, stream >= 0.94 (MTU 1500), >= 1.10 (MTU \
         9001), UDP >= 0.92"
    );
    println!(
        "internet gateway: RTT <= 1.18, connections >= 0.84; NAT gateway: RTT <= 1.20, connections and stream >= 0.80"
    );
}
