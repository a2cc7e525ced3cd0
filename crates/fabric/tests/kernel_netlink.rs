// SPDX-License-Identifier: Apache-2.0
//! The `kernel` module against the real kernel: namespaces, links, addresses, routes, settings.
#![allow(clippy::unwrap_used)]

#[path = "kernel_cni_lab/mod.rs"]
mod cni_lab;

use std::path::Path;

use berth_fabric::kernel::netlink::{Route, VethPair};
use berth_fabric::kernel::{Fault, Namespace, Netlink, Refused, sysctl};
use cni_lab::{Lab, mac, show};
use expect_test::expect;

#[test]
fn a_namespace_is_made_once_and_lives_until_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/one");
    let first = Namespace::create(&path).unwrap();
    assert_eq!(Namespace::create(&path).unwrap().id().unwrap(), first.id().unwrap());
    assert_ne!(Namespace::of_current_thread().unwrap().id().unwrap(), first.id().unwrap());
    Namespace::delete(&path).unwrap();
    Namespace::delete(&path).unwrap();
    assert!(!path.exists());
    assert!(matches!(Namespace::open(&path), Err(Fault::OpenNamespace { .. })));
}

#[test]
fn a_file_left_by_a_crash_is_no_namespace_and_is_made_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("left-over");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(Namespace::open(&path), Err(Fault::NotANamespace { .. })));
    Namespace::create(&path).unwrap();
    Namespace::delete(&path).unwrap();
}

#[test]
fn the_thread_comes_home_also_after_a_panic() {
    let lab = Lab::new();
    let home = Namespace::of_current_thread().unwrap().id().unwrap();
    let inside = lab.on_host(|| Namespace::of_current_thread().unwrap().id().unwrap());
    assert_eq!(inside, lab.host.id().unwrap());
    let panicked = std::panic::catch_unwind(|| lab.on_host(|| panic!("on the host")));
    assert!(panicked.is_err());
    assert_eq!(Namespace::of_current_thread().unwrap().id().unwrap(), home);
}

#[test]
fn a_veth_pair_is_made_with_each_end_in_its_place() {
    let lab = Lab::new();
    let task = lab.container("task");
    let mut host = lab.host.netlink().unwrap();
    let pair = VethPair {
        name: "fab0",
        mtu: Some(9001),
        up: true,
        peer_name: "eth1",
        peer_mac: Some(mac("02:00:00:00:00:07")),
        peer_mtu: Some(9001),
        peer_unsplit_bytes: Some(100_000),
        peer_ns: Some(task.as_fd()),
        ..VethPair::default()
    };
    host.create_veth(&pair).unwrap();
    let far = task.netlink().unwrap().link_by_name("eth1").unwrap().unwrap();
    assert_eq!(far.unsplit_bytes, Some(100_000));
    expect![[r#"
        eth1 veth 02:00:00:00:00:07 mtu 9001 down
    "#]]
    .assert_eq(&show(&task));
    let near = host.link_by_name("fab0").unwrap().unwrap();
    assert!(near.is_up && near.mtu == 9001 && near.peer_namespace.is_some());
    let again = host.create_veth(&pair).unwrap_err();
    assert!(again.is_errno(libc::EEXIST) && !again.is_transient());
    assert_eq!(again.to_string(), "could not create veth pair fab0 / eth1");
    host.delete_link("fab0").unwrap();
    host.delete_link("fab0").unwrap();
    assert_eq!(show(&task), "\n");
}

#[test]
fn a_link_is_moved_renamed_and_told_apart_by_its_address() {
    let lab = Lab::new();
    let task = lab.container("task");
    let mut host = lab.host.netlink().unwrap();
    lab.stub(&lab.host, "ens6", mac("02:00:00:00:00:08"));
    let found = host.links_by_mac(mac("02:00:00:00:00:08")).unwrap();
    assert_eq!(found.len(), 1);
    host.set_alias(found[0].index, "eni-1").unwrap();
    host.move_to(found[0].index, task.as_fd()).unwrap();
    assert_eq!(host.link_by_name("ens6").unwrap(), None);
    let mut inside = task.netlink().unwrap();
    let index = inside.links_by_mac(mac("02:00:00:00:00:08")).unwrap()[0].index;
    inside.rename(index, "eth0").unwrap();
    inside.set_mtu(index, 1400).unwrap();
    let link = inside.link_by_index(index).unwrap().unwrap();
    assert_eq!((link.name.as_str(), link.mtu, link.alias.as_deref()), ("eth0", 1400, Some("eni-1")));
    let fault = inside.set_mtu(index, 1 << 30).unwrap_err();
    assert!(fault.to_string().contains("eth0"), "{fault}");
}

#[test]
fn ports_of_a_bridge_are_isolated() {
    let lab = Lab::new();
    let mut host = lab.host.netlink().unwrap();
    let bridge = host.create_bridge("br0", mac("02:00:00:00:00:09")).unwrap();
    assert_eq!(host.create_bridge("br0", mac("02:00:00:00:00:0a")).unwrap(), bridge);
    host.create_veth(&VethPair { name: "p0", peer_name: "p1", ..VethPair::default() }).unwrap();
    let port = host.link_by_name("p0").unwrap().unwrap();
    host.enslave(port.index, bridge).unwrap();
    host.set_port_isolated(port.index).unwrap();
    let port = host.link_by_name("p0").unwrap().unwrap();
    assert!(port.port_isolated && port.bridge == Some(bridge) && !port.port_hairpin);
    assert_eq!(host.link_by_name("br0").unwrap().unwrap().mac, Some(mac("02:00:00:00:00:09")));
    lab.stub(&lab.host, "d0", mac("02:00:00:00:00:0d"));
    assert!(host.create_bridge("d0", mac("02:00:00:00:00:0b")).unwrap_err().is_errno(libc::EEXIST));
}

#[test]
fn addresses_and_routes_are_set_twice_without_harm() {
    let lab = Lab::new();
    let mut host = lab.host.netlink().unwrap();
    lab.stub(&lab.host, "eth1", mac("02:00:00:00:00:0c"));
    let index = host.link_by_name("eth1").unwrap().unwrap().index;
    let gateway = "10.0.1.1".parse().unwrap();
    for _ in 0..2 {
        host.add_address(index, "10.0.1.20/24".parse().unwrap()).unwrap();
        host.set_up(index).unwrap();
        host.add_route(&Route::default_via(gateway, index).with_mtu(1500)).unwrap();
        host.add_route(&Route::via("10.0.0.0/16".parse().unwrap(), gateway, index)).unwrap();
        host.add_route(&Route::blackhole("169.254.169.254/32".parse().unwrap())).unwrap();
        host.set_neighbour(index, gateway, mac("02:00:00:00:00:01")).unwrap();
    }
    expect![[r#"
        eth1 veth 02:00:00:00:00:0c mtu 1500 up
          10.0.1.20/24
        10.0.0.0/16 via 10.0.1.1 dev eth1
        10.0.1.0/24 dev eth1
        blackhole 169.254.169.254
        default via 10.0.1.1 dev eth1 mtu 1500
    "#]]
    .assert_eq(&show(&lab.host));
    for _ in 0..2 {
        host.delete_route(&Route::direct("10.0.1.0/24".parse().unwrap(), index)).unwrap();
        host.delete_route(&Route::blackhole("169.254.169.254/32".parse().unwrap())).unwrap();
        host.delete_address(index, "10.0.1.20/24".parse().unwrap()).unwrap();
    }
    expect![[r#"
        eth1 veth 02:00:00:00:00:0c mtu 1500 up
    "#]]
    .assert_eq(&show(&lab.host));
}

#[test]
fn a_setting_is_written_in_its_namespace_only() {
    let lab = Lab::new();
    let other = lab.container("other");
    let before = sysctl::read(&other, "net.ipv4.ip_unprivileged_port_start").unwrap();
    sysctl::settle_task(&lab.host).unwrap();
    assert_eq!(sysctl::read(&lab.host, "net.ipv4.tcp_congestion_control").unwrap(), "cubic");
    assert_eq!(sysctl::read(&lab.host, "net/ipv4/ip_unprivileged_port_start").unwrap(), "0");
    assert_eq!(sysctl::read(&other, "net.ipv4.ip_unprivileged_port_start").unwrap(), before);
    let fault = sysctl::write(&lab.host, "net.ipv4.no_such_key", "1").unwrap_err();
    assert!(fault.is_errno(libc::ENOENT), "{fault}");
}

#[test]
fn a_busy_kernel_is_a_transient_fault_that_names_the_link() {
    let mut kernel = Netlink::over(|_, _| Err(Refused::errno(libc::EBUSY)));
    let fault = kernel.create_veth(&VethPair { name: "a", peer_name: "b", ..VethPair::default() }).unwrap_err();
    assert!(fault.is_transient());
    let fault = kernel.rename(7, "eth0").unwrap_err();
    assert_eq!(fault.to_string(), "could not change the name to eth0 of link #7");
    let gone = Namespace::open(Path::new("/proc/0/ns/net")).unwrap_err();
    assert!(!gone.is_transient());
}
