// SPDX-License-Identifier: Apache-2.0
//! Tags: one mechanism for all kinds of resources.
//!
//! A resource has up to 50 tags; keys that begin with `aws:` belong to the services and cannot be set or removed by
//! users. Not here: tags of ECS resources.

use std::collections::BTreeMap;

use berth_shapes::ec2::{
    CreateTagsRequest, DeleteTagsRequest, DescribeTagsRequest, DescribeTagsResult, Tag, TagDescription,
    TagSpecification,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::tags::{KEY_CHARS_MAX, TAGS_MAX, VALUE_CHARS_MAX, are_too_many, is_reserved};
use berth_state::vpc::{
    ElasticIp, Eni, InternetGateway, NatGateway, NetworkAcl, Peering, PrefixList, RouteTable, SecurityGroup, Subnet,
    Vpc,
};
use berth_state::{Change, Draft, Env, Refusal, Snapshot, Tags};
use berth_types::{
    ElasticIpId, EniId, InstanceId, InternetGatewayId, NatGatewayId, NetworkAclId, PeeringId, PrefixListId,
    RouteTableId, SecurityGroupId, SecurityGroupRuleId, SubnetId, VpcId,
};

use super::describe::Selection;
use super::filter::{Filters, text};
use super::find::{self, Ec2Id};
use super::request::{invalid, missing, only};

/// A kind of resource that can be tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Vpc,
    Subnet,
    SecurityGroup,
    SecurityGroupRule,
    NetworkInterface,
    InternetGateway,
    NetworkAcl,
    RouteTable,
    ElasticIp,
    NatGateway,
    Peering,
    PrefixList,
}

impl Kind {
    const ALL: [(Kind, &str, &str); 12] = [
        (Kind::Vpc, VpcId::PREFIX, "vpc"),
        (Kind::Subnet, SubnetId::PREFIX, "subnet"),
        (Kind::SecurityGroup, SecurityGroupId::PREFIX, "security-group"),
        (Kind::SecurityGroupRule, SecurityGroupRuleId::PREFIX, "security-group-rule"),
        (Kind::NetworkInterface, EniId::PREFIX, "network-interface"),
        (Kind::InternetGateway, InternetGatewayId::PREFIX, "internet-gateway"),
        (Kind::NetworkAcl, NetworkAclId::PREFIX, "network-acl"),
        (Kind::RouteTable, RouteTableId::PREFIX, "route-table"),
        (Kind::ElasticIp, ElasticIpId::PREFIX, "elastic-ip"),
        (Kind::Peering, PeeringId::PREFIX, "vpc-peering-connection"),
        (Kind::NatGateway, NatGatewayId::PREFIX, "natgateway"),
        (Kind::PrefixList, PrefixListId::PREFIX, "prefix-list"),
    ];

    /// AWS's name of the kind, also used in ARNs.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., name)| name)
    }

    pub fn of_id(id: &str) -> Option<Self> {
        let (prefix, _) = id.rsplit_once('-')?;
        Self::ALL.iter().find(|(_, known, _)| *known == prefix).map(|(kind, ..)| *kind)
    }
}

/// CreateTags: adds or replaces tags of any resources.
pub fn create_tags(snap: &Snapshot, req: &CreateTagsRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["Resources", "Tags"])?;
    let tags = checked(req.tags.as_deref().unwrap_or_default())?;
    if tags.is_empty() {
        return Err(missing("Tags"));
    }
    each_resource(snap, &req.resources, |mine| {
        mine.extend(tags.clone());
        if are_too_many(mine) {
            return Err(too_many());
        }
        Ok(())
    })
}

/// DeleteTags: removes all tags if none is named; a key without a value matches any value.
pub fn delete_tags(snap: &Snapshot, req: &DeleteTagsRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["Resources", "Tags"])?;
    let tags = req.tags.as_deref().unwrap_or_default();
    for tag in tags {
        checked_key(tag)?;
    }
    each_resource(snap, &req.resources, |mine| {
        if tags.is_empty() {
            mine.retain(|key, _| is_reserved(key));
        }
        for tag in tags {
            let key = tag.key.as_deref().unwrap_or_default();
            if mine.get(key).is_some_and(|value| tag.value.as_ref().is_none_or(|asked| asked == value)) {
                mine.remove(key);
            }
        }
        Ok(())
    })
}

/// DescribeTags.
pub fn describe_tags(snap: &Snapshot, req: &DescribeTagsRequest, _env: &Env) -> Result<DescribeTagsResult, Refusal> {
    only(req, &["Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeTags",
        ids_parameter: "",
        ids: &None,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let mut tags: Vec<(String, TagDescription)> = Vec::new();
    let mut of = |kind: Kind, id: &str, mine: &Tags| {
        tags.extend(mine.iter().map(|(key, value)| (format!("{id} {key}"), describe(kind, id, key, value))));
    };
    snap.vpc().vpcs.values().for_each(|it| of(Kind::Vpc, it.id.as_str(), &it.tags));
    snap.vpc().subnets.values().for_each(|it| of(Kind::Subnet, it.id.as_str(), &it.tags));
    for group in snap.vpc().security_groups.values() {
        of(Kind::SecurityGroup, group.id.as_str(), &group.tags);
        group.rules.iter().for_each(|(id, rule)| of(Kind::SecurityGroupRule, id.as_str(), &rule.tags));
    }
    snap.vpc().enis.values().for_each(|it| of(Kind::NetworkInterface, it.id.as_str(), &it.tags));
    snap.vpc().internet_gateways.values().for_each(|it| of(Kind::InternetGateway, it.id.as_str(), &it.tags));
    snap.vpc().network_acls.values().for_each(|it| of(Kind::NetworkAcl, it.id.as_str(), &it.tags));
    snap.vpc().route_tables.values().for_each(|it| of(Kind::RouteTable, it.id.as_str(), &it.tags));
    snap.vpc().elastic_ips.values().for_each(|it| of(Kind::ElasticIp, it.id.as_str(), &it.tags));
    snap.vpc().peerings.values().for_each(|it| of(Kind::Peering, it.id.as_str(), &it.tags));
    snap.vpc().nat_gateways.values().for_each(|it| of(Kind::NatGateway, it.id.as_str(), &it.tags));
    snap.vpc().prefix_lists.values().for_each(|it| of(Kind::PrefixList, it.id.as_str(), &it.tags));
    tags.sort_by(|one, other| one.0.cmp(&other.0));
    let page = selection.page(&FILTERS, tags)?;
    Ok(DescribeTagsResult { tags: Some(page.items), next_token: page.next_token })
}

/// The tags a create call asks for.
pub(super) fn asked(specifications: &Option<Vec<TagSpecification>>, kind: Kind) -> Result<Tags, Refusal> {
    let mut asked = Vec::new();
    for specification in specifications.iter().flatten() {
        let named = specification.resource_type.as_deref().unwrap_or_default();
        if named != kind.name() {
            return Err(invalid(format!("'{named}' is not a valid taggable resource type for this operation.")));
        }
        asked.extend(specification.tags.iter().flatten().cloned());
    }
    let tags = checked(&asked)?;
    if are_too_many(&tags) { Err(too_many()) } else { Ok(tags) }
}

/// Tags for an answer.
pub(super) fn show(tags: &Tags) -> Option<Vec<Tag>> {
    Some(tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect())
}

static FILTERS: Filters<TagDescription> = Filters {
    rows: &[
        (&["resource-id"], |tag| text(&tag.resource_id)),
        (&["resource-type"], |tag| text(&tag.resource_type)),
        (&["key", "tag-key"], |tag| text(&tag.key)),
        (&["value", "tag-value"], |tag| text(&tag.value)),
    ],
    tags: Some(|_| &None),
};

fn describe(kind: Kind, id: &str, key: &str, value: &str) -> TagDescription {
    TagDescription {
        key: Some(key.to_owned()),
        resource_id: Some(id.to_owned()),
        resource_type: Some(kind.name().to_owned()),
        value: Some(value.to_owned()),
    }
}

fn checked(tags: &[Tag]) -> Result<Tags, Refusal> {
    let mut checked = BTreeMap::new();
    for tag in tags {
        let key = checked_key(tag)?;
        let value = tag.value.as_deref().unwrap_or_default();
        if value.chars().count() > VALUE_CHARS_MAX {
            return Err(invalid(format!(
                "Tag value exceeds the maximum length of {VALUE_CHARS_MAX} characters, value provided: '{value}'"
            )));
        }
        if checked.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(invalid(format!("Duplicate tag key '{key}' specified.")));
        }
    }
    Ok(checked)
}

fn checked_key(tag: &Tag) -> Result<&str, Refusal> {
    let key = tag.key.as_deref().unwrap_or_default();
    if key.is_empty() {
        return Err(invalid("Tag key cannot be empty"));
    }
    if key.chars().count() > KEY_CHARS_MAX {
        return Err(invalid(format!(
            "Tag key exceeds the maximum length of {KEY_CHARS_MAX} characters, key provided: '{key}'"
        )));
    }
    if is_reserved(key) {
        return Err(invalid("Tag keys starting with 'aws:' are reserved for internal use"));
    }
    Ok(key)
}

fn too_many() -> Refusal {
    Refusal::new(
        Code::TagLimitExceeded,
        format!("The maximum number of Tags for a resource has been reached. ({TAGS_MAX})"),
    )
}

/// Changes the tags of every resource named; all or none.
fn each_resource(
    snap: &Snapshot,
    resources: &Option<Vec<String>>,
    change: impl Fn(&mut Tags) -> Result<(), Refusal>,
) -> Result<Change<NoOutput>, Refusal> {
    let resources = resources.as_deref().filter(|resources| !resources.is_empty());
    let mut draft = Draft::of(snap);
    for id in resources.ok_or_else(|| missing("resourceIdSet"))? {
        retag(&mut draft, id, &change)?;
    }
    Ok(draft.change(NoOutput))
}

macro_rules! put_retagged {
    ($draft:ident, $record:expr, $kind:ident, $change:ident) => {{
        let mut record: $kind = $record.as_ref().clone();
        let before = record.tags.clone();
        $change(&mut record.tags)?;
        if record.tags != before {
            $draft.put(record);
        }
    }};
}

fn retag(draft: &mut Draft, id: &str, change: impl Fn(&mut Tags) -> Result<(), Refusal>) -> Result<(), Refusal> {
    let kind = Kind::of_id(id).ok_or_else(|| match InstanceId::parse(id) {
        // Instances of hosts are not resources of this service.
        Ok(id) => Refusal::new(Code::InvalidInstanceIdNotFound, format!("The instance ID '{id}' does not exist")),
        Err(_) => Refusal::new(Code::InvalidId, format!("The ID '{id}' is not valid")),
    })?;
    match kind {
        Kind::Vpc => put_retagged!(draft, find::vpc(draft, id)?, Vpc, change),
        Kind::Subnet => put_retagged!(draft, find::subnet(draft, id)?, Subnet, change),
        Kind::SecurityGroup => put_retagged!(draft, find::security_group(draft, id)?, SecurityGroup, change),
        Kind::NetworkInterface => put_retagged!(draft, find::network_interface(draft, id)?, Eni, change),
        Kind::InternetGateway => put_retagged!(draft, find::internet_gateway(draft, id)?, InternetGateway, change),
        Kind::NetworkAcl => put_retagged!(draft, find::network_acl(draft, id)?, NetworkAcl, change),
        Kind::NatGateway => put_retagged!(draft, find::nat_gateway(draft, id)?, NatGateway, change),
        Kind::ElasticIp => put_retagged!(draft, find::elastic_ip(draft, id)?, ElasticIp, change),
        Kind::RouteTable => put_retagged!(draft, find::route_table(draft, id)?, RouteTable, change),
        Kind::Peering => put_retagged!(draft, find::peering(draft, id)?, Peering, change),
        Kind::PrefixList => put_retagged!(draft, find::prefix_list(draft, id)?, PrefixList, change),
        Kind::SecurityGroupRule => {
            let rule_id: SecurityGroupRuleId = find::id(id)?;
            let group = draft.vpc().security_groups.values().find(|group| group.rules.contains_key(&rule_id));
            let mut group = group.ok_or_else(|| SecurityGroupRuleId::not_found(id))?.as_ref().clone();
            if let Some(rule) = group.rules.get_mut(&rule_id) {
                change(&mut rule.tags)?;
            }
            draft.put(group);
        }
    }
    Ok(())
}
