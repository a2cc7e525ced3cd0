// SPDX-License-Identifier: Apache-2.0
//! Remains of a killed process in maps and pins are removed, and nothing else. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, Map, MapData};
use berth_fabric::Fabric;
use lab::Lab;

/// Pins of another program, removed with the test.
struct Others(PathBuf);

impl Others {
    fn pin(name: &str, map: &Path) -> Self {
        let directory = Path::new("/sys/fs/bpf/berth").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        MapData::from_pin(map).unwrap().pin(directory.join("flows")).unwrap();
        Self(directory)
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn open<T: TryFrom<Map>>(path: &Path, wrap: fn(MapData) -> Map) -> T
where
    T::Error: std::fmt::Debug,
{
    wrap(MapData::from_pin(path).unwrap()).try_into().unwrap()
}

#[test]
fn flows_of_interfaces_that_are_gone_and_stray_pins_are_removed_and_nothing_else() {
    let mut lab = Lab::new();
    lab.write_rules("web", &["all to 0.0.0.0/0", "all from 0.0.0.0/0"]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("db", 1, "10.0.1.20/24", &["web"]);
    let mut connection = lab.connection("web", "db", 5432);
    connection.talk();
    let pins = lab.fabric().pins();
    let alive = lab.fabric().flows().unwrap();
    assert!(alive > 0);

    // Slot 4000 has no interface: one flow of it, one flow that only ends there, its ring.
    let mut flows: HashMap<_, [u8; 16], [u8; 64]> = open(&pins.join("flows"), Map::HashMap);
    let mut flow = |low: u8, slots: [u16; 2], owner: u32| {
        let (mut key, mut value) = ([0; 16], [0; 64]);
        key[0] = low;
        value[24..26].copy_from_slice(&slots[0].to_ne_bytes());
        value[26..28].copy_from_slice(&slots[1].to_ne_bytes());
        value[32..36].copy_from_slice(&owner.to_ne_bytes());
        flows.insert(key, value, 0).unwrap();
    };
    flow(1, [4000, 1], 4000);
    flow(2, [1, 4000], 1);
    let mut rows: HashMap<_, [u32; 2], [u8; 16]> = open(&pins.join("flow_ring"), Map::HashMap);
    rows.insert([4000, 0], [0; 16], 0).unwrap();
    let mut rings: Array<_, [u32; 4]> = open(&pins.join("rings"), Map::Array);
    rings.set(4000, [0, 1, 1, 0], 0).unwrap();
    MapData::from_pin(pins.join("flows")).unwrap().pin(pins.join("flows_of_old")).unwrap();
    let others = Others::pin(&format!("{}-other", lab.config().instance), &pins.join("flows"));

    lab.restart();
    lab.fabric().collect().unwrap();
    assert_eq!(lab.fabric().flows().unwrap(), alive);
    assert!(rows.get(&[4000, 0], 0).is_err());
    assert_eq!(rings.get(&4000, 0).unwrap(), [0; 4]);
    assert!(!pins.join("flows_of_old").exists());
    assert!(pins.join("flows").exists() && others.0.join("flows").exists());
    connection.talk();
    let before = lab.fabric().writes();
    lab.fabric().collect().unwrap();
    assert_eq!(lab.fabric().writes(), before, "there is nothing left to do");
}

/// Runs `work` with a private bpffs.
fn with_own_bpffs(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        use nix::mount::{MsFlags, mount};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
        work();
    });
    thread.join().unwrap();
}

#[test]
fn the_directory_of_all_instances_goes_with_the_last() {
    with_own_bpffs(|| {
        let mut lab = Lab::new();
        let all = Path::new("/sys/fs/bpf/berth");
        let other = Others::pin("other", &lab.fabric().pins().join("flows"));
        lab.stop();
        Fabric::open(lab.config().clone()).unwrap().destroy().unwrap();
        assert!(!all.join(&lab.config().instance).exists());
        assert!(other.0.join("flows").exists());
        drop(other);
        Fabric::open(lab.config().clone()).unwrap().destroy().unwrap();
        assert!(!all.exists());
    });
}
