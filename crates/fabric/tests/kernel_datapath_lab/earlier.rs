// SPDX-License-Identifier: Apache-2.0
//! The maps of the earlier layout, as its program left them pinned: created and filled with bpf(2), byte by byte.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use aya::maps::MapData;

const ARRAY: u32 = 2;
const HASH: u32 = 1;
const LPM_TRIE: u32 = 11;
const PERCPU_ARRAY: u32 = 6;
/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: u32 = 1;

/// A map of layout 3: name, type, bytes of key and value, entries, flags.
type Shape = (&'static str, u32, u32, u32, u32, u32);

/// The maps of `bpf/maps.h` in layout 3.
const LAYOUT_3: [Shape; 15] = [
    ("enis", ARRAY, 4, 64, 8192, 0),
    ("endpoints", HASH, 8, 20, 1 << 20, NO_PREALLOC),
    ("policies", ARRAY, 4, 24, 65536, 0),
    ("rule_addresses", LPM_TRIE, 12, 128, 1 << 20, NO_PREALLOC),
    ("rule_ports", LPM_TRIE, 12, 128, 1 << 20, NO_PREALLOC),
    ("rule_members", HASH, 8, 128, 1 << 20, NO_PREALLOC),
    ("vpc_cidrs", LPM_TRIE, 12, 4, 65536, NO_PREALLOC),
    ("flows", HASH, 16, 40, 1 << 20, NO_PREALLOC),
    ("flow_ring", HASH, 8, 16, 1 << 20, NO_PREALLOC),
    ("rings", ARRAY, 4, 16, 4096, 0),
    ("returns", ARRAY, 4, 12, 4096, 0),
    ("shares", ARRAY, 4, 8, 1, 0),
    ("fragments", ARRAY, 4, 20, 4096 * 32, 0),
    ("eni_counters", PERCPU_ARRAY, 4, 288, 4096, 0),
    ("control", ARRAY, 4, 16, 1, 0),
];

/// Creates the pins of `now` under `earlier` in layout 3, whose values are the first bytes of the present ones, and
/// removes `now`.
pub fn turn_back(now: &Path, earlier: &Path) {
    fs::create_dir(earlier).unwrap();
    for shape in LAYOUT_3 {
        let (name, _, key_bytes, value_bytes, ..) = shape;
        let map = create(shape);
        let old = MapData::from_pin(now.join(name)).unwrap();
        let present = old.info().unwrap().value_size() as usize;
        match name {
            "fragments" => {}
            "eni_counters" => copy_counters(&old, &map),
            _ => copy(&old, &map, (key_bytes as usize, present), |value| value[..value_bytes as usize].to_vec()),
        }
        map.pin(earlier.join(name)).unwrap();
    }
    fs::remove_dir_all(now).unwrap();
}

/// Every processor has its own values, one behind the other.
fn copy_counters(from: &MapData, to: &MapData) {
    let present = from.info().unwrap().value_size() as usize;
    let processors = aya::util::nr_cpus().unwrap();
    copy(from, to, (4, present * processors), |values| {
        values.chunks(present).flat_map(|value| value[..288].to_vec()).collect()
    });
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
