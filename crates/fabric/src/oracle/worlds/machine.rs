// SPDX-License-Identifier: Apache-2.0
//! The programs of the data path, compiled for the host (`bpf/fabric_host.c`), with maps in this process: one machine for
//! each thread.
#![allow(unsafe_code)]

use std::ffi::CStr;

use aya::Pod;

use crate::DropReason;
use crate::bpf::layout::{AclRow, Control, Eni, Shares};
use crate::fabric::{Held, address_key, cidr_key, member_key, port_key};

/// Room for a frame, as in `fabric_host.c`.
const FRAME_BYTES: usize = 2048;
/// Flows that one interface may have.
const FLOWS: u32 = 1 << 20;
const SECOND_NS: u64 = 1_000_000_000;
/// `enum host_way`.
const OUT: u32 = 1;
const AGAIN: u32 = 2;
const PEER: u32 = 3;

/// `struct host_result`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Done {
    ifindex: u32,
    kind: u32,
    reason: u32,
    bytes: u32,
}

unsafe extern "C" {
    fn host_clear(seed: u32);
    fn host_put(name: *const i8, key: *const u8, key_bytes: u32, value: *const u8, value_bytes: u32) -> i32;
    fn host_run(frame: *mut u8, bytes: u32, ifindex: u32, at_edge: u32, done: *mut Done);
}

/// The fate of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The inner end of this device receives the frame.
    Delivered(u32, Vec<u8>),
    /// It leaves the fabric through this device.
    Left(u32, Vec<u8>),
    /// It is dropped; `None` without a reason.
    Dropped(Option<DropReason>),
}

/// The programs with the maps of a world. It empties the maps of its thread.
pub struct Machine {
    edge: u32,
    epoch: u64,
}

impl Machine {
    /// Fills the maps.
    pub(crate) fn new(held: &Held, seed: u32) -> Self {
        // SAFETY: a number only; the maps belong to this thread.
        unsafe { host_clear(seed) };
        for (set, policy) in &held.policies {
            put(c"policies", &u32::from(set.0), policy);
        }
        held.endpoints.iter().for_each(|(key, endpoint)| put(c"endpoints", key, endpoint));
        for eni in held.plugged.values() {
            put(c"enis", &Eni::row(eni.ifindex), eni);
        }
        for (vni, range) in &held.cidrs {
            let key = cidr_key(*vni, *range);
            put(c"vpc_cidrs", &prefix(key.prefix_len(), key.data()), &1u32);
        }
        put_rulesets(held);
        put_ways(held);
        put_control(held.epoch);
        put(c"shares", &0u32, &Shares { floor: FLOWS, shared_max: 0 });
        Self { edge: held.world.ifindex, epoch: held.epoch }
    }

    /// A change after which everything is as before: the program decides anew about every flow.
    pub fn change_nothing(&mut self) {
        self.epoch += 2;
        put_control(self.epoch);
    }

    /// Runs a frame that a device of the fabric receives, until it is delivered, has left or is dropped.
    pub fn run(&mut self, device: u32, frame: &[u8]) -> Fate {
        let mut room = [0; FRAME_BYTES];
        room[..frame.len()].copy_from_slice(frame);
        let (mut device, mut done) = (device, Done { bytes: frame.len() as u32, ..Done::default() });
        // A packet turns round at the edge once.
        for _ in 0..3 {
            let at_edge = u32::from(device == self.edge);
            // SAFETY: the buffer has the size that the function expects; `done` is live.
            unsafe { host_run(room.as_mut_ptr(), done.bytes, device, at_edge, &raw mut done) };
            let frame = || room[..done.bytes as usize].to_vec();
            match done.kind {
                OUT => return Fate::Left(done.ifindex, frame()),
                PEER => return Fate::Delivered(done.ifindex, frame()),
                AGAIN => device = done.ifindex,
                _ => return Fate::Dropped(DropReason::ALL.get(done.reason as usize).copied()),
            }
        }
        Fate::Dropped(None)
    }
}

fn put_control(epoch: u64) {
    let durations =
        Control { epoch, tick_ns: 1, nat_idle_ns: 350 * SECOND_NS, nat_closed_ns: 60 * SECOND_NS, rest: [0; 4] };
    put(c"control", &0u32, &durations);
}

fn put_rulesets(held: &Held) {
    for (&number, tables) in &held.rulesets {
        for (range, row) in &tables.addresses {
            let key = address_key(number, *range);
            put(c"rule_addresses", &prefix(key.prefix_len(), key.data()), &row.0);
        }
        for (ports, row) in &tables.ports {
            let key = port_key(number, *ports);
            put(c"rule_ports", &prefix(key.prefix_len(), key.data()), &row.0);
        }
        for (set, row) in &tables.members {
            put(c"rule_members", &member_key(number, *set), &row.0);
        }
    }
}

fn put_ways(held: &Held) {
    held.subnets.iter().for_each(|(&number, subnet)| put(c"subnets", &u32::from(number), subnet));
    held.nats.iter().for_each(|(number, nat)| put(c"nats", number, nat));
    held.publics.iter().for_each(|(key, owner)| put(c"publics", key, owner));
    held.privates.iter().for_each(|(key, owner)| put(c"privates", key, owner));
    put(c"worlds", &0u32, &held.world);
    for (&number, table) in &held.tables {
        for (range, route) in table {
            let key = address_key(number, *range);
            put(c"routes", &prefix(key.prefix_len(), key.data()), route);
        }
    }
    for (&number, acl) in &held.acls {
        let row = |&entries: &u64| AclRow { entries, admit: acl.admit };
        for (range, entries) in &acl.addresses {
            let key = address_key(number, *range);
            put(c"acl_addresses", &prefix(key.prefix_len(), key.data()), &row(entries));
        }
        for (ports, entries) in &acl.ports {
            let key = port_key(number, *ports);
            put(c"acl_ports", &prefix(key.prefix_len(), key.data()), &row(entries));
        }
    }
}

/// A key of a map of prefixes: its length, then the rest.
fn prefix(bits: u32, data: [u8; 8]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h] = data;
    [bits, u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

fn put<K: Pod, V: Pod>(map: &CStr, key: &K, value: &V) {
    let (key, value) = (std::ptr::from_ref(key), std::ptr::from_ref(value));
    // SAFETY: both are live and of the sizes given; plain bytes, as `Pod` promises.
    let done =
        unsafe { host_put(map.as_ptr(), key.cast(), size_of::<K>() as u32, value.cast(), size_of::<V>() as u32) };
    assert_eq!(done, 0, "{map:?} has another layout in bpf/fabric_host.c");
}
