// SPDX-License-Identifier: Apache-2.0
//! Takes over the state of the earlier layout's program: interfaces, policies and flows.
//!
//! Maps that are the same in both layouts get a second name: the old program, which devices run until they have the new
//! one, and the new program share them, so that no packet falls between two tables. Maps that differ are created. The
//! names are collected next to the directory of this layout and replace it in one step: a process that dies before has
//! changed nothing.

use std::fs;
use std::path::Path;

use aya::maps::{Array, Map, MapData};

use super::layout::{LAYOUT_VERSION, Ring};
use super::{batch, endpoint, load, pins};
use crate::fault::Fault;

/// Maps that layout 2 and this one share.
const SHARED: [&str; 11] = [
    "enis",
    "endpoints",
    "policies",
    "rule_addresses",
    "rule_ports",
    "rule_members",
    "vpc_cidrs",
    "flows",
    "flow_ring",
    "eni_counters",
    "control",
];
/// `struct ring` of layout 2: cursor and number of rows.
type EarlierRing = [u32; 2];

const _: () = assert!(LAYOUT_VERSION == 3, "what changes since layout 2 is written here");

/// Passes the pins of layout 2 to this one, if they exist and this one's do not. Returns true if it did; the rows of
/// the rings must then be counted.
pub fn take_over(instance: &str) -> Result<bool, Fault> {
    let all = pins::instance_directory(instance);
    let (earlier, ours) = (all.join("v2"), pins::directory(instance));
    if ours.exists() || !earlier.exists() {
        return Ok(false);
    }
    let found = pins::list(&earlier)?;
    if let Some(missing) = SHARED.into_iter().chain(["rings"]).find(|name| !found.iter().any(|pin| pin == name)) {
        tracing::warn!(path = %earlier.display(), missing, "connections end: the earlier data path is incomplete");
        return Ok(false);
    }
    let incoming = all.join("incoming");
    pins::remove(&incoming)?;
    fs::create_dir(&incoming).map_err(|cause| Fault::pins("make", &incoming, cause))?;
    let links = found.iter().map(String::as_str).filter(|name| endpoint::is_pin(name));
    for name in SHARED.into_iter().chain(links) {
        let to = incoming.join(name);
        fs::hard_link(earlier.join(name), &to)
            .map_err(|cause| Fault::pins("give an earlier map the name", &to, cause))?;
    }
    load::make_maps(&incoming)?;
    take_rings(&earlier, &incoming)?;
    fs::rename(&incoming, &ours).map_err(|cause| Fault::pins("rename into place", &incoming, cause))?;
    tracing::info!(path = %earlier.display(), "took over the data path of an earlier version");
    Ok(true)
}

/// Rings continue at their position: their rows exist, and are not counted yet.
fn take_rings(earlier: &Path, incoming: &Path) -> Result<(), Fault> {
    let fault = |source| Fault::map("take over", "rings", source);
    let open = |directory: &Path| MapData::from_pin(directory.join("rings")).map(Map::Array);
    let old: Array<MapData, EarlierRing> = open(earlier).and_then(Array::try_from).map_err(fault)?;
    let mut new: Array<MapData, Ring> = open(incoming).and_then(Array::try_from).map_err(fault)?;
    let mut used = Vec::new();
    batch::read(&old, |slot: u32, [cursor, rows]: EarlierRing| used.extend((rows > 0).then_some((slot, cursor, rows))))
        .map_err(|cause| fault(cause.into()))?;
    for (slot, cursor, end) in used {
        new.set(slot, Ring { cursor, end, ..Ring::default() }, 0).map_err(fault)?;
    }
    Ok(())
}
