// SPDX-License-Identifier: Apache-2.0
//! Leases: assignment, refusals, and the state after a kill.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_fabric::cni::ipam::{Ipam, LeaseFault, LeaseRequest, Owner, Pool, Wanted};
use nix::fcntl::{Flock, FlockArg};

fn request(subnet: &str, id: &str, container: &str) -> LeaseRequest {
    let pool = Pool::new(subnet.parse().unwrap(), None).unwrap();
    LeaseRequest {
        wanted: vec![Wanted { pool, address: None }],
        id: id.to_owned(),
        network: "ecs-bridge".to_owned(),
        owner: Owner { container_id: container.to_owned(), if_name: "ecs-eth0".to_owned() },
    }
}

fn lease(ipam: &Ipam, subnet: &str, id: &str) -> Result<String, LeaseFault> {
    ipam.allocate(&request(subnet, id, id)).map(|(leases, _)| leases[0].address.to_string())
}

const ECS: &str = "169.254.172.0/22";

#[test]
fn addresses_follow_each_other_and_a_released_one_is_not_next() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = Ipam::at(&dir.path().join("new/leases.db"));
    assert_eq!(lease(&ipam, ECS, "a").unwrap(), "169.254.172.2/22");
    assert_eq!(lease(&ipam, ECS, "b").unwrap(), "169.254.172.3/22");
    assert_eq!(ipam.release("b").unwrap().len(), 1);
    assert_eq!(lease(&ipam, ECS, "c").unwrap(), "169.254.172.4/22");
    assert!(ipam.release("b").unwrap().is_empty());
    assert_eq!(lease(&ipam, "10.9.0.0/24", "a").unwrap(), "10.9.0.2/24");
}

#[test]
fn the_same_owner_gets_its_address_again_and_another_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = Ipam::at(&dir.path().join("leases.db"));
    let first = ipam.allocate(&request(ECS, "02:00:00:00:00:01", "pause-1")).unwrap();
    let again = ipam.allocate(&request(ECS, "02:00:00:00:00:01", "pause-1")).unwrap();
    assert_eq!((first.1, again.1), (false, true));
    assert_eq!(first.0, again.0);
    let other = ipam.allocate(&request(ECS, "02:00:00:00:00:01", "pause-2")).unwrap_err();
    assert!(matches!(&other, LeaseFault::IdInUse { container_id, .. } if container_id == "pause-1"), "{other}");
    let mut exactly = request(ECS, "x", "x");
    exactly.wanted[0].address = Some(first.0[0].address.addr());
    assert!(matches!(ipam.allocate(&exactly), Err(LeaseFault::AddressInUse { .. })));
}

#[test]
fn a_full_pool_says_so_until_something_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = Ipam::at(&dir.path().join("leases.db"));
    assert_eq!(lease(&ipam, "10.9.0.0/30", "a").unwrap(), "10.9.0.2/30");
    let full = lease(&ipam, "10.9.0.0/30", "b").unwrap_err();
    assert_eq!(full.to_string(), "no address left in pool 10.9.0.0/30 (1 leased); stop tasks or use a larger subnet");
    ipam.release("a").unwrap();
    assert_eq!(lease(&ipam, "10.9.0.0/30", "b").unwrap(), "10.9.0.2/30");
}

#[test]
fn leases_of_an_earlier_boot_are_void() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = Ipam::at(&dir.path().join("leases.db"));
    lease(&ipam, ECS, "a").unwrap();
    std::fs::write(dir.path().join("leases.db.lock"), "another boot\n").unwrap();
    assert!(ipam.leases().unwrap().is_empty());
    assert_eq!(lease(&ipam, ECS, "b").unwrap(), "169.254.172.2/22");
}

#[test]
fn a_locked_file_is_a_transient_fault_after_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases.db");
    let ipam = Ipam::at(&path).with_lock_wait(Duration::from_millis(50));
    lease(&ipam, ECS, "a").unwrap();
    let file = std::fs::File::open(dir.path().join("leases.db.lock")).unwrap();
    let held = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let fault = ipam.leases().unwrap_err();
    assert!(matches!(fault, LeaseFault::Locked { .. }) && fault.is_transient());
    drop(held);
    assert_eq!(ipam.with_lock_wait(Duration::from_secs(5)).leases().unwrap().len(), 1);
}

#[test]
fn many_at_once_get_different_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases.db");
    let get = |n: u32| lease(&Ipam::at(&path), ECS, &format!("task-{n}")).unwrap();
    let mut addresses: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|n| scope.spawn(move || get(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 16);
}

/// A plugin is killed repeatedly while it leases; leases answered before the kill must exist, and the file must open.
#[test]
fn leases_survive_a_kill_at_any_point() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases.db");
    for round in 0..40u64 {
        let before = Ipam::at(&path).leases().unwrap();
        let mut child = add_by_plugin(&path, &format!("task-{round}"));
        std::thread::scope(|scope| {
            let id = child.id();
            // The later the round, the longer the plugin lives: from before its start to after its end.
            scope.spawn(move || {
                let until = std::time::Instant::now() + Duration::from_micros(round * 150);
                while std::time::Instant::now() < until {
                    std::thread::yield_now();
                }
                let pid = nix::unistd::Pid::from_raw(i32::try_from(id).unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
            });
        });
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        let after = Ipam::at(&path).leases().unwrap();
        assert!(before.iter().all(|lease| after.contains(lease)), "round {round} lost a lease");
        if let Ok(answer) = serde_json::from_str::<serde_json::Value>(&said) {
            let address = answer["ips"][0]["address"].as_str().unwrap();
            assert!(after.iter().any(|lease| lease.address.to_string() == address), "round {round}: {address}");
        }
    }
}

fn add_by_plugin(path: &Path, id: &str) -> std::process::Child {
    use std::io::Write;
    let config = serde_json::json!({"cniVersion": "1.0.0", "name": "n", "type": "ecs-ipam",
        "ipam": {"type": "ecs-ipam", "id": id, "ipv4-subnet": ECS}});
    let mut child = Command::new(env!("CARGO_BIN_EXE_berth-cni-under-test"))
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", id)
        .env("CNI_IFNAME", "ecs-eth0")
        .env("CNI_NETNS", "/proc/self/ns/net")
        .env("IPAM_DB_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The plugin may have ended already.
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).ok();
    child
}
