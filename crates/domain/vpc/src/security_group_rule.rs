// SPDX-License-Identifier: Apache-2.0
//! The rules of security groups, through both APIs: permissions (protocol, ports, peers) and rule objects with ids.
//!
//! A call changes all the rules it names or none. Two rules of a group never match the same packets, regardless of
//! their descriptions. A change applies to every interface that carries the group at once.

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::{
    self, AuthorizeSecurityGroupEgressRequest, AuthorizeSecurityGroupEgressResult,
    AuthorizeSecurityGroupIngressRequest, AuthorizeSecurityGroupIngressResult, DescribeSecurityGroupRulesRequest,
    DescribeSecurityGroupRulesResult, IpPermission, IpRange, Ipv6Range, ModifySecurityGroupRulesRequest,
    ModifySecurityGroupRulesResult, PrefixListId, RevokeSecurityGroupEgressRequest, RevokeSecurityGroupEgressResult,
    RevokeSecurityGroupIngressRequest, RevokeSecurityGroupIngressResult, RevokedSecurityGroupRule,
    SecurityGroupRuleDescription, SecurityGroupRuleRequest, TagSpecification,
    UpdateSecurityGroupRuleDescriptionsEgressRequest, UpdateSecurityGroupRuleDescriptionsEgressResult,
    UpdateSecurityGroupRuleDescriptionsIngressRequest, UpdateSecurityGroupRuleDescriptionsIngressResult,
    UserIdGroupPair,
};
use berth_state::vpc::{AddressFamily, Matches, Peer, SecurityGroup, SecurityGroupRule};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::SecurityGroupRuleId;
use berth_types::intent::Direction;

use super::describe::Selection;
use super::filter::{Filters, text};
use super::find::{self, Ec2Id};
use super::permission::{AskedRule, described, in_words, show_permission, show_revoked, show_rule, understand};
use super::quota::Quota;
use super::request::{invalid, missing, only, required};
use super::security_group::by_id_or_name;
use super::tags;

/// The rules a request names, in any of AWS's three forms; the fields are those of the requests.
struct Named<'a> {
    direction: Direction,
    group_id: &'a Option<String>,
    group_name: &'a Option<String>,
    ip_permissions: &'a Option<Vec<IpPermission>>,
    ip_protocol: &'a Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    cidr_ip: &'a Option<String>,
    source_name: &'a Option<String>,
    source_owner: &'a Option<String>,
}

macro_rules! named {
    ($req:ident, $direction:ident, $name:expr) => {
        Named {
            direction: Direction::$direction,
            group_id: &$req.group_id,
            group_name: $name,
            ip_permissions: &$req.ip_permissions,
            ip_protocol: &$req.ip_protocol,
            from_port: $req.from_port,
            to_port: $req.to_port,
            cidr_ip: &$req.cidr_ip,
            source_name: &$req.source_security_group_name,
            source_owner: &$req.source_security_group_owner_id,
        }
    };
}

const NAMED: [&str; 10] = [
    "GroupId",
    "GroupName",
    "IpPermissions",
    "IpProtocol",
    "FromPort",
    "ToPort",
    "CidrIp",
    "SourceSecurityGroupName",
    "SourceSecurityGroupOwnerId",
    "SecurityGroupRuleIds",
];

/// AuthorizeSecurityGroupIngress.
pub fn authorize_security_group_ingress(
    snap: &Snapshot,
    req: &AuthorizeSecurityGroupIngressRequest,
    env: &Env,
) -> Result<Change<AuthorizeSecurityGroupIngressResult>, Refusal> {
    only(req, &[&NAMED[..], &["TagSpecifications"]].concat())?;
    let change = authorize(snap, &named!(req, Ingress, &req.group_name), &req.tag_specifications, env)?;
    Ok(change
        .map(|rules| AuthorizeSecurityGroupIngressResult { r#return: Some(true), security_group_rules: Some(rules) }))
}

/// AuthorizeSecurityGroupEgress.
pub fn authorize_security_group_egress(
    snap: &Snapshot,
    req: &AuthorizeSecurityGroupEgressRequest,
    env: &Env,
) -> Result<Change<AuthorizeSecurityGroupEgressResult>, Refusal> {
    only(req, &[&NAMED[..], &["TagSpecifications"]].concat())?;
    let change = authorize(snap, &named!(req, Egress, &None), &req.tag_specifications, env)?;
    Ok(change
        .map(|rules| AuthorizeSecurityGroupEgressResult { r#return: Some(true), security_group_rules: Some(rules) }))
}

/// RevokeSecurityGroupIngress.
pub fn revoke_security_group_ingress(
    snap: &Snapshot,
    req: &RevokeSecurityGroupIngressRequest,
    env: &Env,
) -> Result<Change<RevokeSecurityGroupIngressResult>, Refusal> {
    only(req, &NAMED)?;
    let change = revoke(snap, &named!(req, Ingress, &req.group_name), &req.security_group_rule_ids, env)?;
    Ok(change.map(|revoked| RevokeSecurityGroupIngressResult {
        r#return: Some(true),
        revoked_security_group_rules: Some(revoked.rules),
        unknown_ip_permissions: revoked.unknown,
    }))
}

/// RevokeSecurityGroupEgress.
pub fn revoke_security_group_egress(
    snap: &Snapshot,
    req: &RevokeSecurityGroupEgressRequest,
    env: &Env,
) -> Result<Change<RevokeSecurityGroupEgressResult>, Refusal> {
    only(req, &NAMED)?;
    let change = revoke(snap, &named!(req, Egress, &None), &req.security_group_rule_ids, env)?;
    Ok(change.map(|revoked| RevokeSecurityGroupEgressResult {
        r#return: Some(true),
        revoked_security_group_rules: Some(revoked.rules),
        unknown_ip_permissions: revoked.unknown,
    }))
}

/// DescribeSecurityGroupRules.
pub fn describe_security_group_rules(
    snap: &Snapshot,
    req: &DescribeSecurityGroupRulesRequest,
    env: &Env,
) -> Result<DescribeSecurityGroupRulesResult, Refusal> {
    only(req, &["SecurityGroupRuleIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeSecurityGroupRules",
        ids_parameter: "securityGroupRuleIds",
        ids: &req.security_group_rule_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let groups = snap.vpc().security_groups.values();
    let mut rules: Vec<(&SecurityGroupRuleId, &SecurityGroup, &SecurityGroupRule)> =
        groups.flat_map(|group| group.rules.iter().map(|(id, rule)| (id, group.as_ref(), rule))).collect();
    rules.sort_by_key(|(id, ..)| *id);
    if let Some(ids) = selection.ids() {
        let mut asked = Vec::with_capacity(ids.len());
        for text in ids {
            let id: SecurityGroupRuleId = find::id(text)?;
            if rules.binary_search_by_key(&&id, |(id, ..)| *id).is_err() {
                return Err(SecurityGroupRuleId::not_found(text));
            }
            asked.push(id);
        }
        rules.retain(|(id, ..)| asked.contains(id));
    }
    let answers = rules.into_iter().map(|(id, group, rule)| (id.to_string(), show_rule(snap, group, id, rule, env)));
    let page = selection.page(&FILTERS, answers)?;
    Ok(DescribeSecurityGroupRulesResult { security_group_rules: Some(page.items), next_token: page.next_token })
}

/// ModifySecurityGroupRules: each rule named gets new contents and keeps its id, direction and tags.
pub fn modify_security_group_rules(
    snap: &Snapshot,
    req: &ModifySecurityGroupRulesRequest,
    env: &Env,
) -> Result<Change<ModifySecurityGroupRulesResult>, Refusal> {
    only(req, &["GroupId", "SecurityGroupRules"])?;
    let mut group = find::security_group(snap, required(&req.group_id, "groupId")?)?.as_ref().clone();
    let updates = req.security_group_rules.as_deref().unwrap_or_default();
    if updates.is_empty() {
        return Err(missing("SecurityGroupRule"));
    }
    for update in updates {
        let id = rule_of(&group, required(&update.security_group_rule_id, "SecurityGroupRuleId")?)?;
        let wanted = update.security_group_rule.as_ref().ok_or_else(|| missing("SecurityGroupRule"))?;
        let Some(rule) = group.rules.get(&id) else { continue };
        check_modified(wanted)?;
        let asked = understand(snap, &group, rule.matches.direction, &[as_permission(wanted)], env)?;
        let [asked] = &asked[..] else { return Err(one_peer()) };
        if group.rules.iter().any(|(other, rule)| *other != id && rule.matches == asked.matches) {
            return Err(duplicate(&asked.matches));
        }
        if let Some(rule) = group.rules.get_mut(&id) {
            rule.matches = asked.matches.clone();
            rule.description = asked.description.clone();
        }
    }
    check_room(snap, &group)?;
    let mut draft = Draft::of(snap);
    draft.put(group);
    Ok(draft.change(ModifySecurityGroupRulesResult { r#return: Some(true) }))
}

/// Refuses a rule without exactly one peer, and one with half a range of ports.
fn check_modified(wanted: &SecurityGroupRuleRequest) -> Result<(), Refusal> {
    let peers = [&wanted.cidr_ipv4, &wanted.cidr_ipv6, &wanted.prefix_list_id, &wanted.referenced_group_id];
    match peers.iter().filter(|peer| peer.is_some()).count() {
        0 => {
            let words = "The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId";
            return Err(Refusal::new(Code::MissingParameter, words));
        }
        1 => {}
        _ => return Err(one_peer()),
    }
    let has_ports = matches!(wanted.ip_protocol.as_deref(), Some("tcp" | "udp" | "6" | "17"));
    if has_ports && (wanted.from_port.is_none() || wanted.to_port.is_none()) {
        return Err(invalid("Invalid value for portRange. Must specify both from and to ports with TCP/UDP."));
    }
    Ok(())
}

fn one_peer() -> Refusal {
    let words = "Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified";
    Refusal::new(Code::InvalidParameterCombination, words)
}

/// UpdateSecurityGroupRuleDescriptionsIngress.
pub fn update_security_group_rule_descriptions_ingress(
    snap: &Snapshot,
    req: &UpdateSecurityGroupRuleDescriptionsIngressRequest,
    env: &Env,
) -> Result<Change<UpdateSecurityGroupRuleDescriptionsIngressResult>, Refusal> {
    only(req, &["GroupId", "GroupName", "IpPermissions", "SecurityGroupRuleDescriptions"])?;
    let group = by_id_or_name(snap, &req.group_id, &req.group_name)?;
    let (permissions, descriptions) = (&req.ip_permissions, &req.security_group_rule_descriptions);
    let change = describe_anew(snap, group, Direction::Ingress, permissions, descriptions, env)?;
    Ok(change.map(|()| UpdateSecurityGroupRuleDescriptionsIngressResult { r#return: Some(true) }))
}

/// UpdateSecurityGroupRuleDescriptionsEgress.
pub fn update_security_group_rule_descriptions_egress(
    snap: &Snapshot,
    req: &UpdateSecurityGroupRuleDescriptionsEgressRequest,
    env: &Env,
) -> Result<Change<UpdateSecurityGroupRuleDescriptionsEgressResult>, Refusal> {
    only(req, &["GroupId", "GroupName", "IpPermissions", "SecurityGroupRuleDescriptions"])?;
    let group = by_id_or_name(snap, &req.group_id, &req.group_name)?;
    let (permissions, descriptions) = (&req.ip_permissions, &req.security_group_rule_descriptions);
    let change = describe_anew(snap, group, Direction::Egress, permissions, descriptions, env)?;
    Ok(change.map(|()| UpdateSecurityGroupRuleDescriptionsEgressResult { r#return: Some(true) }))
}

fn authorize(
    snap: &Snapshot,
    named: &Named<'_>,
    tag_specifications: &Option<Vec<TagSpecification>>,
    env: &Env,
) -> Result<Change<Vec<ec2::SecurityGroupRule>>, Refusal> {
    let tags = tags::asked(tag_specifications, tags::Kind::SecurityGroupRule)?;
    let mut group = by_id_or_name(snap, named.group_id, named.group_name)?.clone();
    let asked = understand(snap, &group, named.direction, &named.permissions(snap, &group)?, env)?;
    for (number, one) in asked.iter().enumerate() {
        if asked[..number].iter().any(|other| other.matches == one.matches) {
            return Err(invalid("The same permission must not appear multiple times"));
        }
        if group.rules.values().any(|rule| rule.matches == one.matches) {
            return Err(duplicate(&one.matches));
        }
    }
    let mut shown = Vec::with_capacity(asked.len());
    for AskedRule { matches, description } in asked {
        let id = SecurityGroupRuleId::from_bits(env.fresh_bits());
        let rule = SecurityGroupRule { matches, description, tags: tags.clone() };
        shown.push(show_rule(snap, &group, &id, &rule, env));
        group.rules.insert(id, rule);
    }
    check_room(snap, &group)?;
    let mut draft = Draft::of(snap);
    draft.put(group);
    Ok(draft.change(shown))
}

/// Refuses a group with too many rules in one direction. IPv4 and IPv6 have their own quota; a group as the peer counts
/// in both, and a prefix list as many as it can hold entries.
pub(super) fn check_room(snap: &Snapshot, group: &SecurityGroup) -> Result<(), Refusal> {
    for direction in [Direction::Ingress, Direction::Egress] {
        let (mut ipv4, mut ipv6) = (0, 0);
        let rules = group.rules.values().filter(|rule| rule.matches.direction == direction);
        for rule in rules {
            match &rule.matches.peer {
                Peer::Cidr(_) => ipv4 += 1,
                Peer::Ipv6(_) => ipv6 += 1,
                Peer::Group(_) => (ipv4, ipv6) = (ipv4 + 1, ipv6 + 1),
                Peer::PrefixList(list) => match snap.vpc().prefix_lists.get(list) {
                    Some(list) if list.family == AddressFamily::Ipv6 => ipv6 += list.max_entries as usize,
                    Some(list) => ipv4 += list.max_entries as usize,
                    None => {}
                },
            }
        }
        if ipv4.max(ipv6) > Quota::RulesPerSecurityGroup.value(snap) as usize {
            let words = "The maximum number of rules per security group has been reached.";
            return Err(Refusal::new(Code::RulesPerSecurityGroupLimitExceeded, words));
        }
    }
    Ok(())
}

struct Revoked {
    rules: Vec<RevokedSecurityGroupRule>,
    unknown: Option<Vec<IpPermission>>,
}

fn revoke(
    snap: &Snapshot,
    named: &Named<'_>,
    ids: &Option<Vec<String>>,
    env: &Env,
) -> Result<Change<Revoked>, Refusal> {
    let mut group = by_id_or_name(snap, named.group_id, named.group_name)?.clone();
    let ids = ids.as_deref().unwrap_or_default();
    let mut unknown = Vec::new();
    let mut found = Vec::new();
    if ids.is_empty() {
        let permissions = named.permissions(snap, &group)?;
        for asked in understand(snap, &group, named.direction, &permissions, env)? {
            match holding(&group, &asked.matches) {
                Some(id) => found.push(id),
                None => unknown.push(show_permission(snap, &group, &asked.matches, &asked.description, env)),
            }
        }
    } else if named.names_permissions() {
        let words = "The parameter securityGroupRuleIds may not be used in combination with ipPermissions";
        return Err(Refusal::new(Code::InvalidParameterCombination, words));
    }
    for text in ids {
        let id = rule_of(&group, text)?;
        if group.rules.get(&id).is_some_and(|rule| rule.matches.direction != named.direction) {
            return Err(SecurityGroupRuleId::not_found(text));
        }
        found.push(id);
    }
    // AWS: in the default VPC the answer lists what was not there, in other VPCs the call is refused.
    let is_lenient = snap.vpc().vpcs.get(&group.vpc).is_some_and(|vpc| vpc.is_default);
    if !unknown.is_empty() && !is_lenient {
        let words = "The specified rule does not exist in this security group.";
        return Err(Refusal::new(Code::InvalidPermissionNotFound, words));
    }
    let mut rules = Vec::with_capacity(found.len());
    for id in found {
        if let Some(rule) = group.rules.remove(&id) {
            rules.push(show_revoked(&group, &id, &rule));
        }
    }
    let mut draft = Draft::of(snap);
    draft.put(group);
    Ok(draft.change(Revoked { rules, unknown: Some(unknown).filter(|unknown| !unknown.is_empty()) }))
}

fn describe_anew(
    snap: &Snapshot,
    group: &SecurityGroup,
    direction: Direction,
    permissions: &Option<Vec<IpPermission>>,
    descriptions: &Option<Vec<SecurityGroupRuleDescription>>,
    env: &Env,
) -> Result<Change<()>, Refusal> {
    let permissions = permissions.as_deref().unwrap_or_default();
    let descriptions = descriptions.as_deref().unwrap_or_default();
    if permissions.is_empty() == descriptions.is_empty() {
        let words = "Either IpPermissions or SecurityGroupRuleDescriptions must be specified, and not both";
        return Err(Refusal::new(Code::InvalidParameterCombination, words));
    }
    let mut anew = Vec::new();
    for asked in understand(snap, group, direction, permissions, env)? {
        let id = holding(group, &asked.matches).ok_or_else(|| {
            let words = "The specified rule does not exist in this security group.";
            Refusal::new(Code::InvalidPermissionNotFound, words)
        })?;
        anew.push((id, asked.description));
    }
    for update in descriptions {
        let text = required(&update.security_group_rule_id, "SecurityGroupRuleId")?;
        let id = rule_of(group, text)?;
        if group.rules.get(&id).is_some_and(|rule| rule.matches.direction != direction) {
            return Err(SecurityGroupRuleId::not_found(text));
        }
        anew.push((id, described(&update.description)?));
    }
    let mut group = group.clone();
    for (id, description) in anew {
        if let Some(rule) = group.rules.get_mut(&id) {
            rule.description = description;
        }
    }
    let mut draft = Draft::of(snap);
    draft.put(group);
    Ok(draft.change(()))
}

static FILTERS: Filters<ec2::SecurityGroupRule> = Filters {
    rows: &[
        (&["group-id"], |rule| text(&rule.group_id)),
        (&["security-group-rule-id"], |rule| text(&rule.security_group_rule_id)),
    ],
    tags: Some(|rule| &rule.tags),
};

impl Named<'_> {
    /// The permissions asked for; the single one spelled out in older members becomes one of the list.
    fn permissions(&self, snap: &Snapshot, group: &SecurityGroup) -> Result<Vec<IpPermission>, Refusal> {
        let listed = self.ip_permissions.as_deref().unwrap_or_default();
        match (listed.is_empty(), self.is_spelled_out()) {
            (false, false) => Ok(listed.to_vec()),
            (true, true) => self.spelled_out(snap, group),
            (false, true) => {
                let words = "The parameter ipPermissions may not be used in combination with ipProtocol, fromPort, \
                             toPort, cidrIp or sourceSecurityGroupName";
                Err(Refusal::new(Code::InvalidParameterCombination, words))
            }
            (true, false) => Err(missing("ipPermissions")),
        }
    }

    fn names_permissions(&self) -> bool {
        self.is_spelled_out() || self.ip_permissions.as_ref().is_some_and(|list| !list.is_empty())
    }

    fn is_spelled_out(&self) -> bool {
        self.ip_protocol.is_some() || self.cidr_ip.is_some() || self.source_name.is_some() || self.from_port.is_some()
    }

    fn spelled_out(&self, snap: &Snapshot, group: &SecurityGroup) -> Result<Vec<IpPermission>, Refusal> {
        let permission = |protocol: &str, from: Option<i32>, to: Option<i32>| IpPermission {
            ip_protocol: Some(protocol.to_owned()).filter(|protocol| !protocol.is_empty()),
            from_port: from,
            to_port: to,
            ..Default::default()
        };
        let Some(name) = self.source_name.as_deref() else {
            let mut one = permission(self.ip_protocol.as_deref().unwrap_or_default(), self.from_port, self.to_port);
            let range = self.cidr_ip.as_ref().map(|cidr| IpRange { cidr_ip: Some(cidr.clone()), description: None });
            one.ip_ranges = Some(range.into_iter().collect());
            return Ok(vec![one]);
        };
        if self.ip_protocol.is_some() || self.cidr_ip.is_some() || self.from_port.is_some() {
            let words = "The parameter sourceSecurityGroupName may not be used in combination with ipProtocol, \
                         fromPort, toPort or cidrIp";
            return Err(Refusal::new(Code::InvalidParameterCombination, words));
        }
        // AWS: a source group alone grants full ICMP, UDP and TCP access. Some clients give an id as the name.
        let is_id =
            snap.vpc().security_groups.values().any(|other| other.id.as_str() == name && other.vpc == group.vpc);
        let pair = UserIdGroupPair {
            group_id: Some(name.to_owned()).filter(|_| is_id),
            group_name: Some(name.to_owned()).filter(|_| !is_id),
            user_id: self.source_owner.clone(),
            ..Default::default()
        };
        let all = [("icmp", -1, -1), ("udp", 0, 65535), ("tcp", 0, 65535)];
        Ok(all
            .map(|(protocol, from, to)| IpPermission {
                user_id_group_pairs: Some(vec![pair.clone()]),
                ..permission(protocol, Some(from), Some(to))
            })
            .to_vec())
    }
}

fn duplicate(rule: &Matches) -> Refusal {
    let words = format!("the specified rule \"{}\" already exists", in_words(rule));
    Refusal::new(Code::InvalidPermissionDuplicate, words)
}

fn holding(group: &SecurityGroup, matches: &Matches) -> Option<SecurityGroupRuleId> {
    group.rules.iter().find(|(_, rule)| rule.matches == *matches).map(|(id, _)| id.clone())
}

fn rule_of(group: &SecurityGroup, text: &str) -> Result<SecurityGroupRuleId, Refusal> {
    let id: SecurityGroupRuleId = find::id(text)?;
    if group.rules.contains_key(&id) { Ok(id) } else { Err(SecurityGroupRuleId::not_found(text)) }
}

fn as_permission(rule: &SecurityGroupRuleRequest) -> IpPermission {
    let description = &rule.description;
    let range =
        rule.cidr_ipv4.as_ref().map(|cidr| IpRange { cidr_ip: Some(cidr.clone()), description: description.clone() });
    let range6 = rule
        .cidr_ipv6
        .as_ref()
        .map(|cidr| Ipv6Range { cidr_ipv6: Some(cidr.clone()), description: description.clone() });
    let list = rule
        .prefix_list_id
        .as_ref()
        .map(|id| PrefixListId { prefix_list_id: Some(id.clone()), description: description.clone() });
    let pair = rule.referenced_group_id.as_ref().map(|id| UserIdGroupPair {
        group_id: Some(id.clone()),
        description: description.clone(),
        ..Default::default()
    });
    IpPermission {
        from_port: rule.from_port,
        ip_protocol: rule.ip_protocol.clone(),
        ip_ranges: Some(range.into_iter().collect()),
        ipv6_ranges: Some(range6.into_iter().collect()),
        prefix_list_ids: Some(list.into_iter().collect()),
        to_port: rule.to_port,
        user_id_group_pairs: Some(pair.into_iter().collect()),
    }
}
