// SPDX-License-Identifier: Apache-2.0
//! Maps a bit of a ruleset back to its rules.
//!
//! The tables contain no ids. The rows of a bit show what its rule matches: its widest range of addresses, the group
//! sets of its group, its ports. A rule of the group set that matches the same belongs to the bit; two rules that match
//! the same share a bit. So the answer is also right when the tables are older than the rules, and empty when no
//! present rule matches the same as the bit.

use std::collections::{BTreeMap, BTreeSet};

use berth_types::intent::{Direction, GroupSetIntent, SecurityGroupIntent};
use berth_types::{GroupSetId, Ipv4Cidr, SecurityGroupId, SecurityGroupRuleId};

use super::rules::{self, Peer, Rule};
use super::{Bitmap, Carriers, Ruleset, carriers};

/// The match of a rule, according to the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    protocol: Option<u8>,
    first: u16,
    last: u16,
    peer: Other,
}

/// The other end of a rule, according to the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Other {
    Range(Ipv4Cidr),
    Sets(BTreeSet<GroupSetId>),
}

/// The rules of one group set in one direction, by their match.
pub struct Names<'a> {
    set: &'a GroupSetIntent,
    groups: &'a BTreeMap<SecurityGroupId, SecurityGroupIntent>,
    direction: Direction,
    carriers: Carriers<'a>,
    rules: Vec<Rule>,
}

impl<'a> Names<'a> {
    /// The rules of a set, among all sets of its VPC and of the peers it names.
    pub fn of(
        set: &'a GroupSetIntent,
        group_sets: &'a BTreeMap<GroupSetId, GroupSetIntent>,
        groups: &'a BTreeMap<SecurityGroupId, SecurityGroupIntent>,
        direction: Direction,
    ) -> Self {
        let rules = rules::of(set, groups, direction);
        Self { set, groups, direction, carriers: carriers(group_sets), rules }
    }

    /// The rules of a bit; none if no rule matches the same.
    pub fn of_bit(&self, tables: &Ruleset, bit: usize) -> Vec<(SecurityGroupId, SecurityGroupRuleId)> {
        let Some(meaning) = meaning(tables, bit) else { return Vec::new() };
        let means_it = |rule: &&Rule| self.meaning(rule) == meaning;
        // Tables of the present rules keep the order of the rules. Only there can two rules that name different groups
        // with the same members be distinguished.
        let in_place = self.rules.get(bit).filter(means_it);
        let Some(rule) = in_place.or_else(|| self.rules.iter().find(means_it)) else { return Vec::new() };
        let of_set = self.set.groups.iter().filter_map(|id| Some((id, self.groups.get(id)?)));
        let all = of_set.flat_map(|(group, rules)| rules.rules.iter().map(move |(id, rule)| (group, id, rule)));
        all.filter(|(_, _, one)| one.direction == self.direction && Rule::of(one).any(|one| one == *rule))
            .map(|(group, id, _)| (group.clone(), id.clone()))
            .collect()
    }

    fn meaning(&self, rule: &Rule) -> Meaning {
        let peer = match &rule.peer {
            Peer::Cidr(range) => Other::Range(*range),
            Peer::Group(group) => Other::Sets(self.carriers.get(group).cloned().unwrap_or_default()),
        };
        Meaning { protocol: rule.protocol, first: rule.first, last: rule.last, peer }
    }
}

/// `None` for a bit whose rows no rule can produce.
fn meaning(tables: &Ruleset, bit: usize) -> Option<Meaning> {
    let has = |row: &Bitmap| row.has(bit);
    let prefixes: Vec<_> = tables.ports.iter().filter(|(_, row)| has(row)).map(|(prefix, _)| *prefix).collect();
    let protocol = prefixes.first()?.protocol;
    let (first, last) = match protocol {
        None => (0, u16::MAX),
        Some(_) if prefixes.iter().any(|prefix| prefix.protocol != protocol) => return None,
        Some(_) => {
            (prefixes.iter().map(|prefix| prefix.port).min()?, prefixes.iter().map(|prefix| prefix.last()).max()?)
        }
    };
    let ranges = tables.addresses.iter().filter(|(_, row)| has(row)).map(|(range, _)| *range);
    let sets: BTreeSet<_> = tables.members.iter().filter(|(_, row)| has(row)).map(|(set, _)| *set).collect();
    let peer = match ranges.min_by_key(|range| range.prefix()) {
        Some(widest) => Other::Range(widest),
        None => Other::Sets(sets),
    };
    Some(Meaning { protocol, first, last, peer })
}
