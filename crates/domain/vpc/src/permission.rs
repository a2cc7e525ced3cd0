// SPDX-License-Identifier: Apache-2.0
//! Rules of security groups, in AWS's forms and in ours.
//!
//! AWS has two: an `IpPermission` holds many peers for one protocol and port range, a rule object holds one peer. Ours
//! is [`Matches`], one peer, nothing optional.

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::{
    self, IpPermission, IpRange, Ipv6Range, PrefixListId, ReferencedSecurityGroup, RevokedSecurityGroupRule,
    UserIdGroupPair,
};
use berth_state::vpc::Ipv6Cidr;
use berth_state::vpc::{ICMPV6, Matches, Peer, SecurityGroup, SecurityGroupRule};
use berth_state::{Env, Refusal, Snapshot};
use berth_types::intent::{Direction, PortRange};
use berth_types::{Ipv4Cidr, SecurityGroupId, SecurityGroupRuleId};

use super::find;
use super::peering;
use super::request::invalid;
use super::tags;

/// Number of ICMP among the IP protocols.
pub(super) const ICMP: u8 = 1;
/// Number of TCP among the IP protocols.
pub(super) const TCP: u8 = 6;
/// Number of UDP among the IP protocols.
pub(super) const UDP: u8 = 17;

/// Maximum length of a description in characters.
const DESCRIPTION_CHARS_MAX: usize = 255;

/// One requested rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AskedRule {
    /// The packets it matches.
    pub matches: Matches,
    /// Description given by the user.
    pub description: Option<String>,
}

/// The rules that `permissions` ask for in a group: one for each peer.
pub(super) fn understand(
    snap: &Snapshot,
    group: &SecurityGroup,
    direction: Direction,
    permissions: &[IpPermission],
    env: &Env,
) -> Result<Vec<AskedRule>, Refusal> {
    let mut asked = Vec::new();
    for permission in permissions {
        let protocol = protocol(permission.ip_protocol.as_deref())?;
        let ports = ports(protocol, permission.from_port, permission.to_port)?;
        let before = asked.len();
        let mut add = |peer, description: &Option<String>| {
            let matches = Matches { direction, protocol, ports, peer };
            described(description).map(|description| asked.push(AskedRule { matches, description }))
        };
        for range in permission.ip_ranges.iter().flatten() {
            add(Peer::Cidr(cidr(range.cidr_ip.as_deref().unwrap_or_default())?), &range.description)?;
        }
        for pair in permission.user_id_group_pairs.iter().flatten() {
            add(Peer::Group(referenced(snap, group, pair, env)?), &pair.description)?;
        }
        for range in permission.ipv6_ranges.iter().flatten() {
            add(Peer::Ipv6(ipv6_cidr(range.cidr_ipv6.as_deref().unwrap_or_default())?), &range.description)?;
        }
        for list in permission.prefix_list_ids.iter().flatten() {
            let found = find::prefix_list(snap, list.prefix_list_id.as_deref().unwrap_or_default())?;
            add(Peer::PrefixList(found.id.clone()), &list.description)?;
        }
        if asked.len() == before {
            let words = "Missing source specification: include source security group or CIDR information";
            return Err(Refusal::new(Code::MissingParameter, words));
        }
    }
    Ok(asked)
}

/// Returns a description that AWS admits, `None` for an empty one; refuses any other.
pub(super) fn described(description: &Option<String>) -> Result<Option<String>, Refusal> {
    let Some(text) = description.as_ref().filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > DESCRIPTION_CHARS_MAX || !text.chars().all(is_plain) {
        return Err(invalid(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following \
             set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(Some(text.clone()))
}

/// True for characters allowed in names and descriptions of security groups.
pub(super) fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-:/()#,@[]+=&;{}!$* ".contains(c)
}

/// Rules as permissions: peers with the same protocol and ports share one permission.
pub(super) fn show_permissions(
    snap: &Snapshot,
    group: &SecurityGroup,
    direction: Direction,
    env: &Env,
) -> Vec<IpPermission> {
    let mut permissions: Vec<IpPermission> = Vec::new();
    for rule in group.rules.values().filter(|rule| rule.matches.direction == direction) {
        let mut one = show_permission(snap, group, &rule.matches, &rule.description, env);
        let same = |other: &&mut IpPermission| {
            (&other.ip_protocol, other.from_port, other.to_port) == (&one.ip_protocol, one.from_port, one.to_port)
        };
        match permissions.iter_mut().find(same) {
            None => permissions.push(one),
            Some(other) => {
                move_into(&mut other.ip_ranges, &mut one.ip_ranges);
                move_into(&mut other.ipv6_ranges, &mut one.ipv6_ranges);
                move_into(&mut other.prefix_list_ids, &mut one.prefix_list_ids);
                move_into(&mut other.user_id_group_pairs, &mut one.user_id_group_pairs);
            }
        }
    }
    permissions
}

/// One rule as a permission.
pub(super) fn show_permission(
    snap: &Snapshot,
    group: &SecurityGroup,
    rule: &Matches,
    description: &Option<String>,
    env: &Env,
) -> IpPermission {
    let has_ports = matches!(rule.protocol, Some(TCP | UDP | ICMP | ICMPV6));
    let (from, to) = port_numbers(rule.ports);
    let (mut ranges, mut ipv6_ranges, mut lists, mut pairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    match &rule.peer {
        Peer::Ipv6(cidr) => {
            ipv6_ranges.push(Ipv6Range { cidr_ipv6: Some(cidr.to_string()), description: description.clone() });
        }
        Peer::Cidr(cidr) => {
            ranges.push(IpRange { cidr_ip: Some(cidr.to_string()), description: description.clone() });
        }
        Peer::PrefixList(list) => {
            lists.push(PrefixListId { prefix_list_id: Some(list.to_string()), description: description.clone() });
        }
        Peer::Group(other) => {
            let across = Across::of(snap, group, other);
            pairs.push(UserIdGroupPair {
                description: description.clone(),
                group_id: Some(other.to_string()),
                peering_status: across.status,
                user_id: Some(env.account.clone()),
                vpc_id: across.vpc,
                vpc_peering_connection_id: across.peering,
                ..Default::default()
            });
        }
    }
    IpPermission {
        from_port: Some(from).filter(|_| has_ports),
        ip_protocol: Some(protocol_text(rule.protocol)),
        ip_ranges: Some(ranges),
        ipv6_ranges: Some(ipv6_ranges),
        prefix_list_ids: Some(lists),
        to_port: Some(to).filter(|_| has_ports),
        user_id_group_pairs: Some(pairs),
    }
}

/// A rule object for an answer.
pub(super) fn show_rule(
    snap: &Snapshot,
    group: &SecurityGroup,
    id: &SecurityGroupRuleId,
    rule: &SecurityGroupRule,
    env: &Env,
) -> ec2::SecurityGroupRule {
    let (from, to) = port_numbers(rule.matches.ports);
    let [cidr, ipv6, other, list] = peer_texts(&rule.matches.peer);
    ec2::SecurityGroupRule {
        cidr_ipv4: cidr,
        cidr_ipv6: ipv6,
        description: rule.description.clone(),
        from_port: Some(from),
        group_id: Some(group.id.to_string()),
        group_owner_id: Some(env.account.clone()),
        ip_protocol: Some(protocol_text(rule.matches.protocol)),
        is_egress: Some(rule.matches.direction == Direction::Egress),
        prefix_list_id: list,
        referenced_group_info: other.map(|_| show_referenced(snap, group, rule, env)),
        security_group_rule_arn: Some(env.arn("ec2", format_args!("security-group-rule/{id}"))),
        security_group_rule_id: Some(id.to_string()),
        tags: tags::show(&rule.tags),
        to_port: Some(to),
    }
}

/// The group that a rule names.
fn show_referenced(
    snap: &Snapshot,
    group: &SecurityGroup,
    rule: &SecurityGroupRule,
    env: &Env,
) -> ReferencedSecurityGroup {
    let Peer::Group(other) = &rule.matches.peer else { return ReferencedSecurityGroup::default() };
    let across = Across::of(snap, group, other);
    ReferencedSecurityGroup {
        group_id: Some(other.to_string()),
        peering_status: across.status,
        user_id: Some(env.account.clone()),
        vpc_id: across.vpc,
        vpc_peering_connection_id: across.peering,
    }
}

/// The members that a reference to a group of another VPC has besides the group.
#[derive(Default)]
struct Across {
    vpc: Option<String>,
    peering: Option<String>,
    status: Option<String>,
}

impl Across {
    fn of(snap: &Snapshot, group: &SecurityGroup, other: &SecurityGroupId) -> Self {
        let Some(other) = snap.vpc().security_groups.get(other).filter(|other| other.vpc != group.vpc) else {
            return Self::default();
        };
        let peering = peering::last_between(snap, &group.vpc, &other.vpc);
        Self {
            vpc: Some(other.vpc.to_string()),
            peering: peering.map(|peering| peering.id.to_string()),
            status: peering.map(|peering| peering::state_code(peering).to_owned()),
        }
    }
}

/// A rule object for the answer to its removal.
pub(super) fn show_revoked(
    group: &SecurityGroup,
    id: &SecurityGroupRuleId,
    rule: &SecurityGroupRule,
) -> RevokedSecurityGroupRule {
    let (from, to) = port_numbers(rule.matches.ports);
    let [cidr, ipv6, other, list] = peer_texts(&rule.matches.peer);
    RevokedSecurityGroupRule {
        cidr_ipv4: cidr,
        cidr_ipv6: ipv6,
        description: rule.description.clone(),
        from_port: Some(from),
        group_id: Some(group.id.to_string()),
        ip_protocol: Some(protocol_text(rule.matches.protocol)),
        is_egress: Some(rule.matches.direction == Direction::Egress),
        prefix_list_id: list,
        referenced_group_id: other,
        security_group_rule_id: Some(id.to_string()),
        to_port: Some(to),
    }
}

/// The rule as text for InvalidPermission.Duplicate.
pub(super) fn in_words(rule: &Matches) -> String {
    let peer = peer_texts(&rule.peer).into_iter().flatten().next().unwrap_or_default();
    let protocol = match rule.protocol {
        None => "ALL".to_owned(),
        some => protocol_text(some).to_uppercase(),
    };
    let or_all = |number: i32| if number < 0 { "ALL".to_owned() } else { number.to_string() };
    let (from, to) = port_numbers(rule.ports);
    match rule.protocol {
        Some(TCP | UDP) => format!("peer: {peer}, {protocol}, from port: {from}, to port: {to}, ALLOW"),
        Some(ICMP | ICMPV6) => format!("peer: {peer}, {protocol}, type: {}, code: {}, ALLOW", or_all(from), or_all(to)),
        Some(_) | None => format!("peer: {peer}, {protocol}, ALLOW"),
    }
}

/// The peer as IPv4 range, IPv6 range, group or prefix list: one of the four.
fn peer_texts(peer: &Peer) -> [Option<String>; 4] {
    match peer {
        Peer::Cidr(cidr) => [Some(cidr.to_string()), None, None, None],
        Peer::Ipv6(cidr) => [None, Some(cidr.to_string()), None, None],
        Peer::Group(group) => [None, None, Some(group.to_string()), None],
        Peer::PrefixList(list) => [None, None, None, Some(list.to_string())],
    }
}

fn move_into<T>(list: &mut Option<Vec<T>>, from: &mut Option<Vec<T>>) {
    list.get_or_insert_default().append(from.get_or_insert_default());
}

/// Reads a protocol; `None` stands for all protocols.
pub(super) fn protocol(text: Option<&str>) -> Result<Option<u8>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Err(invalid(
            "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.",
        ));
    };
    let number = match text.to_ascii_lowercase().as_str() {
        "-1" | "all" => return Ok(None),
        "tcp" => TCP,
        "udp" => UDP,
        "icmp" => ICMP,
        "icmpv6" => ICMPV6,
        number => {
            number.parse().map_err(|_| invalid(format!("Invalid value '{text}' for IP protocol. Unknown protocol.")))?
        }
    };
    Ok(Some(number))
}

fn protocol_text(protocol: Option<u8>) -> String {
    match protocol {
        None => "-1".to_owned(),
        Some(TCP) => "tcp".to_owned(),
        Some(UDP) => "udp".to_owned(),
        Some(ICMP) => "icmp".to_owned(),
        Some(ICMPV6) => "icmpv6".to_owned(),
        Some(number) => number.to_string(),
    }
}

fn ports(protocol: Option<u8>, from: Option<i32>, to: Option<i32>) -> Result<PortRange, Refusal> {
    let both = |name: &str| match (from, to) {
        (Some(from), Some(to)) => Ok((from, to)),
        (Some(_) | None, _) => {
            Err(invalid(format!("Invalid value 'Must specify both from and to ports with {name}.' for portRange.")))
        }
    };
    match protocol {
        Some(TCP | UDP) => {
            let (from, to) = both("TCP/UDP")?;
            let port = |number: i32| {
                u16::try_from(number).map_err(|_| invalid(format!("TCP/UDP port ({number}) out of range")))
            };
            let (first, last) = (port(from)?, port(to)?);
            if first > last {
                return Err(invalid(format!("Invalid TCP/UDP port range ({first}:{last})")));
            }
            Ok(PortRange::Ports(first, last))
        }
        Some(ICMPV6) if from.is_none() && to.is_none() => Ok(PortRange::All),
        Some(ICMP | ICMPV6) => {
            let number = |kind: &str, number: i32| {
                u8::try_from(number).map_err(|_| invalid(format!("ICMP {kind} ({number}) out of range")))
            };
            match both("ICMP")? {
                (-1, -1) => Ok(PortRange::All),
                (-1, code) => Err(invalid(format!("ICMP code ({code}) cannot be given for all ICMP types"))),
                (kind, -1) => Ok(PortRange::Icmp(number("type", kind)?, None)),
                (kind, code) => Ok(PortRange::Icmp(number("type", kind)?, Some(number("code", code)?))),
            }
        }
        // AWS: for other protocols traffic on all ports is allowed, whatever ports are given.
        Some(_) | None => Ok(PortRange::All),
    }
}

fn port_numbers(ports: PortRange) -> (i32, i32) {
    match ports {
        PortRange::All => (-1, -1),
        PortRange::Ports(from, to) => (from.into(), to.into()),
        PortRange::Icmp(kind, code) => (kind.into(), code.map_or(-1, i32::from)),
    }
}

fn cidr(text: &str) -> Result<Ipv4Cidr, Refusal> {
    text.parse().map_err(|_| invalid(format!("CIDR block {text} is malformed")))
}

fn ipv6_cidr(text: &str) -> Result<Ipv6Cidr, Refusal> {
    text.parse().map_err(|_| invalid(format!("CIDR block {text} is malformed")))
}

fn referenced(
    snap: &Snapshot,
    group: &SecurityGroup,
    pair: &UserIdGroupPair,
    env: &Env,
) -> Result<SecurityGroupId, Refusal> {
    let (id, name) = (pair.group_id.as_deref(), pair.group_name.as_deref());
    let unknown =
        |text: &str| Refusal::new(Code::InvalidGroupNotFound, format!("The security group '{text}' does not exist"));
    let other = match (id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty())) {
        (Some(id), _) => find::security_group(snap, id)?,
        (None, Some(name)) => find::group_named(snap, &group.vpc, name).ok_or_else(|| unknown(name))?,
        (None, None) => return Err(Refusal::new(Code::MissingParameter, "Source group ID missing.")),
    };
    if pair.user_id.as_deref().is_some_and(|user| !user.is_empty() && user != env.account) {
        return Err(unknown(other.id.as_str()));
    }
    let asked = pair.vpc_peering_connection_id.as_deref().filter(|id| !id.is_empty());
    let peering = peering::between(snap, &group.vpc, &other.vpc);
    let is_reached = other.vpc == group.vpc || peering.is_some();
    if !is_reached || asked.is_some_and(|asked| peering.map(AsRef::as_ref) != Some(asked)) {
        let words = "You have specified two resources that belong to different networks.";
        return Err(Refusal::new(Code::InvalidGroupNotFound, words));
    }
    Ok(other.id.clone())
}
