// SPDX-License-Identifier: Apache-2.0
//! The content of the maps, read back: the starting point of `program`, also after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aya::maps::lpm_trie::Key;
use berth_types::{EniId, GroupSetId, Ipv4Cidr, Vni};

use super::Fault;
use crate::bpf::Maps;
use crate::bpf::layout::{Endpoint, EndpointKey, Eni, MemberKey, Nat, Policy, PublicOwner, Route, Subnet, WorldPort};
use crate::bpf::maps::{AddressData, CidrData, PortData};
use crate::compile::{Acl, Bitmap, PortPrefix, Ruleset};

/// Routes by destination.
pub type RouteTable = BTreeMap<Ipv4Cidr, Route>;

/// The contents of the maps that the node writes.
#[derive(Debug)]
pub struct Held {
    pub epoch: u64,
    pub rulesets: BTreeMap<u32, Ruleset>,
    pub policies: BTreeMap<GroupSetId, Policy>,
    pub endpoints: BTreeMap<EndpointKey, Endpoint>,
    pub cidrs: BTreeSet<(Vni, Ipv4Cidr)>,
    pub subnets: BTreeMap<u16, Subnet>,
    pub tables: BTreeMap<u32, RouteTable>,
    pub acls: BTreeMap<u32, Acl>,
    pub nats: BTreeMap<u32, Nat>,
    pub publics: BTreeMap<EndpointKey, PublicOwner>,
    pub privates: BTreeMap<[u8; 4], PublicOwner>,
    pub world: WorldPort,
    /// Interfaces that are plugged here.
    pub plugged: BTreeMap<EniId, Eni>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            epoch: 0,
            rulesets: BTreeMap::new(),
            policies: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            cidrs: BTreeSet::new(),
            subnets: BTreeMap::new(),
            tables: BTreeMap::new(),
            acls: BTreeMap::new(),
            nats: BTreeMap::new(),
            publics: BTreeMap::new(),
            privates: BTreeMap::new(),
            world: WorldPort::NONE,
            plugged: BTreeMap::new(),
        }
    }
}

impl Held {
    /// Reads everything back.
    pub fn read(maps: &Maps) -> Result<Self, Fault> {
        let mut held = Self { epoch: maps.epoch()?, ..Self::default() };
        held.policies.extend(maps.policies()?.into_iter().map(|(set, policy)| (GroupSetId(set as u16), policy)));
        for entry in maps.endpoints.iter() {
            let (key, endpoint) = entry.map_err(|source| Fault::map("read", "endpoints", source))?;
            held.endpoints.insert(key, endpoint);
        }
        for key in maps.vpc_cidrs.keys() {
            let key = key.map_err(|source| Fault::map("read", "vpc_cidrs", source))?;
            held.cidrs.extend(cidr_of(&key));
        }
        held.plugged = maps.enis()?.into_iter().collect();
        held.read_rulesets(maps)?;
        held.read_ways(maps)?;
        Ok(held)
    }

    fn read_ways(&mut self, maps: &Maps) -> Result<(), Fault> {
        self.subnets = maps.subnets()?.into_iter().collect();
        self.nats = maps.nats()?.into_iter().collect();
        self.world = maps.world()?;
        for entry in maps.routes.iter() {
            let (key, route) = entry.map_err(|source| Fault::map("read", "routes", source))?;
            if let Some((table, range)) = address_of(&key) {
                self.tables.entry(table).or_default().insert(range, route);
            }
        }
        for entry in maps.acl_addresses.iter() {
            let (key, row) = entry.map_err(|source| Fault::map("read", "acl_addresses", source))?;
            if let Some((number, range)) = address_of(&key) {
                let acl = self.acls.entry(number).or_default();
                acl.admit |= row.admit;
                acl.addresses.insert(range, row.entries);
            }
        }
        for entry in maps.acl_ports.iter() {
            let (key, row) = entry.map_err(|source| Fault::map("read", "acl_ports", source))?;
            let (number, prefix) = port_of(&key);
            let acl = self.acls.entry(number).or_default();
            acl.admit |= row.admit;
            acl.ports.insert(prefix, row.entries);
        }
        for subnet in self.subnets.clone().values() {
            self.note_tables(subnet);
        }
        for entry in maps.publics.iter() {
            let (key, owner) = entry.map_err(|source| Fault::map("read", "publics", source))?;
            self.publics.insert(key, owner);
        }
        for entry in maps.privates.iter() {
            let (key, owner) = entry.map_err(|source| Fault::map("read", "privates", source))?;
            self.privates.insert(key, owner);
        }
        Ok(())
    }

    fn read_rulesets(&mut self, maps: &Maps) -> Result<(), Fault> {
        for entry in maps.rule_addresses.iter() {
            let (key, row) = entry.map_err(|source| Fault::map("read", "rule_addresses", source))?;
            if let Some((ruleset, range)) = address_of(&key) {
                self.rulesets.entry(ruleset).or_default().addresses.insert(range, Bitmap(row));
            }
        }
        for entry in maps.rule_ports.iter() {
            let (key, row) = entry.map_err(|source| Fault::map("read", "rule_ports", source))?;
            let (ruleset, prefix) = port_of(&key);
            self.rulesets.entry(ruleset).or_default().ports.insert(prefix, Bitmap(row));
        }
        for entry in maps.rule_members.iter() {
            let (key, row) = entry.map_err(|source| Fault::map("read", "rule_members", source))?;
            let members = &mut self.rulesets.entry(key.ruleset).or_default().members;
            members.insert(GroupSetId(key.group_set as u16), Bitmap(row));
        }
        // A ruleset without rules has no rows; it exists because a policy refers to it.
        for policy in self.policies.values() {
            for ruleset in policy.ruleset.as_flattened().iter().filter(|id| **id != 0) {
                self.rulesets.entry(*ruleset).or_default();
            }
        }
        Ok(())
    }

    /// Tables without rows exist because a subnet refers to them.
    pub(super) fn note_tables(&mut self, subnet: &Subnet) {
        for id in subnet.acl.as_flattened().iter().filter(|id| **id != 0) {
            self.acls.entry(*id).or_default();
        }
        for id in subnet.route_table.iter().filter(|id| **id != 0) {
            self.tables.entry(*id).or_default();
        }
    }

    /// The side that packets are evaluated with.
    pub fn side(&self) -> usize {
        (self.epoch & 1) as usize
    }
}

pub fn address_key(ruleset: u32, range: Ipv4Cidr) -> Key<AddressData> {
    Key::new(32 + u32::from(range.prefix()), join(ruleset.to_ne_bytes(), range.network().octets()))
}

fn address_of(key: &Key<AddressData>) -> Option<(u32, Ipv4Cidr)> {
    let (ruleset, address) = parts(key.data());
    let range = Ipv4Cidr::containing(Ipv4Addr::from(address), key.prefix_len().checked_sub(32)? as u8)?;
    Some((u32::from_ne_bytes(ruleset), range))
}

pub fn port_key(ruleset: u32, prefix: PortPrefix) -> Key<PortData> {
    let [high, low] = prefix.port.to_be_bytes();
    let bits = prefix.protocol.map_or(32, |_| 40 + u32::from(prefix.bits));
    Key::new(bits, join(ruleset.to_ne_bytes(), [prefix.protocol.unwrap_or(0), high, low, 0]))
}

fn port_of(key: &Key<PortData>) -> (u32, PortPrefix) {
    let (ruleset, [protocol, high, low, _]) = parts(key.data());
    let protocol = (key.prefix_len() >= 40).then_some(protocol);
    let bits = key.prefix_len().saturating_sub(40) as u8;
    (u32::from_ne_bytes(ruleset), PortPrefix { protocol, port: u16::from_be_bytes([high, low]), bits })
}

pub fn cidr_key(vni: Vni, range: Ipv4Cidr) -> Key<CidrData> {
    Key::new(32 + u32::from(range.prefix()), join(vni.0.to_be_bytes(), range.network().octets()))
}

fn cidr_of(key: &Key<CidrData>) -> Option<(Vni, Ipv4Cidr)> {
    let (vni, address) = parts(key.data());
    let range = Ipv4Cidr::containing(Ipv4Addr::from(address), key.prefix_len().checked_sub(32)? as u8)?;
    Some((Vni(u32::from_be_bytes(vni)), range))
}

pub fn member_key(ruleset: u32, group_set: GroupSetId) -> MemberKey {
    MemberKey { ruleset, group_set: group_set.0.into() }
}

fn join(first: [u8; 4], second: [u8; 4]) -> [u8; 8] {
    let mut joined = [0; 8];
    joined[..4].copy_from_slice(&first);
    joined[4..].copy_from_slice(&second);
    joined
}

fn parts(joined: [u8; 8]) -> ([u8; 4], [u8; 4]) {
    let [a, b, c, d, e, f, g, h] = joined;
    ([a, b, c, d], [e, f, g, h])
}
