// SPDX-License-Identifier: Apache-2.0
//! Takes over the state of an earlier layout's program: interfaces, policies and flows.
//!
//! Maps that are the same in two layouts get a second name: the old program, which devices run until they have the new
//! one, and the new program share them. Values that have grown are copied: this layout begins with the same bytes, and
//! zeroes stand for "not yet known". Flows that the old program records between the copy and its replacement are copied
//! afterwards. The names are collected next to the directory of this layout and replace it in one step: a process that
//! dies before has changed nothing.

use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues};

use super::layout::{Control, Counters, Endpoint, EndpointKey, Flow, FlowKey, LAYOUT_VERSION, Ring, SLOTS};
use super::{batch, endpoint, load, pins};
use crate::fault::Fault;

/// Maps that layouts 2 and 3 share with this one.
const SHARED: [&str; 7] =
    ["enis", "policies", "rule_addresses", "rule_ports", "rule_members", "vpc_cidrs", "flow_ring"];
/// Maps that layout 3 shares with this one; layout 2 has only rings, in another form.
const SHARED_SINCE_3: [&str; 4] = ["rings", "returns", "shares", "fragments"];
/// Maps whose values have grown; they are the same in layouts 2 and 3.
const GROWN: [&str; 4] = ["endpoints", "flows", "eni_counters", "control"];

/// `struct ring` of layout 2: cursor and number of rows.
type EarlierRing = [u32; 2];
/// Words of the values in layouts 2 and 3.
type EarlierEndpoint = [u32; 5];
type EarlierFlow = [u64; 5];
type EarlierCounters = [u64; 36];
type EarlierControl = [u64; 2];

const _: () = assert!(LAYOUT_VERSION == 4, "what changes since layouts 2 and 3 is written here");

/// Passes the pins of layout 3, or else 2, to this one, if they exist and this one's do not. Returns their directory if
/// it did; the rows of the rings must then be counted.
pub fn take_over(instance: &str) -> Result<Option<PathBuf>, Fault> {
    let all = pins::instance_directory(instance);
    let ours = pins::directory(instance);
    let layouts = [("v3", &SHARED_SINCE_3[..]), ("v2", &[])];
    let present = layouts.into_iter().map(|(name, more)| (all.join(name), more)).find(|(earlier, _)| earlier.exists());
    let Some((earlier, more)) = present.filter(|_| !ours.exists()) else { return Ok(None) };
    let shared = || SHARED.iter().chain(more).copied();
    let found = pins::list(&earlier)?;
    if let Some(missing) = shared().chain(GROWN).chain(["rings"]).find(|name| !found.iter().any(|pin| pin == name)) {
        tracing::warn!(path = %earlier.display(), missing, "connections end: the earlier data path is incomplete");
        return Ok(None);
    }
    let incoming = all.join("incoming");
    pins::remove(&incoming)?;
    fs::create_dir(&incoming).map_err(|cause| Fault::pins("make", &incoming, cause))?;
    let links = found.iter().map(String::as_str).filter(|name| endpoint::is_pin(name));
    for name in shared().chain(links) {
        let to = incoming.join(name);
        fs::hard_link(earlier.join(name), &to)
            .map_err(|cause| Fault::pins("give an earlier map the name", &to, cause))?;
    }
    load::make_maps(&incoming)?;
    if more.is_empty() {
        take_rings(&earlier, &incoming)?;
    }
    take_control(&earlier, &incoming)?;
    take_endpoints(&earlier, &incoming)?;
    take_counters(&earlier, &incoming)?;
    take_late_flows(&earlier, &incoming)?;
    fs::rename(&incoming, &ours).map_err(|cause| Fault::pins("rename into place", &incoming, cause))?;
    tracing::info!(path = %earlier.display(), "took over the data path of an earlier version");
    Ok(Some(earlier))
}

/// Copies the flows that this layout does not have yet.
pub fn take_late_flows(earlier: &Path, ours: &Path) -> Result<(), Fault> {
    const BPF_NOEXIST: u64 = 1;
    let old: HashMap<MapData, FlowKey, EarlierFlow> = open(earlier, "flows", |map| Map::HashMap(map).try_into())?;
    let mut new: HashMap<MapData, FlowKey, Flow> = open(ours, "flows", |map| Map::HashMap(map).try_into())?;
    let mut found = Vec::new();
    batch::read(&old, |key, flow: EarlierFlow| found.push((key, flow)))
        .map_err(|cause| fault("flows")(cause.into()))?;
    for (key, [seen_ns, epoch, ifindexes, ends, payer]) in found {
        let [slots, state] = halves(ends);
        let [owner, ring_index] = halves(payer);
        let slot = shorts(slots);
        let flow =
            Flow { seen_ns, epoch, ifindex: halves(ifindexes), slot, state, owner, ring_index, ..Flow::default() };
        match new.insert(key, flow, BPF_NOEXIST) {
            Err(aya::maps::MapError::SyscallError(e)) if e.io_error.kind() == std::io::ErrorKind::AlreadyExists => {}
            done => done.map_err(fault("flows"))?,
        }
    }
    Ok(())
}

/// Rings of layout 2 continue at their position: their rows exist, and are not counted yet.
fn take_rings(earlier: &Path, ours: &Path) -> Result<(), Fault> {
    let old: Array<MapData, EarlierRing> = open(earlier, "rings", |map| Map::Array(map).try_into())?;
    let mut new: Array<MapData, Ring> = open(ours, "rings", |map| Map::Array(map).try_into())?;
    let mut used = Vec::new();
    batch::read(&old, |slot: u32, [cursor, rows]: EarlierRing| used.extend((rows > 0).then_some((slot, cursor, rows))))
        .map_err(|cause| fault("rings")(cause.into()))?;
    for (slot, cursor, end) in used {
        new.set(slot, Ring { cursor, end, ..Ring::default() }, 0).map_err(fault("rings"))?;
    }
    Ok(())
}

fn take_control(earlier: &Path, ours: &Path) -> Result<(), Fault> {
    let old: Array<MapData, EarlierControl> = open(earlier, "control", |map| Map::Array(map).try_into())?;
    let mut new: Array<MapData, Control> = open(ours, "control", |map| Map::Array(map).try_into())?;
    let [epoch, tick_ns] = old.get(&0, 0).map_err(fault("control"))?;
    new.set(0, Control { epoch, tick_ns, nat_idle_ns: 0, nat_closed_ns: 0, rest: [0; 4] }, 0).map_err(fault("control"))
}

fn take_endpoints(earlier: &Path, ours: &Path) -> Result<(), Fault> {
    let old: HashMap<MapData, EndpointKey, EarlierEndpoint> =
        open(earlier, "endpoints", |map| Map::HashMap(map).try_into())?;
    let mut new: HashMap<MapData, EndpointKey, Endpoint> = open(ours, "endpoints", |map| Map::HashMap(map).try_into())?;
    for entry in old.iter() {
        let (key, words) = entry.map_err(fault("endpoints"))?;
        let [slot, flags] = shorts(words[1]);
        let ([a, b, c, d], [e, f, _, _]) = (words[3].to_ne_bytes(), words[4].to_ne_bytes());
        let endpoint = Endpoint {
            ifindex: words[0],
            slot,
            flags,
            group_set: shorts(words[2]),
            mac: [a, b, c, d, e, f],
            subnet: 0,
            rest: [0; 12],
        };
        new.insert(key, endpoint, 0).map_err(fault("endpoints"))?;
    }
    Ok(())
}

fn take_counters(earlier: &Path, ours: &Path) -> Result<(), Fault> {
    let old: PerCpuArray<MapData, EarlierCounters> =
        open(earlier, "eni_counters", |map| Map::PerCpuArray(map).try_into())?;
    let mut new: PerCpuArray<MapData, Counters> = open(ours, "eni_counters", |map| Map::PerCpuArray(map).try_into())?;
    for slot in 0..u32::from(SLOTS) {
        let values = old.get(&slot, 0).map_err(fault("eni_counters"))?;
        if values.iter().flatten().all(|number| *number == 0) {
            continue;
        }
        let grown = values.iter().map(|[packets_out, bytes_out, packets_in, bytes_in, earlier @ ..]| {
            let mut counters = Counters {
                packets_out: *packets_out,
                bytes_out: *bytes_out,
                packets_in: *packets_in,
                bytes_in: *bytes_in,
                ..Counters::ZERO
            };
            counters.drops[..earlier.len()].copy_from_slice(earlier);
            counters
        });
        let grown = PerCpuValues::try_from(grown.collect::<Vec<_>>())
            .map_err(|cause| fault("eni_counters")(aya::maps::MapError::IoError(cause)))?;
        new.set(slot, grown, 0).map_err(fault("eni_counters"))?;
    }
    Ok(())
}

fn fault(map: &'static str) -> impl Fn(aya::maps::MapError) -> Fault {
    move |source| Fault::map("take over", map, source)
}

fn open<T>(
    directory: &Path,
    name: &'static str,
    typed: impl FnOnce(MapData) -> Result<T, aya::maps::MapError>,
) -> Result<T, Fault> {
    MapData::from_pin(directory.join(name)).and_then(typed).map_err(fault(name))
}

/// The words of a pair, in memory order.
fn halves(pair: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = pair.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

fn shorts(pair: u32) -> [u16; 2] {
    let [a, b, c, d] = pair.to_ne_bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}
