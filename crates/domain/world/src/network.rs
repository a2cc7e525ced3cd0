// SPDX-License-Identifier: Apache-2.0
//! The two VPCs of a world with a cluster, and the names of their subnets and groups.

use std::collections::BTreeMap;

use berth_state::vpc::{SecurityGroup, Subnet, Vpc};
use berth_state::{Change, Draft, Snapshot};
use berth_types::{SecurityGroupId, SubnetId, Vni, VpcCidrAssociationId, VpcId};

use crate::names::Names;

/// Name, number, number of the VPC, block, zone.
const SUBNETS: [(&str, u128, u128, &str, &str); 4] = [
    ("subnet-a", 0xa, 1, "10.0.0.0/24", "us-west-2a"),
    ("subnet-b", 0xb, 1, "10.0.1.0/24", "us-west-2b"),
    ("subnet-tiny", 0xc, 1, "10.0.2.0/28", "us-west-2a"),
    ("subnet-far", 0xf, 2, "10.9.0.0/24", "us-west-2a"),
];
/// Name, number, number of the VPC, name of the group.
const GROUPS: [(&str, u128, u128, &str); 4] = [
    ("sg-default", 0xd, 1, "default"),
    ("sg-web", 0xe, 1, "web"),
    ("sg-fardefault", 0x1f, 2, "default"),
    ("sg-far", 0xf, 2, "far"),
];

pub(crate) fn names() -> Names {
    let subnets = SUBNETS.map(|(name, id, ..)| (SubnetId::from_bits(id).to_string(), name.to_owned()));
    let groups = GROUPS.map(|(name, id, ..)| (SecurityGroupId::from_bits(id).to_string(), name.to_owned()));
    Names::fixed(subnets.into_iter().chain(groups))
}

pub(crate) fn records() -> Change<()> {
    let mut draft = Draft::of(&Snapshot::default());
    for (number, cidr) in [(1, "10.0.0.0/16"), (2, "10.9.0.0/16")] {
        draft.put(Vpc {
            id: VpcId::from_bits(number),
            vni: Vni(u32::try_from(number).unwrap()),
            cidr: cidr.parse().unwrap(),
            cidr_association: VpcCidrAssociationId::from_bits(number),
            secondary_cidrs: Default::default(),
            is_default: false,
            dns_support: true,
            dns_hostnames: true,
            network_address_usage_metrics: false,
            tags: BTreeMap::new(),
        });
    }
    for (_, id, vpc, cidr, zone) in SUBNETS {
        draft.put(Subnet {
            id: SubnetId::from_bits(id),
            vpc: VpcId::from_bits(vpc),
            cidr: cidr.parse().unwrap(),
            availability_zone: zone.to_owned(),
            default_for_az: false,
            map_public_ip_on_launch: false,
            tags: BTreeMap::new(),
        });
    }
    for (_, id, vpc, name) in GROUPS {
        draft.put(SecurityGroup {
            id: SecurityGroupId::from_bits(id),
            vpc: VpcId::from_bits(vpc),
            name: name.to_owned(),
            description: name.to_owned(),
            rules: BTreeMap::new(),
            tags: BTreeMap::new(),
        });
    }
    draft.change(())
}
