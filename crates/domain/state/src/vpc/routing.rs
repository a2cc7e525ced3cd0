// SPDX-License-Identifier: Apache-2.0
//! Stored route tables and network ACLs.
//!
//! A route whose target is gone stays in its table. Not here: which targets are alive (`look_up.rs`).

use std::collections::BTreeMap;

use berth_types::intent::{AclEntryIntent, Direction, NetworkAclIntent, PortRange};
use berth_types::{
    EniId, InternetGatewayId, Ipv4Cidr, NatGatewayId, NetworkAclAssociationId, NetworkAclId, PeeringId, PrefixListId,
    RouteTableAssociationId, RouteTableId, SubnetId, Vni, VpcId,
};
use serde::{Deserialize, Serialize};

use super::index::Index;
use super::ipv6::Ipv6Cidr;
use super::record::ICMPV6;
use crate::records::Stored;
use crate::{ClientToken, Tags};

/// Number of the last entry of each direction of a network ACL, which denies everything; AWS shows it as `*`.
pub const LAST_ENTRY: u16 = 32_767;

/// Number of the entry of a new default network ACL, which admits everything.
const ADMITS_ALL: u16 = 100;

/// A network ACL. Its last entry of each direction, which denies everything, is implied and not stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// Id.
    pub id: NetworkAclId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Made with its VPC; the ACL of new subnets. Version 0.1.0 has no others.
    #[serde(default = "yes")]
    pub is_default: bool,
    /// Its subnets, with the ids of their associations.
    pub associations: BTreeMap<SubnetId, NetworkAclAssociationId>,
    /// Entries for packets into the subnets, by number. Version 0.1.0 does not store them.
    #[serde(default = "admit_all")]
    pub ingress: BTreeMap<u16, AclEntry>,
    /// Entries for packets out of the subnets, by number.
    #[serde(default = "admit_all")]
    pub egress: BTreeMap<u16, AclEntry>,
    /// Token of CreateNetworkAcl, for idempotency, with a digest of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<ClientToken>,
    /// Tags.
    pub tags: Tags,
}

fn yes() -> bool {
    true
}

/// The entries of a new default ACL in one direction.
pub fn admit_all() -> BTreeMap<u16, AclEntry> {
    let everywhere = Ipv4Cidr::containing(std::net::Ipv4Addr::UNSPECIFIED, 0).map(AclRange::Ipv4);
    let entry = |range| AclEntry { protocol: None, ports: PortRange::All, range, admits: true };
    everywhere.into_iter().map(|range| (ADMITS_ALL, entry(range))).collect()
}

/// An entry of a network ACL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AclEntry {
    /// IP protocol number; `None` means all.
    pub protocol: Option<u8>,
    /// Ports of the destination, or ICMP types and codes.
    pub ports: PortRange,
    /// Addresses of the other end.
    pub range: AclRange,
    /// True if the packet passes.
    pub admits: bool,
}

/// Addresses that an entry of a network ACL matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AclRange {
    /// IPv4 addresses.
    Ipv4(Ipv4Cidr),
    /// IPv6 addresses; such an entry matches nothing yet, because no VPC has any.
    Ipv6(Ipv6Cidr),
}

impl NetworkAcl {
    /// The entries of one direction.
    pub fn entries(&self, direction: Direction) -> &BTreeMap<u16, AclEntry> {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The same, to change them.
    pub fn entries_mut(&mut self, direction: Direction) -> &mut BTreeMap<u16, AclEntry> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// The ACL for the data path: the entries that an IPv4 packet can match.
    pub fn intent(&self, vni: Vni) -> NetworkAclIntent {
        let entries = [Direction::Ingress, Direction::Egress].into_iter().flat_map(|direction| {
            self.entries(direction).iter().filter_map(move |(number, entry)| entry.intent(*number, direction))
        });
        NetworkAclIntent { vni, entries: entries.collect() }
    }
}

impl AclEntry {
    fn intent(&self, number: u16, direction: Direction) -> Option<AclEntryIntent> {
        let AclRange::Ipv4(cidr) = self.range else { return None };
        let (protocol, ports, admits) = (self.protocol, self.ports, self.admits);
        (protocol != Some(ICMPV6)).then_some(AclEntryIntent { number, direction, protocol, ports, cidr, admits })
    }
}

/// A route table. The local route of each range of the VPC is implied; one that leads elsewhere is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Id.
    pub id: RouteTableId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Set on the main route table: the id of its main association.
    pub main_association: Option<RouteTableAssociationId>,
    /// Explicit associations.
    pub associations: BTreeMap<RouteTableAssociationId, SubnetId>,
    /// Routes by destination.
    pub routes: BTreeMap<Ipv4Cidr, RouteTarget>,
    /// Routes to the ranges of prefix lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prefix_list_routes: BTreeMap<PrefixListId, RouteTarget>,
    /// Token of CreateRouteTable, for idempotency, with a digest of the request.
    pub client_token: Option<ClientToken>,
    /// Tags.
    pub tags: Tags,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    /// To the internet gateway.
    InternetGateway(InternetGatewayId),
    /// To an interface of the VPC.
    Eni(EniId),
    /// To a NAT gateway of the VPC.
    NatGateway(NatGatewayId),
    /// Through a peering.
    Peering(PeeringId),
}

impl RouteTable {
    /// The targets of all routes.
    pub fn targets(&self) -> impl Iterator<Item = &RouteTarget> {
        self.routes.values().chain(self.prefix_list_routes.values())
    }
}

impl Stored for NetworkAcl {
    type Key = NetworkAclId;
    type Index = Index;
    fn key(&self) -> NetworkAclId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.vpc_network_acls.insert((self.vpc.clone(), self.id.clone()));
    }
    fn unindex(&self, index: &mut Index) {
        index.vpc_network_acls.remove(&(self.vpc.clone(), self.id.clone()));
    }
}

impl Stored for RouteTable {
    type Key = RouteTableId;
    type Index = Index;
    fn key(&self) -> RouteTableId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.vpc_route_tables.insert((self.vpc.clone(), self.id.clone()));
        for list in self.prefix_list_routes.keys() {
            index.prefix_list_routes.insert((list.clone(), self.id.clone()));
        }
        for target in self.targets() {
            if let RouteTarget::Eni(eni) = target {
                index.eni_routes.insert((eni.clone(), self.id.clone()));
            }
        }
    }
    fn unindex(&self, index: &mut Index) {
        index.vpc_route_tables.remove(&(self.vpc.clone(), self.id.clone()));
        for list in self.prefix_list_routes.keys() {
            index.prefix_list_routes.remove(&(list.clone(), self.id.clone()));
        }
        for target in self.targets() {
            if let RouteTarget::Eni(eni) = target {
                index.eni_routes.remove(&(eni.clone(), self.id.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_acl_of_the_first_version_admits_everything() {
        let stored = r#"{"id":"acl-00000000000000001","vpc":"vpc-00000000000000001","associations":{},"tags":{}}"#;
        let acl: NetworkAcl = serde_json::from_str(stored).unwrap();
        assert!(acl.is_default);
        assert_eq!((&acl.ingress, &acl.egress), (&admit_all(), &admit_all()));
        let entries = acl.intent(Vni(1)).entries;
        assert_eq!(entries.iter().map(|entry| (entry.number, entry.admits)).collect::<Vec<_>>(), [(100, true); 2]);
        let again: NetworkAcl = serde_json::from_value(serde_json::to_value(&acl).unwrap()).unwrap();
        assert_eq!(again, acl);
    }
}
