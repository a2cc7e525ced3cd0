// SPDX-License-Identifier: Apache-2.0
//! Records of public addresses: the pool of the world outside all VPCs, and elastic IP addresses.
//!
//! A public address is in use while an elastic IP address or an interface has it; the index holds those in use.

use std::net::Ipv4Addr;

use berth_types::intent::WorldIntent;
use berth_types::{ElasticIpAssociationId, ElasticIpId, EniId, Ipv4Cidr, TimestampMs};
use serde::{Deserialize, Serialize};

use super::index::Index;
use crate::Tags;
use crate::records::{Single, Stored};

/// The world outside all VPCs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// Its public addresses: the first is the host's own, the last /26 is for regional endpoints, and the one before
    /// these is for the machine that simulated hosts are on.
    pub pool: Ipv4Cidr,
    /// Time of the first start, or of the last change of the pool.
    pub created_at: TimestampMs,
}

impl World {
    /// Number of addresses of the regional endpoints.
    const ENDPOINTS: u32 = WorldIntent::ENDPOINTS;

    /// Longest prefix that leaves addresses for interfaces.
    pub const PREFIX_MAX: u8 = 25;

    /// The host's own address.
    pub fn host_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.pool.network().to_bits() + 1)
    }

    /// The first of the addresses that interfaces get.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.pool.network().to_bits() + 2)
    }

    /// The last of the addresses that interfaces get.
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(WorldIntent::outside_address(self.pool).to_bits() - 1)
    }

    /// The addresses of the regional endpoints.
    pub fn endpoints(&self) -> Ipv4Cidr {
        let prefix = u8::try_from(Self::ENDPOINTS.leading_zeros() + 1).unwrap_or(u8::MAX);
        Ipv4Cidr::containing(self.pool.broadcast(), prefix).unwrap_or(self.pool)
    }
}

/// The place of each service's endpoint in the range of the regional endpoints. A number is never given to another
/// service; the first place is that of the endpoint of all services.
const ENDPOINT_PLACES: [(u32, &str); 3] = [(2, "ec2"), (3, "ecs"), (4, "sts")];

impl World {
    /// The endpoint of every service at once.
    pub fn endpoint_of_all(&self) -> Ipv4Addr {
        self.endpoint(1)
    }

    /// The endpoints of one service, with the service's name.
    pub fn endpoints_of_services(&self) -> impl Iterator<Item = (Ipv4Addr, &'static str)> {
        ENDPOINT_PLACES.into_iter().map(|(place, service)| (self.endpoint(place), service))
    }

    fn endpoint(&self, place: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.endpoints().network().to_bits() + place)
    }
}

/// An elastic IP address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ElasticIp {
    /// Id of its allocation.
    pub id: ElasticIpId,
    /// The public address.
    pub address: Ipv4Addr,
    /// The interface it stands for.
    pub association: Option<ElasticIpAssociation>,
    /// Time of the allocation.
    pub allocated_at: TimestampMs,
    /// Tags.
    pub tags: Tags,
}

/// Association of an elastic IP address with an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticIpAssociation {
    /// Id.
    pub id: ElasticIpAssociationId,
    /// The interface.
    pub eni: EniId,
    /// The private address of the interface.
    pub private_address: Ipv4Addr,
}

impl Stored for World {
    type Key = Single;
    type Index = Index;
    fn key(&self) -> Single {
        Single
    }
}

impl Stored for ElasticIp {
    type Key = ElasticIpId;
    type Index = Index;
    fn key(&self) -> ElasticIpId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.public_addresses.take(self.address.to_bits());
        if let Some(association) = &self.association {
            index.elastic_ips.insert(association.eni.clone(), self.id.clone());
        }
    }
    fn unindex(&self, index: &mut Index) {
        index.public_addresses.give_back(self.address.to_bits());
        if let Some(association) = &self.association {
            index.elastic_ips.remove(&association.eni);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pool_has_a_host_addresses_to_give_and_endpoints() {
        let parts = |pool: &str| {
            let world = World { pool: pool.parse().unwrap(), created_at: TimestampMs(0) };
            (world.host_address(), world.first(), world.last(), world.endpoints())
        };
        let told = |parts: (Ipv4Addr, Ipv4Addr, Ipv4Addr, Ipv4Cidr)| {
            format!("{} {} {} {}", parts.0, parts.1, parts.2, parts.3)
        };
        assert_eq!(told(parts("198.18.0.0/20")), "198.18.0.1 198.18.0.2 198.18.15.190 198.18.15.192/26");
        assert_eq!(told(parts("192.0.2.128/25")), "192.0.2.129 192.0.2.130 192.0.2.190 192.0.2.192/26");
    }

    #[test]
    fn every_service_has_an_endpoint_of_its_own() {
        let world = World { pool: "198.18.0.0/20".parse().unwrap(), created_at: TimestampMs(0) };
        let services: Vec<_> = world.endpoints_of_services().collect();
        for service in berth_shapes::Service::ALL {
            let own = services.iter().filter(|(_, name)| *name == service.name());
            assert_eq!(own.count(), 1, "{}", service.name());
        }
        let all = services.iter().map(|(address, _)| *address).chain([world.endpoint_of_all()]);
        let distinct: std::collections::BTreeSet<Ipv4Addr> = all.collect();
        assert_eq!(distinct.len(), services.len() + 1);
        assert!(distinct.iter().all(|address| world.endpoints().contains(*address)));
        assert_eq!(world.endpoint_of_all().to_string(), "198.18.15.193");
    }
}
