// SPDX-License-Identifier: Apache-2.0
//! A task's own interface: configured in place, or found on the host by its address and moved.
#![allow(clippy::unwrap_used)]

#[path = "kernel_cni_lab/mod.rs"]
mod cni_lab;

use berth_fabric::cni::Fault;
use berth_fabric::cni::eni::{self, EniConfig};
use berth_fabric::kernel::Namespace;
use berth_fabric::kernel::netlink::VethPair;
use cni_lab::{Lab, mac, show};
use expect_test::expect;

const MAC: &str = "02:00:00:00:00:07";

fn config() -> EniConfig {
    EniConfig {
        mac: mac(MAC),
        addresses: vec!["10.0.1.20/24".parse().unwrap()],
        gateways: vec!["10.0.1.1".parse().unwrap()],
        mtu: Some(9001),
        vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap(), "10.0.1.0/24".parse().unwrap()],
        block_instance_metadata: true,
        stay_down: false,
    }
}

/// A pair between a namespace in the role of the fabric and `inside`.
fn plug(lab: &Lab, inside: &Namespace, name: &str, of: &str) {
    let fabric = lab.container("fabric");
    let pair = VethPair {
        name: "eni-1",
        mtu: Some(9001),
        up: true,
        peer_name: name,
        peer_mac: Some(mac(of)),
        peer_mtu: Some(1500),
        peer_ns: Some(inside.as_fd()),
        ..VethPair::default()
    };
    fabric.netlink().unwrap().create_veth(&pair).unwrap();
}

#[test]
fn an_interface_made_in_place_is_made_ready() {
    let lab = Lab::new();
    let task = lab.container("task");
    plug(&lab, &task, "eth1", MAC);
    for _ in 0..2 {
        eni::configure_in_place(&task, "eth1", &config()).unwrap();
    }
    expect![[r#"
        eth1 veth 02:00:00:00:00:07 mtu 9001 up
          10.0.1.20/24
        10.0.0.0/16 via 10.0.1.1 dev eth1 mtu 9001
        10.0.1.0/24 dev eth1
        blackhole 169.254.169.254
        blackhole fd00:ec2::254
        default via 10.0.1.1 dev eth1 mtu 1500
    "#]]
    .assert_eq(&show(&task));
    assert!(eni::missing(&task, "eth1", &config()).unwrap().is_empty());
}

#[test]
fn an_interface_on_the_host_is_found_by_its_address_moved_and_given_back() {
    let lab = Lab::new();
    let task = lab.container("task");
    plug(&lab, &lab.host, "ens6", MAC);
    let found = lab.on_host(|| eni::add(&task, "eth0", &config())).unwrap();
    assert_eq!(found.name, "ens6");
    assert_eq!(show(&lab.host), "\n");
    let ready = show(&task);
    assert!(ready.starts_with("eth0 veth 02:00:00:00:00:07 mtu 9001 up\n  10.0.1.20/24\n"), "{ready}");
    lab.on_host(|| eni::add(&task, "eth0", &config())).unwrap();
    assert_eq!(show(&task), ready);
    for _ in 0..2 {
        lab.on_host(|| eni::give_back(&task, mac(MAC))).unwrap();
        let held = show(&lab.host);
        assert!(held.starts_with("ecs200 veth 02:00:00:00:00:07 mtu 9001 down\n"), "{held}");
    }
}

#[test]
fn no_device_is_an_error_that_says_so() {
    let lab = Lab::new();
    let task = lab.container("task");
    let fault = lab.on_host(|| eni::add(&task, "eth0", &config())).unwrap_err();
    assert!(matches!(fault, Fault::NoDevice { .. }), "{fault}");
    assert!(matches!(eni::configure_in_place(&task, "eth0", &config()), Err(Fault::NoDevice { .. })));
}

#[test]
fn two_devices_of_one_address_are_not_guessed_between() {
    let lab = Lab::new();
    let task = lab.container("task");
    let mut host = lab.host.netlink().unwrap();
    lab.stub(&lab.host, "ens6", mac(MAC));
    host.create_bridge("br0", mac(MAC)).unwrap();
    lab.on_host(|| eni::add(&task, "eth0", &config())).unwrap();
    lab.stub(&lab.host, "ens7", mac("02:00:00:00:00:09"));
    lab.stub(&lab.host, "ens8", mac("02:00:00:00:00:09"));
    let other = EniConfig { mac: mac("02:00:00:00:00:09"), ..config() };
    let fault = lab.on_host(|| eni::add(&task, "eth2", &other)).unwrap_err();
    assert!(matches!(fault, Fault::SeveralDevices { .. }), "{fault}");
}

#[test]
fn a_failure_inside_brings_the_device_back_under_its_name() {
    let lab = Lab::new();
    let task = lab.container("task");
    plug(&lab, &lab.host, "ens6", MAC);
    let unreachable = EniConfig { gateways: vec!["192.0.2.1".parse().unwrap()], ..config() };
    let fault = lab.on_host(|| eni::add(&task, "eth0", &unreachable)).unwrap_err();
    assert!(fault.to_string().starts_with("could not add route"), "{fault}");
    assert!(show(&lab.host).starts_with("ens6 veth 02:00:00:00:00:07"), "{}", show(&lab.host));
    let taken = lab.container("taken");
    lab.stub(&taken, "eth0", mac("02:00:00:00:00:01"));
    let fault = lab.on_host(|| eni::add(&taken, "eth0", &config())).unwrap_err();
    assert!(matches!(fault, Fault::NameTaken { .. }), "{fault}");
    assert!(show(&lab.host).starts_with("ens6 veth"));
}
