// SPDX-License-Identifier: Apache-2.0
//! Ranges of IPv6 addresses, as rules of security groups name them. No VPC has IPv6 addresses yet.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IPv6 range in canonical form (no host bits), e.g. `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Cidr {
    network: Ipv6Addr,
    prefix: u8,
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// The text is no range of IPv6 addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid IPv6 range {0:?}")]
pub struct InvalidRange(String);

impl FromStr for Ipv6Cidr {
    type Err = InvalidRange;
    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let invalid = || InvalidRange(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: Ipv6Addr = address.parse().map_err(|_| invalid())?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 128).ok_or_else(invalid)?;
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Ok(Self { network: Ipv6Addr::from_bits(address.to_bits() & mask), prefix })
    }
}

impl Serialize for Ipv6Cidr {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ipv6Cidr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_range_is_written_without_host_bits() {
        let read = |text: &str| text.parse::<Ipv6Cidr>().map(|range| range.to_string());
        assert_eq!(read("::/0").unwrap(), "::/0");
        assert_eq!(read("2001:DB8:0::9/32").unwrap(), "2001:db8::/32");
        assert_eq!(read("::1/128").unwrap(), "::1/128");
        for wrong in ["::", "::/129", "10.0.0.0/8", "::/x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
