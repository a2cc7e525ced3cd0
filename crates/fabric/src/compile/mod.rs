// SPDX-License-Identifier: Apache-2.0
//! Compiles security groups into the tables of the data path. Pure: equal intents give identical tables.
//!
//! A ruleset is the union of the rules of a group set in one direction. Each distinct rule is a bit. A row says, for a
//! range of peers or ports, which rules match; a packet is admitted when the row of its peer and the row of its port
//! have a bit in common. The kernel finds the longest prefix only, so each row holds the rules of all wider ranges too.

mod acl;
mod bitmap;
mod lookup;
mod names;
mod ports;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use berth_types::intent::{Direction, GroupSetIntent, SecurityGroupIntent};
use berth_types::{GroupSetId, Ipv4Cidr, SecurityGroupId};

pub use acl::{ACL_ENTRIES_MAX, Acl, TooManyEntries};
pub use bitmap::{Bitmap, RULES_MAX};
pub use names::Names;
pub use ports::PortPrefix;
use rules::{Peer, Rule};

/// The tables of one group set in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ruleset {
    /// By the peer's address.
    pub addresses: BTreeMap<Ipv4Cidr, Bitmap>,
    /// By protocol and port.
    pub ports: BTreeMap<PortPrefix, Bitmap>,
    /// By the peer's group set.
    pub members: BTreeMap<GroupSetId, Bitmap>,
}

/// The tables of one group set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Packets from its interfaces.
    pub egress: Ruleset,
    /// Packets to its interfaces.
    pub ingress: Ruleset,
    /// Directions that admit a whole protocol from and to anywhere (`open_bit` in `bpf/verdict.h`).
    pub open: u32,
}

/// A group set has more rules than a ruleset can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "group set {} has {rules} distinct {direction:?} rules, {RULES_MAX} are possible; remove rules from {groups:?}",
    group_set.0
)]
pub struct TooManyRules {
    /// The group set.
    pub group_set: GroupSetId,
    /// Its groups.
    pub groups: Vec<SecurityGroupId>,
    /// The direction.
    pub direction: Direction,
    /// Distinct rules found.
    pub rules: usize,
}

/// Compiles every group set.
pub fn compile(
    group_sets: &BTreeMap<GroupSetId, GroupSetIntent>,
    groups: &BTreeMap<SecurityGroupId, SecurityGroupIntent>,
) -> Result<BTreeMap<GroupSetId, Policy>, TooManyRules> {
    let carriers = carriers(group_sets);
    group_sets
        .iter()
        .map(|(&id, set)| {
            let one = |direction| {
                let rules = rules::of(set, groups, direction);
                if rules.len() > RULES_MAX {
                    let groups = set.groups.clone();
                    return Err(TooManyRules { group_set: id, groups, direction, rules: rules.len() });
                }
                Ok(rules)
            };
            let (egress, ingress) = (one(Direction::Egress)?, one(Direction::Ingress)?);
            let open = rules::open_bits(&egress, Direction::Egress) | rules::open_bits(&ingress, Direction::Ingress);
            let tables = |rules: &[Rule]| ruleset(rules, &carriers);
            Ok((id, Policy { egress: tables(&egress), ingress: tables(&ingress), open }))
        })
        .collect()
}

type Carriers<'a> = BTreeMap<&'a SecurityGroupId, BTreeSet<GroupSetId>>;

/// The group sets that contain a group, all of them in the group's VPC. A rule may name a group of a peer.
fn carriers(group_sets: &BTreeMap<GroupSetId, GroupSetIntent>) -> Carriers<'_> {
    let mut carriers = Carriers::new();
    for (&id, set) in group_sets {
        for group in &set.groups {
            carriers.entry(group).or_default().insert(id);
        }
    }
    carriers
}

fn ruleset(rules: &[Rule], carriers: &Carriers<'_>) -> Ruleset {
    Ruleset { addresses: addresses(rules), ports: ports::rows(rules), members: members(rules, carriers) }
}

fn addresses(rules: &[Rule]) -> BTreeMap<Ipv4Cidr, Bitmap> {
    let ranges: BTreeSet<Ipv4Cidr> = rules.iter().filter_map(|rule| rule.peer.cidr()).collect();
    let holds = |range: Ipv4Cidr| {
        let wider = rules.iter().enumerate().filter(move |(_, r)| r.peer.cidr().is_some_and(|c| c.covers(range)));
        Bitmap::of(wider.map(|(bit, _)| bit))
    };
    ranges.into_iter().map(|range| (range, holds(range))).collect()
}

fn members(rules: &[Rule], carriers: &Carriers<'_>) -> BTreeMap<GroupSetId, Bitmap> {
    let mut bits: BTreeMap<GroupSetId, Vec<usize>> = BTreeMap::new();
    for (bit, rule) in rules.iter().enumerate() {
        if let Peer::Group(group) = &rule.peer {
            for &set in carriers.get(group).into_iter().flatten() {
                bits.entry(set).or_default().push(bit);
            }
        }
    }
    bits.into_iter().map(|(set, bits)| (set, Bitmap::of(bits.into_iter()))).collect()
}
