// SPDX-License-Identifier: Apache-2.0
//! Look-ups by id, with the refusals of unknown and malformed ids.

use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::vpc::{
    ElasticIp, Eni, InternetGateway, NatGateway, NetworkAcl, Peering, PrefixList, RouteTable, SecurityGroup, Subnet,
    Vpc,
};
use berth_state::{Refusal, Snapshot};
use berth_types::ids::InvalidId;
use berth_types::{
    ElasticIpAssociationId, ElasticIpId, EniAttachmentId, EniId, InstanceId, InternetGatewayId, NatGatewayId,
    NetworkAclAssociationId, NetworkAclId, PeeringId, PrefixListId, RouteTableAssociationId, RouteTableId,
    SecurityGroupId, SecurityGroupRuleId, SubnetId, VpcCidrAssociationId, VpcId,
};

use super::quota::Quota;

/// An id of EC2 with AWS's refusals of wrong ids.
pub(super) trait Ec2Id: Sized {
    /// Reads the id.
    fn parse_text(text: &str) -> Result<Self, InvalidId>;
    /// Code for text that is not such an id; `None` where AWS answers that the id does not exist.
    const MALFORMED: Option<Code>;
    /// Refusal of an id that does not exist.
    fn not_found(text: &str) -> Refusal;
}

macro_rules! ids {
    ($($id:ty: $malformed:expr, $not_found:ident $words:literal;)*) => {
        $(impl Ec2Id for $id {
            const MALFORMED: Option<Code> = $malformed;
            fn parse_text(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
            fn not_found(text: &str) -> Refusal {
                Refusal::new(Code::$not_found, format!($words, text))
            }
        })*
    };
}

ids! {
    VpcId: None, InvalidVpcIdNotFound "The vpc ID '{}' does not exist";
    VpcCidrAssociationId: Some(Code::InvalidVpcCidrBlockAssociationIdMalformed), InvalidVpcCidrBlockAssociationIdNotFound "The vpc CIDR block association ID '{}' does not exist";
    PeeringId: Some(Code::InvalidVpcPeeringConnectionIdMalformed), InvalidVpcPeeringConnectionIdNotFound "The vpcPeeringConnection ID '{}' does not exist";
    PrefixListId: Some(Code::InvalidPrefixListIdMalformed), InvalidPrefixListIdNotFound "The prefix list ID '{}' does not exist";
    SubnetId: None, InvalidSubnetIdNotFound "The subnet ID '{}' does not exist";
    SecurityGroupId: Some(Code::InvalidGroupIdMalformed), InvalidGroupNotFound "The security group '{}' does not exist";
    SecurityGroupRuleId: Some(Code::InvalidSecurityGroupRuleIdMalformed), InvalidSecurityGroupRuleIdNotFound "The security group rule ID '{}' does not exist";
    EniId: Some(Code::InvalidNetworkInterfaceIdMalformed), InvalidNetworkInterfaceIdNotFound "The networkInterface ID '{}' does not exist";
    EniAttachmentId: Some(Code::InvalidAttachmentIdMalformed), InvalidAttachmentIdNotFound "The attachment ID '{}' does not exist";
    InstanceId: Some(Code::InvalidInstanceIdMalformed), InvalidInstanceIdNotFound "The instance ID '{}' does not exist";
    ElasticIpId: None, InvalidAllocationIdNotFound "The allocation ID '{}' does not exist";
    ElasticIpAssociationId: None, InvalidAssociationIdNotFound "The association ID '{}' does not exist";
    NatGatewayId: Some(Code::NatGatewayMalformed), NatGatewayNotFound "The Nat Gateway {} was not found";
    InternetGatewayId: Some(Code::InvalidInternetGatewayIdMalformed), InvalidInternetGatewayIdNotFound "The internetGateway ID '{}' does not exist";
    NetworkAclId: Some(Code::InvalidNetworkAclIdMalformed), InvalidNetworkAclIdNotFound "The networkAcl ID '{}' does not exist";
    NetworkAclAssociationId: Some(Code::InvalidAssociationIdMalformed), InvalidAssociationIdNotFound "The association ID '{}' does not exist";
    RouteTableId: Some(Code::InvalidRouteTableIdMalformed), InvalidRouteTableIdNotFound "The routeTable ID '{}' does not exist";
    RouteTableAssociationId: Some(Code::InvalidAssociationIdMalformed), InvalidAssociationIdNotFound "The association ID '{}' does not exist";
}

/// Reads an id.
pub(super) fn id<I: Ec2Id>(text: &str) -> Result<I, Refusal> {
    I::parse_text(text).map_err(|invalid| match I::MALFORMED {
        Some(code) => Refusal::new(code, format!("Invalid id: \"{}\" (expecting {})", invalid.given, invalid.expected)),
        None => I::not_found(text),
    })
}

macro_rules! look_ups {
    ($($(#[$doc:meta])* $name:ident: $id:ty => $map:ident, $kind:ty;)*) => {
        $($(#[$doc])*
        pub fn $name(snap: &Snapshot, text: impl AsRef<str>) -> Result<&Arc<$kind>, Refusal> {
            let key: $id = id(text.as_ref())?;
            snap.vpc().$map.get(&key).ok_or_else(|| <$id>::not_found(text.as_ref()))
        })*
    };
}

look_ups! {
    /// The VPC with this id.
    vpc: VpcId => vpcs, Vpc;
    /// The subnet with this id.
    subnet: SubnetId => subnets, Subnet;
    /// The security group with this id.
    security_group: SecurityGroupId => security_groups, SecurityGroup;
    /// The network interface with this id.
    network_interface: EniId => enis, Eni;
    /// The elastic IP address with this allocation id.
    elastic_ip: ElasticIpId => elastic_ips, ElasticIp;
    /// The NAT gateway with this id.
    nat_gateway: NatGatewayId => nat_gateways, NatGateway;
    /// The internet gateway with this id.
    internet_gateway: InternetGatewayId => internet_gateways, InternetGateway;
    /// The network ACL with this id.
    network_acl: NetworkAclId => network_acls, NetworkAcl;
    /// The peering with this id.
    peering: PeeringId => peerings, Peering;
    /// The prefix list with this id.
    prefix_list: PrefixListId => prefix_lists, PrefixList;
    /// The route table with this id.
    route_table: RouteTableId => route_tables, RouteTable;
}

/// The groups an interface in `vpc` gets when `asked` names them: all in the VPC, each once, in the order given; the
/// VPC's default group when none is named.
pub fn security_groups(
    snap: &Snapshot,
    vpc: &VpcId,
    asked: &[impl AsRef<str>],
) -> Result<Vec<SecurityGroupId>, Refusal> {
    let mut groups = Vec::with_capacity(asked.len());
    for text in asked {
        let group = security_group(snap, text)?;
        if group.vpc != *vpc {
            return Err(other_network());
        }
        if !groups.contains(&group.id) {
            groups.push(group.id.clone());
        }
    }
    if groups.len() > Quota::SecurityGroupsPerInterface.value(snap) as usize {
        return Err(Refusal::new(
            Code::SecurityGroupsPerInterfaceLimitExceeded,
            "The maximum number of security groups per interface has been reached.",
        ));
    }
    if groups.is_empty() {
        groups.push(default_group(snap, vpc)?.id.clone());
    }
    Ok(groups)
}

/// The default group of a VPC: made with it and deleted with it.
pub(super) fn default_group<'a>(snap: &'a Snapshot, vpc: &VpcId) -> Result<&'a Arc<SecurityGroup>, Refusal> {
    group_named(snap, vpc, "default").ok_or_else(|| SecurityGroupId::not_found("default"))
}

/// The group of a VPC with this name.
pub(super) fn group_named<'a>(snap: &'a Snapshot, vpc: &VpcId, name: &str) -> Option<&'a Arc<SecurityGroup>> {
    let id = snap.vpc().index().group_names.get(&(vpc.clone(), name.to_owned()))?;
    snap.vpc().security_groups.get(id)
}

/// The primary interface of an instance.
pub(super) fn primary_interface<'a>(snap: &'a Snapshot, text: &str) -> Result<&'a Arc<Eni>, Refusal> {
    let instance: InstanceId = id(text)?;
    let is_primary = |eni: &&Arc<Eni>| {
        let attachment = eni.attachment.as_ref();
        attachment.is_some_and(|attachment| attachment.instance == instance && attachment.device_index == 0)
    };
    snap.vpc().enis.values().find(is_primary).ok_or_else(|| InstanceId::not_found(text))
}

/// The main route table of a VPC.
pub(super) fn main_route_table<'a>(snap: &'a Snapshot, vpc: &VpcId) -> Option<&'a Arc<RouteTable>> {
    snap.vpc().route_tables.values().find(|table| table.vpc == *vpc && table.main_association.is_some())
}

/// The region's default VPC.
pub(super) fn default_vpc(snap: &Snapshot) -> Option<&Arc<Vpc>> {
    snap.vpc().vpcs.values().find(|vpc| vpc.is_default)
}

/// Refusal of a NAT gateway that does not exist any more.
pub(super) fn no_nat_gateway(text: &str) -> Refusal {
    NatGatewayId::not_found(text)
}

/// Refusal of two resources that must be in one VPC and are not.
pub(super) fn other_network() -> Refusal {
    Refusal::new(Code::InvalidParameterValue, "You have specified two resources that belong to different networks.")
}
