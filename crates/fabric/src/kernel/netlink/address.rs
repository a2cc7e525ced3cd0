// SPDX-License-Identifier: Apache-2.0
//! Addresses of links, and neighbours.

use std::net::IpAddr;

use berth_types::MacAddress;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::{ACT, CREATE, Fault, Netlink, PUT};

impl Netlink {
    /// The addresses of a link, IPv4 and IPv6, each with its prefix length.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<IpNet>, Fault> {
        let replies = self.dump("addresses", Message::GetAddress(AddressMessage::default()))?;
        Ok(replies.into_iter().filter_map(|reply| seen(reply, index)).collect())
    }

    /// Adds an address; the kernel adds the route to its subnet. An existing address counts as success.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> Result<(), Fault> {
        self.put_address(index, address, AddressFlags::empty())
    }

    /// Adds an address without a route to its subnet.
    pub fn add_address_without_route(&mut self, index: u32, address: IpNet) -> Result<(), Fault> {
        self.put_address(index, address, AddressFlags::Noprefixroute)
    }

    /// Removes an address. An absent address counts as success.
    pub fn delete_address(&mut self, index: u32, address: IpNet) -> Result<(), Fault> {
        match self.act(Message::DelAddress(message(index, address)), ACT) {
            Err(cause) if cause.errno != libc::EADDRNOTAVAIL => {
                Err(Fault::Address { verb: "remove", address, link: self.name_of(index), cause })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sets the hardware address of a neighbour permanently: it is never requested by ARP.
    pub fn set_neighbour(&mut self, index: u32, address: IpAddr, mac: MacAddress) -> Result<(), Fault> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let done = self.act(Message::NewNeighbour(message), PUT);
        done.map_err(|cause| Fault::Neighbour {
            verb: "set",
            neighbour: address.to_string(),
            link: self.name_of(index),
            cause,
        })
    }

    /// Removes a neighbour entry. An absent entry counts as success.
    pub fn forget_neighbour(&mut self, index: u32, address: IpAddr) -> Result<(), Fault> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        match self.act(Message::DelNeighbour(message), ACT) {
            Err(cause) if cause.errno != libc::ENOENT => Err(Fault::Neighbour {
                verb: "remove",
                neighbour: address.to_string(),
                link: self.name_of(index),
                cause,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sets the hardware address behind a port of a bridge permanently. The entry is removed with the port.
    pub fn set_bridge_entry(&mut self, port: u32, mac: MacAddress) -> Result<(), Fault> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = port;
        message.header.state = NeighbourState::Noarp;
        message.header.flags = NeighbourFlags::Controller;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let done = self.act(Message::NewNeighbour(message), PUT);
        done.map_err(|cause| Fault::Neighbour {
            verb: "set",
            neighbour: mac.to_string(),
            link: self.name_of(port),
            cause,
        })
    }

    fn put_address(&mut self, index: u32, address: IpNet, mut flags: AddressFlags) -> Result<(), Fault> {
        // The fabric assigns each address once: duplicate address detection would only delay the first packet.
        if matches!(address, IpNet::V6(_)) {
            flags |= AddressFlags::Nodad;
        }
        let mut message = message(index, address);
        if !flags.is_empty() {
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        match self.act(Message::NewAddress(message), CREATE) {
            Err(cause) if cause.errno != libc::EEXIST => {
                Err(Fault::Address { verb: "add", address, link: self.name_of(index), cause })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    if let IpNet::V4(v4) = address
        && v4.prefix_len() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
    }
    message
}

fn seen(reply: Message, index: u32) -> Option<IpNet> {
    let Message::NewAddress(message) = reply else { return None };
    if message.header.index != index {
        return None;
    }
    // IFA_LOCAL is the link's own address; IFA_ADDRESS alone on IPv6, the far end on point-to-point links.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let plain = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    IpNet::new(local.or(plain)?, message.header.prefix_len).ok()
}
