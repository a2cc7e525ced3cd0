// SPDX-License-Identifier: Apache-2.0
//! The intents of the world, public addresses and NAT gateways.

use std::collections::BTreeMap;

use berth_state::Snapshot;
use berth_state::records::Single;
use berth_state::vpc::{ElasticIp, Eni, EniOwner, NatGateway, Vpc};
use berth_types::intent::{EndpointsIntent, HostIntent, NatGatewayIntent, PublicAddressIntent, WorldIntent};
use berth_types::{HostId, Ipv4Cidr, VpcId};

/// The VPCs that a host is concerned with.
type Vpcs<'a> = BTreeMap<VpcId, &'a Vpc>;

/// The world with its pool, if the installation has one.
pub(super) fn worlds(snap: &Snapshot, region: &str) -> BTreeMap<Ipv4Cidr, WorldIntent> {
    let Some(world) = snap.vpc().world.get(&Single) else { return BTreeMap::new() };
    let services = world.endpoints_of_services().map(|(address, service)| (address, service.to_owned()));
    let endpoints = EndpointsIntent {
        range: world.endpoints(),
        region: region.to_owned(),
        all: world.endpoint_of_all(),
        services: services.collect(),
    };
    let intent = WorldIntent { host_address: world.host_address(), endpoints: Some(endpoints) };
    BTreeMap::from([(world.pool, intent)])
}

/// The public address of an interface, while a host translates it.
pub(super) fn public_address(snap: &Snapshot, vpcs: &Vpcs<'_>, eni: &Eni, intent: &mut HostIntent) {
    let elastic = snap.vpc().index().elastic_ips.get(&eni.id);
    let elastic = elastic.and_then(|id| snap.vpc().elastic_ips.get(id)).map(|elastic| elastic.address);
    let (Some(vpc), Some(public), Some(host)) =
        (vpcs.get(&eni.vpc), elastic.or(eni.public_address), translator(snap, eni))
    else {
        return;
    };
    let owner = PublicAddressIntent { vni: vpc.vni, eni: eni.id.clone(), address: eni.address, host: host.clone() };
    intent.public_addresses.insert(public, owner);
}

/// The public address of the interface with which an elastic IP address is associated.
pub(super) fn elastic_ip(snap: &Snapshot, vpcs: &Vpcs<'_>, elastic: &ElasticIp, intent: &mut HostIntent) {
    let eni = elastic.association.as_ref().and_then(|association| snap.vpc().enis.get(&association.eni));
    if let Some(eni) = eni {
        public_address(snap, vpcs, eni, intent);
    }
}

/// A NAT gateway that a host serves, and the public address of its interface.
pub(super) fn nat_gateway(snap: &Snapshot, vpcs: &Vpcs<'_>, gateway: &NatGateway, intent: &mut HostIntent) {
    let (Some(vpc), Some((host, eni))) = (vpcs.get(&gateway.vpc), gateway.serving()) else { return };
    let wanted = NatGatewayIntent {
        vni: vpc.vni,
        subnet: gateway.subnet.clone(),
        eni: eni.clone(),
        addresses: gateway.addresses.iter().filter_map(|address| address.private).collect(),
        host: host.clone(),
        rate: gateway.rate,
    };
    intent.nat_gateways.insert(gateway.id.clone(), wanted);
    if let Some(eni) = snap.vpc().enis.get(eni) {
        public_address(snap, vpcs, eni, intent);
    }
}

/// The host that translates the public address of an interface: the one it is plugged on, or that of its NAT gateway.
fn translator<'a>(snap: &'a Snapshot, eni: &'a Eni) -> Option<&'a HostId> {
    match &eni.owner {
        EniOwner::NatGateway(id) => snap.vpc().nat_gateways.get(id)?.serving().map(|(host, _)| host),
        EniOwner::User
        | EniOwner::FargateTask(_)
        | EniOwner::Ec2Task(_)
        | EniOwner::Instance(_)
        | EniOwner::Standalone(_) => eni.wanted_attachment().map(|attachment| &attachment.host),
    }
}
