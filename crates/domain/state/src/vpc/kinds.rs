// SPDX-License-Identifier: Apache-2.0
//! The kinds of records of EC2 networking, with their names in the store.

use berth_types::{
    ElasticIpId, EniId, GroupSetId, InternetGatewayId, NatGatewayId, NetworkAclId, PeeringId, PrefixListId,
    RouteTableId, SecurityGroupId, SubnetId, VpcId,
};

use super::address::{ElasticIp, World};
use super::index::Index;
use super::nat_gateway::NatGateway;
use super::peering::Peering;
use super::prefix_list::PrefixList;
use super::quotas::Quotas;
use super::record::{DefaultNetwork, Eni, GroupSet, InternetGateway, SecurityGroup, Subnet, Vpc};
use super::routing::{NetworkAcl, RouteTable};
use super::settings::Settings;
use crate::records::{Single, as_stored, records};

records! { indexed by Index, lifted by as_stored;
    /// VPCs.
    vpcs: VpcId => Vpc = "vpc" v 1;
    /// Subnets.
    subnets: SubnetId => Subnet = "subnet" v 1;
    /// Security groups with their rules.
    security_groups: SecurityGroupId => SecurityGroup = "security-group" v 1;
    /// Distinct sets of groups in use.
    group_sets: GroupSetId => GroupSet = "group-set" v 1;
    /// Network interfaces.
    enis: EniId => Eni = "eni" v 1;
    /// Internet gateways.
    internet_gateways: InternetGatewayId => InternetGateway = "internet-gateway" v 1;
    /// Network ACLs.
    network_acls: NetworkAclId => NetworkAcl = "network-acl" v 1;
    /// Route tables.
    route_tables: RouteTableId => RouteTable = "route-table" v 1;
    /// Elastic IP addresses.
    elastic_ips: ElasticIpId => ElasticIp = "elastic-ip" v 1;
    /// NAT gateways.
    nat_gateways: NatGatewayId => NatGateway = "nat-gateway" v 1;
    /// The world outside all VPCs.
    world: Single => World = "world" v 1;
    /// The quotas with which the server was started.
    quotas: Single => Quotas = "quotas" v 1;
    /// The operator's settings that change rules.
    settings: Single => Settings = "settings" v 1;
    /// Peerings of VPCs.
    peerings: PeeringId => Peering = "peering" v 1;
    /// Managed prefix lists.
    prefix_lists: PrefixListId => PrefixList = "prefix-list" v 1;
    /// The mark that the default network was made.
    default_network: Single => DefaultNetwork = "default-network" v 1;
}
