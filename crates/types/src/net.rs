// SPDX-License-Identifier: Apache-2.0
//! Addresses: hardware addresses, IPv4 ranges, VPC numbers.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not an address of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} {given:?}")]
pub struct InvalidAddress {
    /// The expected kind.
    pub kind: &'static str,
    /// The given text.
    pub given: String,
}

/// A VPC's number in the data path (24 bits, as in a VXLAN header). Allocated, never reused while a VPC lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vni(pub u32);

/// A 48-bit hardware address, written `0a:58:a9:fe:ac:02`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { kind: "MAC address", given: text.to_owned() };
        let mut bytes = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() { Err(invalid()) } else { Ok(Self(bytes)) }
    }
}

/// An IPv4 range in canonical form (no host bits), e.g. `10.0.0.0/16`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Cidr {
    /// The range of `prefix` bits that contains `address`; `None` when the prefix is over 32.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }

    /// First address of the range.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// Number of network bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Last address of the range.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }

    /// Number of addresses in the range.
    pub fn size(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// The `n`th address of the range, if it is inside.
    pub fn nth(self, n: u32) -> Option<Ipv4Addr> {
        (u64::from(n) < self.size()).then(|| Ipv4Addr::from_bits(self.network.to_bits() + n))
    }

    /// True if `address` is in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// True if all of `other` is in the range.
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.network)
    }

    /// True if the ranges share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The router's address of a subnet with this range (the first host address).
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().wrapping_add(1))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl fmt::Debug for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = InvalidAddress;
    /// Host bits are cleared, as in EC2; compare `to_string()` with the input to detect them.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { kind: "CIDR block", given: text.to_owned() };
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        if prefix.is_empty() || prefix.len() > 2 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
        Self::containing(address, prefix.parse().map_err(|_| invalid())?).ok_or_else(invalid)
    }
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(MacAddress);
serde_as_text!(Ipv4Cidr);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_canonical_and_knows_its_ends() {
        let cidr: Ipv4Cidr = "10.0.1.5/24".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.0.1.0/24");
        assert_eq!(cidr.gateway().to_string(), "10.0.1.1");
        assert_eq!(cidr.broadcast().to_string(), "10.0.1.255");
        assert!("10.0.0.0/33".parse::<Ipv4Cidr>().is_err());
        assert!("10.0.0/8".parse::<Ipv4Cidr>().is_err());
        assert!("0.0.0.0/0".parse::<Ipv4Cidr>().unwrap().contains(Ipv4Addr::BROADCAST));
    }

    proptest! {
        #[test]
        fn text_round_trips(address: u32, prefix in 0u8..=32, mac: [u8; 6]) {
            let cidr = Ipv4Cidr::containing(Ipv4Addr::from_bits(address), prefix).unwrap();
            prop_assert_eq!(cidr.to_string().parse::<Ipv4Cidr>().unwrap(), cidr);
            prop_assert!(cidr.contains(Ipv4Addr::from_bits(address)));
            prop_assert_eq!(MacAddress(mac).to_string().parse::<MacAddress>().unwrap(), MacAddress(mac));
        }
    }
}
