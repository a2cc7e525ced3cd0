// SPDX-License-Identifier: Apache-2.0
//! The order of changes to the maps. Pure: present and wanted content give a list of steps.
//!
//! At no step may a packet pass that neither the old nor the new state admits, nor may one be dropped that both admit.
//! Policies and memberships therefore have two sides, of which `epoch` selects one: the other side is prepared, one
//! store activates it, and after the packets in progress both sides are made equal again. Tables of rules are never
//! changed while a policy uses them, except for group sets that no packet carries.

use std::collections::{BTreeMap, BTreeSet};

use berth_types::{GroupSetId, Ipv4Cidr, Vni};

use super::held::Held;
use super::ways::Ways;
use crate::bpf::layout::{AclRow, Endpoint, EndpointKey, Eni, Nat, Policy, PublicOwner, Route, Subnet, WorldPort};
use crate::compile::{self, Bitmap, PortPrefix, Ruleset};

mod ways;

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    PutCidr(Vni, Ipv4Cidr),
    RemoveCidr(Vni, Ipv4Cidr),
    PutAddress(u32, Ipv4Cidr, Bitmap),
    RemoveAddress(u32, Ipv4Cidr),
    PutPort(u32, PortPrefix, Bitmap),
    RemovePort(u32, PortPrefix),
    PutMember(u32, GroupSetId, Bitmap),
    RemoveMember(u32, GroupSetId),
    PutPolicy(GroupSetId, Policy),
    PutEndpoint(EndpointKey, Endpoint),
    RemoveEndpoint(EndpointKey),
    PutSubnet(u16, Subnet),
    PutRoute(u32, Ipv4Cidr, Route),
    RemoveRoute(u32, Ipv4Cidr),
    PutAclAddress(u32, Ipv4Cidr, AclRow),
    RemoveAclAddress(u32, Ipv4Cidr),
    PutAclPort(u32, PortPrefix, AclRow),
    RemoveAclPort(u32, PortPrefix),
    PutNat(u32, Nat),
    PutPublic(EndpointKey, PublicOwner),
    RemovePublic(EndpointKey),
    PutPrivate([u8; 4], PublicOwner),
    RemovePrivate([u8; 4]),
    SetWorld(WorldPort),
    PutEni(Eni),
    SetEpoch(u64),
    /// Wait for the packets in progress.
    Wait,
}

/// The wanted content of the maps.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub policies: &'a BTreeMap<GroupSetId, compile::Policy>,
    /// Both sides of `group_set` are equal.
    pub endpoints: BTreeMap<EndpointKey, Endpoint>,
    pub cidrs: BTreeSet<(Vni, Ipv4Cidr)>,
    /// Entries of plugged interfaces, by device.
    pub enis: BTreeMap<u32, Eni>,
    pub ways: Ways,
}

/// The steps from `held` to `wanted`; none if they are equal.
pub fn plan(held: &Held, wanted: &Wanted<'_>) -> Vec<Step> {
    let mut plan = Plan { held, wanted, side: held.side(), steps: Vec::new() };
    plan.even_out();
    let rulesets = Rulesets::choose(held, wanted);
    plan.add_cidrs();
    plan.add_rows(&rulesets);
    plan.add_ways();
    let is_unsettled = plan.change_public_addresses() | plan.remove_endpoints();
    let changes = Changes {
        policies: plan.changed_policies(&rulesets),
        members: plan.changed_members(),
        subnets: plan.changed_subnets(),
    };
    plan.switch(changes, is_unsettled);
    plan.add_endpoints();
    plan.update_enis();
    plan.remove_leftovers(&rulesets);
    plan.remove_ways();
    plan.steps
}

/// What one store of the epoch activates, with the old value of each.
struct Changes {
    policies: Vec<(GroupSetId, Option<Policy>, Policy)>,
    members: Vec<(EndpointKey, u16, Endpoint)>,
    subnets: Vec<(u16, Subnet, Subnet)>,
}

/// The number of the ruleset for each table.
struct Rulesets<'a> {
    ids: BTreeMap<u32, &'a Ruleset>,
    of: BTreeMap<GroupSetId, [u32; 2]>,
}

impl<'a> Rulesets<'a> {
    /// Tables that exist already keep their number; tables that differ only in group sets that no packet carries are
    /// patched in place; all others get a new number.
    fn choose(held: &Held, wanted: &Wanted<'a>) -> Self {
        let mut users: BTreeMap<&Ruleset, Vec<(GroupSetId, usize)>> = BTreeMap::new();
        for (&set, policy) in wanted.policies {
            users.entry(&policy.egress).or_default().push((set, 0));
            users.entry(&policy.ingress).or_default().push((set, 1));
        }
        let idle = IdleSets::of(held, wanted);
        let by_value: BTreeMap<&Ruleset, u32> = held.rulesets.iter().map(|(&id, tables)| (tables, id)).collect();
        let mut chosen = Self { ids: BTreeMap::new(), of: BTreeMap::new() };
        let exact: BTreeSet<u32> = users.keys().filter_map(|tables| by_value.get(*tables).copied()).collect();
        for (tables, users) in users {
            let current = |(set, direction): &(GroupSetId, usize)| {
                held.policies.get(set).map(|policy| policy.ruleset[held.side()][*direction])
            };
            let patched = || {
                users.iter().filter_map(current).find(|id| {
                    !exact.contains(id)
                        && !chosen.ids.contains_key(id)
                        && held.rulesets.get(id).is_some_and(|old| idle.explain(old, tables))
                })
            };
            let fresh = || (1..).find(|id| !held.rulesets.contains_key(id) && !chosen.ids.contains_key(id));
            let id = by_value.get(tables).copied().or_else(patched).or_else(fresh).unwrap_or_default();
            chosen.ids.insert(id, tables);
            for (set, direction) in users {
                chosen.of.entry(set).or_default()[direction] = id;
            }
        }
        chosen
    }
}

/// Group sets that no packet can carry: not yet, or no longer.
struct IdleSets {
    known: BTreeSet<GroupSetId>,
    wanted: BTreeSet<GroupSetId>,
}

impl IdleSets {
    fn of(held: &Held, wanted: &Wanted<'_>) -> Self {
        let carried = held.endpoints.values().flat_map(|endpoint| endpoint.group_set).map(GroupSetId);
        Self {
            known: held.policies.keys().copied().chain(carried).collect(),
            wanted: wanted.policies.keys().copied().collect(),
        }
    }

    /// True if adding rows of unknown sets and removing rows of unwanted sets turns `old` into `new`.
    fn explain(&self, old: &Ruleset, new: &Ruleset) -> bool {
        old.addresses == new.addresses
            && old.ports == new.ports
            && new.members.iter().all(|(set, row)| match old.members.get(set) {
                Some(held) => held == row,
                None => !self.known.contains(set),
            })
            && old.members.keys().all(|set| new.members.contains_key(set) || !self.wanted.contains(set))
    }
}

struct Plan<'a> {
    held: &'a Held,
    wanted: &'a Wanted<'a>,
    side: usize,
    steps: Vec<Step>,
}

impl Plan<'_> {
    /// Completes the change of a process that ended in the middle of it: the active side is right.
    fn even_out(&mut self) {
        for (&set, policy) in &self.held.policies {
            let even = both_sides(policy, self.side);
            if even != *policy {
                self.steps.push(Step::PutPolicy(set, even));
            }
        }
        for (&key, endpoint) in &self.held.endpoints {
            if endpoint.group_set[0] != endpoint.group_set[1] {
                let group_set = [endpoint.group_set[self.side]; 2];
                self.steps.push(Step::PutEndpoint(key, Endpoint { group_set, ..*endpoint }));
            }
        }
        for (&number, subnet) in &self.held.subnets {
            let even = both_ways(subnet, self.side);
            if even != *subnet {
                self.steps.push(Step::PutSubnet(number, even));
            }
        }
        if !self.steps.is_empty() {
            self.steps.insert(0, Step::Wait);
        }
    }

    fn add_cidrs(&mut self) {
        let fresh = self.wanted.cidrs.difference(&self.held.cidrs);
        self.steps.extend(fresh.map(|&(vni, range)| Step::PutCidr(vni, range)));
    }

    fn add_rows(&mut self, rulesets: &Rulesets<'_>) {
        let none = Ruleset::default();
        for (&id, tables) in &rulesets.ids {
            let held = self.held.rulesets.get(&id).unwrap_or(&none);
            let addresses = tables.addresses.iter().filter(|(range, row)| held.addresses.get(range) != Some(row));
            self.steps.extend(addresses.map(|(&range, &row)| Step::PutAddress(id, range, row)));
            let ports = tables.ports.iter().filter(|(prefix, row)| held.ports.get(prefix) != Some(row));
            self.steps.extend(ports.map(|(&prefix, &row)| Step::PutPort(id, prefix, row)));
            let members = tables.members.iter().filter(|(set, row)| held.members.get(set) != Some(row));
            self.steps.extend(members.map(|(&set, &row)| Step::PutMember(id, set, row)));
        }
    }

    /// Endpoints that are removed, whose address now belongs to another interface, or that are plugged elsewhere. True
    /// if there were any: flows must be evaluated again.
    fn remove_endpoints(&mut self) -> bool {
        let mut is_unsettled = false;
        for (&key, held) in &self.held.endpoints {
            match self.wanted.endpoints.get(&key) {
                Some(wanted) if wanted.mac == held.mac => {
                    let here = Endpoint { group_set: [held.group_set[self.side]; 2], ..*wanted };
                    if here != (Endpoint { group_set: here.group_set, ..*held }) {
                        self.steps.push(Step::PutEndpoint(key, here));
                        is_unsettled = true;
                    }
                }
                _ => {
                    self.steps.push(Step::RemoveEndpoint(key));
                    is_unsettled = true;
                }
            }
        }
        is_unsettled
    }

    /// Wanted policies that differ from the present ones, with the old one of each.
    fn changed_policies(&self, rulesets: &Rulesets<'_>) -> Vec<(GroupSetId, Option<Policy>, Policy)> {
        let wanted = self.wanted.policies.iter().map(|(&set, policy)| {
            let ruleset = rulesets.of.get(&set).copied().unwrap_or_default();
            (set, Policy { ruleset: [ruleset; 2], open: [policy.open; 2] })
        });
        let old = |set| self.held.policies.get(&set).map(|policy| both_sides(policy, self.side));
        wanted.map(|(set, new)| (set, old(set), new)).filter(|(_, old, new)| old.as_ref() != Some(new)).collect()
    }

    /// Endpoints that stay and change their group set.
    fn changed_members(&self) -> Vec<(EndpointKey, u16, Endpoint)> {
        let held = self.held.endpoints.iter();
        held.filter_map(|(&key, held)| {
            let wanted = *self.wanted.endpoints.get(&key).filter(|wanted| wanted.mac == held.mac)?;
            let old = held.group_set[self.side];
            (old != wanted.group_set[0]).then_some((key, old, wanted))
        })
        .collect()
    }

    /// Activates the changes in one step.
    fn switch(&mut self, changes: Changes, is_unsettled: bool) {
        let Changes { policies, members, subnets } = changes;
        if members.is_empty() && subnets.is_empty() && policies.iter().all(|(_, old, _)| old.is_none()) {
            self.steps.extend(policies.into_iter().map(|(set, _, new)| Step::PutPolicy(set, new)));
            if is_unsettled {
                self.steps.push(Step::SetEpoch(self.held.epoch + 2));
            }
            return;
        }
        let next = 1 - self.side;
        for (set, old, new) in &policies {
            let mut prepared = old.unwrap_or_default();
            prepared.ruleset[next] = new.ruleset[next];
            prepared.open[next] = new.open[next];
            self.steps.push(Step::PutPolicy(*set, prepared));
        }
        for (key, old, new) in &members {
            let mut prepared = *new;
            prepared.group_set[self.side] = *old;
            self.steps.push(Step::PutEndpoint(*key, prepared));
        }
        for (number, old, new) in &subnets {
            let mut prepared = *old;
            prepared.route_table[next] = new.route_table[next];
            prepared.acl[next] = new.acl[next];
            self.steps.push(Step::PutSubnet(*number, prepared));
        }
        self.steps.extend([Step::SetEpoch(self.held.epoch + 1), Step::Wait]);
        self.steps.extend(policies.into_iter().map(|(set, _, new)| Step::PutPolicy(set, new)));
        self.steps.extend(members.into_iter().map(|(key, _, new)| Step::PutEndpoint(key, new)));
        self.steps.extend(subnets.into_iter().map(|(number, _, new)| Step::PutSubnet(number, new)));
    }

    fn add_endpoints(&mut self) {
        for (&key, wanted) in &self.wanted.endpoints {
            if self.held.endpoints.get(&key).is_none_or(|held| held.mac != wanted.mac) {
                self.steps.push(Step::PutEndpoint(key, *wanted));
            }
        }
    }

    fn update_enis(&mut self) {
        for plugged in self.held.plugged.values() {
            if let Some(wanted) = self.wanted.enis.get(&plugged.ifindex).filter(|wanted| *wanted != plugged) {
                self.steps.push(Step::PutEni(*wanted));
            }
        }
    }

    fn remove_leftovers(&mut self, rulesets: &Rulesets<'_>) {
        let gone = self.held.policies.keys().filter(|set| !self.wanted.policies.contains_key(set));
        self.steps.extend(gone.map(|&set| Step::PutPolicy(set, Policy::default())));
        let none = Ruleset::default();
        for (&id, held) in &self.held.rulesets {
            let wanted = rulesets.ids.get(&id).copied().unwrap_or(&none);
            let ranges = held.addresses.keys().filter(|range| !wanted.addresses.contains_key(range));
            self.steps.extend(ranges.map(|&range| Step::RemoveAddress(id, range)));
            let prefixes = held.ports.keys().filter(|prefix| !wanted.ports.contains_key(prefix));
            self.steps.extend(prefixes.map(|&prefix| Step::RemovePort(id, prefix)));
            let sets = held.members.keys().filter(|set| !wanted.members.contains_key(set));
            self.steps.extend(sets.map(|&set| Step::RemoveMember(id, set)));
        }
        let gone = self.held.cidrs.difference(&self.wanted.cidrs);
        self.steps.extend(gone.map(|&(vni, range)| Step::RemoveCidr(vni, range)));
    }
}

/// The policy with both sides as `side` is.
fn both_sides(policy: &Policy, side: usize) -> Policy {
    Policy { ruleset: [policy.ruleset[side]; 2], open: [policy.open[side]; 2] }
}

/// The same for a subnet.
fn both_ways(subnet: &Subnet, side: usize) -> Subnet {
    Subnet { route_table: [subnet.route_table[side]; 2], acl: [subnet.acl[side]; 2], ..*subnet }
}

impl Held {
    /// The content of the maps after a step.
    pub fn apply(&mut self, step: &Step) {
        if self.apply_way(step) {
            return;
        }
        match *step {
            Step::PutCidr(vni, range) => drop(self.cidrs.insert((vni, range))),
            Step::RemoveCidr(vni, range) => drop(self.cidrs.remove(&(vni, range))),
            Step::PutAddress(id, range, row) => drop(self.tables(id).addresses.insert(range, row)),
            Step::RemoveAddress(id, range) => drop(self.tables(id).addresses.remove(&range)),
            Step::PutPort(id, prefix, row) => drop(self.tables(id).ports.insert(prefix, row)),
            Step::RemovePort(id, prefix) => drop(self.tables(id).ports.remove(&prefix)),
            Step::PutMember(id, set, row) => drop(self.tables(id).members.insert(set, row)),
            Step::RemoveMember(id, set) => drop(self.tables(id).members.remove(&set)),
            Step::PutPolicy(set, policy) if policy == Policy::default() => drop(self.policies.remove(&set)),
            Step::PutPolicy(set, policy) => {
                // A ruleset without rules has no rows; a reference creates it.
                for id in policy.ruleset.as_flattened().iter().filter(|id| **id != 0) {
                    self.tables(*id);
                }
                self.policies.insert(set, policy);
            }
            Step::PutEndpoint(key, endpoint) => drop(self.endpoints.insert(key, endpoint)),
            Step::RemoveEndpoint(key) => drop(self.endpoints.remove(&key)),
            Step::PutEni(entry) => {
                self.plugged.values_mut().filter(|held| held.ifindex == entry.ifindex).for_each(|held| *held = entry);
            }
            Step::SetEpoch(epoch) => self.epoch = epoch,
            _ => {}
        }
    }

    /// Removes rulesets without a policy from the held state; their rows are removed already.
    pub fn forget_unused_rulesets(&mut self) {
        let used: BTreeSet<u32> =
            self.policies.values().flat_map(|policy| policy.ruleset.as_flattened().to_vec()).collect();
        self.rulesets.retain(|id, tables| used.contains(id) || *tables != Ruleset::default());
    }

    fn tables(&mut self, id: u32) -> &mut Ruleset {
        self.rulesets.entry(id).or_default()
    }
}
