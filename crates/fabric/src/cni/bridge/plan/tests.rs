// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use super::*;
use crate::cni::bridge::BridgeConfig;
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn want() -> Want {
    let config = BridgeConfig::ecs();
    Want {
        bridge: config.bridge,
        container_if: "ecs-eth0".into(),
        namespace: "/run/netns/task".into(),
        mtu: 1500,
        addresses: vec![("169.254.172.2/22".parse().unwrap(), config.pool.gateway())],
        routes: config.routes,
        default_route: false,
        hairpin: false,
        force_address: false,
        guard: None,
    }
}

fn link(index: u32, name: &str, kind: &str) -> Link {
    Link { index, name: name.into(), mtu: 1500, kind: Some(kind.into()), ..Link::default() }
}

/// The state that a kernel shows after a step.
fn perform(want: &Want, seen: &mut Seen, step: &Step) {
    match step {
        Step::MakeBridge { name } => seen.bridge = Some(link(7, name, "bridge")),
        Step::AddBridgeAddress { address } => seen.bridge_addresses.push(*address),
        Step::RemoveBridgeAddress { address } => seen.bridge_addresses.retain(|there| there != address),
        Step::BridgeUp => seen.bridge.as_mut().unwrap().is_up = true,
        Step::MakePair { container_if, mac, .. } => {
            seen.host_end = Some(Link { bridge: Some(7), port_learning: true, ..link(8, "veth00000001", "veth") });
            seen.container_end = Some(Link { mac: Some(*mac), ..link(2, container_if, "veth") });
        }
        Step::Attach => seen.host_end.as_mut().unwrap().bridge = Some(7),
        Step::Pin { mac } => assert_eq!(*mac, want.mac()),
        Step::Isolate => {
            let host = seen.host_end.as_mut().unwrap();
            (host.port_isolated, host.port_learning) = (true, false);
        }
        Step::Guard { lease } => seen.guarded = Some(*lease),
        Step::Hairpin => seen.host_end.as_mut().unwrap().port_hairpin = true,
        Step::HostUp => seen.host_end.as_mut().unwrap().is_up = true,
        Step::AddAddress { address } => seen.addresses.push(*address),
        Step::ContainerUp => seen.container_end.as_mut().unwrap().is_up = true,
        Step::RemoveRoute { dst } => seen.routes.retain(|route| route.dst != *dst),
        Step::AddRoute { dst, gateway } => {
            let route = Route::direct(*dst, 2);
            assert!(gateway.is_none_or(|gateway| seen.routes.iter().any(|route| route.dst == IpNet::from(gateway))));
            seen.routes.retain(|route| route.dst != *dst);
            seen.routes.push(Route { gateway: *gateway, ..route });
        }
    }
    assert!(!want.addresses.is_empty());
}

#[track_caller]
fn check(want: &Want, seen: &Seen, expected: Expect) {
    let steps = plan(want, seen).unwrap();
    expected.assert_eq(&steps.iter().map(|step| format!("{step}\n")).collect::<String>());
}

#[test]
fn a_first_task_gets_bridge_pair_and_routes() {
    check(
        &want(),
        &Seen::default(),
        expect![[r#"
            make bridge ecs-bridge
            add address 169.254.172.1/22 to the bridge
            switch the bridge on
            make a veth pair to ecs-eth0 with MAC 0a:58:a9:fe:ac:02 and MTU 1500
            pin MAC 0a:58:a9:fe:ac:02 to the bridge port
            isolate the bridge port
            switch the host's end on
            add address 169.254.172.2/22 to the container's end
            switch the container's end on
            add route 169.254.172.1/32
            add route 169.254.170.2/32 via 169.254.172.1
            add route 169.254.172.1/32 via 169.254.172.1
        "#]],
    );
}

#[test]
fn a_connected_route_is_removed() {
    let mut seen = Seen::default();
    let wanted = want();
    for step in plan(&wanted, &seen.clone()).unwrap() {
        perform(&wanted, &mut seen, &step);
    }
    seen.routes.push(Route::direct("169.254.172.0/22".parse().unwrap(), 2));
    check(
        &wanted,
        &seen,
        expect![[r#"
            remove route 169.254.172.0/22
        "#]],
    );
}

#[test]
fn another_address_on_the_bridge_is_an_error_unless_forced() {
    let bridge = |addresses: &[&str]| Seen {
        bridge: Some(Link { is_up: true, ..link(7, "ecs-bridge", "bridge") }),
        bridge_addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ..Seen::default()
    };
    for other in ["169.254.172.9/22", "10.0.0.1/24", "169.254.172.1/24"] {
        let seen = bridge(&[other, "169.254.170.2/32"]);
        assert!(matches!(plan(&want(), &seen), Err(Fault::BridgeAddress { .. })), "{other}");
        let steps = plan(&Want { force_address: true, ..want() }, &seen).unwrap();
        assert_eq!(steps[0].to_string(), format!("remove address {other} from the bridge"));
        assert_eq!(steps[1].to_string(), "add address 169.254.172.1/22 to the bridge");
    }
    let seen = bridge(&["169.254.172.1/22", "169.254.170.2/32", "10.0.0.1/24"]);
    assert!(plan(&want(), &seen).is_ok(), "it has the address");
}

#[test]
fn a_port_is_guarded_before_it_is_up_and_again_if_it_was_not() {
    let wanted = Want { guard: Some("/sys/fs/bpf/berth/x/ports1".into()), ..want() };
    let mut seen = Seen::default();
    let steps = plan(&wanted, &seen).unwrap();
    let at = |wanted: &str| steps.iter().position(|step| step.to_string() == wanted).unwrap();
    assert_eq!(at("guard the bridge port of 169.254.172.2") + 1, at("switch the host's end on"));
    steps.iter().for_each(|step| perform(&wanted, &mut seen, step));
    assert_eq!(plan(&wanted, &seen).unwrap(), []);
    seen.guarded = None;
    check(
        &wanted,
        &seen,
        expect![[r#"
            guard the bridge port of 169.254.172.2
        "#]],
    );
}

proptest! {
    /// After a kill at any step, the next plan completes the work, and then no step remains.
    #[test]
    fn a_plan_cut_short_is_completed(cut in 0usize..16, hairpin: bool, default_route: bool) {
        let wanted = Want { hairpin, default_route, guard: Some("/pins".into()), ..want() };
        let mut seen = Seen::default();
        for step in plan(&wanted, &seen.clone()).unwrap().iter().take(cut) {
            perform(&wanted, &mut seen, step);
        }
        for step in plan(&wanted, &seen.clone()).unwrap() {
            perform(&wanted, &mut seen, &step);
        }
        prop_assert_eq!(plan(&wanted, &seen).unwrap(), vec![]);
    }
}
