// SPDX-License-Identifier: Apache-2.0
//! The smallest change that lets a packet, and its reply, pass a gate: found from the records, and applied to them, so
//! that the next gate can be asked too.

use std::fmt;
use std::net::Ipv4Addr;

use berth_types::explain::{Ends, Party, WORLD_ADDRESS};
use berth_types::intent::{AclEntryIntent, Direction, PortRange, RouteIntent, RuleIntent, RulePeer};
use berth_types::{EniId, Ipv4Cidr, NetworkAclId, RouteTableId, SecurityGroupId, SecurityGroupRuleId, SubnetId};

use super::answer::{Gate, Packet};
use crate::DropReason;

/// A change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A rule is added to a security group.
    Rule {
        /// The group.
        group: SecurityGroupId,
        /// The rule.
        rule: RuleIntent,
    },
    /// An entry is added to a network ACL, or put in place of the one with its number.
    AclEntry {
        /// The ACL.
        acl: NetworkAclId,
        /// The entry.
        entry: AclEntryIntent,
        /// True if an entry has that number.
        replaces: bool,
    },
    /// A route is added to a route table, or put in place of the one with its destination.
    Route {
        /// The table.
        table: RouteTableId,
        /// Its destination.
        destination: Ipv4Cidr,
        /// Its target.
        target: RouteIntent,
        /// True if a route has that destination.
        replaces: bool,
    },
    /// The source/destination check of an interface is switched off.
    Forward(EniId),
}

/// The cure of one drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cure {
    /// The gate that drops.
    pub gate: Gate,
    /// True if the gate drops the reply.
    pub is_reply: bool,
    /// Its reason.
    pub reason: DropReason,
    /// The change; `None` if no change of a record cures the drop, which the reason then explains.
    pub change: Option<Change>,
}

impl Cure {
    /// A command of the AWS command line, or advice if there is none.
    pub fn text(&self) -> String {
        match &self.change {
            Some(change) => change.to_string(),
            None => advice(self.reason).to_owned(),
        }
    }
}

/// Advice for drops that depend on more than one record.
fn advice(reason: DropReason) -> &'static str {
    match reason {
        DropReason::NoPublicAddress => {
            "give the sender a public address (a Fargate task: assignPublicIp=ENABLED; another interface: `aws ec2 \
             associate-address`), or route its subnet to a NAT gateway"
        }
        DropReason::PublicAddressUnused => {
            "give the receiver a public address (a Fargate task: assignPublicIp=ENABLED; another interface: `aws ec2 \
             associate-address`)"
        }
        DropReason::NoRoute | DropReason::Blackhole => {
            "create and attach an internet gateway, or create a NAT gateway, and route the destination to it"
        }
        DropReason::NoTranslation => "a NAT gateway admits only replies; address the task by its own public address",
        DropReason::OtherHost => "both ends need to be on one host; there is no path between hosts yet",
        DropReason::NoEndpoint => "no interface of the VPC has the address; see `aws ec2 describe-network-interfaces`",
        DropReason::NoWorld => "this host has no way to the world; see the log of `berth node`",
        DropReason::NotProgrammed | DropReason::NotPlugged => {
            "wait until the interface is usable, or see `berth status`"
        }
        DropReason::SpoofedAddress => "addresses of the VPC do not come from the world; name the private end instead",
        _ => "no change of rules or routes lets this packet pass",
    }
}

/// The packet and its two ends at one gate.
pub(super) struct Denied<'a> {
    pub ends: &'a Ends,
    /// The sender, or the receiver of a packet from the world.
    pub own: &'a Party,
    pub packet: Packet,
    pub gate: Gate,
    pub reason: DropReason,
}

impl Denied<'_> {
    pub fn change(&self) -> Option<Change> {
        match (self.gate, self.reason) {
            (Gate::Egress, DropReason::SecurityGroupEgress) => self.egress(),
            (Gate::Ingress, DropReason::SecurityGroupIngress) => self.ingress(),
            (Gate::NetworkAclOut, _) => self.acl(&self.own.subnet, Direction::Egress, self.ends.destination),
            (Gate::NetworkAclIn, _) => {
                let subnet = self.receiving_subnet()?;
                self.acl(&subnet, Direction::Ingress, self.ends.source_address())
            }
            (_, DropReason::NoRoute | DropReason::Blackhole | DropReason::NoPublicAddress) => self.route(),
            (_, DropReason::NotForwarding) => self.forward(),
            _ => None,
        }
    }

    /// An entry that admits the packet between a subnet and the other end.
    pub fn acl(&self, subnet: &SubnetId, direction: Direction, other: Ipv4Addr) -> Option<Change> {
        let ways = &self.ends.ways;
        let mut subnets = ways.vpcs.values().filter_map(|vpc| vpc.subnets.get(subnet));
        let id = subnets.next()?.network_acl.as_ref()?;
        let numbers: Vec<u16> = ways
            .network_acls
            .get(id)?
            .entries
            .iter()
            .filter(|it| it.direction == direction)
            .map(|it| it.number)
            .collect();
        let range = range_of(other);
        let denying = super::records::first_entry(&ways.network_acls[id], direction, other, self.packet);
        let free = |number: &u16| !numbers.contains(number);
        let (number, replaces) = match denying {
            Some(denying) => match (1..denying).rev().find(free) {
                Some(number) => (number, false),
                None => (denying, true),
            },
            None => {
                let after = numbers.iter().max().map_or(100, |last| last.saturating_add(10));
                ((after..=ACL_NUMBER_MAX).find(free).or_else(|| (1..ACL_NUMBER_MAX).rev().find(free))?, false)
            }
        };
        let ports = match self.packet.is_reply {
            true if matches!(self.packet.protocol, Some(TCP | UDP)) => PortRange::Ports(1024, u16::MAX),
            _ => self.ports(),
        };
        let entry =
            AclEntryIntent { number, direction, protocol: self.packet.protocol, ports, cidr: range, admits: true };
        Some(Change::AclEntry { acl: id.clone(), entry, replaces })
    }

    fn ports(&self) -> PortRange {
        let [kind, code] = self.packet.port.to_be_bytes();
        match self.packet.protocol {
            Some(TCP | UDP) => PortRange::Ports(self.packet.port, self.packet.port),
            Some(ICMP) => PortRange::Icmp(kind, Some(code)),
            Some(_) | None => PortRange::All,
        }
    }

    fn egress(&self) -> Option<Change> {
        let peer = self.ends.receiver.as_ref().filter(|receiver| receiver.address == self.ends.destination);
        self.rule(self.own.security_groups.first()?, Direction::Egress, peer, self.ends.destination)
    }

    fn ingress(&self) -> Option<Change> {
        let receiver = self.ends.receiver.as_ref()?;
        self.rule(receiver.security_groups.first()?, Direction::Ingress, self.ends.sender(), self.ends.source_address())
    }

    /// A rule for the other end's group, which outlives its task, or for its address if it has none.
    fn rule(
        &self,
        group: &SecurityGroupId,
        direction: Direction,
        other: Option<&Party>,
        address: Ipv4Addr,
    ) -> Option<Change> {
        let peer = match other.and_then(|party| party.security_groups.first()) {
            Some(group) => RulePeer::Group(group.clone()),
            None => RulePeer::Cidr(range_of(address)),
        };
        let rule = RuleIntent { direction, protocol: self.packet.protocol, ports: self.ports(), peer };
        Some(Change::Rule { group: group.clone(), rule })
    }

    /// The subnet of the address that receives.
    fn receiving_subnet(&self) -> Option<SubnetId> {
        if let Some(receiver) = &self.ends.receiver {
            return Some(receiver.subnet.clone());
        }
        // An interface of a peer VPC.
        let endpoints = self.ends.ways.endpoints.values();
        let vnis = endpoints.filter(|it| it.address == self.ends.destination).map(|it| it.vni);
        let mut subnets = vnis.filter(|vni| *vni != self.ends.vni).filter_map(|vni| {
            let subnets = &self.ends.ways.vpcs.get(&vni)?.subnets;
            subnets.iter().find(|(_, subnet)| subnet.cidr.contains(self.ends.destination)).map(|(id, _)| id.clone())
        });
        subnets.next()
    }

    /// A route to the internet gateway for a sender with a public address, to a NAT gateway for another.
    fn route(&self) -> Option<Change> {
        let (ways, ends) = (&self.ends.ways, self.ends);
        let vpc = ways.vpcs.get(&ends.vni)?;
        let table = vpc.subnets.get(&self.own.subnet)?.route_table.as_ref()?;
        let routes = &ways.route_tables.get(table)?.routes;
        let is_public = ways.public_addresses.values().any(|it| it.vni == ends.vni && it.address == self.own.address);
        let nat = || ways.nat_gateways.iter().find(|(_, gateway)| gateway.vni == ends.vni && !self.is_own_nat(gateway));
        let target = match &vpc.internet_gateway {
            Some(gateway) if is_public => RouteIntent::InternetGateway(gateway.clone()),
            _ => RouteIntent::NatGateway(nat()?.0.clone()),
        };
        let present = routes.iter().filter(|(range, _)| range.contains(ends.destination));
        let present = present.max_by_key(|(range, _)| range.prefix()).map(|(range, _)| *range);
        // A route that leads nowhere is of no use to any other destination either.
        let destination = match (self.reason, present) {
            (DropReason::Blackhole, Some(range)) => range,
            _ => range_of(ends.destination),
        };
        let replaces = routes.contains_key(&destination);
        (routes.get(&destination) != Some(&target)).then(|| Change::Route {
            table: table.clone(),
            destination,
            target,
            replaces,
        })
    }

    fn is_own_nat(&self, gateway: &berth_types::intent::NatGatewayIntent) -> bool {
        gateway.eni == self.own.eni
    }

    fn forward(&self) -> Option<Change> {
        let ways = &self.ends.ways;
        let table = ways.vpcs.get(&self.ends.vni)?.subnets.get(&self.own.subnet)?.route_table.as_ref()?;
        let routes = ways.route_tables.get(table)?.routes.iter();
        let routes = routes.filter(|(range, _)| range.contains(self.ends.destination));
        match routes.max_by_key(|(range, _)| range.prefix())? {
            (_, RouteIntent::Eni(eni)) => Some(Change::Forward(eni.clone())),
            _ => None,
        }
    }
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ACL_NUMBER_MAX: u16 = 32766;

/// The range of one address; of all if the address stands for the world.
fn range_of(address: Ipv4Addr) -> Ipv4Cidr {
    let (address, prefix) = if address == WORLD_ADDRESS { (Ipv4Addr::UNSPECIFIED, 0) } else { (address, 32) };
    // A prefix of at most 32 bits is valid.
    Ipv4Cidr::containing(address, prefix).unwrap_or_else(|| unreachable!("/{prefix} is a prefix"))
}

impl Change {
    /// Makes the change in the records.
    pub fn apply(&self, ends: &mut Ends) {
        match self {
            Self::Rule { group, rule } => {
                let rules = &mut ends.security_groups.entry(group.clone()).or_default().rules;
                let number = u128::MAX - rules.len() as u128;
                rules.insert(SecurityGroupRuleId::from_bits(number), rule.clone());
            }
            Self::AclEntry { acl, entry, .. } => {
                if let Some(acl) = ends.ways.network_acls.get_mut(acl) {
                    acl.entries.retain(|it| (it.direction, it.number) != (entry.direction, entry.number));
                    acl.entries.push(entry.clone());
                    acl.entries.sort_by_key(|it| it.number);
                }
            }
            Self::Route { table, destination, target, .. } => {
                if let Some(table) = ends.ways.route_tables.get_mut(table) {
                    table.routes.insert(*destination, target.clone());
                }
            }
            Self::Forward(eni) => {
                if let Some(eni) = ends.ways.enis.get_mut(eni) {
                    eni.source_dest_check = false;
                }
            }
        }
    }
}

/// The command of the AWS command line that makes the change.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { group, rule } => {
                let side = side(rule.direction);
                write!(f, "aws ec2 authorize-security-group-{side} --group-id {group} --ip-permissions ")?;
                permission(f, rule)
            }
            Self::AclEntry { acl, entry, replaces } => {
                let verb = if *replaces { "replace" } else { "create" };
                write!(f, "aws ec2 {verb}-network-acl-entry --network-acl-id {acl} --{} ", side(entry.direction))?;
                write!(f, "--rule-number {} --protocol {}", entry.number, number(entry.protocol))?;
                match entry.ports {
                    PortRange::Ports(first, last) => write!(f, " --port-range From={first},To={last}")?,
                    PortRange::Icmp(kind, code) => {
                        write!(f, " --icmp-type-code Type={kind},Code={}", code.map_or(-1, i16::from))?;
                    }
                    PortRange::All => {}
                }
                write!(f, " --cidr-block {} --rule-action allow", entry.cidr)
            }
            Self::Route { table, destination, target, replaces } => {
                let verb = if *replaces { "replace" } else { "create" };
                write!(f, "aws ec2 {verb}-route --route-table-id {table} --destination-cidr-block {destination} ")?;
                match target {
                    RouteIntent::InternetGateway(id) => write!(f, "--gateway-id {id}"),
                    RouteIntent::NatGateway(id) => write!(f, "--nat-gateway-id {id}"),
                    RouteIntent::Eni(id) => write!(f, "--network-interface-id {id}"),
                    RouteIntent::Peering { id, .. } => write!(f, "--vpc-peering-connection-id {id}"),
                    RouteIntent::Local | RouteIntent::Blackhole => f.write_str("--gateway-id local"),
                }
            }
            Self::Forward(eni) => {
                write!(
                    f,
                    "aws ec2 modify-network-interface-attribute --network-interface-id {eni} --no-source-dest-check"
                )
            }
        }
    }
}

fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

fn number(protocol: Option<u8>) -> String {
    protocol.map_or("-1".to_owned(), |number| number.to_string())
}

/// A rule in the command line's shorthand.
fn permission(f: &mut fmt::Formatter<'_>, rule: &RuleIntent) -> fmt::Result {
    write!(f, "IpProtocol={}", number(rule.protocol))?;
    match rule.ports {
        PortRange::Ports(first, last) => write!(f, ",FromPort={first},ToPort={last}")?,
        PortRange::Icmp(kind, code) => write!(f, ",FromPort={kind},ToPort={}", code.map_or(-1, i16::from))?,
        PortRange::All => {}
    }
    match &rule.peer {
        RulePeer::Cidr(range) => write!(f, ",IpRanges=[{{CidrIp={range}}}]"),
        RulePeer::Group(group) => write!(f, ",UserIdGroupPairs=[{{GroupId={group}}}]"),
        RulePeer::Cidrs(_) => Err(fmt::Error),
    }
}
