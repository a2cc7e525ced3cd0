// SPDX-License-Identifier: Apache-2.0
//! The maps of the earlier layout, as its program left them pinned: created and filled with bpf(2), byte by byte.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use aya::maps::MapData;

const ARRAY: u32 = 2;
const HASH: u32 = 1;
const LRU_HASH: u32 = 9;
const LPM_TRIE: u32 = 11;
const PERCPU_ARRAY: u32 = 6;
/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: u32 = 1;

/// A map of layout 2: name, type, bytes of key and value, entries, flags.
type Shape = (&'static str, u32, u32, u32, u32, u32);

/// The maps of `bpf/maps.h` in layout 2.
const LAYOUT_2: [Shape; 13] = [
    ("enis", ARRAY, 4, 64, 8192, 0),
    ("endpoints", HASH, 8, 20, 1 << 20, NO_PREALLOC),
    ("policies", ARRAY, 4, 24, 65536, 0),
    ("rule_addresses", LPM_TRIE, 12, 128, 1 << 20, NO_PREALLOC),
    ("rule_ports", LPM_TRIE, 12, 128, 1 << 20, NO_PREALLOC),
    ("rule_members", HASH, 8, 128, 1 << 20, NO_PREALLOC),
    ("vpc_cidrs", LPM_TRIE, 12, 4, 65536, NO_PREALLOC),
    ("flows", HASH, 16, 40, 1 << 20, NO_PREALLOC),
    ("flow_ring", HASH, 8, 16, 1 << 20, NO_PREALLOC),
    ("rings", ARRAY, 4, 8, 4096, 0),
    ("fragments", LRU_HASH, 16, 8, 8192, 0),
    ("eni_counters", PERCPU_ARRAY, 4, 288, 4096, 0),
    ("control", ARRAY, 4, 16, 1, 0),
];

/// Creates the pins of `now` under `earlier` in layout 2, and removes `now`.
pub fn turn_back(now: &Path, earlier: &Path) {
    fs::create_dir(earlier).unwrap();
    for shape in LAYOUT_2 {
        let map = create(shape);
        let old = MapData::from_pin(now.join(shape.0)).unwrap();
        match shape.0 {
            // Cursor and rows of each ring; layout 2 did not have the counts added since.
            "rings" => copy(&old, &map, (4, 16), |ring| ring[..8].to_vec()),
            // Fragments in transit are not kept, and counters of drops start again.
            "fragments" | "eni_counters" => {}
            // Each end records whether it admitted the flow inbound (bits 6 and 7, low and high end).
            "flows" => copy(&old, &map, (16, 40), |flow| {
                let is_from_high = flow[28] & 1 == 1;
                let mut flow = flow.to_vec();
                flow[28] |= if is_from_high { 1 << 6 } else { 1 << 7 };
                flow
            }),
            _ => copy(&old, &map, (shape.2 as usize, shape.3 as usize), <[u8]>::to_vec),
        }
        map.pin(earlier.join(shape.0)).unwrap();
    }
    fs::remove_dir_all(now).unwrap();
}

fn create((name, kind, key_bytes, value_bytes, entries, flags): Shape) -> MapData {
    // `union bpf_attr` of BPF_MAP_CREATE.
    let attributes = [kind, key_bytes, value_bytes, entries, flags];
    let fd = bpf(0, &attributes).unwrap_or_else(|cause| panic!("{name}: {cause}"));
    // SAFETY: the descriptor was just opened and has no other owner.
    MapData::from_fd(unsafe { OwnedFd::from_raw_fd(fd as i32) }).unwrap()
}

/// Copies every entry; keys are equal, values have `bytes.1` in the map that is read.
fn copy(from: &MapData, to: &MapData, bytes: (usize, usize), convert: impl Fn(&[u8]) -> Vec<u8>) {
    const LOOKUP: i32 = 1;
    const UPDATE: i32 = 2;
    const NEXT_KEY: i32 = 4;
    let element = |map: &MapData, key: Option<&[u8]>, value: *const u8| {
        let key = key.map_or(0, |key| key.as_ptr() as u64);
        [map.fd().as_fd().as_raw_fd() as u64, key, value as u64, 0]
    };
    let (mut key, mut next, mut value) = (None::<Vec<u8>>, vec![0; bytes.0], vec![0; bytes.1]);
    while bpf(NEXT_KEY, &element(from, key.as_deref(), next.as_mut_ptr())).is_ok() {
        bpf(LOOKUP, &element(from, Some(&next), value.as_mut_ptr())).unwrap();
        let converted = convert(&value);
        bpf(UPDATE, &element(to, Some(&next), converted.as_ptr())).unwrap();
        key = Some(next.clone());
    }
}

fn bpf<T>(command: i32, attributes: &T) -> std::io::Result<i64> {
    // SAFETY: the attributes are live and of the size given; what they point to is live and of the maps' sizes.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, libc::c_long::from(command), std::ptr::from_ref(attributes), size_of::<T>())
    };
    if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(done) }
}
