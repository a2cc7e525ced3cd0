// SPDX-License-Identifier: Apache-2.0
//! The parts of a VPC, and what the data path makes of its route tables.
//!
//! Whether the target of a route is alive is decided here, for answers to users and for the intents of hosts alike.

use std::collections::BTreeMap;

use berth_types::intent::{RouteIntent, RouteTableIntent, SecurityGroupIntent};
use berth_types::{HostId, InternetGatewayId, Ipv4Cidr, NetworkAclId, PrefixListId, RouteTableId, SubnetId, VpcId};

use super::kinds::Records;
use super::nat_gateway::NatGatewayState;
use super::record::{AttachmentStatus, SecurityGroup, Subnet, Vpc};
use super::routing::{NetworkAcl, RouteTable, RouteTarget};

impl Records {
    /// The subnets of a VPC.
    pub fn subnets_of<'a>(&'a self, vpc: &VpcId) -> impl Iterator<Item = &'a Subnet> + use<'a> {
        let vpc = vpc.clone();
        let mine = self.index().vpc_subnets.range((vpc.clone(), SubnetId::from_bits(0))..);
        mine.take_while(move |(of, _)| *of == vpc).filter_map(|(_, id)| self.subnets.get(id).map(AsRef::as_ref))
    }

    /// The route tables of a VPC.
    pub fn route_tables_of<'a>(&'a self, vpc: &VpcId) -> impl Iterator<Item = &'a RouteTable> + use<'a> {
        let vpc = vpc.clone();
        let mine = self.index().vpc_route_tables.range((vpc.clone(), RouteTableId::from_bits(0))..);
        mine.take_while(move |(of, _)| *of == vpc).filter_map(|(_, id)| self.route_tables.get(id).map(AsRef::as_ref))
    }

    /// The network ACLs of a VPC.
    pub fn network_acls_of<'a>(&'a self, vpc: &VpcId) -> impl Iterator<Item = &'a NetworkAcl> + use<'a> {
        let vpc = vpc.clone();
        let mine = self.index().vpc_network_acls.range((vpc.clone(), NetworkAclId::from_bits(0))..);
        mine.take_while(move |(of, _)| *of == vpc).filter_map(|(_, id)| self.network_acls.get(id).map(AsRef::as_ref))
    }

    /// The host of the NAT gateways to which routes of a subnet lead, if they lead to one.
    pub fn nat_host_of(&self, subnet: &Subnet) -> Option<&HostId> {
        let tables = || self.route_tables_of(&subnet.vpc);
        let own = tables().find(|table| table.associations.values().any(|associated| *associated == subnet.id));
        let in_effect = own.or_else(|| tables().find(|table| table.main_association.is_some()))?;
        in_effect.targets().find_map(|target| match target {
            RouteTarget::NatGateway(id) => self.nat_gateways.get(id)?.serving().map(|(host, _)| host),
            RouteTarget::InternetGateway(_) | RouteTarget::Eni(_) | RouteTarget::Peering(_) => None,
        })
    }

    /// The internet gateway attached to a VPC.
    pub fn internet_gateway_of(&self, vpc: &VpcId) -> Option<&InternetGatewayId> {
        self.internet_gateways.values().find(|gateway| gateway.vpc.as_ref() == Some(vpc)).map(|gateway| &gateway.id)
    }

    /// A security group for the data path, without rules that only IPv6 packets can match.
    pub fn security_group_intent(&self, group: &SecurityGroup) -> SecurityGroupIntent {
        let rules = group.rules.iter().filter_map(|(id, rule)| {
            let lists = |list: &PrefixListId| self.prefix_lists.get(list).map(|list| list.ipv4().collect());
            Some((id.clone(), rule.matches.intent(lists)?))
        });
        SecurityGroupIntent { rules: rules.collect() }
    }

    /// A route table for the data path.
    pub fn route_table_intent(&self, table: &RouteTable, vpc: &Vpc) -> RouteTableIntent {
        let mut routes: BTreeMap<Ipv4Cidr, RouteIntent> = vpc.cidrs().map(|cidr| (cidr, RouteIntent::Local)).collect();
        routes.extend(table.routes.iter().map(|(cidr, target)| (*cidr, self.route_intent(target, &vpc.id))));
        for (list, target) in &table.prefix_list_routes {
            let target = self.route_intent(target, &vpc.id);
            for cidr in self.prefix_lists.get(list).iter().flat_map(|list| list.ipv4()) {
                // A route to the same range precedes that of a list.
                routes.entry(cidr).or_insert_with(|| target.clone());
            }
        }
        RouteTableIntent { vni: vpc.vni, routes }
    }

    /// The target of a route of a VPC for the data path; a blackhole when packets cannot reach it any more.
    pub fn route_intent(&self, target: &RouteTarget, vpc: &VpcId) -> RouteIntent {
        let alive = match target {
            RouteTarget::InternetGateway(id) => self
                .internet_gateways
                .get(id)
                .filter(|gateway| gateway.vpc.as_ref() == Some(vpc))
                .map(|_| RouteIntent::InternetGateway(id.clone())),
            RouteTarget::Eni(id) => self
                .enis
                .get(id)
                .filter(|eni| eni.vpc == *vpc)
                .and_then(|eni| eni.attachment.as_ref())
                .filter(|attachment| attachment.status == AttachmentStatus::Attached)
                .map(|_| RouteIntent::Eni(id.clone())),
            RouteTarget::NatGateway(id) => self
                .nat_gateways
                .get(id)
                .filter(|gateway| gateway.vpc == *vpc && gateway.state == NatGatewayState::Available)
                .map(|_| RouteIntent::NatGateway(id.clone())),
            RouteTarget::Peering(id) => self
                .peerings
                .get(id)
                .filter(|peering| peering.is_active())
                .and_then(|peering| self.vpcs.get(peering.peer_of(vpc)?))
                .map(|peer| RouteIntent::Peering { id: id.clone(), vni: peer.vni }),
        };
        alive.unwrap_or(RouteIntent::Blackhole)
    }

    /// True if the route is shown as active. A NAT gateway that is being made counts, as on AWS.
    pub fn is_route_active(&self, target: &RouteTarget, vpc: &VpcId) -> bool {
        let is_live = |id| self.nat_gateways.get(id).is_some_and(|gateway| gateway.vpc == *vpc && gateway.is_live());
        match target {
            RouteTarget::NatGateway(id) => is_live(id),
            RouteTarget::InternetGateway(_) | RouteTarget::Eni(_) | RouteTarget::Peering(_) => {
                self.route_intent(target, vpc) != RouteIntent::Blackhole
            }
        }
    }
}
