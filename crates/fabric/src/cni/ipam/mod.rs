// SPDX-License-Identifier: Apache-2.0
//! `ecs-ipam`: addresses for the bridge side of tasks, leased one by one and kept on disk.
//!
//! Leases are in one redb file, by default at the path of the official plugin. They survive a kill at any point. They
//! do not outlive a boot of the machine, because all their namespaces have ended then; they are dropped instead of
//! leaking, and for the same reason no write is flushed to the disk. Not here: VPC addresses, which the server
//! allocates.

pub(super) mod command;
mod leases;
mod pool;

pub use leases::{DB_PATH_DEFAULT, Ipam, Lease, LeaseFault, LeaseRequest, Owner, Wanted};
pub use pool::{InvalidPool, Pool};

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::spec::RouteTo;

/// The `ipam` part of a configuration. Unknown keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// `ecs-ipam`, or another IPAM plugin for `ecs-bridge` to call.
    #[serde(rename = "type")]
    pub kind: String,
    /// The holder of a lease: the MAC of the task's ENI, a namespace path, or any unique text.
    pub id: String,
    /// Pool of IPv4 addresses, at least a /30.
    #[serde(rename = "ipv4-subnet")]
    pub ipv4_subnet: Option<IpNet>,
    /// This address and no other.
    #[serde(rename = "ipv4-address")]
    pub ipv4_address: Option<Bare>,
    /// This address and no other.
    #[serde(rename = "ipv4-gateway")]
    pub ipv4_gateway: Option<IpAddr>,
    /// Routes for the container.
    #[serde(rename = "ipv4-routes")]
    pub ipv4_routes: Vec<ConfigRoute>,
    /// Pool of IPv6 addresses, at least a /126.
    #[serde(rename = "ipv6-subnet")]
    pub ipv6_subnet: Option<IpNet>,
    /// This address and no other.
    #[serde(rename = "ipv6-address")]
    pub ipv6_address: Option<Bare>,
    /// Router of the subnet; its first host address if not given.
    #[serde(rename = "ipv6-gateway")]
    pub ipv6_gateway: Option<IpAddr>,
    /// Routes for the container.
    #[serde(rename = "ipv6-routes")]
    pub ipv6_routes: Vec<ConfigRoute>,
}

/// An address with or without a prefix length; the official plugin accepts both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bare(pub IpAddr);

impl TryFrom<String> for Bare {
    type Error = std::net::AddrParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.split('/').next().unwrap_or_default().parse().map(Self)
    }
}

/// A route in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ConfigRoute {
    /// Destination.
    pub dst: IpNet,
    /// Router; the pool's gateway if not given.
    pub gw: Option<IpAddr>,
}

impl IpamConfig {
    /// The requested pools, each with its required address, if any.
    pub fn wanted(&self) -> Result<Vec<Wanted>, InvalidPool> {
        let v4 = self.ipv4_subnet.map(|subnet| (subnet, self.ipv4_gateway, self.ipv4_address));
        let v6 = self.ipv6_subnet.map(|subnet| (subnet, self.ipv6_gateway, self.ipv6_address));
        for (subnet, is_v4, key) in [(self.ipv4_subnet, true, "ipv4-subnet"), (self.ipv6_subnet, false, "ipv6-subnet")]
        {
            if subnet.is_some_and(|subnet| subnet.addr().is_ipv4() != is_v4) {
                return Err(InvalidPool(format!("{key} is of the wrong address family")));
            }
        }
        let wanted = v4.into_iter().chain(v6).map(|(subnet, gateway, address)| {
            let pool = Pool::new(subnet, gateway)?;
            if let Some(Bare(address)) = address
                && !pool.may_lease(address)
            {
                return Err(InvalidPool(format!("{address} is not an address {pool} may lease")));
            }
            Ok(Wanted { pool, address: address.map(|Bare(address)| address) })
        });
        let wanted: Vec<_> = wanted.collect::<Result<_, _>>()?;
        if wanted.is_empty() {
            return Err(InvalidPool("one of ipv4-subnet and ipv6-subnet is required".into()));
        }
        Ok(wanted)
    }

    /// The routes of both families, in the form of a result.
    pub fn routes(&self) -> Vec<RouteTo> {
        let both = self.ipv4_routes.iter().chain(&self.ipv6_routes);
        both.map(|route| RouteTo { dst: route.dst, gw: route.gw }).collect()
    }
}
