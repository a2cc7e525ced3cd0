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
    }
}

fn link(index: u32, name: &str, kind: &str) -> Link {
    Link { index, name: name.into(), mtu: 1500, kind: Some(kind.into()), ..Link::default() }
}

/// What a kernel would show after a step.
fn perform(want: &Want, seen: &mut Seen, step: &Step) {
    match step {
        Step::MakeBridge { name } => seen.bridge = Some(link(7, name, "bridge")),
        Step::AddBridgeAddress { address } => seen.bridge_addresses.push(*address),
        Step::RemoveBridgeAddress { address } => seen.bridge_addresses.retain(|there| there != address),
        Step::BridgeUp => seen.bridge.as_mut().unwrap().is_up = true,
        Step::MakePair { container_if, mac, .. } => {
            seen.host_end = Some(Link { bridge: Some(7), ..link(8, "veth00000001", "veth") });
            seen.container_end = Some(Link { mac: Some(*mac), ..link(2, container_if, "veth") });
        }
        Step::Attach => seen.host_end.as_mut().unwrap().bridge = Some(7),
        Step::Isolate => seen.host_end.as_mut().unwrap().port_isolated = true,
        Step::Hairpin => seen.host_end.as_mut().unwrap().port_hairpin = true,
        Step::HostUp => seen.host_end.as_mut().unwrap().is_up = true,
        Step::AddAddress { address } => seen.addresses.push(*address),
        Step::ContainerUp => seen.container_end.as_mut().unwrap().is_up = true,
        Step::RemoveRoute { dst } => seen.routes.retain(|route| route.dst != *dst),
        Step::AddRoute { dst, gateway } => {
            let route = Route::direct(*dst, 2);
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
            isolate the bridge port
            switch the host's end on
            add address 169.254.172.2/22 to the container's end
            switch the container's end on
            add route 169.254.172.1/32
            add route 169.254.170.2/32 via 169.254.172.1
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
    let seen = Seen {
        bridge: Some(Link { is_up: true, ..link(7, "ecs-bridge", "bridge") }),
        bridge_addresses: vec!["169.254.172.9/22".parse().unwrap(), "169.254.170.2/32".parse().unwrap()],
        ..Seen::default()
    };
    assert!(matches!(plan(&want(), &seen), Err(Fault::BridgeAddress { .. })));
    let steps = plan(&Want { force_address: true, ..want() }, &seen).unwrap();
    assert_eq!(steps[0].to_string(), "remove address 169.254.172.9/22 from the bridge");
    assert_eq!(steps[1].to_string(), "add address 169.254.172.1/22 to the bridge");
}

proptest! {
    /// Whatever step a kill came after: the next plan completes the work, and then nothing is left to do.
    #[test]
    fn a_plan_cut_short_is_completed(cut in 0usize..12, hairpin: bool, default_route: bool) {
        let wanted = Want { hairpin, default_route, ..want() };
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
