// SPDX-License-Identifier: Apache-2.0
//! Quotas, and settings that change rules: the greatest numbers of resources, as AWS begins with them, unless the server is told others.

use std::collections::BTreeMap;

use berth_state::records::Single;
use berth_state::vpc::{Quotas, Settings};
use berth_state::{Change, Draft, Refusal, Snapshot};

use super::request::invalid;

/// A quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    /// VPCs of the region.
    Vpcs,
    /// Internet gateways of the region; equal to that of VPCs, as on AWS.
    InternetGateways,
    /// Elastic IP addresses of the region.
    ElasticIps,
    /// NAT gateways of one zone that are pending, available or deleting.
    NatGatewaysPerZone,
    /// Ranges of one VPC, the primary one included.
    CidrsPerVpc,
    /// Subnets of one VPC.
    SubnetsPerVpc,
    /// Route tables of one VPC.
    RouteTablesPerVpc,
    /// Routes of one table, without the local one.
    RoutesPerRouteTable,
    /// Network ACLs of one VPC.
    NetworkAclsPerVpc,
    /// Entries of one network ACL in one direction, without the last one.
    NetworkAclEntries,
    /// Live peerings of one VPC.
    PeeringsPerVpc,
    /// Security groups of the region.
    SecurityGroups,
    /// Rules of one group in one direction, for IPv4 and for IPv6 each.
    RulesPerSecurityGroup,
    /// Groups of one interface.
    SecurityGroupsPerInterface,
}

/// A row of the table of quotas.
struct Row {
    quota: Quota,
    name: &'static str,
    /// The value with which AWS begins.
    value: u32,
    /// The greatest value that AWS gives, and the data path holds.
    max: u32,
}

const fn row(quota: Quota, name: &'static str, value: u32, max: u32) -> Row {
    Row { quota, name, value, max }
}

/// Rules that apply to one interface in one direction, at most: AWS's limit of the product of two quotas.
const RULES_PER_INTERFACE_MAX: u32 = 1000;

impl Quota {
    const ALL: [Row; 14] = [
        row(Quota::Vpcs, "vpcs", 5, u32::MAX),
        row(Quota::InternetGateways, "internet-gateways", 5, u32::MAX),
        row(Quota::ElasticIps, "elastic-ips", 5, u32::MAX),
        row(Quota::NatGatewaysPerZone, "nat-gateways-per-zone", 5, u32::MAX),
        row(Quota::CidrsPerVpc, "cidrs-per-vpc", 5, 50),
        row(Quota::SubnetsPerVpc, "subnets-per-vpc", 200, u32::MAX),
        row(Quota::RouteTablesPerVpc, "route-tables-per-vpc", 200, u32::MAX),
        row(Quota::RoutesPerRouteTable, "routes-per-route-table", 50, 1000),
        row(Quota::NetworkAclsPerVpc, "network-acls-per-vpc", 200, u32::MAX),
        row(Quota::NetworkAclEntries, "network-acl-entries", 20, 40),
        row(Quota::PeeringsPerVpc, "peerings-per-vpc", 50, 125),
        row(Quota::SecurityGroups, "security-groups", 2500, u32::MAX),
        row(Quota::RulesPerSecurityGroup, "rules-per-security-group", 60, 1000),
        row(Quota::SecurityGroupsPerInterface, "security-groups-per-interface", 5, 16),
    ];

    fn row(self) -> Option<&'static Row> {
        Self::ALL.iter().find(|row| row.quota == self)
    }

    /// The greatest number of resources.
    pub fn value(self, snap: &Snapshot) -> u32 {
        let Some(row) = self.row() else { return 0 };
        let set = snap.vpc().quotas.get(&Single).and_then(|quotas| quotas.values.get(row.name));
        set.copied().unwrap_or(row.value)
    }

    /// True if there are so many that a further resource would exceed the quota.
    pub fn is_reached(self, snap: &Snapshot, count: usize) -> bool {
        count >= self.value(snap) as usize
    }
}

/// Keeps the settings with which the server is started.
pub fn set_settings(snap: &Snapshot, settings: &Settings) -> Change<()> {
    if snap.vpc().settings.get(&Single).map(AsRef::as_ref).unwrap_or(&Settings::default()) == settings {
        return Change::none(());
    }
    let mut draft = Draft::of(snap);
    draft.put(settings.clone());
    draft.change(())
}

/// Keeps the quotas with which the server is started, by name; those that are not named are AWS's.
///
/// # Errors
/// A name is not that of a quota, or a value is beyond what AWS gives.
pub fn set_quotas(snap: &Snapshot, values: &BTreeMap<String, u32>) -> Result<Change<()>, Refusal> {
    for (name, value) in values {
        let Some(row) = Quota::ALL.iter().find(|row| row.name == name) else {
            let known: Vec<&str> = Quota::ALL.iter().map(|row| row.name).collect();
            return Err(invalid(format!("There is no quota '{name}'; the quotas are {}.", known.join(", "))));
        };
        if *value > row.max {
            return Err(invalid(format!("The quota '{name}' is at most {}, not {value}.", row.max)));
        }
    }
    let of = |quota: Quota| quota.row().map_or(0, |row| values.get(row.name).copied().unwrap_or(row.value));
    let rules = of(Quota::RulesPerSecurityGroup).saturating_mul(of(Quota::SecurityGroupsPerInterface));
    if rules > RULES_PER_INTERFACE_MAX {
        return Err(invalid(format!(
            "The quotas 'rules-per-security-group' and 'security-groups-per-interface' give {rules} rules of one \
             interface, more than {RULES_PER_INTERFACE_MAX}."
        )));
    }
    let present = snap.vpc().quotas.get(&Single).map(|quotas| &quotas.values);
    if present.unwrap_or(&BTreeMap::new()) == values {
        return Ok(Change::none(()));
    }
    let mut draft = Draft::of(snap);
    draft.put(Quotas { values: values.clone() });
    Ok(draft.change(()))
}
