// SPDX-License-Identifier: Apache-2.0
//! VPCs, security groups and rules, as the data path needs them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::is_default;
use crate::{
    InternetGatewayId, Ipv4Cidr, NetworkAclId, RouteTableId, SecurityGroupId, SecurityGroupRuleId, SubnetId, Vni, VpcId,
};

/// A VPC as the data path needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcIntent {
    /// Its id, for messages.
    pub vpc: VpcId,
    /// Destinations of the local route.
    pub cidrs: Vec<Ipv4Cidr>,
    /// Its subnets.
    pub subnets: BTreeMap<SubnetId, SubnetIntent>,
    /// The internet gateway attached to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub internet_gateway: Option<InternetGatewayId>,
}

/// A subnet as the data path needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetIntent {
    /// Its range; the router answers at the first host address.
    pub cidr: Ipv4Cidr,
    /// The route table in effect: its own, or the main one of the VPC.
    #[serde(default, skip_serializing_if = "is_default")]
    pub route_table: Option<RouteTableId>,
    /// Its network ACL.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_acl: Option<NetworkAclId>,
}

/// The groups behind a group-set number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupSetIntent {
    /// The VPC the groups belong to.
    pub vni: Vni,
    /// Sorted, without repetition.
    pub groups: Vec<SecurityGroupId>,
}

/// A security group: rules in both directions. Allow-only and without order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupIntent {
    /// The rules by id.
    pub rules: BTreeMap<SecurityGroupRuleId, RuleIntent>,
}

/// Direction of a rule, seen from the interface that carries the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Packets to the interface.
    Ingress,
    /// Packets from the interface.
    Egress,
}

/// One rule of a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleIntent {
    /// Packets to or from the interface.
    pub direction: Direction,
    /// IP protocol number; `None` means all.
    pub protocol: Option<u8>,
    /// Ports or ICMP types that are admitted.
    pub ports: PortRange,
    /// The other end.
    pub peer: RulePeer,
}

/// Ports of TCP and UDP, type and code of ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRange {
    /// Everything.
    All,
    /// First and last port, both inclusive (TCP, UDP).
    Ports(u16, u16),
    /// ICMP type, and code if not all codes.
    Icmp(u8, Option<u8>),
}

/// The other end of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulePeer {
    /// Any address in a range.
    Cidr(Ipv4Cidr),
    /// Any address in one of the ranges: those of a prefix list.
    Cidrs(Vec<Ipv4Cidr>),
    /// Any interface that carries the group.
    Group(SecurityGroupId),
}
