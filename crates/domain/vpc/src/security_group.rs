// SPDX-License-Identifier: Apache-2.0
//! Security groups: named sets of rules that interfaces carry.
//!
//! Every VPC has a group named `default`, made and deleted with it. Not here: the rules (`security_group_rule.rs`),
//! their AWS forms (`permission.rs`).

use std::collections::BTreeMap;

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::{
    self, CreateSecurityGroupRequest, CreateSecurityGroupResult, DeleteSecurityGroupRequest, DeleteSecurityGroupResult,
    DescribeSecurityGroupsRequest, DescribeSecurityGroupsResult, IpPermission,
};
use berth_state::vpc::{Matches, Peer, RecordKey, SecurityGroup, SecurityGroupRule};
use berth_state::{Change, Draft, Env, Refusal, Snapshot, Tags};
use berth_types::intent::{Direction, PortRange};
use berth_types::{EniId, Ipv4Cidr, SecurityGroupId, SecurityGroupRuleId, VpcId};

use super::describe::Selection;
use super::filter::{Filters, text};
use super::permission::{is_plain, show_permissions};
use super::quota::Quota;
use super::request::{invalid, missing, only, required};
use super::{find, tags};

/// Name of the group every VPC has.
pub(super) const DEFAULT: &str = "default";

/// Maximum length of a name and of a description in characters.
const NAME_CHARS_MAX: usize = 255;

/// CreateSecurityGroup: no ingress, all egress. Without a VPC it belongs to the default one.
pub fn create_security_group(
    snap: &Snapshot,
    req: &CreateSecurityGroupRequest,
    env: &Env,
) -> Result<Change<CreateSecurityGroupResult>, Refusal> {
    only(req, &["GroupName", "Description", "VpcId", "TagSpecifications"])?;
    let tags = tags::asked(&req.tag_specifications, tags::Kind::SecurityGroup)?;
    let name = group_name(required(&req.group_name, "GroupName")?)?;
    let description = group_description(required(&req.description, "GroupDescription")?)?;
    let vpc = match req.vpc_id.as_deref().filter(|id| !id.is_empty()) {
        Some(id) => find::vpc(snap, id)?,
        None => find::default_vpc(snap).ok_or_else(|| {
            let words = "No default VPC for this user. The request must contain the parameter vpcId";
            Refusal::new(Code::MissingParameter, words)
        })?,
    };
    if find::group_named(snap, &vpc.id, name).is_some() {
        let words = format!("The security group '{name}' already exists for VPC '{}'", vpc.id);
        return Err(Refusal::new(Code::InvalidGroupDuplicate, words));
    }
    if Quota::SecurityGroups.is_reached(snap, snap.vpc().security_groups.len()) {
        let words = "The maximum number of security groups has been reached.";
        return Err(Refusal::new(Code::SecurityGroupLimitExceeded, words));
    }
    let group = SecurityGroup {
        id: SecurityGroupId::from_bits(env.fresh_bits()),
        vpc: vpc.id.clone(),
        name: name.to_owned(),
        description: description.to_owned(),
        rules: BTreeMap::from([all_egress(env)]),
        tags,
    };
    let result = CreateSecurityGroupResult {
        group_id: Some(group.id.to_string()),
        security_group_arn: Some(arn(&group, env)),
        tags: tags::show(&group.tags),
    };
    let mut draft = Draft::of(snap);
    draft.put(group);
    Ok(draft.change(result))
}

/// DescribeSecurityGroups. Names are those of the default VPC.
pub fn describe_security_groups(
    snap: &Snapshot,
    req: &DescribeSecurityGroupsRequest,
    env: &Env,
) -> Result<DescribeSecurityGroupsResult, Refusal> {
    only(req, &["GroupIds", "GroupNames", "Filters", "MaxResults", "NextToken"])?;
    let ids = ids_or_names(snap, req)?;
    let selection = Selection {
        operation: "DescribeSecurityGroups",
        ids_parameter: "groupIds",
        ids: &ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let groups = selection.records(&snap.vpc().security_groups, |id| find::security_group(snap, id))?;
    let page =
        selection.page(&FILTERS, groups.into_iter().map(|group| (group.id.to_string(), show(snap, group, env))))?;
    Ok(DescribeSecurityGroupsResult { security_groups: Some(page.items), next_token: page.next_token })
}

/// DeleteSecurityGroup: not the default one, not while an interface carries it or another group's rule names it.
pub fn delete_security_group(
    snap: &Snapshot,
    req: &DeleteSecurityGroupRequest,
    _env: &Env,
) -> Result<Change<DeleteSecurityGroupResult>, Refusal> {
    only(req, &["GroupId", "GroupName"])?;
    let group = by_id_or_name(snap, &req.group_id, &req.group_name)?;
    if group.name == DEFAULT {
        let words = format!("the specified group: \"{}\" name: \"{DEFAULT}\" cannot be deleted by a user", group.id);
        return Err(Refusal::new(Code::CannotDelete, words));
    }
    if is_carried(snap, &group.id) || is_named_by_another(snap, group) {
        let words = format!("resource {} has a dependent object", group.id);
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    draft.delete(RecordKey::SecurityGroup(group.id.clone()));
    Ok(draft.change(DeleteSecurityGroupResult { r#return: Some(true), group_id: Some(group.id.to_string()) }))
}

/// The default group of a new VPC: ingress from its own members, all egress.
pub(super) fn default_group(id: SecurityGroupId, vpc: &VpcId, env: &Env) -> SecurityGroup {
    let from_itself = rule(Direction::Ingress, Peer::Group(id.clone()));
    SecurityGroup {
        id,
        vpc: vpc.clone(),
        name: DEFAULT.to_owned(),
        description: "default VPC security group".to_owned(),
        rules: BTreeMap::from([(SecurityGroupRuleId::from_bits(env.fresh_bits()), from_itself), all_egress(env)]),
        tags: Tags::new(),
    }
}

/// The group a request names by id, or by name in the default VPC.
pub(super) fn by_id_or_name<'a>(
    snap: &'a Snapshot,
    id: &Option<String>,
    name: &Option<String>,
) -> Result<&'a SecurityGroup, Refusal> {
    let (id, name) = (id.as_deref().filter(|id| !id.is_empty()), name.as_deref().filter(|name| !name.is_empty()));
    match (id, name) {
        (Some(id), _) => find::security_group(snap, id).map(AsRef::as_ref),
        (None, Some(name)) => in_default_vpc(snap, name),
        (None, None) => Err(missing("groupName or groupId")),
    }
}

static FILTERS: Filters<ec2::SecurityGroup> = Filters {
    rows: &[
        (&["group-id"], |group| text(&group.group_id)),
        (&["group-name"], |group| text(&group.group_name)),
        (&["description"], |group| text(&group.description)),
        (&["vpc-id"], |group| text(&group.vpc_id)),
        (&["owner-id"], |group| text(&group.owner_id)),
        (&["ip-permission.cidr"], |group| cidrs(&group.ip_permissions)),
        (&["ip-permission.from-port"], |group| numbers(&group.ip_permissions, |it| it.from_port)),
        (&["ip-permission.to-port"], |group| numbers(&group.ip_permissions, |it| it.to_port)),
        (&["ip-permission.protocol"], |group| protocols(&group.ip_permissions)),
        (&["ip-permission.group-id"], |group| groups(&group.ip_permissions)),
        (&["ip-permission.user-id"], |group| users(&group.ip_permissions)),
        (&["ip-permission.group-name"], |_| Vec::new()),
        (&["ip-permission.ipv6-cidr"], |group| ipv6_cidrs(&group.ip_permissions)),
        (&["ip-permission.prefix-list-id"], |group| lists(&group.ip_permissions)),
        (&["egress.ip-permission.cidr"], |group| cidrs(&group.ip_permissions_egress)),
        (&["egress.ip-permission.from-port"], |group| numbers(&group.ip_permissions_egress, |it| it.from_port)),
        (&["egress.ip-permission.to-port"], |group| numbers(&group.ip_permissions_egress, |it| it.to_port)),
        (&["egress.ip-permission.protocol"], |group| protocols(&group.ip_permissions_egress)),
        (&["egress.ip-permission.group-id"], |group| groups(&group.ip_permissions_egress)),
        (&["egress.ip-permission.user-id"], |group| users(&group.ip_permissions_egress)),
        (&["egress.ip-permission.group-name"], |_| Vec::new()),
        (&["egress.ip-permission.ipv6-cidr"], |group| ipv6_cidrs(&group.ip_permissions_egress)),
        (&["egress.ip-permission.prefix-list-id"], |group| lists(&group.ip_permissions_egress)),
    ],
    tags: Some(|group| &group.tags),
};

fn lists(permissions: &Option<Vec<IpPermission>>) -> Vec<String> {
    let lists = permissions.iter().flatten().flat_map(|it| it.prefix_list_ids.iter().flatten());
    lists.filter_map(|list| list.prefix_list_id.clone()).collect()
}

fn cidrs(permissions: &Option<Vec<IpPermission>>) -> Vec<String> {
    permissions
        .iter()
        .flatten()
        .flat_map(|it| it.ip_ranges.iter().flatten())
        .filter_map(|it| it.cidr_ip.clone())
        .collect()
}

fn ipv6_cidrs(permissions: &Option<Vec<IpPermission>>) -> Vec<String> {
    let ranges = permissions.iter().flatten().flat_map(|it| it.ipv6_ranges.iter().flatten());
    ranges.filter_map(|it| it.cidr_ipv6.clone()).collect()
}

fn groups(permissions: &Option<Vec<IpPermission>>) -> Vec<String> {
    let pairs = permissions.iter().flatten().flat_map(|it| it.user_id_group_pairs.iter().flatten());
    pairs.filter_map(|it| it.group_id.clone()).collect()
}

fn users(permissions: &Option<Vec<IpPermission>>) -> Vec<String> {
    let pairs = permissions.iter().flatten().flat_map(|it| it.user_id_group_pairs.iter().flatten());
    pairs.filter_map(|it| it.user_id.clone()).collect()
}

fn protocols(permissions: &Option<Vec<IpPermission>>) -> Vec<String> {
    permissions.iter().flatten().filter_map(|it| it.ip_protocol.clone()).collect()
}

fn numbers(permissions: &Option<Vec<IpPermission>>, number: fn(&IpPermission) -> Option<i32>) -> Vec<String> {
    permissions.iter().flatten().filter_map(number).map(|it| it.to_string()).collect()
}

fn show(snap: &Snapshot, group: &SecurityGroup, env: &Env) -> ec2::SecurityGroup {
    ec2::SecurityGroup {
        description: Some(group.description.clone()),
        group_id: Some(group.id.to_string()),
        group_name: Some(group.name.clone()),
        ip_permissions: Some(show_permissions(snap, group, Direction::Ingress, env)),
        ip_permissions_egress: Some(show_permissions(snap, group, Direction::Egress, env)),
        owner_id: Some(env.account.clone()),
        security_group_arn: Some(arn(group, env)),
        tags: tags::show(&group.tags),
        vpc_id: Some(group.vpc.to_string()),
    }
}

fn arn(group: &SecurityGroup, env: &Env) -> String {
    env.arn("ec2", format_args!("security-group/{}", group.id))
}

fn group_name(name: &str) -> Result<&str, Refusal> {
    if name.starts_with("sg-") {
        return Err(invalid("Group names may not be in the format sg-*"));
    }
    if name == DEFAULT {
        let words = format!("Cannot use reserved security group name: {DEFAULT}");
        return Err(Refusal::new(Code::InvalidGroupReserved, words));
    }
    if name.chars().count() > NAME_CHARS_MAX || !name.chars().all(is_plain) {
        return Err(invalid(
            "Invalid security group name. Valid names are strings less than 256 characters from the following set:  \
             a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(name)
}

fn group_description(description: &str) -> Result<&str, Refusal> {
    if description.chars().count() > NAME_CHARS_MAX || !description.chars().all(is_plain) {
        return Err(invalid(
            "Invalid security group description. Valid descriptions are strings less than 256 characters from the \
             following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(description)
}

fn ids_or_names(snap: &Snapshot, req: &DescribeSecurityGroupsRequest) -> Result<Option<Vec<String>>, Refusal> {
    let mut ids = req.group_ids.clone().unwrap_or_default();
    for name in req.group_names.iter().flatten() {
        ids.push(in_default_vpc(snap, name)?.id.to_string());
    }
    Ok(Some(ids))
}

fn in_default_vpc<'a>(snap: &'a Snapshot, name: &str) -> Result<&'a SecurityGroup, Refusal> {
    let vpc = find::default_vpc(snap);
    let group = vpc.and_then(|vpc| find::group_named(snap, &vpc.id, name));
    group.map(AsRef::as_ref).ok_or_else(|| {
        let vpc = vpc.map_or_else(|| "default VPC".to_owned(), |vpc| format!("default VPC '{}'", vpc.id));
        Refusal::new(Code::InvalidGroupNotFound, format!("The security group '{name}' does not exist in {vpc}"))
    })
}

fn is_carried(snap: &Snapshot, group: &SecurityGroupId) -> bool {
    let first = (group.clone(), EniId::from_bits(0));
    snap.vpc().index().group_members.range(first..).next().is_some_and(|(other, _)| other == group)
}

fn is_named_by_another(snap: &Snapshot, group: &SecurityGroup) -> bool {
    let peer = Peer::Group(group.id.clone());
    let mut others = snap.vpc().security_groups.values().filter(|other| other.id != group.id && other.vpc == group.vpc);
    others.any(|other| other.rules.values().any(|rule| rule.matches.peer == peer))
}

fn all_egress(env: &Env) -> (SecurityGroupRuleId, SecurityGroupRule) {
    let anywhere = Ipv4Cidr::containing(std::net::Ipv4Addr::UNSPECIFIED, 0).expect("0 is a prefix length");
    (SecurityGroupRuleId::from_bits(env.fresh_bits()), rule(Direction::Egress, Peer::Cidr(anywhere)))
}

fn rule(direction: Direction, peer: Peer) -> SecurityGroupRule {
    let matches = Matches { direction, protocol: None, ports: PortRange::All, peer };
    SecurityGroupRule { matches, description: None, tags: Tags::new() }
}
