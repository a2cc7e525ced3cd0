// SPDX-License-Identifier: Apache-2.0
//! Public addresses of interfaces: an elastic IP address, or one of the pool that comes and goes with the interface.
//!
//! The internet gateway translates between it and the private address; the interface itself never sees it. Not here: the
//! pool (`world.rs`), the operations on elastic IP addresses (`elastic_ip.rs`).

use std::net::Ipv4Addr;

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::NetworkInterfaceAssociation;
use berth_state::records::Single;
use berth_state::vpc::{ElasticIp, Eni};
use berth_state::{Draft, Env, Refusal, Snapshot};
use berth_types::{EniId, VpcId};

/// Owner that AWS shows of addresses of its pool.
const AMAZON: &str = "amazon";

/// The lowest free public address. It is in use once a record has it.
pub(super) fn lowest_free(snap: &Snapshot) -> Result<Ipv4Addr, Refusal> {
    let lowest = snap.vpc().world.get(&Single).and_then(|world| {
        let lowest = snap.vpc().index().public_addresses.lowest_free(world.first().to_bits());
        lowest.map(Ipv4Addr::from_bits).filter(|lowest| *lowest <= world.last())
    });
    lowest.ok_or_else(|| {
        let words = "There are not enough free public addresses in the pool to satisfy the request.";
        Refusal::new(Code::InsufficientAddressCapacity, words)
    })
}

/// The elastic IP address that is associated with an interface.
pub(super) fn elastic_of<'a>(snap: &'a Snapshot, eni: &EniId) -> Option<&'a ElasticIp> {
    let id = snap.vpc().index().elastic_ips.get(eni)?;
    snap.vpc().elastic_ips.get(id).map(AsRef::as_ref)
}

/// True if an interface of the VPC has a public address.
pub(super) fn is_any_in(snap: &Snapshot, vpc: &VpcId) -> bool {
    let enis = snap.vpc().index().vpc_enis.range((vpc.clone(), EniId::from_bits(0))..);
    let mut enis = enis.take_while(|(of, _)| of == vpc).filter_map(|(_, eni)| snap.vpc().enis.get(eni));
    enis.any(|eni| eni.public_address.is_some() || elastic_of(snap, &eni.id).is_some())
}

/// Ends the association of an interface with its elastic IP address, if it has one.
pub(super) fn disassociate(draft: &mut Draft, eni: &EniId) {
    if let Some(elastic) = elastic_of(draft, eni).cloned() {
        draft.put(ElasticIp { association: None, ..elastic });
    }
}

/// The public address of an interface for an answer.
pub(super) fn show(snap: &Snapshot, eni: &Eni, env: &Env) -> Option<NetworkInterfaceAssociation> {
    let elastic = elastic_of(snap, &eni.id);
    let address = elastic.map(|elastic| elastic.address).or(eni.public_address)?;
    let association = elastic.and_then(|elastic| elastic.association.as_ref());
    Some(NetworkInterfaceAssociation {
        allocation_id: elastic.map(|elastic| elastic.id.to_string()),
        association_id: association.map(|association| association.id.to_string()),
        ip_owner_id: Some(if elastic.is_some() { env.account.clone() } else { AMAZON.to_owned() }),
        public_dns_name: dns_name(snap, &eni.vpc, address, &env.region),
        public_ip: Some(address.to_string()),
        ..Default::default()
    })
}

/// The DNS name of a public address; only in VPCs with DNS support and DNS hostnames.
fn dns_name(snap: &Snapshot, vpc: &VpcId, address: Ipv4Addr, region: &str) -> Option<String> {
    let vpc = snap.vpc().vpcs.get(vpc)?;
    if !(vpc.dns_support && vpc.dns_hostnames) {
        return None;
    }
    let [a, b, c, d] = address.octets();
    // us-east-1 is older than the naming of all other regions.
    Some(match region {
        "us-east-1" => format!("ec2-{a}-{b}-{c}-{d}.compute-1.amazonaws.com"),
        region => format!("ec2-{a}-{b}-{c}-{d}.{region}.compute.amazonaws.com"),
    })
}
