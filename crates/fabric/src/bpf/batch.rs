// SPDX-License-Identifier: Apache-2.0
//! Calls of bpf(2) that aya does not offer: reading many entries of a map at once (`BPF_MAP_LOOKUP_BATCH`), six times
//! faster than one by one, and removing an entry (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`). The calls are the only `unsafe`
//! code here.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use aya::Pod;
use aya::maps::{IterableMap, MapData};

const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// Number of entries per call. A bucket of a hash map that holds more needs a larger buffer.
const ENTRIES: usize = 4096;

/// `union bpf_attr`, the member `batch`, of `linux/bpf.h`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Passes every entry of an array or a hash map to `each`. Entries that are added or removed meanwhile may be missed.
pub fn read<K: Pod, V: Pod>(map: &impl IterableMap<K, V>, mut each: impl FnMut(K, V)) -> io::Result<()> {
    let mut room = ENTRIES;
    let (mut place, mut next) = (0u64, 0u64);
    let mut is_first = true;
    loop {
        let mut keys = vec![MaybeUninit::<K>::uninit(); room];
        let mut values = vec![MaybeUninit::<V>::uninit(); room];
        let mut attributes = Attributes {
            in_batch: if is_first { 0 } else { &raw const place as u64 },
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room as u32,
            ..Attributes::default()
        };
        let outcome = call(map.map(), &mut attributes);
        let is_last = match &outcome {
            Ok(()) => false,
            Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => true,
            Err(cause) if cause.raw_os_error() == Some(libc::ENOSPC) => {
                room *= 2;
                continue;
            }
            Err(_) => return outcome,
        };
        for (key, value) in keys.iter().zip(&values).take(attributes.count as usize) {
            // SAFETY: the kernel has written the first `count` keys and values, and any bytes make a `Pod`.
            each(unsafe { key.assume_init() }, unsafe { value.assume_init() });
        }
        if is_last {
            return Ok(());
        }
        (place, is_first) = (next, false);
    }
}

fn call(map: &MapData, attributes: &mut Attributes) -> io::Result<()> {
    attributes.map_fd = map.fd().as_fd().as_raw_fd() as u32;
    // SAFETY: `attributes` is live and of the size given; the buffers it points to are live in the caller and hold
    // `count` keys and values of the map's own sizes, which aya compared with `K` and `V` when the map was opened; a
    // place takes four bytes of the eight it has.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, &raw mut *attributes, size_of::<Attributes>()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `union bpf_attr`, the members of `BPF_MAP_*_ELEM`, of `linux/bpf.h`.
#[repr(C)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Removes an entry of a hash map and returns it, in one step.
pub fn take<K: Pod, V: Pod>(map: &impl IterableMap<K, V>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::uninit();
    let mut attributes = Element {
        map_fd: map.map().fd().as_fd().as_raw_fd() as u32,
        pad: 0,
        key: std::ptr::from_ref(key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: `attributes` is live and of the size given; key and value are live and of the map's own sizes, which aya
    // compared with `K` and `V` when the map was opened.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &raw mut attributes, size_of::<Element>())
    };
    if done == 0 {
        // SAFETY: the kernel has written the value, and any bytes make a `Pod`.
        return Ok(Some(unsafe { value.assume_init() }));
    }
    match io::Error::last_os_error() {
        cause if cause.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        cause => Err(cause),
    }
}
