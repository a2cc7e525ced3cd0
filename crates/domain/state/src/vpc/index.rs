// SPDX-License-Identifier: Apache-2.0
//! Look-ups of EC2 networking by values other than keys: derived from the records as they change, and never stored.

use std::net::Ipv4Addr;

use berth_types::{
    ElasticIpId, EniId, GroupSetId, HostId, MacAddress, NatGatewayId, NetworkAclId, PeeringId, PrefixListId,
    RouteTableId, SecurityGroupId, SubnetId, TimestampMs, VpcId,
};
use imbl::{OrdMap, OrdSet};

use crate::numbers::Numbers;

/// Look-ups of EC2 networking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    /// Interfaces by subnet and private address.
    pub addresses: OrdMap<(SubnetId, Ipv4Addr), EniId>,
    /// Addresses in use by subnet, as numbers.
    pub address_numbers: OrdMap<SubnetId, Numbers>,
    /// Device indexes in use by host.
    pub device_indexes: OrdMap<HostId, Numbers>,
    /// Interfaces users made with a client token, by the token.
    pub eni_tokens: OrdMap<String, EniId>,
    /// Security groups by VPC and name.
    pub group_names: OrdMap<(VpcId, String), SecurityGroupId>,
    /// Interfaces by the groups they carry.
    pub group_members: OrdSet<(SecurityGroupId, EniId)>,
    /// Group sets by content.
    pub group_sets: OrdMap<(VpcId, Vec<SecurityGroupId>), GroupSetId>,
    /// Numbers of group sets in use.
    pub group_set_numbers: Numbers,
    /// Interfaces by group set.
    pub group_set_members: OrdSet<(GroupSetId, EniId)>,
    /// Interfaces by VPC.
    pub vpc_enis: OrdSet<(VpcId, EniId)>,
    /// Interfaces by the host they are plugged on.
    pub host_enis: OrdSet<(HostId, EniId)>,
    /// Interfaces that are wanted on a host, and those of the NAT gateways it translates for, by host and VPC.
    pub host_vpc_enis: OrdSet<(HostId, VpcId, EniId)>,
    /// Subnets by VPC.
    pub vpc_subnets: OrdSet<(VpcId, SubnetId)>,
    /// Route tables by VPC.
    pub vpc_route_tables: OrdSet<(VpcId, RouteTableId)>,
    /// Network ACLs by VPC.
    pub vpc_network_acls: OrdSet<(VpcId, NetworkAclId)>,
    /// Route tables by the interfaces that their routes lead to.
    pub eni_routes: OrdSet<(EniId, RouteTableId)>,
    /// Active peerings by VPC and peer, in both directions.
    pub active_peerings: OrdSet<(VpcId, VpcId, PeeringId)>,
    /// Peerings that wait to be accepted, by the time of the request.
    pub pending_peerings: OrdSet<(TimestampMs, PeeringId)>,
    /// Peerings that have ended, by the time of their end.
    pub ended_peerings: OrdSet<(TimestampMs, PeeringId)>,
    /// Route tables by the prefix lists that their routes name.
    pub prefix_list_routes: OrdSet<(PrefixListId, RouteTableId)>,
    /// Security groups by the prefix lists that their rules name.
    pub prefix_list_rules: OrdSet<(PrefixListId, SecurityGroupId)>,
    /// Hardware addresses in use.
    pub macs: OrdSet<MacAddress>,
    /// Public addresses in use, as numbers.
    pub public_addresses: Numbers,
    /// Elastic IP addresses by the interface they are associated with.
    pub elastic_ips: OrdMap<EniId, ElasticIpId>,
    /// NAT gateways that are pending or deleting.
    pub unsettled_nat_gateways: OrdSet<NatGatewayId>,
    /// NAT gateways that are deleted or failed, by the time of that.
    pub ended_nat_gateways: OrdSet<(TimestampMs, NatGatewayId)>,
    /// NAT gateways made with a client token, by the token.
    pub nat_gateway_tokens: OrdMap<String, NatGatewayId>,
}
