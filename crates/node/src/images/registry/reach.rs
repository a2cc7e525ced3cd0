// SPDX-License-Identifier: Apache-2.0
//! Which addresses a pull may connect to. Pure: addresses are judged where a connection is made (`transport`), so that a
//! name that changes its address between a look-up and the connection gains nothing. See ADR 26.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Parts of the address space, by who is found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Region {
    /// The internet.
    Public,
    /// A network of the operator.
    Private,
    /// The link of the host: 169.254.169.254, and the addresses of tasks on the host.
    LinkLocal,
    /// The host itself.
    Loopback,
    /// Groups of hosts, and addresses no host has.
    Unusable,
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// A registry that the operator has named by `--mirror`.
    Mirror,
    /// The registry of an image name, which any caller of RunTask chooses.
    Registry,
    /// Where a registry in this region leads to: redirects and token servers.
    Referred(Region),
}

impl Region {
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match carried(address) {
                Some(inner) => Self::of_v4(inner),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // Linux connects 0.0.0.0 to the host itself.
            [0 | 127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            // 100.64.0.0/10 is shared between customers of one network, and used like a private range.
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            [224..=255, ..] => Self::Unusable,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            _ if address.is_loopback() || address.is_unspecified() => Self::Loopback,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // fc00::/7, fec0::/10, which it replaced, and 64:ff9b:1::/48, behind which are IPv4 networks of the operator.
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Unusable,
            _ => Self::Public,
        }
    }
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Loopback => "an address of this host",
            Self::Unusable => "not the address of a host",
        })
    }
}

impl Reach {
    /// True if a connection for this purpose may go to a region.
    pub fn admits(self, region: Region) -> bool {
        match (self, region) {
            (_, Region::Unusable) => false,
            (_, Region::Public) | (Self::Mirror, _) | (Self::Registry, Region::Private) => true,
            (Self::Referred(Region::Private), Region::Private) => true,
            (Self::Referred(Region::Loopback), Region::Loopback) => true,
            (Self::Registry | Self::Referred(_), Region::Private | Region::LinkLocal | Region::Loopback) => false,
        }
    }

    /// The rule behind a refusal, and the cure where there is one.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Mirror => "no registry has such an address",
            Self::Registry => {
                "an image name leads to public and private addresses; for a registry elsewhere start the node with \
                 --mirror REGISTRY=http[s]://HOST[:PORT]"
            }
            Self::Referred(_) => {
                "redirects and token servers of a registry are public, or private like the registry itself"
            }
        }
    }
}

/// The IPv4 address that packets to an IPv6 address end at: of mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96) and
/// compatible (::/96) addresses, of NAT64 (64:ff9b::/96) and of 6to4 (2002::/16).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        _ if address.is_loopback() || address.is_unspecified() => None,
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// True if a host, as it is written in an image name, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| Region::of(address) == Region::Loopback)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_in_its_region() {
        use Region::{LinkLocal, Loopback, Private, Public, Unusable};
        let cases = [
            (
                Public,
                "1.1.1.1 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 2600:1f00::1 64:ff9b::101:101 2002:101:101::",
            ),
            (Private, "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 fd00::1 fec0::1 ::ffff:10.0.0.1"),
            (Private, "64:ff9b::a00:1 64:ff9b:1::1 2002:a00:1::1 ::ffff:0:10.0.0.1"),
            (LinkLocal, "169.254.169.254 169.254.0.1 fe80::1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe"),
            (Loopback, "127.0.0.1 127.9.9.9 0.0.0.0 0.1.2.3 ::1 :: ::ffff:127.0.0.1 ::127.0.0.1 2002:7f00:1::"),
            (Unusable, "224.0.0.1 255.255.255.255 240.0.0.1 ff02::1"),
        ];
        for (region, addresses) in cases {
            for address in addresses.split(' ') {
                assert_eq!(Region::of(address.parse().unwrap()), region, "{address}");
            }
        }
    }

    #[test]
    fn a_registry_leads_only_to_public_addresses_or_to_its_own_kind() {
        use Region::{LinkLocal, Loopback, Private, Public, Unusable};
        let all = [Public, Private, LinkLocal, Loopback, Unusable];
        let admitted = |reach: Reach| all.into_iter().filter(|region| reach.admits(*region)).collect::<Vec<_>>();
        assert_eq!(admitted(Reach::Mirror), [Public, Private, LinkLocal, Loopback]);
        assert_eq!(admitted(Reach::Registry), [Public, Private]);
        assert_eq!(admitted(Reach::Referred(Public)), [Public]);
        assert_eq!(admitted(Reach::Referred(Private)), [Public, Private]);
        assert_eq!(admitted(Reach::Referred(Loopback)), [Public, Loopback]);
        assert_eq!(admitted(Reach::Referred(LinkLocal)), [Public]);
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["127.0.0.1:5000", "localhost", "localhost:5000", "[::1]:5000", "a.localhost:1", "0.0.0.0:80"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry.example:5000", "10.0.0.1", "docker.io", "localhost.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
