// SPDX-License-Identifier: Apache-2.0
//! Availability zones, the region, and the attributes of the account.
//!
//! The region has three zones, always available. Zones are names: a host serves all of them.

use berth_shapes::ec2::{
    AccountAttribute, AccountAttributeValue, AvailabilityZone, DescribeAccountAttributesRequest,
    DescribeAccountAttributesResult, DescribeAvailabilityZonesRequest, DescribeAvailabilityZonesResult,
    DescribeRegionsRequest, DescribeRegionsResult, Region,
};
use berth_state::{Env, Refusal, Snapshot};

use super::filter::{Filters, text};
use super::find;
use super::quota::Quota;
use super::request::{invalid, invalid_value, only};

/// A zone of the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// e.g. `us-west-2a`.
    pub name: String,
    /// e.g. `usw2-az1`.
    pub id: String,
}

/// The zones of a region, in order.
pub fn availability_zones(region: &str) -> [Zone; 3] {
    let short = short_name(region);
    [('a', 1), ('b', 2), ('c', 3)]
        .map(|(letter, number)| Zone { name: format!("{region}{letter}"), id: format!("{short}-az{number}") })
}

/// Id of the zone with this name, for answers.
pub(super) fn zone_id(region: &str, name: &str) -> Option<String> {
    availability_zones(region).into_iter().find(|zone| zone.name == name).map(|zone| zone.id)
}

/// DescribeAvailabilityZones.
pub fn describe_availability_zones(
    _snap: &Snapshot,
    req: &DescribeAvailabilityZonesRequest,
    env: &Env,
) -> Result<DescribeAvailabilityZonesResult, Refusal> {
    only(req, &["Filters", "ZoneNames", "ZoneIds", "AllAvailabilityZones"])?;
    let conditions = ZONE_FILTERS.understand(&req.filters)?;
    let zones = availability_zones(&env.region);
    let (names, ids) = (req.zone_names.as_deref().unwrap_or_default(), req.zone_ids.as_deref().unwrap_or_default());
    if let Some(name) = names.iter().find(|name| !zones.iter().any(|zone| zone.name == **name)) {
        return Err(invalid(format!("Invalid availability zone: [{name}]")));
    }
    if let Some(id) = ids.iter().find(|id| !zones.iter().any(|zone| zone.id == **id)) {
        return Err(invalid(format!("Invalid availability zone-id: [{id}]")));
    }
    let is_named =
        |zone: &Zone| (names.is_empty() || names.contains(&zone.name)) && (ids.is_empty() || ids.contains(&zone.id));
    let shown = zones.into_iter().filter(is_named).map(|zone| show_zone(zone, &env.region));
    Ok(DescribeAvailabilityZonesResult {
        availability_zones: Some(shown.filter(|zone| conditions.admit(zone)).collect()),
    })
}

/// DescribeRegions: the one region served.
pub fn describe_regions(
    _snap: &Snapshot,
    req: &DescribeRegionsRequest,
    env: &Env,
) -> Result<DescribeRegionsResult, Refusal> {
    only(req, &["Filters", "RegionNames", "AllRegions"])?;
    let conditions = REGION_FILTERS.understand(&req.filters)?;
    if let Some(other) = req.region_names.iter().flatten().find(|name| **name != env.region) {
        return Err(invalid(format!("Invalid region name: {other}")));
    }
    let region = Region {
        endpoint: Some(format!("ec2.{}.amazonaws.com", env.region)),
        opt_in_status: Some("opt-in-not-required".to_owned()),
        region_name: Some(env.region.clone()),
        ..Default::default()
    };
    Ok(DescribeRegionsResult {
        regions: Some(Some(region).filter(|region| conditions.admit(region)).into_iter().collect()),
    })
}

/// DescribeAccountAttributes.
pub fn describe_account_attributes(
    snap: &Snapshot,
    req: &DescribeAccountAttributesRequest,
    _env: &Env,
) -> Result<DescribeAccountAttributesResult, Refusal> {
    only(req, &["AttributeNames"])?;
    let default_vpc = find::default_vpc(snap).map_or("none", |vpc| vpc.id.as_str());
    let groups_max = Quota::SecurityGroupsPerInterface.value(snap).to_string();
    let elastic_ips_max = Quota::ElasticIps.value(snap).to_string();
    // No instances are run, hence the zero.
    let facts = [
        ("vpc-max-security-groups-per-interface", groups_max.as_str()),
        ("max-instances", "0"),
        ("supported-platforms", "VPC"),
        ("default-vpc", default_vpc),
        ("max-elastic-ips", elastic_ips_max.as_str()),
        ("vpc-max-elastic-ips", elastic_ips_max.as_str()),
    ];
    let asked = req.attribute_names.as_deref().unwrap_or_default();
    if let Some(unknown) = asked.iter().find(|name| !facts.iter().any(|(fact, _)| fact == name)) {
        return Err(invalid_value(unknown, "attributeName", "Unknown attribute name."));
    }
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let shown = facts.iter().filter(|(name, _)| is_asked(name)).map(|(name, value)| AccountAttribute {
        attribute_name: Some((*name).to_owned()),
        attribute_values: Some(vec![AccountAttributeValue { attribute_value: Some((*value).to_owned()) }]),
    });
    Ok(DescribeAccountAttributesResult { account_attributes: Some(shown.collect()) })
}

static ZONE_FILTERS: Filters<AvailabilityZone> = Filters {
    rows: &[
        (&["zone-name"], |zone| text(&zone.zone_name)),
        (&["zone-id"], |zone| text(&zone.zone_id)),
        (&["state"], |zone| text(&zone.state)),
        (&["region-name"], |zone| text(&zone.region_name)),
        (&["zone-type"], |zone| text(&zone.zone_type)),
        (&["opt-in-status"], |zone| text(&zone.opt_in_status)),
        (&["group-name"], |zone| text(&zone.group_name)),
        (&["network-border-group"], |zone| text(&zone.network_border_group)),
        // Only wavelength and local zones have parents, and only impaired zones have messages.
        (&["parent-zone-id", "parentZoneID"], |zone| text(&zone.parent_zone_id)),
        (&["parent-zone-name", "parentZoneName"], |zone| text(&zone.parent_zone_name)),
        (&["message"], |_| Vec::new()),
    ],
    tags: None,
};

static REGION_FILTERS: Filters<Region> = Filters {
    rows: &[
        (&["region-name"], |region| text(&region.region_name)),
        (&["endpoint"], |region| text(&region.endpoint)),
        (&["opt-in-status"], |region| text(&region.opt_in_status)),
    ],
    tags: None,
};

fn show_zone(zone: Zone, region: &str) -> AvailabilityZone {
    AvailabilityZone {
        group_name: Some(format!("{region}-zg-1")),
        messages: Some(Vec::new()),
        network_border_group: Some(region.to_owned()),
        opt_in_status: Some("opt-in-not-required".to_owned()),
        region_name: Some(region.to_owned()),
        state: Some("available".to_owned()),
        zone_id: Some(zone.id),
        zone_name: Some(zone.name),
        zone_type: Some("availability-zone".to_owned()),
        ..Default::default()
    }
}

/// `us-west-2` is `usw2`, `ap-southeast-1` is `apse1`, `us-gov-west-1` is `usgw1`.
fn short_name(region: &str) -> String {
    let mut parts = region.split('-');
    let area = parts.next().unwrap_or_default().to_owned();
    parts.fold(area, |mut short, part| {
        match part {
            "northeast" => short.push_str("ne"),
            "northwest" => short.push_str("nw"),
            "southeast" => short.push_str("se"),
            "southwest" => short.push_str("sw"),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => short.push_str(number),
            word => short.extend(word.chars().next()),
        }
        short
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_the_ids_of_their_region() {
        for (region, id) in [
            ("us-west-2", "usw2-az1"),
            ("ap-southeast-1", "apse1-az1"),
            ("eu-central-1", "euc1-az1"),
            ("us-gov-west-1", "usgw1-az1"),
            ("lab", "lab-az1"),
        ] {
            assert_eq!(availability_zones(region)[0], Zone { name: format!("{region}a"), id: id.to_owned() });
        }
    }
}
