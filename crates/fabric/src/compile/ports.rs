// SPDX-License-Identifier: Apache-2.0
//! Port ranges as prefixes.

use std::collections::{BTreeMap, BTreeSet};

use super::Bitmap;
use super::rules::Rule;

/// Protocol and the leading bits of a port, in the form of the kernel's longest-prefix table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortPrefix {
    /// `None`: any protocol that no rule names.
    pub protocol: Option<u8>,
    /// First port of the prefix.
    pub port: u16,
    /// Number of significant leading bits.
    pub bits: u8,
}

impl PortPrefix {
    /// All ports of a protocol.
    fn whole(protocol: Option<u8>) -> Self {
        Self { protocol, port: 0, bits: 0 }
    }

    /// Last port of the prefix.
    pub(super) fn last(self) -> u16 {
        self.port | u16::MAX.checked_shr(self.bits.into()).unwrap_or(0)
    }
}

/// A row for each protocol named by a rule and each prefix of its ranges, and one for the protocols not named.
pub(super) fn rows(rules: &[Rule]) -> BTreeMap<PortPrefix, Bitmap> {
    let mut prefixes = BTreeSet::from([PortPrefix::whole(None)]);
    for rule in rules.iter().filter(|rule| rule.protocol.is_some()) {
        prefixes.insert(PortPrefix::whole(rule.protocol));
        prefixes.extend(split(rule.first, rule.last).map(|(port, bits)| PortPrefix {
            protocol: rule.protocol,
            port,
            bits,
        }));
    }
    let row = |prefix: PortPrefix| {
        let matching = rules.iter().enumerate().filter(move |(_, rule)| {
            (rule.protocol.is_none() || rule.protocol == prefix.protocol) && rule.covers(prefix.port, prefix.last())
        });
        Bitmap::of(matching.map(|(bit, _)| bit))
    };
    prefixes.into_iter().map(|prefix| (prefix, row(prefix))).filter(|(_, row)| *row != Bitmap::EMPTY).collect()
}

/// The minimal list of prefixes (first port, bits) that covers a range.
fn split(first: u16, last: u16) -> impl Iterator<Item = (u16, u8)> {
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    std::iter::from_fn(move || {
        if next >= end {
            return None;
        }
        let aligned = if next == 0 { 16 } else { next.trailing_zeros() };
        let size_bits = aligned.min((end - next).ilog2());
        let prefix = (next as u16, 16 - size_bits as u8);
        next += 1 << size_bits;
        Some(prefix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_split_into_the_fewest_prefixes() {
        let prefixes = |first, last| split(first, last).collect::<Vec<_>>();
        assert_eq!(prefixes(0, u16::MAX), [(0, 0)]);
        assert_eq!(prefixes(443, 443), [(443, 16)]);
        assert_eq!(prefixes(8000, 8003), [(8000, 14)]);
        assert_eq!(prefixes(1, 6), [(1, 16), (2, 15), (4, 15), (6, 16)]);
        assert_eq!(prefixes(1024, u16::MAX).len(), 6);
        assert_eq!(prefixes(10, 9), []);
    }
}
