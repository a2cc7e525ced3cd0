// SPDX-License-Identifier: Apache-2.0
//! Subnets: a part of a VPC's range in one availability zone.
//!
//! The first four addresses and the last one are never assigned to interfaces. Not here: the allocation of addresses
//! (`interface.rs`), the route table of a subnet (`route_table.rs`).

use berth_shapes::ec2::{
    self, AttributeBooleanValue, CreateSubnetRequest, CreateSubnetResult, DeleteSubnetRequest, DescribeSubnetsRequest,
    DescribeSubnetsResult, ModifySubnetAttributeRequest, PrivateDnsNameOptionsOnLaunch,
};
use berth_shapes::{Ec2ErrorCode as Code, NoOutput};
use berth_state::vpc::{RecordKey, RouteTable, Subnet, Vpc};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::{Ipv4Cidr, SubnetId};

use super::describe::Selection;
use super::filter::{Filters, shown, text};
use super::quota::Quota;
use super::request::{invalid, invalid_value, only, required, unsupported};
use super::vpc::PREFIXES;
use super::zone::{availability_zones, zone_id};
use super::{find, interface, network_acl, request, tags};

/// CreateSubnet. Without a zone the one with the fewest subnets of the VPC is taken.
pub fn create_subnet(
    snap: &Snapshot,
    req: &CreateSubnetRequest,
    env: &Env,
) -> Result<Change<CreateSubnetResult>, Refusal> {
    check_ipv6_native(req)?;
    only(req, &["VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "TagSpecifications"])?;
    let tags = tags::asked(&req.tag_specifications, tags::Kind::Subnet)?;
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    let cidr = free_range(snap, vpc, required(&req.cidr_block, "cidrBlock")?)?;
    if Quota::SubnetsPerVpc.is_reached(snap, of_vpc(snap, vpc).count()) {
        let words = format!("The maximum number of subnets for VPC '{}' has been reached.", vpc.id);
        return Err(Refusal::new(Code::SubnetLimitExceeded, words));
    }
    let subnet = Subnet {
        id: SubnetId::from_bits(env.fresh_bits()),
        vpc: vpc.id.clone(),
        cidr,
        availability_zone: zone(snap, vpc, req, env)?,
        default_for_az: false,
        map_public_ip_on_launch: false,
        tags,
    };
    let mut draft = Draft::of(snap);
    draft.put(subnet.clone());
    network_acl::associate(&mut draft, &subnet, env);
    let subnet = show(&draft, &subnet, env);
    Ok(draft.change(CreateSubnetResult { subnet: Some(subnet) }))
}

/// AWS's refusals of a subnet without IPv4, which come before Berth's own.
fn check_ipv6_native(req: &CreateSubnetRequest) -> Result<(), Refusal> {
    if req.ipv6_native != Some(true) {
        return Ok(());
    }
    if req.ipv6_cidr_block.is_none() && req.ipv6_ipam_pool_id.is_none() {
        let words = "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided.";
        return Err(Refusal::new(Code::MissingParameter, words));
    }
    if req.cidr_block.is_some() || req.ipv4_ipam_pool_id.is_some() {
        let words = "When specifying ipv4 parameters, cidrBlock or ipv4IpamPoolId, you cannot set ipv6Native to true.";
        return Err(Refusal::new(Code::InvalidParameterCombination, words));
    }
    Ok(())
}

/// DescribeSubnets.
pub fn describe_subnets(
    snap: &Snapshot,
    req: &DescribeSubnetsRequest,
    env: &Env,
) -> Result<DescribeSubnetsResult, Refusal> {
    only(req, &["SubnetIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeSubnets",
        ids_parameter: "subnetIds",
        ids: &req.subnet_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let subnets = selection.records(&snap.vpc().subnets, |id| find::subnet(snap, id))?;
    let answers = subnets.into_iter().map(|subnet| (subnet.id.to_string(), show(snap, subnet, env)));
    let page = selection.page(&FILTERS, answers)?;
    Ok(DescribeSubnetsResult { subnets: Some(page.items), next_token: page.next_token })
}

/// DeleteSubnet: no interface may be left in it. Its association with a route table is deleted with it.
pub fn delete_subnet(snap: &Snapshot, req: &DeleteSubnetRequest, _env: &Env) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["SubnetId"])?;
    let subnet = find::subnet(snap, required(&req.subnet_id, "subnetId")?)?;
    if interface::of_subnet(snap, subnet).next().is_some() {
        let words = format!("The subnet '{}' has dependencies and cannot be deleted.", subnet.id);
        return Err(Refusal::new(Code::DependencyViolation, words));
    }
    let mut draft = Draft::of(snap);
    for table in snap.vpc().route_tables.values().filter(|table| table.associations.values().any(|it| *it == subnet.id))
    {
        let mut table: RouteTable = table.as_ref().clone();
        table.associations.retain(|_, associated| *associated != subnet.id);
        draft.put(table);
    }
    network_acl::dissociate(&mut draft, &subnet.vpc, &subnet.id);
    draft.delete(RecordKey::Subnet(subnet.id.clone()));
    Ok(draft.change(NoOutput))
}

/// ModifySubnetAttribute: one attribute per call.
pub fn modify_subnet_attribute(
    snap: &Snapshot,
    req: &ModifySubnetAttributeRequest,
    _env: &Env,
) -> Result<Change<NoOutput>, Refusal> {
    only(req, &["SubnetId", "MapPublicIpOnLaunch", "PrivateDnsHostnameTypeOnLaunch"])?;
    let mut subnet = find::subnet(snap, required(&req.subnet_id, "subnetId")?)?.as_ref().clone();
    if attributes(req) > 1 {
        let words = "Fields for multiple attribute types specified";
        return Err(Refusal::new(Code::InvalidParameterCombination, words));
    }
    if attributes(req) == 0 {
        return Err(Refusal::new(Code::InvalidParameterCombination, "No attributes specified."));
    }
    if let Some(kind) = req.private_dns_hostname_type_on_launch.as_deref().filter(|kind| *kind != "ip-name") {
        return Err(unsupported(&format!("The hostname type '{kind}' is not supported; use 'ip-name'.")));
    }
    if let Some(value) = value(&req.map_public_ip_on_launch) {
        subnet.map_public_ip_on_launch = value;
    }
    // Every other attribute was set to the only value it can have.
    let mut draft = Draft::of(snap);
    draft.put(subnet);
    Ok(draft.change(NoOutput))
}

static FILTERS: Filters<ec2::Subnet> = Filters {
    rows: &[
        (&["subnet-id"], |subnet| text(&subnet.subnet_id)),
        (&["vpc-id"], |subnet| text(&subnet.vpc_id)),
        (&["availability-zone", "availabilityZone"], |subnet| text(&subnet.availability_zone)),
        (&["availability-zone-id", "availabilityZoneId"], |subnet| text(&subnet.availability_zone_id)),
        (&["available-ip-address-count"], |subnet| shown(&subnet.available_ip_address_count)),
        (&["cidr-block", "cidr", "cidrBlock"], |subnet| text(&subnet.cidr_block)),
        (&["default-for-az", "defaultForAz"], |subnet| shown(&subnet.default_for_az)),
        (&["map-public-ip-on-launch"], |subnet| shown(&subnet.map_public_ip_on_launch)),
        (&["map-customer-owned-ip-on-launch"], |subnet| shown(&subnet.map_customer_owned_ip_on_launch)),
        (&["ipv6-native"], |subnet| shown(&subnet.ipv6_native)),
        (&["enable-dns64"], |subnet| shown(&subnet.enable_dns64)),
        (&["state"], |subnet| text(&subnet.state)),
        (&["owner-id"], |subnet| text(&subnet.owner_id)),
        (&["subnet-arn"], |subnet| text(&subnet.subnet_arn)),
        (&["outpost-arn"], |subnet| text(&subnet.outpost_arn)),
        (&["ipv6-cidr-block-association.ipv6-cidr-block"], |_| Vec::new()),
        (&["ipv6-cidr-block-association.association-id"], |_| Vec::new()),
        (&["ipv6-cidr-block-association.state"], |_| Vec::new()),
        (&["private-dns-name-options-on-launch.hostname-type"], |subnet| {
            subnet
                .private_dns_name_options_on_launch
                .iter()
                .filter_map(|options| options.hostname_type.clone())
                .collect()
        }),
    ],
    tags: Some(|subnet| &subnet.tags),
};

fn show(snap: &Snapshot, subnet: &Subnet, env: &Env) -> ec2::Subnet {
    let free = interface::free_addresses(snap, subnet);
    ec2::Subnet {
        assign_ipv6_address_on_creation: Some(false),
        availability_zone: Some(subnet.availability_zone.clone()),
        availability_zone_id: zone_id(&env.region, &subnet.availability_zone),
        available_ip_address_count: i32::try_from(free).ok(),
        cidr_block: Some(subnet.cidr.to_string()),
        default_for_az: Some(subnet.default_for_az),
        enable_dns64: Some(false),
        ipv6_cidr_block_association_set: Some(Vec::new()),
        ipv6_native: Some(false),
        map_customer_owned_ip_on_launch: Some(false),
        map_public_ip_on_launch: Some(subnet.map_public_ip_on_launch),
        owner_id: Some(env.account.clone()),
        private_dns_name_options_on_launch: Some(PrivateDnsNameOptionsOnLaunch {
            enable_resource_name_dns_aaaa_record: Some(false),
            enable_resource_name_dns_a_record: Some(false),
            hostname_type: Some("ip-name".to_owned()),
        }),
        state: Some("available".to_owned()),
        subnet_arn: Some(env.arn("ec2", format_args!("subnet/{}", subnet.id))),
        subnet_id: Some(subnet.id.to_string()),
        tags: tags::show(&subnet.tags),
        vpc_id: Some(subnet.vpc.to_string()),
        ..Default::default()
    }
}

fn of_vpc<'a>(snap: &'a Snapshot, vpc: &Vpc) -> impl Iterator<Item = &'a Subnet> {
    let id = vpc.id.clone();
    snap.vpc().subnets.values().map(AsRef::as_ref).filter(move |subnet| subnet.vpc == id)
}

fn free_range(snap: &Snapshot, vpc: &Vpc, text: &str) -> Result<Ipv4Cidr, Refusal> {
    let cidr = request::cidr(text, "cidrBlock")?;
    if !PREFIXES.contains(&cidr.prefix()) || !vpc.cidrs().any(|range| range.covers(cidr)) {
        return Err(Refusal::new(Code::InvalidSubnetRange, format!("The CIDR '{text}' is invalid.")));
    }
    if of_vpc(snap, vpc).any(|subnet| subnet.cidr.overlaps(cidr)) {
        let words = format!("The CIDR '{text}' conflicts with another subnet");
        return Err(Refusal::new(Code::InvalidSubnetConflict, words));
    }
    Ok(cidr)
}

fn zone(snap: &Snapshot, vpc: &Vpc, req: &CreateSubnetRequest, env: &Env) -> Result<String, Refusal> {
    let zones = availability_zones(&env.region);
    let offered = || zones.each_ref().map(|zone| zone.name.as_str()).join(", ");
    let refuse = |given: &str, parameter: &str| {
        let why = format!("Subnets can currently only be created in the following availability zones: {}.", offered());
        invalid_value(given, parameter, &why)
    };
    let (name, id) = (req.availability_zone.as_deref(), req.availability_zone_id.as_deref());
    let by_name = name
        .filter(|name| !name.is_empty())
        .map(|name| zones.iter().find(|zone| zone.name == name).ok_or_else(|| refuse(name, "availabilityZone")));
    let by_id = id
        .filter(|id| !id.is_empty())
        .map(|id| zones.iter().find(|zone| zone.id == id).ok_or_else(|| refuse(id, "availabilityZoneId")));
    match (by_name.transpose()?, by_id.transpose()?) {
        (Some(one), Some(other)) if one != other => {
            Err(invalid("AvailabilityZone and AvailabilityZoneId do not name the same zone."))
        }
        (Some(zone), _) | (None, Some(zone)) => Ok(zone.name.clone()),
        (None, None) => {
            let subnets_in = |zone: &str| of_vpc(snap, vpc).filter(|subnet| subnet.availability_zone == zone).count();
            let emptiest = zones.iter().min_by_key(|zone| subnets_in(&zone.name));
            Ok(emptiest.unwrap_or(&zones[0]).name.clone())
        }
    }
}

fn attributes(req: &ModifySubnetAttributeRequest) -> usize {
    [
        req.assign_ipv6_address_on_creation.is_some(),
        req.customer_owned_ipv4_pool.is_some(),
        req.disable_lni_at_device_index.is_some(),
        req.enable_dns64.is_some(),
        req.enable_lni_at_device_index.is_some(),
        req.enable_resource_name_dns_aaaa_record_on_launch.is_some(),
        req.enable_resource_name_dns_a_record_on_launch.is_some(),
        req.map_customer_owned_ip_on_launch.is_some(),
        req.map_public_ip_on_launch.is_some(),
        req.private_dns_hostname_type_on_launch.is_some(),
    ]
    .iter()
    .filter(|given| **given)
    .count()
}

fn value(given: &Option<AttributeBooleanValue>) -> Option<bool> {
    given.as_ref().and_then(|given| given.value)
}
