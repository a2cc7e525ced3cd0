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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;
    use crate::bpf::layout::AclRow;
    use crate::verdict::first_match_admits;
    use berth_types::Vni;
    use berth_types::intent::{AclEntryIntent, PortRange};
    use proptest::prelude::*;

    const DIRECTIONS: [Direction; 2] = [Direction::Egress, Direction::Ingress];

    /// A packet at the border of a subnet.
    #[derive(Clone, Copy, Debug)]
    struct Crossing {
        direction: Direction,
        other: Ipv4Addr,
        protocol: u8,
        port: u16,
    }

    /// The entries read one by one, as the documentation describes it.
    fn admits(acl: &NetworkAclIntent, q: &Crossing) -> bool {
        let fits = |entry: &&AclEntryIntent| {
            let is_port = match (q.protocol, entry.ports) {
                (6 | 17, PortRange::Ports(first, last)) => (first..=last).contains(&q.port),
                (1, PortRange::Icmp(kind, code)) => {
                    q.port >> 8 == u16::from(kind) && code.is_none_or(|code| q.port & 0xff == u16::from(code))
                }
                _ => true,
            };
            let is_protocol = entry.protocol.is_none_or(|protocol| protocol == q.protocol);
            entry.direction == q.direction
                && is_protocol
                && (entry.protocol.is_none() || is_port)
                && entry.cidr.contains(q.other)
        };
        acl.entries.iter().find(fits).is_some_and(|entry| entry.admits)
    }

    /// The decision of the tables, looked up as in the kernel, by the C of `bpf/verdict.h`.
    fn admits_by_tables(acl: &Acl, q: &Crossing) -> bool {
        let row = |entries: &u64| AclRow { entries: *entries, admit: acl.admit };
        let address = acl.addresses.iter().filter(|(range, _)| range.contains(q.other));
        let address = address.max_by_key(|(range, _)| range.prefix()).map(|(_, entries)| row(entries));
        let holds = |prefix: &PortPrefix| match prefix.protocol {
            None => true,
            Some(protocol) => {
                protocol == q.protocol
                    && (q.port ^ prefix.port).checked_shr(16 - u32::from(prefix.bits)).unwrap_or(0) == 0
            }
        };
        let port = acl.ports.iter().filter(|(prefix, _)| holds(prefix));
        let port = port.max_by_key(|(prefix, _)| (prefix.protocol.is_some(), prefix.bits));
        first_match_admits(address.as_ref(), port.map(|(_, entries)| row(entries)).as_ref())
    }

    fn address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, n >> 6, (n >> 4) & 3, n & 15)
    }

    prop_compose! {
        fn any_entry()(
            ingress: bool, admits: bool, whole in proptest::bool::weighted(0.2),
            protocol in prop_oneof![1 => Just(None), 6 => Just(Some(6u8)), 2 => Just(Some(17)), 2 => Just(Some(1))],
            (first, length) in (0u16..32, 0u16..16), (kind, code) in (0u8..4, proptest::option::of(0u8..3)),
            (other, bits) in (any::<u8>(), prop_oneof![Just(0u8), 8u8..=32]),
        ) -> AclEntryIntent {
            let ports = match protocol {
                Some(6 | 17) if !whole => PortRange::Ports(first, first + length),
                Some(1) if !whole => PortRange::Icmp(kind, code),
                _ => PortRange::All,
            };
            let direction = DIRECTIONS[usize::from(ingress)];
            let cidr = Ipv4Cidr::containing(address(other), bits).unwrap();
            AclEntryIntent { number: 0, direction, protocol, ports, cidr, admits }
        }
    }

    prop_compose! {
        fn any_crossing()(
            ingress: bool, other: u8, protocol in prop_oneof![Just(6u8), Just(17), Just(1), Just(47)],
            port in 0u16..48, (kind, code) in (0u16..4, 0u16..3),
        ) -> Crossing {
            let port = match protocol { 6 | 17 => port, 1 => kind << 8 | code, _ => 0 };
            Crossing { direction: DIRECTIONS[usize::from(ingress)], other: address(other), protocol, port }
        }
    }

    proptest! {
        #[test]
        fn the_tables_decide_as_the_entries_read_in_order(
            mut entries in proptest::collection::vec(any_entry(), 0..40),
            crossings in proptest::collection::vec(any_crossing(), 64),
        ) {
            for (number, entry) in (1..).zip(&mut entries) {
                entry.number = number;
            }
            let acl = NetworkAclIntent { vni: Vni(1), entries };
            let id = NetworkAclId::from_bits(1);
            for direction in DIRECTIONS {
                let tables = Acl::compile(&id, &acl, direction).unwrap();
                for q in crossings.iter().filter(|q| q.direction == direction) {
                    prop_assert_eq!(admits_by_tables(&tables, q), admits(&acl, q), "{:?}", q);
                }
            }
        }
    }

    #[test]
    fn an_acl_with_too_many_entries_is_refused() {
        let entry = AclEntryIntent {
            number: 1,
            direction: Direction::Ingress,
            protocol: None,
            ports: PortRange::All,
            cidr: Ipv4Cidr::containing(address(0), 8).unwrap(),
            admits: true,
        };
        let id = NetworkAclId::from_bits(1);
        let of = |entries| Acl::compile(&id, &NetworkAclIntent { vni: Vni(1), entries }, Direction::Ingress);
        assert!(of(vec![entry.clone(); ACL_ENTRIES_MAX]).is_ok());
        assert_eq!(of(vec![entry; ACL_ENTRIES_MAX + 1]).unwrap_err().entries, ACL_ENTRIES_MAX + 1);
    }
}
