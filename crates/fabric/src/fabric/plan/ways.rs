// SPDX-License-Identifier: Apache-2.0
//! The steps of subnets, route tables, ACLs, gateways and public addresses.

use std::collections::BTreeMap;

use super::{Plan, Step};
use crate::bpf::layout::{self, AclRow, Nat, Subnet, WorldPort};
use crate::compile::Acl;
use crate::fabric::held::{Held, RouteTable};

impl Plan<'_> {
    /// New tables, gateways and subnets, which no packet uses yet.
    pub(super) fn add_ways(&mut self) {
        let (held, wanted) = (self.held, &self.wanted.ways);
        let no_table = RouteTable::new();
        for (&id, table) in &wanted.tables {
            let old = held.tables.get(&id).unwrap_or(&no_table);
            let fresh = table.iter().filter(|(range, route)| old.get(range) != Some(route));
            self.steps.extend(fresh.map(|(&range, &route)| Step::PutRoute(id, range, route)));
        }
        let no_acl = Acl::default();
        for (&id, acl) in &wanted.acls {
            let old = held.acls.get(&id).unwrap_or(&no_acl);
            let row = |&entries: &u64| AclRow { entries, admit: acl.admit };
            let is_new = old.admit != acl.admit;
            let addresses = acl.addresses.iter().filter(|(range, row)| is_new || old.addresses.get(range) != Some(row));
            self.steps.extend(addresses.map(|(&range, entries)| Step::PutAclAddress(id, range, row(entries))));
            let ports = acl.ports.iter().filter(|(prefix, row)| is_new || old.ports.get(prefix) != Some(row));
            self.steps.extend(ports.map(|(&prefix, entries)| Step::PutAclPort(id, prefix, row(entries))));
        }
        let nats = wanted.nats.iter().filter(|(id, _)| !held.nats.contains_key(id));
        self.steps.extend(nats.map(|(&id, &nat)| Step::PutNat(id, nat)));
        let subnets = wanted.subnets.iter().filter(|(number, _)| !held.subnets.contains_key(number));
        self.steps.extend(subnets.map(|(&number, &subnet)| Step::PutSubnet(number, subnet)));
    }

    /// Subnets that stay and change their tables.
    pub(super) fn changed_subnets(&self) -> Vec<(u16, Subnet, Subnet)> {
        let held = self.held.subnets.iter();
        held.filter_map(|(&number, held)| {
            let wanted = *self.wanted.ways.subnets.get(&number)?;
            let old = super::both_ways(held, self.side);
            (old != wanted).then_some((number, old, wanted))
        })
        .collect()
    }

    /// Public addresses and the pool. True if there were changes: flows must be evaluated again.
    pub(super) fn change_public_addresses(&mut self) -> bool {
        let before = self.steps.len();
        let (held, wanted) = (self.held, &self.wanted.ways);
        let gone = held.privates.keys().filter(|key| !wanted.privates.contains_key(*key));
        self.steps.extend(gone.map(|&key| Step::RemovePrivate(key)));
        let gone = held.publics.keys().filter(|key| !wanted.publics.contains_key(key));
        self.steps.extend(gone.map(|&key| Step::RemovePublic(key)));
        let put = wanted.privates.iter().filter(|(key, owner)| held.privates.get(*key) != Some(owner));
        self.steps.extend(put.map(|(&key, &owner)| Step::PutPrivate(key, owner)));
        let put = wanted.publics.iter().filter(|(key, owner)| held.publics.get(key) != Some(owner));
        self.steps.extend(put.map(|(&key, &owner)| Step::PutPublic(key, owner)));
        let world = match wanted.pool {
            Some((pool, host)) => {
                WorldPort { pool: pool.network().octets(), mask: layout::mask(pool), host: host.octets(), ..held.world }
            }
            None => WorldPort::NONE,
        };
        self.steps.extend((world != held.world).then_some(Step::SetWorld(world)));
        self.steps.len() > before
    }

    /// What no packet uses any more.
    pub(super) fn remove_ways(&mut self) {
        let (held, wanted) = (self.held, &self.wanted.ways);
        let subnets = held.subnets.keys().filter(|number| !wanted.subnets.contains_key(number));
        self.steps.extend(subnets.map(|&number| Step::PutSubnet(number, Subnet::default())));
        for (&id, table) in held.tables.iter().filter(|(id, _)| !wanted.tables.contains_key(id)) {
            self.steps.extend(table.keys().map(|&range| Step::RemoveRoute(id, range)));
        }
        for (&id, acl) in held.acls.iter().filter(|(id, _)| !wanted.acls.contains_key(id)) {
            self.steps.extend(acl.addresses.keys().map(|&range| Step::RemoveAclAddress(id, range)));
            self.steps.extend(acl.ports.keys().map(|&prefix| Step::RemoveAclPort(id, prefix)));
        }
        let nats = held.nats.keys().filter(|id| !wanted.nats.contains_key(id));
        self.steps.extend(nats.map(|&id| Step::PutNat(id, Nat::default())));
    }
}

impl Held {
    /// The content of the maps after a step of a way; false if it is another step.
    pub(super) fn apply_way(&mut self, step: &Step) -> bool {
        match *step {
            Step::PutSubnet(number, subnet) if subnet == Subnet::default() => drop(self.subnets.remove(&number)),
            Step::PutSubnet(number, subnet) => {
                self.note_tables(&subnet);
                self.subnets.insert(number, subnet);
            }
            Step::PutRoute(id, range, route) => drop(self.tables.entry(id).or_default().insert(range, route)),
            Step::RemoveRoute(id, range) => {
                self.tables.entry(id).or_default().remove(&range);
            }
            Step::PutAclAddress(id, range, row) => {
                let acl = self.acls.entry(id).or_default();
                acl.admit = row.admit;
                acl.addresses.insert(range, row.entries);
            }
            Step::RemoveAclAddress(id, range) => {
                self.acls.entry(id).or_default().addresses.remove(&range);
            }
            Step::PutAclPort(id, prefix, row) => {
                let acl = self.acls.entry(id).or_default();
                acl.admit = row.admit;
                acl.ports.insert(prefix, row.entries);
            }
            Step::RemoveAclPort(id, prefix) => {
                self.acls.entry(id).or_default().ports.remove(&prefix);
            }
            Step::PutNat(id, nat) if nat == Nat::default() => drop(self.nats.remove(&id)),
            Step::PutNat(id, nat) => drop(self.nats.insert(id, nat)),
            Step::PutPublic(key, owner) => drop(self.publics.insert(key, owner)),
            Step::RemovePublic(key) => drop(self.publics.remove(&key)),
            Step::PutPrivate(key, owner) => drop(self.privates.insert(key, owner)),
            Step::RemovePrivate(key) => drop(self.privates.remove(&key)),
            Step::SetWorld(world) => self.world = world,
            _ => return false,
        }
        true
    }

    /// Removes tables that no subnet uses from the held state; their rows are removed already.
    pub fn forget_unused_ways(&mut self) {
        let used = |number: &u32, of: fn(&Subnet) -> Vec<u32>, subnets: &BTreeMap<u16, Subnet>| {
            subnets.values().any(|subnet| of(subnet).contains(number))
        };
        let subnets = &self.subnets;
        self.tables.retain(|id, table| !table.is_empty() || used(id, |subnet| subnet.route_table.to_vec(), subnets));
        self.acls.retain(|id, acl| {
            !(acl.addresses.is_empty() && acl.ports.is_empty())
                || used(id, |subnet| subnet.acl.as_flattened().to_vec(), subnets)
        });
    }
}
