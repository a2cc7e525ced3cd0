// SPDX-License-Identifier: Apache-2.0
//! VPCs: isolated networks, each with a range of private addresses.
//!
//! A VPC has a main route table, a default network ACL and a default security group, made and deleted with it. Its
//! number in the data path is the lowest that no other VPC has. Only IPv4. Not here: further ranges (`vpc_cidr.rs`).

use std::sync::Arc;

use berth_shapes::ec2::{
    self, AttributeBooleanValue, CreateVpcRequest, CreateVpcResult, DeleteVpcRequest, DescribeVpcAttributeRequest,
    DescribeVpcAttributeResult, DescribeVpcsRequest, DescribeVpcsResult, ModifyVpcAttributeRequest,
    VpcCidrBlockAssociation, VpcCidrBlockState,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{RecordKey, RouteTable, Vpc};
use berth_state::{Change, Draft, Env, Refusal, Snapshot, Tags};
use berth_types::{Ipv4Cidr, RouteTableAssociationId, RouteTableId, SecurityGroupId, Vni, VpcCidrAssociationId, VpcId};

use super::describe::Selection;
use super::filter::{Filters, each, shown, text};
use super::quota::Quota;
use super::request::{invalid_value, missing, only, required};
use super::{find, network_acl, peering, request, security_group, tags};

/// Prefix lengths a VPC or a subnet can have.
pub(super) const PREFIXES: std::ops::RangeInclusive<u8> = 16..=28;

/// Ranges that cannot be inside a VPC, because they have another meaning on every host.
const RESERVED: [&str; 4] = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"];

/// CreateVpc.
pub fn create_vpc(snap: &Snapshot, req: &CreateVpcRequest, env: &Env) -> Result<Change<CreateVpcResult>, Refusal> {
    only(req, &["CidrBlock", "InstanceTenancy", "TagSpecifications"])?;
    let tags = tags::asked(&req.tag_specifications, tags::Kind::Vpc)?;
    if let Some(tenancy) = req.instance_tenancy.as_deref().filter(|tenancy| !matches!(*tenancy, "" | "default")) {
        return Err(invalid_value(tenancy, "instanceTenancy", "Only the tenancy 'default' is offered."));
    }
    let cidr = vpc_cidr(required(&req.cidr_block, "cidrBlock")?)?;
    let mut draft = Draft::of(snap);
    let vpc = create(&mut draft, cidr, tags, env)?;
    let vpc = show(&vpc, env);
    Ok(draft.change(CreateVpcResult { vpc: Some(vpc) }))
}

/// DescribeVpcs.
pub fn describe_vpcs(snap: &Snapshot, req: &DescribeVpcsRequest, env: &Env) -> Result<DescribeVpcsResult, Refusal> {
    only(req, &["VpcIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeVpcs",
        ids_parameter: "vpcIds",
        ids: &req.vpc_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let vpcs = selection.records(&snap.vpc().vpcs, |id| find::vpc(snap, id))?;
    let page = selection.page(&FILTERS, vpcs.into_iter().map(|vpc| (vpc.id.to_string(), show(vpc, env))))?;
    Ok(DescribeVpcsResult { vpcs: Some(page.items), next_token: page.next_token })
}

/// DeleteVpc: nothing but the main route table and the default group may be left in it.
pub fn delete_vpc(snap: &Snapshot, req: &DeleteVpcRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["VpcId"])?;
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    let (tables, groups): (Vec<_>, Vec<_>) = (
        snap.vpc().route_tables.values().filter(|table| table.vpc == vpc.id).collect(),
        snap.vpc().security_groups.values().filter(|group| group.vpc == vpc.id).collect(),
    );
    let is_empty = snap.vpc().subnets_of(&vpc.id).next().is_none()
        && !peering::has_live(snap, &vpc.id)
        && snap.vpc().network_acls_of(&vpc.id).all(|acl| acl.is_default)
        && !snap.vpc().internet_gateways.values().any(|gateway| gateway.vpc.as_ref() == Some(&vpc.id))
        && tables.iter().all(|table| table.main_association.is_some())
        && groups.iter().all(|group| group.name == security_group::DEFAULT);
    if !is_empty {
        let words = format!("The vpc '{}' has dependencies and cannot be deleted.", vpc.id);
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    tables.iter().for_each(|table| draft.delete(RecordKey::RouteTable(table.id.clone())));
    groups.iter().for_each(|group| draft.delete(RecordKey::SecurityGroup(group.id.clone())));
    network_acl::delete(&mut draft, &vpc.id);
    draft.delete(RecordKey::Vpc(vpc.id.clone()));
    Ok(draft.change(NoOutput))
}

/// ModifyVpcAttribute: one attribute per call.
pub fn modify_vpc_attribute(
    snap: &Snapshot,
    req: &ModifyVpcAttributeRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["VpcId", "EnableDnsSupport", "EnableDnsHostnames", "EnableNetworkAddressUsageMetrics"])?;
    let mut vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?.as_ref().clone();
    let value = |given: &Option<AttributeBooleanValue>| given.as_ref().and_then(|given| given.value);
    match (
        value(&req.enable_dns_support),
        value(&req.enable_dns_hostnames),
        value(&req.enable_network_address_usage_metrics),
    ) {
        (Some(support), None, None) => vpc.dns_support = support,
        (None, Some(hostnames), None) => vpc.dns_hostnames = hostnames,
        (None, None, Some(metrics)) => vpc.network_address_usage_metrics = metrics,
        (None, None, None) => return Err(missing("attribute")),
        _ => {
            let words = "Fields for multiple attribute types specified";
            return Err(Refusal::new(Code::InvalidParameterCombination, words));
        }
    }
    let mut draft = Draft::of(snap);
    draft.put(vpc);
    Ok(draft.change(NoOutput))
}

/// DescribeVpcAttribute: one attribute per call.
pub fn describe_vpc_attribute(
    snap: &Snapshot,
    req: &DescribeVpcAttributeRequest,
    _env: &Env,
) -> Result<DescribeVpcAttributeResult, Refusal> {
    only(req, &["VpcId", "Attribute"])?;
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    let value = |value| Some(AttributeBooleanValue { value: Some(value) });
    let mut result = DescribeVpcAttributeResult { vpc_id: Some(vpc.id.to_string()), ..Default::default() };
    match required(&req.attribute, "attribute")? {
        "enableDnsSupport" => result.enable_dns_support = value(vpc.dns_support),
        "enableDnsHostnames" => result.enable_dns_hostnames = value(vpc.dns_hostnames),
        "enableNetworkAddressUsageMetrics" => {
            result.enable_network_address_usage_metrics = value(vpc.network_address_usage_metrics);
        }
        other => return Err(invalid_value(other, "attribute", "Unknown attribute name.")),
    }
    Ok(result)
}

/// Makes a VPC with its main route table and its default group.
pub(super) fn create(draft: &mut Draft, cidr: Ipv4Cidr, tags: Tags, env: &Env) -> Result<Arc<Vpc>, Refusal> {
    if Quota::Vpcs.is_reached(draft, draft.vpc().vpcs.len()) {
        return Err(Refusal::new(Code::VpcLimitExceeded, "The maximum number of VPCs has been reached."));
    }
    let vpc = Arc::new(Vpc {
        id: VpcId::from_bits(env.fresh_bits()),
        vni: free_vni(draft),
        cidr,
        cidr_association: VpcCidrAssociationId::from_bits(env.fresh_bits()),
        secondary_cidrs: Default::default(),
        is_default: false,
        dns_support: true,
        dns_hostnames: false,
        network_address_usage_metrics: false,
        tags,
    });
    draft.put(vpc.as_ref().clone());
    draft.put(RouteTable {
        id: RouteTableId::from_bits(env.fresh_bits()),
        vpc: vpc.id.clone(),
        main_association: Some(RouteTableAssociationId::from_bits(env.fresh_bits())),
        associations: Default::default(),
        routes: Default::default(),
        prefix_list_routes: Default::default(),
        client_token: None,
        tags: Tags::new(),
    });
    network_acl::create(draft, &vpc.id, env);
    let group = SecurityGroupId::from_bits(env.fresh_bits());
    draft.put(security_group::default_group(group, &vpc.id, env));
    Ok(vpc)
}

/// The association of a range with its VPC for an answer.
pub(super) fn show_association(id: &VpcCidrAssociationId, cidr: Ipv4Cidr, state: &str) -> VpcCidrBlockAssociation {
    VpcCidrBlockAssociation {
        association_id: Some(id.to_string()),
        cidr_block: Some(cidr.to_string()),
        cidr_block_state: Some(VpcCidrBlockState { state: Some(state.to_owned()), status_message: None }),
    }
}

/// A VPC for an answer.
pub(super) fn show(vpc: &Vpc, env: &Env) -> ec2::Vpc {
    let primary = show_association(&vpc.cidr_association, vpc.cidr, "associated");
    let further = vpc.secondary_cidrs.iter().map(|(id, cidr)| show_association(id, *cidr, "associated"));
    ec2::Vpc {
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_association_set: Some(std::iter::once(primary).chain(further).collect()),
        // AWS: the id of the DHCP options, or "default" for the region's own.
        dhcp_options_id: Some("default".to_owned()),
        instance_tenancy: Some("default".to_owned()),
        is_default: Some(vpc.is_default),
        owner_id: Some(env.account.clone()),
        state: Some("available".to_owned()),
        tags: tags::show(&vpc.tags),
        vpc_id: Some(vpc.id.to_string()),
        ..Default::default()
    }
}

static FILTERS: Filters<ec2::Vpc> = Filters {
    rows: &[
        (&["vpc-id"], |vpc| text(&vpc.vpc_id)),
        (&["cidr", "cidr-block", "cidrBlock"], |vpc| text(&vpc.cidr_block)),
        (&["cidr-block-association.cidr-block"], |vpc| {
            each(&vpc.cidr_block_association_set, |association| &association.cidr_block)
        }),
        (&["cidr-block-association.association-id"], |vpc| {
            each(&vpc.cidr_block_association_set, |association| &association.association_id)
        }),
        (&["cidr-block-association.state"], |vpc| {
            let states = vpc.cidr_block_association_set.iter().flatten();
            states.filter_map(|association| association.cidr_block_state.as_ref()?.state.clone()).collect()
        }),
        (&["ipv6-cidr-block-association.ipv6-cidr-block"], |_| Vec::new()),
        (&["ipv6-cidr-block-association.ipv6-pool"], |_| Vec::new()),
        (&["ipv6-cidr-block-association.association-id"], |_| Vec::new()),
        (&["ipv6-cidr-block-association.state"], |_| Vec::new()),
        (&["is-default", "isDefault"], |vpc| shown(&vpc.is_default)),
        (&["state"], |vpc| text(&vpc.state)),
        (&["owner-id"], |vpc| text(&vpc.owner_id)),
        (&["dhcp-options-id", "dhcpOptionsId"], |vpc| text(&vpc.dhcp_options_id)),
    ],
    tags: Some(|vpc| &vpc.tags),
};

/// Reads a range that a VPC can have.
pub(super) fn vpc_cidr(text: &str) -> Result<Ipv4Cidr, Refusal> {
    let bad = || Refusal::new(Code::InvalidVpcRange, format!("The CIDR '{text}' is invalid."));
    let cidr = request::cidr(text, "cidrBlock")?;
    let is_reserved = RESERVED.iter().filter_map(|range| range.parse().ok()).any(|range| cidr.overlaps(range));
    if !PREFIXES.contains(&cidr.prefix()) || is_reserved { Err(bad()) } else { Ok(cidr) }
}

fn free_vni(snap: &Snapshot) -> Vni {
    let used: std::collections::BTreeSet<u32> = snap.vpc().vpcs.values().map(|vpc| vpc.vni.0).collect();
    Vni((1..).find(|number| !used.contains(number)).unwrap_or(u32::MAX))
}
