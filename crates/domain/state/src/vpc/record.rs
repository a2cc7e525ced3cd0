// SPDX-License-Identifier: Apache-2.0
//! Stored records of EC2 networking.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_types::intent::{Direction, PortRange, Rate, RuleIntent, RulePeer, Standalone};
use berth_types::{
    EniAttachmentId, EniId, GroupSetId, HostId, InstanceId, InternetGatewayId, Ipv4Cidr, MacAddress, NatGatewayId,
    PrefixListId, SecurityGroupId, SecurityGroupRuleId, SubnetId, TaskId, TimestampMs, Vni, VpcCidrAssociationId,
    VpcId,
};
use serde::{Deserialize, Serialize};

use super::index::Index;
use super::ipv6::Ipv6Cidr;
use crate::numbers::{give_back, take};
use crate::records::{Single, Stored};
use crate::{ClientToken, Tags};

/// A virtual private cloud. Its main route table and default group are found through their own records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vpc {
    /// Id.
    pub id: VpcId,
    /// Number in the data path; never reused while the record lives.
    pub vni: Vni,
    /// Primary range.
    pub cidr: Ipv4Cidr,
    /// Id of the primary range's association.
    pub cidr_association: VpcCidrAssociationId,
    /// Further ranges by the ids of their associations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secondary_cidrs: BTreeMap<VpcCidrAssociationId, Ipv4Cidr>,
    /// The region's default VPC.
    pub is_default: bool,
    /// Resolver on or off.
    pub dns_support: bool,
    /// Private DNS names for interfaces.
    pub dns_hostnames: bool,
    /// Answered by DescribeVpcAttribute.
    pub network_address_usage_metrics: bool,
    /// Tags.
    pub tags: Tags,
}

/// A subnet in one zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    /// Id.
    pub id: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its range.
    pub cidr: Ipv4Cidr,
    /// e.g. `us-west-2a`.
    pub availability_zone: String,
    /// Default subnet of its zone.
    pub default_for_az: bool,
    /// Attribute MapPublicIpOnLaunch.
    pub map_public_ip_on_launch: bool,
    /// Tags.
    pub tags: Tags,
}

/// A security group with its rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Id.
    pub id: SecurityGroupId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Unique in the VPC; `default` for the default group.
    pub name: String,
    /// Text given at creation.
    pub description: String,
    /// Rules by id.
    pub rules: BTreeMap<SecurityGroupRuleId, SecurityGroupRule>,
    /// Tags.
    pub tags: Tags,
}

/// One rule: the packets it matches, and the members that AWS shows with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    /// The packets it matches.
    pub matches: Matches,
    /// Text given by the user.
    pub description: Option<String>,
    /// Tags.
    pub tags: Tags,
}

/// The packets a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matches {
    /// Packets to or from the interface.
    pub direction: Direction,
    /// IP protocol number; `None` means all.
    pub protocol: Option<u8>,
    /// Admitted ports, or ICMP types and codes.
    pub ports: PortRange,
    /// The other end.
    pub peer: Peer,
}

/// The other end of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// Any address in a range.
    Cidr(Ipv4Cidr),
    /// Any IPv6 address in a range. Such a rule admits nothing yet, because no VPC has IPv6 addresses.
    Ipv6(Ipv6Cidr),
    /// Any interface that carries the group.
    Group(SecurityGroupId),
    /// Any address in the ranges of a prefix list.
    PrefixList(PrefixListId),
}

/// Number of ICMPv6 among the IP protocols.
pub const ICMPV6: u8 = 58;

impl Matches {
    /// The rule for the data path; `None` when it can match IPv6 packets only. `ranges` are those of a prefix list.
    pub fn intent(&self, ranges: impl Fn(&PrefixListId) -> Option<Vec<Ipv4Cidr>>) -> Option<RuleIntent> {
        let peer = match &self.peer {
            Peer::Cidr(cidr) => RulePeer::Cidr(*cidr),
            Peer::Group(group) => RulePeer::Group(group.clone()),
            Peer::PrefixList(list) => RulePeer::Cidrs(ranges(list)?),
            Peer::Ipv6(_) => return None,
        };
        let (direction, protocol, ports) = (self.direction, self.protocol, self.ports);
        (protocol != Some(ICMPV6)).then_some(RuleIntent { direction, protocol, ports, peer })
    }
}

/// A distinct set of groups in use by at least one interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupSet {
    /// Number in the data path.
    pub id: GroupSetId,
    /// VPC of the groups.
    pub vpc: VpcId,
    /// Sorted, without repetition.
    pub groups: Vec<SecurityGroupId>,
}

/// An elastic network interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eni {
    /// Id.
    pub id: EniId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Primary private address; never changes.
    pub address: Ipv4Addr,
    /// Hardware address; never changes.
    pub mac: MacAddress,
    /// Description shown by AWS clients.
    pub description: String,
    /// Its groups in the order given.
    pub groups: Vec<SecurityGroupId>,
    /// The same groups as a number.
    pub group_set: GroupSetId,
    /// Packets must be from or to its own address.
    pub source_dest_check: bool,
    /// A public address of the pool that it has until it is deleted or gets an elastic one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<Ipv4Addr>,
    /// Token of CreateNetworkInterface, for idempotency, with a digest of the request.
    pub client_token: Option<ClientToken>,
    /// Limit of its packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Who made it.
    pub owner: EniOwner,
    /// Where it is plugged, if anywhere.
    pub attachment: Option<EniAttachment>,
    /// Time of creation.
    pub created_at: TimestampMs,
    /// Tags.
    pub tags: Tags,
}

/// Who an interface belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredOwner", into = "StoredOwner")]
pub enum EniOwner {
    /// Made by CreateNetworkInterface.
    User,
    /// Made for a task of launch type FARGATE: requester-managed.
    FargateTask(TaskId),
    /// Made for a task of launch type EC2.
    Ec2Task(TaskId),
    /// The primary interface of a host, in the host's own namespace.
    Instance(HostId),
    /// Made for something that is not a task, in a namespace of its own.
    Standalone(Standalone),
    /// Made for a NAT gateway, and plugged nowhere: requester-managed.
    NatGateway(NatGatewayId),
}

impl EniOwner {
    /// The task that the interface was made for.
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::FargateTask(task) | Self::Ec2Task(task) => Some(task),
            Self::User | Self::Instance(_) | Self::Standalone(_) | Self::NatGateway(_) => None,
        }
    }
}

/// Form of an [`EniOwner`] in the store.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredOwner {
    User,
    FargateTask(TaskId),
    Ec2Task(TaskId),
    Instance(HostId),
    /// Held by `berth shell`: the form of version 0.1.0.
    Seat(String),
    /// Held by anything else.
    Standalone(Standalone),
    NatGateway(NatGatewayId),
}

impl From<StoredOwner> for EniOwner {
    fn from(stored: StoredOwner) -> Self {
        match stored {
            StoredOwner::User => Self::User,
            StoredOwner::FargateTask(task) => Self::FargateTask(task),
            StoredOwner::Ec2Task(task) => Self::Ec2Task(task),
            StoredOwner::Instance(host) => Self::Instance(host),
            StoredOwner::Seat(namespace) => Self::Standalone(Standalone::seat(namespace)),
            StoredOwner::Standalone(standalone) => Self::Standalone(standalone),
            StoredOwner::NatGateway(gateway) => Self::NatGateway(gateway),
        }
    }
}

impl From<EniOwner> for StoredOwner {
    fn from(owner: EniOwner) -> Self {
        match owner {
            EniOwner::User => Self::User,
            EniOwner::FargateTask(task) => Self::FargateTask(task),
            EniOwner::Ec2Task(task) => Self::Ec2Task(task),
            EniOwner::Instance(host) => Self::Instance(host),
            EniOwner::Standalone(standalone) => standalone.into_seat().map_or_else(Self::Standalone, Self::Seat),
            EniOwner::NatGateway(gateway) => Self::NatGateway(gateway),
        }
    }
}

/// Status of an interface's attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentStatus {
    /// The host was asked to plug it.
    Attaching,
    /// The host reports it usable.
    Attached,
    /// The host was asked to remove it.
    Detaching,
}

/// Device index of a host's primary interface. Two have it while one replaces the other.
pub const PRIMARY_DEVICE_INDEX: u32 = 0;

/// The attachment of an interface to a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EniAttachment {
    /// `eni-attach-...` (`ela-attach-...` is shown for Fargate).
    pub id: EniAttachmentId,
    /// The host.
    pub host: HostId,
    /// Instance id of the host, not shown for Fargate tasks.
    pub instance: InstanceId,
    /// Device index: 0 for the host's primary interface, 1 and up for others.
    pub device_index: u32,
    /// Status.
    pub status: AttachmentStatus,
    /// Time of the attachment.
    pub attached_at: TimestampMs,
}

/// An internet gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InternetGateway {
    /// Id.
    pub id: InternetGatewayId,
    /// The VPC it is attached to.
    pub vpc: Option<VpcId>,
    /// Tags.
    pub tags: Tags,
}

/// Record that the default network was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefaultNetwork {
    /// Time.
    pub created_at: TimestampMs,
}

macro_rules! keyed_by_id {
    ($($kind:ty => $key:ty),*) => {
        $(impl Stored for $kind {
            type Key = $key;
            type Index = Index;
            fn key(&self) -> $key {
                self.id.clone()
            }
        })*
    };
}

keyed_by_id!(Vpc => VpcId, InternetGateway => InternetGatewayId);

impl Vpc {
    /// Its ranges, the primary one first.
    pub fn cidrs(&self) -> impl Iterator<Item = Ipv4Cidr> + '_ {
        std::iter::once(self.cidr).chain(self.secondary_cidrs.values().copied())
    }
}

impl Stored for Subnet {
    type Key = SubnetId;
    type Index = Index;
    fn key(&self) -> SubnetId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.vpc_subnets.insert((self.vpc.clone(), self.id.clone()));
    }
    fn unindex(&self, index: &mut Index) {
        index.vpc_subnets.remove(&(self.vpc.clone(), self.id.clone()));
    }
}

impl Stored for DefaultNetwork {
    type Key = Single;
    type Index = Index;
    fn key(&self) -> Single {
        Single
    }
}

impl SecurityGroup {
    /// The prefix lists that its rules name.
    fn prefix_lists(&self) -> impl Iterator<Item = &PrefixListId> {
        self.rules.values().filter_map(|rule| match &rule.matches.peer {
            Peer::PrefixList(list) => Some(list),
            Peer::Cidr(_) | Peer::Ipv6(_) | Peer::Group(_) => None,
        })
    }
}

impl Stored for SecurityGroup {
    type Key = SecurityGroupId;
    type Index = Index;
    fn key(&self) -> SecurityGroupId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.group_names.insert((self.vpc.clone(), self.name.clone()), self.id.clone());
        for list in self.prefix_lists() {
            index.prefix_list_rules.insert((list.clone(), self.id.clone()));
        }
    }
    fn unindex(&self, index: &mut Index) {
        index.group_names.remove(&(self.vpc.clone(), self.name.clone()));
        for list in self.prefix_lists() {
            index.prefix_list_rules.remove(&(list.clone(), self.id.clone()));
        }
    }
}

impl Stored for GroupSet {
    type Key = GroupSetId;
    type Index = Index;
    fn key(&self) -> GroupSetId {
        self.id
    }
    fn index(&self, index: &mut Index) {
        index.group_sets.insert((self.vpc.clone(), self.groups.clone()), self.id);
        index.group_set_numbers.take(self.id.0.into());
    }
    fn unindex(&self, index: &mut Index) {
        index.group_sets.remove(&(self.vpc.clone(), self.groups.clone()));
        index.group_set_numbers.give_back(self.id.0.into());
    }
}

impl Eni {
    /// The attachment, while the interface has to be reachable through it.
    pub fn wanted_attachment(&self) -> Option<&EniAttachment> {
        self.attachment.as_ref().filter(|attachment| match attachment.status {
            AttachmentStatus::Attaching | AttachmentStatus::Attached => true,
            AttachmentStatus::Detaching => false,
        })
    }
}

impl Stored for Eni {
    type Key = EniId;
    type Index = Index;
    fn key(&self) -> EniId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.addresses.insert((self.subnet.clone(), self.address), self.id.clone());
        take(&mut index.address_numbers, &self.subnet, self.address.to_bits());
        index.vpc_enis.insert((self.vpc.clone(), self.id.clone()));
        index.group_set_members.insert((self.group_set, self.id.clone()));
        index.macs.insert(self.mac);
        if let Some(address) = self.public_address {
            index.public_addresses.take(address.to_bits());
        }
        for group in &self.groups {
            index.group_members.insert((group.clone(), self.id.clone()));
        }
        if let Some(attachment) = &self.attachment {
            index.host_enis.insert((attachment.host.clone(), self.id.clone()));
            if attachment.device_index != PRIMARY_DEVICE_INDEX {
                take(&mut index.device_indexes, &attachment.host, attachment.device_index);
            }
        }
        if let Some(attachment) = self.wanted_attachment() {
            index.host_vpc_enis.insert((attachment.host.clone(), self.vpc.clone(), self.id.clone()));
        }
        if let Some(ClientToken(token, _)) = &self.client_token {
            index.eni_tokens.insert(token.clone(), self.id.clone());
        }
    }
    fn unindex(&self, index: &mut Index) {
        index.addresses.remove(&(self.subnet.clone(), self.address));
        give_back(&mut index.address_numbers, &self.subnet, self.address.to_bits());
        index.vpc_enis.remove(&(self.vpc.clone(), self.id.clone()));
        index.group_set_members.remove(&(self.group_set, self.id.clone()));
        index.macs.remove(&self.mac);
        if let Some(address) = self.public_address {
            index.public_addresses.give_back(address.to_bits());
        }
        for group in &self.groups {
            index.group_members.remove(&(group.clone(), self.id.clone()));
        }
        if let Some(attachment) = &self.attachment {
            index.host_enis.remove(&(attachment.host.clone(), self.id.clone()));
            if attachment.device_index != PRIMARY_DEVICE_INDEX {
                give_back(&mut index.device_indexes, &attachment.host, attachment.device_index);
            }
        }
        if let Some(attachment) = self.wanted_attachment() {
            index.host_vpc_enis.remove(&(attachment.host.clone(), self.vpc.clone(), self.id.clone()));
        }
        if let Some(ClientToken(token, _)) = &self.client_token {
            index.eni_tokens.remove(token);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use berth_types::intent::Holder;

    #[test]
    fn the_owner_of_a_shells_interface_keeps_the_form_of_the_first_version() {
        let task = TaskId::from_bits(1);
        let shell = EniOwner::Standalone(Standalone { namespace: "seat-1".to_owned(), holder: Holder::Shell });
        let forms = [
            (r#""user""#, EniOwner::User),
            (r#"{"fargate_task":"00000000000000000000000000000001"}"#, EniOwner::FargateTask(task.clone())),
            (r#"{"ec2_task":"00000000000000000000000000000001"}"#, EniOwner::Ec2Task(task)),
            (r#"{"seat":"seat-1"}"#, shell.clone()),
        ];
        for (text, owner) in forms {
            assert_eq!(serde_json::to_string(&owner).unwrap(), text);
            assert_eq!(serde_json::from_str::<EniOwner>(text).unwrap(), owner);
        }
        let general = r#"{"standalone":{"namespace":"seat-1","holder":"shell"}}"#;
        assert_eq!(serde_json::from_str::<EniOwner>(general).unwrap(), shell);
        assert!(serde_json::from_str::<EniOwner>(r#"{"standalone":{"namespace":"a","holder":"stranger"}}"#).is_err());
    }
}
