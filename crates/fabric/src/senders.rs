// SPDX-License-Identifier: Apache-2.0
//! The interface behind a connection to a regional endpoint, read from the pinned maps, so that it is found while no node
//! runs: the public address leads to its interface, a NAT gateway's address and port to the sender behind it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use aya::maps::MapError;
use berth_types::EniId;

use crate::bpf::layout::{EndpointKey, FlowKey, OWNER_NAT};
use crate::bpf::{Maps, pins};
use crate::fault::Fault;

const TCP: u32 = 6;

/// The maps of a running instance.
pub struct Senders {
    maps: Maps,
}

impl Senders {
    /// Opens the pinned maps. `run_dir` is the instance's run folder; it only names the instance in the error when there
    /// are none.
    pub fn open(instance: &str, run_dir: &Path) -> Result<Self, Fault> {
        Ok(Self { maps: Maps::open(&pins::of_running(instance, run_dir)?)? })
    }

    /// The interface that sends the segments of a TCP connection with these ends, as they are seen behind the gateway;
    /// `None` if it is no interface of this host, such as the host itself.
    pub fn sender(&self, from: SocketAddrV4, to: SocketAddrV4) -> Result<Option<EniId>, Fault> {
        let owner = found(self.maps.privates.get(&from.ip().octets(), 0), "privates")?;
        let Some(owner) = owner else { return Ok(None) };
        let address = match owner.kind {
            OWNER_NAT => {
                let outer = SocketAddrV4::new(owner.address.into(), from.port());
                match self.maps.flow(&key(outer, to, owner.vni))? {
                    Some(leg) => EndpointKey { vni: leg.nat_vni, address: leg.nat_address },
                    None => return Ok(None),
                }
            }
            _ => EndpointKey { vni: owner.vni, address: owner.address },
        };
        let Some(endpoint) = found(self.maps.endpoints.get(&address, 0), "endpoints")? else { return Ok(None) };
        Ok(self.maps.eni(endpoint.ifindex)?.and_then(|eni| eni.id()))
    }
}

/// `flow_key_of` of the data path, for TCP. Addresses compare as they lie in memory.
fn key(from: SocketAddrV4, to: SocketAddrV4, vni: u32) -> FlowKey {
    let order = |address: &Ipv4Addr| u32::from_ne_bytes(address.octets());
    let (low, high) = if order(from.ip()) > order(to.ip()) { (to, from) } else { (from, to) };
    FlowKey {
        low: low.ip().octets(),
        high: high.ip().octets(),
        port_low: low.port().to_be_bytes(),
        port_high: high.port().to_be_bytes(),
        vni_proto: vni << 8 | TCP,
    }
}

fn found<T>(looked: Result<T, MapError>, map: &'static str) -> Result<Option<T>, Fault> {
    match looked {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(Fault::map("read", map, source)),
    }
}
