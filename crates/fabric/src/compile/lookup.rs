// SPDX-License-Identifier: Apache-2.0
//! Lookups in compiled tables, as the kernel performs them: the longest prefix, then the bits that two rows share.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_types::{GroupSetId, Ipv4Cidr};

use super::{Acl, Bitmap, PortPrefix, RULES_MAX, Ruleset};

/// The row of the longest range that contains an address.
fn by_address<T>(rows: &BTreeMap<Ipv4Cidr, T>, address: Ipv4Addr) -> Option<&T> {
    let found = rows.iter().filter(|(range, _)| range.contains(address));
    found.max_by_key(|(range, _)| range.prefix()).map(|(_, row)| row)
}

/// The row of a port. `None` is a protocol that no rule names.
fn by_port<T>(rows: &BTreeMap<PortPrefix, T>, protocol: Option<u8>, port: u16) -> Option<&T> {
    let holds = |prefix: &PortPrefix| match prefix.protocol {
        None => true,
        named => named == protocol && (port ^ prefix.port).checked_shr(16 - u32::from(prefix.bits)).unwrap_or(0) == 0,
    };
    let found = rows.iter().filter(|(prefix, _)| holds(prefix));
    found.max_by_key(|(prefix, _)| (prefix.protocol.is_some(), prefix.bits)).map(|(_, row)| row)
}

impl Acl {
    /// The entries that match a packet with this address at the other end; the lowest one decides.
    pub fn matching(&self, other: Ipv4Addr, protocol: Option<u8>, port: u16) -> u64 {
        let (address, port) = (by_address(&self.addresses, other), by_port(&self.ports, protocol, port));
        address.zip(port).map_or(0, |(address, port)| address & port)
    }
}

impl Bitmap {
    /// The intersection of both.
    pub fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// The union of both.
    pub fn or(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// True if the rule is in the set.
    pub fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Its rules, in order.
    pub fn bits(&self) -> impl Iterator<Item = usize> + '_ {
        (0..RULES_MAX).filter(|bit| self.has(*bit))
    }
}

impl Ruleset {
    /// The row of a peer's address.
    pub fn address_row(&self, peer: Ipv4Addr) -> Option<&Bitmap> {
        by_address(&self.addresses, peer)
    }

    /// The row of 0.0.0.0/0.
    pub fn world_row(&self) -> Option<&Bitmap> {
        self.addresses.get(&Ipv4Cidr::containing(Ipv4Addr::UNSPECIFIED, 0)?)
    }

    /// The row of a port. `None` is a protocol that no rule names.
    pub fn port_row(&self, protocol: Option<u8>, port: u16) -> Option<&Bitmap> {
        by_port(&self.ports, protocol, port)
    }

    /// Every rule that admits a packet (`ask` in `bpf/gates.h`).
    pub fn admitting(&self, peer: Ipv4Addr, peer_set: GroupSetId, protocol: Option<u8>, port: u16) -> Bitmap {
        let Some(port) = self.port_row(protocol, port) else { return Bitmap::EMPTY };
        let by_address = self.address_row(peer).unwrap_or(&Bitmap::EMPTY);
        let by_group = self.members.get(&peer_set).unwrap_or(&Bitmap::EMPTY);
        by_address.or(by_group).and(port)
    }
}
