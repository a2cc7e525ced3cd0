// SPDX-License-Identifier: Apache-2.0
//! Compiles network ACLs. Each entry of a direction is a bit, the lowest number first; rows say, for a range of the
//! other end or of ports, which entries match. The lowest bit in both rows decides.

use std::collections::BTreeMap;

use berth_types::intent::{Direction, NetworkAclIntent, RuleIntent, RulePeer};
use berth_types::{Ipv4Cidr, NetworkAclId};

use super::rules::Rule;
use super::{PortPrefix, addresses, ports};

/// Maximum number of entries in one direction: twice what AWS allows after an increase of the quota.
pub const ACL_ENTRIES_MAX: usize = 64;

/// The tables of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// By the address of the other end.
    pub addresses: BTreeMap<Ipv4Cidr, u64>,
    /// By protocol and port.
    pub ports: BTreeMap<PortPrefix, u64>,
    /// The entries that admit.
    pub admit: u64,
}

/// A network ACL has more entries than the data path can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network ACL {acl} has {entries} {direction:?} entries, {ACL_ENTRIES_MAX} are possible; remove some")]
pub struct TooManyEntries {
    /// The ACL.
    pub acl: NetworkAclId,
    /// The direction.
    pub direction: Direction,
    /// Entries found.
    pub entries: usize,
}

impl Acl {
    /// The tables of an ACL in one direction.
    pub fn compile(id: &NetworkAclId, acl: &NetworkAclIntent, direction: Direction) -> Result<Self, TooManyEntries> {
        let entries: Vec<_> = acl.entries.iter().filter(|entry| entry.direction == direction).collect();
        if entries.len() > ACL_ENTRIES_MAX {
            return Err(TooManyEntries { acl: id.clone(), direction, entries: entries.len() });
        }
        let rules: Vec<Rule> = entries
            .iter()
            .flat_map(|entry| {
                let peer = RulePeer::Cidr(entry.cidr);
                Rule::of(&RuleIntent { direction, protocol: entry.protocol, ports: entry.ports, peer })
            })
            .collect();
        let admit = entries.iter().enumerate().filter(|(_, entry)| entry.admits);
        Ok(Self {
            addresses: addresses(&rules).into_iter().map(|(range, row)| (range, row.0[0])).collect(),
            ports: ports::rows(&rules).into_iter().map(|(prefix, row)| (prefix, row.0[0])).collect(),
            admit: admit.fold(0, |bits, (bit, _)| bits | 1 << bit),
        })
    }
}
