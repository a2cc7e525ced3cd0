// SPDX-License-Identifier: Apache-2.0
//! The bridge as the node uses it: addresses, routes, traffic to the host, and the state after failures.
#![allow(clippy::unwrap_used)]

#[path = "kernel_cni_lab/mod.rs"]
mod cni_lab;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use berth_fabric::cni::bridge::{self, BridgeConfig, CREDENTIALS};
use berth_fabric::cni::ipam::{Ipam, LeaseRequest, Owner, Pool, Wanted};
use berth_fabric::cni::{Fault, bridge::BridgeLease};
use berth_fabric::kernel::Namespace;
use cni_lab::{Lab, show};
use expect_test::expect;

fn add(lab: &Lab, task: &Namespace, id: &str) -> Result<BridgeLease, Fault> {
    lab.on_host(|| bridge::add(task, "ecs-eth0", id, &BridgeConfig::ecs(), &lab.ipam_db()))
}

fn ports(lab: &Lab) -> usize {
    let links = lab.host.netlink().unwrap().links().unwrap();
    links.iter().filter(|link| link.kind.as_deref() == Some("veth")).count()
}

#[test]
fn a_task_sees_the_host_and_nothing_else() {
    let lab = Lab::new();
    let task = lab.container("task");
    let lease = add(&lab, &task, "task-1").unwrap();
    assert_eq!(lease.address.to_string(), "169.254.172.2/22");
    assert_eq!(lease.mac.to_string(), "0a:58:a9:fe:ac:02");
    expect![[r#"
        ecs-eth0 veth 0a:58:a9:fe:ac:02 mtu 1500 up
          169.254.172.2/22
        169.254.170.2 via 169.254.172.1 dev ecs-eth0
        169.254.172.1 via 169.254.172.1 dev ecs-eth0
    "#]]
    .assert_eq(&show(&task));
    let host_end = lab.host.netlink().unwrap().link_by_name(&lease.host_if).unwrap().unwrap();
    assert!(host_end.is_up && host_end.port_isolated && host_end.bridge.is_some());
    assert_eq!(lease.host_if.len(), "veth".len() + 8);
}

#[test]
fn the_credentials_address_answers_on_port_80() {
    let lab = Lab::new();
    let task = lab.container("task");
    // In either order: the node may start before or after tasks are bridged.
    lab.on_host(|| bridge::serve_credentials_address(&BridgeConfig::ecs(), CREDENTIALS)).unwrap();
    add(&lab, &task, "task-1").unwrap();
    lab.on_host(|| bridge::serve_credentials_address(&BridgeConfig::ecs(), CREDENTIALS)).unwrap();
    let listener = lab.on_host(|| TcpListener::bind((CREDENTIALS, 80))).unwrap();
    let mut caller = task.inside(|| TcpStream::connect((CREDENTIALS, 80))).unwrap().unwrap();
    let (mut called, from) = listener.accept().unwrap();
    assert_eq!(from.ip().to_string(), "169.254.172.2");
    called.write_all(b"hello").unwrap();
    drop(called);
    let mut said = String::new();
    caller.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello");
}

#[test]
fn one_task_has_no_way_to_another() {
    let lab = Lab::new();
    let (one, two) = (lab.container("one"), lab.container("two"));
    add(&lab, &one, "task-1").unwrap();
    let other = add(&lab, &two, "task-2").unwrap().address.addr();
    let _listener = two.inside(|| TcpListener::bind((other, 7000))).unwrap().unwrap();
    let refused = one.inside(|| TcpStream::connect((other, 7000))).unwrap().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENETUNREACH));
}

#[test]
fn adding_again_changes_nothing_and_deleting_again_neither() {
    let lab = Lab::new();
    let task = lab.container("task");
    let first = add(&lab, &task, "task-1").unwrap();
    let before = show(&task);
    assert_eq!(add(&lab, &task, "task-1").unwrap(), first);
    assert_eq!((show(&task), ports(&lab)), (before, 1));
    for _ in 0..2 {
        lab.on_host(|| bridge::del(Some(&task), "ecs-eth0", "task-1", &BridgeConfig::ecs(), &lab.ipam_db())).unwrap();
        assert_eq!((show(&task).as_str(), ports(&lab)), ("\n", 0));
        assert!(Ipam::at(&lab.ipam_db()).leases().unwrap().is_empty());
    }
}

#[test]
fn a_namespace_that_is_gone_frees_its_lease() {
    let lab = Lab::new();
    let task = lab.container("task");
    add(&lab, &task, "task-1").unwrap();
    Namespace::delete(task.path()).unwrap();
    drop(task);
    lab.on_host(|| bridge::del(None, "ecs-eth0", "task-1", &BridgeConfig::ecs(), &lab.ipam_db())).unwrap();
    assert!(Ipam::at(&lab.ipam_db()).leases().unwrap().is_empty());
}

#[test]
fn a_kill_between_lease_and_device_is_completed_with_the_same_address() {
    let lab = Lab::new();
    let task = lab.container("task");
    let request = LeaseRequest {
        wanted: vec![Wanted { pool: BridgeConfig::ecs().pool, address: None }],
        id: "task-1".into(),
        network: "ecs-bridge".into(),
        owner: Owner { container_id: "task-1".into(), if_name: "ecs-eth0".into() },
    };
    let (leases, _) = Ipam::at(&lab.ipam_db()).allocate(&request).unwrap();
    assert_eq!(add(&lab, &task, "task-1").unwrap().address, leases[0].address);
}

#[test]
fn a_kill_after_the_device_is_completed() {
    let lab = Lab::new();
    let task = lab.container("task");
    let lease = add(&lab, &task, "task-1").unwrap();
    let complete = show(&task);
    // The state after a kill directly after the creation of the pair.
    let (mut host, mut inside) = (lab.host.netlink().unwrap(), task.netlink().unwrap());
    let end = inside.link_by_name("ecs-eth0").unwrap().unwrap().index;
    inside.delete_address(end, lease.address).unwrap();
    inside.set_down(end).unwrap();
    let host_end = host.link_by_name(&lease.host_if).unwrap().unwrap().index;
    host.set_down(host_end).unwrap();
    assert_eq!(add(&lab, &task, "task-1").unwrap(), lease);
    assert_eq!(show(&task), complete);
    assert!(host.link_by_index(host_end).unwrap().unwrap().is_up);
}

#[test]
fn a_failed_add_leaves_neither_pair_nor_lease() {
    let lab = Lab::new();
    let task = lab.container("task");
    // An address of the subnet that is not the gateway's: the bridge belongs to another program.
    let mut host = lab.host.netlink().unwrap();
    let bridge = host.create_bridge("ecs-bridge", cni_lab::mac("02:00:00:00:00:01")).unwrap();
    host.add_address(bridge, "169.254.172.9/22".parse().unwrap()).unwrap();
    let fault = add(&lab, &task, "task-1").unwrap_err();
    assert!(matches!(fault, Fault::BridgeAddress { .. }), "{fault}");
    assert_eq!((show(&task).as_str(), ports(&lab)), ("\n", 0));
    assert!(Ipam::at(&lab.ipam_db()).leases().unwrap().is_empty());
}

#[test]
fn an_interface_of_that_name_is_not_touched() {
    let lab = Lab::new();
    let task = lab.container("task");
    lab.stub(&task, "ecs-eth0", cni_lab::mac("02:00:00:00:00:01"));
    let fault = add(&lab, &task, "task-1").unwrap_err();
    assert!(matches!(fault, Fault::NameTaken { .. }), "{fault}");
    assert!(task.netlink().unwrap().link_by_name("ecs-eth0").unwrap().is_some());
}

#[test]
fn an_exhausted_pool_fails_and_leaves_nothing() {
    let lab = Lab::new();
    let mut config = BridgeConfig::ecs();
    config.pool = Pool::new("169.254.172.0/30".parse().unwrap(), None).unwrap();
    let (one, two) = (lab.container("one"), lab.container("two"));
    let add = |task: &Namespace, id: &str| lab.on_host(|| bridge::add(task, "ecs-eth0", id, &config, &lab.ipam_db()));
    add(&one, "task-1").unwrap();
    let fault = add(&two, "task-2").unwrap_err();
    assert!(fault.to_string().starts_with("no address left in pool 169.254.172.0/30"), "{fault}");
    assert_eq!((show(&two).as_str(), ports(&lab)), ("\n", 1));
}

#[test]
fn many_tasks_at_once_share_one_bridge() {
    let lab = Lab::new();
    let tasks: Vec<_> = (0..12).map(|n| lab.container(&format!("task-{n}"))).collect();
    let mut addresses: Vec<_> = std::thread::scope(|scope| {
        let lab = &lab;
        let threads: Vec<_> = tasks
            .iter()
            .enumerate()
            .map(|(n, task)| scope.spawn(move || add(lab, task, &format!("task-{n}")).unwrap().address))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!((addresses.len(), ports(&lab)), (12, 12));
}
