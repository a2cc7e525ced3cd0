// SPDX-License-Identifier: Apache-2.0
//! Network plugins: a line `PLUGIN COMMAND INTERFACE`, and the configuration on standard input.
//!
//! Properties: a valid configuration leads to a plan that ends: once its steps are done, none is left; addresses from a
//! pool belong to the pool; results and errors are read as they were written.

use std::collections::{BTreeMap, BTreeSet};

use berth_fabric::cni::bridge::{self, Want};
use berth_fabric::cni::eni::{self, EniConfig};
use berth_fabric::cni::ipam::Wanted;
use berth_fabric::cni::spec::{CniError, Ip, Outcome, RouteTo, Version};
use berth_fabric::cni::{Asked, Bridged, asked};
use berth_fabric::kernel::netlink::{Link, Route};
use ipnet::IpNet;

/// Number of the container's link in the model.
const INDEX: u32 = 3;
/// Number of the bridge in the model.
const BRIDGE: u32 = 7;

pub(crate) fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(line) = std::str::from_utf8(&data[..end]) else { return };
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let plugin = word();
    let env = BTreeMap::from([
        ("CNI_COMMAND".to_owned(), word()),
        ("CNI_IFNAME".to_owned(), word()),
        ("CNI_CONTAINERID".to_owned(), "task".to_owned()),
        ("CNI_NETNS".to_owned(), "/run/netns/task".to_owned()),
    ]);
    match asked(&plugin, &env, data.get(end + 1..).unwrap_or_default()) {
        Err(error) => check_error(&error),
        Ok(Asked::Interface(name, config)) => check_interface(&name, &config),
        Ok(Asked::Bridge(bridged)) => check_bridged(&bridged),
        Ok(Asked::Addresses(wanted, routes)) => drop(leased(&wanted, routes)),
        Ok(Asked::Keep(_) | Asked::Nothing) => {}
    }
}

fn check_error(error: &CniError) {
    assert!(!error.msg.is_empty(), "an error without words");
    for version in Version::ALL {
        let read = CniError::from_json(&error.to_json(version.as_str()));
        assert_eq!(read.as_ref(), Some(error), "written and read again");
    }
}

fn check_outcome(outcome: &Outcome) {
    for version in Version::ALL {
        assert_eq!(Outcome::from_json(&outcome.to_json(version)).as_ref(), Ok(outcome), "written and read again");
    }
}

/// The first address of each pool, as `ecs-ipam` answers it.
fn leased(wanted: &[Wanted], routes: Vec<RouteTo>) -> Outcome {
    let ip = |wanted: &Wanted| {
        let address =
            wanted.address.or_else(|| wanted.pool.next(None, &BTreeSet::new())).expect("a pool has an address");
        assert!(wanted.pool.may_lease(address), "{address} is not of {}", wanted.pool);
        let next = wanted.pool.next(Some(address), &BTreeSet::from([address]));
        assert!(next.is_none_or(|next| next != address && wanted.pool.may_lease(next)));
        let gateway = wanted.pool.gateway();
        assert!(wanted.pool.subnet().contains(&gateway));
        Ip { address: wanted.pool.with_prefix(address), gateway: Some(gateway), interface: None }
    };
    let outcome = Outcome { interfaces: Vec::new(), ips: wanted.iter().map(ip).collect(), routes };
    check_outcome(&outcome);
    outcome
}

fn link(index: u32, name: &str, kind: &str) -> Link {
    Link { index, name: name.to_owned(), mtu: 1500, kind: Some(kind.to_owned()), ..Link::default() }
}

/// Like the kernel: one route to a destination.
fn put_route(routes: &mut Vec<Route>, route: Route) {
    assert_eq!(route.dst, route.dst.trunc(), "a route with host bits");
    routes.retain(|there| there.dst != route.dst);
    routes.push(route);
}

fn check_interface(name: &str, config: &EniConfig) {
    let link = Link { mac: Some(config.mac), is_up: true, ..link(INDEX, "veth0", "veth") };
    let mut seen = eni::Seen { link, addresses: Vec::new(), routes: Vec::new(), has_ipv6: true };
    for step in eni::plan(config, name, &seen) {
        match step {
            eni::Step::Down => seen.link.is_up = false,
            eni::Step::Rename { to, .. } => {
                assert!(!seen.link.is_up, "a link that is up cannot be renamed");
                seen.link.name = to;
            }
            eni::Step::SetMtu { mtu } => seen.link.mtu = mtu,
            eni::Step::AddAddress { address } => {
                seen.addresses.push(address);
                put_route(&mut seen.routes, Route::direct(address.trunc(), INDEX));
            }
            eni::Step::Up => seen.link.is_up = true,
            eni::Step::AddRoute { route } => put_route(&mut seen.routes, route),
        }
    }
    let left = eni::plan(config, name, &seen);
    assert!(left.is_empty(), "left to do: {left:?} for {config:?}");
}

fn check_bridged(bridged: &Bridged) {
    if let Ok((wanted, routes)) = bridged.addresses() {
        check_want(bridged.want(&leased(&wanted, routes)));
    }
    match bridged.previous() {
        Some(Ok(previous)) => {
            check_outcome(&previous);
            check_want(bridged.want(&previous));
        }
        Some(Err(error)) => check_error(&error),
        None => {}
    }
}

fn check_want(want: Result<Want, CniError>) {
    let want = match want {
        Ok(want) => want,
        Err(error) => return check_error(&error),
    };
    let mut seen = bridge::Seen::default();
    let steps = bridge::plan(&want, &seen).expect("nothing is in the way");
    for step in &steps {
        assert!(!step.to_string().is_empty());
        perform(&mut seen, step);
    }
    let left = bridge::plan(&want, &seen);
    assert!(left.as_ref().is_ok_and(Vec::is_empty), "left to do: {left:?} for {want:?}");
}

/// The state that a kernel shows after a step.
fn perform(seen: &mut bridge::Seen, step: &bridge::Step) {
    use bridge::Step;
    let add = |addresses: &mut Vec<IpNet>, address: &IpNet| addresses.push(*address);
    match step {
        Step::MakeBridge { name } => seen.bridge = Some(link(BRIDGE, name, "bridge")),
        Step::AddBridgeAddress { address } => add(&mut seen.bridge_addresses, address),
        Step::RemoveBridgeAddress { address } => seen.bridge_addresses.retain(|there| there != address),
        Step::BridgeUp => seen.bridge.iter_mut().for_each(|bridge| bridge.is_up = true),
        Step::MakePair { container_if, mac, .. } => {
            seen.host_end = Some(Link { bridge: Some(BRIDGE), port_learning: true, ..link(8, "veth00000001", "veth") });
            seen.container_end = Some(Link { mac: Some(*mac), ..link(INDEX, container_if, "veth") });
        }
        Step::Attach => seen.host_end.iter_mut().for_each(|end| end.bridge = Some(BRIDGE)),
        Step::Pin { .. } => {
            assert!(seen.host_end.as_ref().is_some_and(|end| end.port_learning), "a port has its entry")
        }
        Step::Isolate => {
            seen.host_end.iter_mut().for_each(|end| (end.port_isolated, end.port_learning) = (true, false));
        }
        Step::Guard { lease } => {
            assert!(seen.host_end.as_ref().is_some_and(|end| !end.is_up), "a port that is up before it is guarded");
            seen.guarded = Some(*lease);
        }
        Step::Hairpin => seen.host_end.iter_mut().for_each(|end| end.port_hairpin = true),
        Step::HostUp => {
            let is_isolated = seen.host_end.as_ref().is_some_and(|end| end.port_isolated);
            assert!(is_isolated, "a port that is up before it is isolated");
            seen.host_end.iter_mut().for_each(|end| end.is_up = true);
        }
        Step::AddAddress { address } => add(&mut seen.addresses, address),
        Step::ContainerUp => seen.container_end.iter_mut().for_each(|end| end.is_up = true),
        Step::RemoveRoute { dst } => seen.routes.retain(|route| route.dst != *dst),
        Step::AddRoute { dst, gateway } => {
            put_route(&mut seen.routes, Route { gateway: *gateway, ..Route::direct(*dst, INDEX) });
        }
    }
}
