// SPDX-License-Identifier: Apache-2.0
//! Selection of the next address. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The configuration describes no usable pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPool(pub(super) String);

/// The addresses of a subnet that may be leased: all but network, broadcast and gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    subnet: IpNet,
    gateway: IpAddr,
}

impl Pool {
    /// The pool of a subnet; the gateway is the first host address if none is given.
    pub fn new(subnet: IpNet, gateway: Option<IpAddr>) -> Result<Self, InvalidPool> {
        let subnet = subnet.trunc();
        if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
            return Err(InvalidPool(format!("subnet {subnet} has no address to lease; use a larger one")));
        }
        let gateway = gateway.unwrap_or_else(|| from_bits(subnet.addr(), bits(subnet.addr()) + 1));
        if !subnet.contains(&gateway) {
            return Err(InvalidPool(format!("gateway {gateway} is not in subnet {subnet}")));
        }
        Ok(Self { subnet, gateway })
    }

    /// Its subnet.
    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// The router's address.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// An address of the pool with the subnet's prefix length.
    pub fn with_prefix(&self, address: IpAddr) -> IpNet {
        IpNet::new_assert(address, self.subnet.prefix_len())
    }

    /// True if the address belongs to the leasable ones.
    pub fn may_lease(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address)
            && address != self.gateway
            && address != self.subnet.network()
            && (address.is_ipv6() || address != self.subnet.broadcast())
    }

    /// The next free address after `last`, wrapping; `None` when all are used. Continuing from the last one, instead of
    /// reusing the lowest, keeps a recently released address out of use for as long as possible.
    pub fn next(&self, last: Option<IpAddr>, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let (first, end) = (bits(self.subnet.network()), bits(self.subnet.broadcast()));
        let start = last.filter(|last| self.subnet.contains(last)).map_or(first, bits);
        // Each step meets a used or reserved address or ends; there are at most three reserved ones.
        let steps_max = (used.len() as u128).saturating_add(4).min((end - first).saturating_add(1));
        let mut at = start;
        for _ in 0..steps_max {
            at = if at == end { first } else { at + 1 };
            let address = from_bits(self.subnet.addr(), at);
            if self.may_lease(address) && !used.contains(&address) {
                return Some(address);
            }
        }
        None
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}", self.subnet)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(family: IpAddr, bits: u128) -> IpAddr {
    match family {
        #[allow(clippy::cast_possible_truncation)]
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn pool(subnet: &str) -> Pool {
        Pool::new(subnet.parse().unwrap(), None).unwrap()
    }

    #[test]
    fn the_first_lease_comes_after_the_gateway() {
        let next = pool("169.254.172.0/22").next(None, &BTreeSet::new());
        assert_eq!(next, Some("169.254.172.2".parse().unwrap()));
    }

    #[test]
    fn after_the_last_address_the_pool_begins_again() {
        let next = pool("169.254.172.0/22").next(Some("169.254.175.254".parse().unwrap()), &BTreeSet::new());
        assert_eq!(next, Some("169.254.172.2".parse().unwrap()));
    }

    #[test]
    fn a_subnet_without_room_is_refused() {
        assert!(Pool::new("10.0.0.0/31".parse().unwrap(), None).is_err());
        assert!(Pool::new("10.0.0.0/24".parse().unwrap(), Some("10.0.1.1".parse().unwrap())).is_err());
        assert!(Pool::new("10.0.0.0/30".parse().unwrap(), None).is_ok());
    }

    #[test]
    fn a_pool_may_be_all_of_ipv6() {
        assert_eq!(pool("::/0").next(None, &BTreeSet::new()), Some("::2".parse().unwrap()));
    }

    proptest! {
        /// A pool returns each of its addresses exactly once, whatever was leased before, and then reports that it is
        /// exhausted.
        #[test]
        fn a_pool_gives_each_address_once(prefix in 26u8..=30, last in 0u32..64, v6: bool) {
            let subnet = if v6 { format!("fd00:ec2::/{}", prefix + 96) } else { format!("10.1.2.0/{prefix}") };
            let pool = pool(&subnet);
            let mut last = Some(from_bits(pool.subnet().addr(), bits(pool.subnet().network()) + u128::from(last)));
            let mut used = BTreeSet::new();
            while let Some(address) = pool.next(last, &used) {
                prop_assert!(pool.may_lease(address));
                prop_assert!(used.insert(address));
                last = Some(address);
            }
            prop_assert_eq!(used.len(), (1usize << (32 - prefix)) - if v6 { 2 } else { 3 });
        }
    }
}
