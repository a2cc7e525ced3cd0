// SPDX-License-Identifier: Apache-2.0
//! Random worlds as real interfaces, and their packets as frames. Nothing has an IP address, so that the kernel answers no
//! packet itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use berth_fabric::fabric::world::{FABRIC_MAC, HOST_MAC, host_device};
use berth_fabric::kernel::Namespace;
use berth_fabric::oracle::worlds::datagram::Datagram;
use berth_fabric::oracle::worlds::reading::End;
use berth_fabric::oracle::worlds::world::{Sender, World};
use berth_fabric::{DropReason, Inner, read_stats};
use berth_types::EniId;

use super::raw::Wire;
use super::talk::PATIENCE;
use super::{Lab, Seat};

const ROUTER_MAC: [u8; 6] = [0x0e, 0, 0, 0, 0, 1];
/// Where a frame has the identification and the destination of its packet.
const ID_AT: usize = 18;
const DESTINATION_AT: usize = 30;

/// A world with a wire at every end.
pub struct Scene<'a> {
    world: &'a World,
    lab: Lab,
    wires: BTreeMap<EniId, Wire>,
    outside: Option<Wire>,
    sent: u16,
}

impl<'a> Scene<'a> {
    /// Plugs the interfaces of a world.
    pub fn new(world: &'a World) -> Self {
        let mut lab = Lab::new();
        assert_eq!(lab.config.host, world.host);
        lab.intent = world.intent.clone();
        if world.pool().is_some() {
            let path = lab.run_dir.path().join("netns").join("host");
            lab.host = Some((Namespace::create(&path).unwrap(), path));
        }
        lab.program();
        let mut wires = BTreeMap::new();
        for id in &world.plugged {
            lab.plug_bare(id);
            wires.insert(id.clone(), lab.at(id.as_str()).wire());
        }
        let device = host_device(&lab.config.instance);
        let outside = lab.host.as_ref().map(|(host, _)| Wire::open(host, &device));
        Self { world, lab, wires, outside, sent: 0 }
    }

    /// Sends a packet whose end is predicted, and returns the end that is seen.
    pub fn exchange(&mut self, sender: &Sender, datagram: &Datagram, predicted: &End) -> Result<End, String> {
        self.sent += 1;
        let before = self.drops();
        let wire = match sender {
            Sender::Outside => self.outside.as_ref().unwrap(),
            Sender::Interface(id) => &self.wires[id],
        };
        wire.send(&match sender {
            Sender::Outside => datagram.frame(self.sent, HOST_MAC.0, FABRIC_MAC.0),
            Sender::Interface(id) => datagram.frame(self.sent, self.world.intent.enis[id].mac.0, ROUTER_MAC),
        });
        let id = self.sent.to_be_bytes();
        let is_it =
            |frame: &[u8]| frame.len() > DESTINATION_AT + 4 && frame[12..14] == [8, 0] && frame[ID_AT..ID_AT + 2] == id;
        let read = |frame: Vec<u8>| Datagram::in_frame(&frame).map_err(str::to_owned);
        let lost = || "nothing arrives".to_owned();
        match predicted {
            End::Arrives(at, _) => {
                let frame = self.wires[at].await_frame(PATIENCE, is_it).ok_or_else(lost)?;
                read(frame).map(|datagram| End::Arrives(at.clone(), datagram))
            }
            End::Leaves(_) => {
                read(self.outside.as_ref().unwrap().await_frame(PATIENCE, is_it).ok_or_else(lost)?).map(End::Leaves)
            }
            End::Answered => {
                let to = datagram.src.octets();
                let is_answer = |frame: &[u8]| {
                    frame.len() >= DESTINATION_AT + 4
                        && frame[12..14] == [8, 0]
                        && frame[DESTINATION_AT..DESTINATION_AT + 4] == to
                };
                wire.await_frame(PATIENCE, is_answer).map(|_| End::Answered).ok_or_else(lost)
            }
            End::Dropped(_) => self.dropped_since(&before),
        }
    }

    /// Drops of all interfaces by reason; those of IPv6 come from the kernel.
    fn drops(&mut self) -> BTreeMap<DropReason, u64> {
        let mut all = read_stats(&self.lab.config.instance, &self.lab.config.run_dir).unwrap();
        let stray = self.lab.fabric().stray().unwrap();
        all.push((EniId::from_bits(0), stray));
        let mut sums = BTreeMap::new();
        for (reason, count) in all.into_iter().flat_map(|(_, stats)| stats.drops) {
            *sums.entry(reason).or_default() += count;
        }
        sums.remove(&DropReason::Ipv6);
        sums
    }

    fn dropped_since(&mut self, before: &BTreeMap<DropReason, u64>) -> Result<End, String> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let now = self.drops();
            let grown = now.iter().find(|(reason, count)| before.get(*reason).is_none_or(|before| *count > before));
            if let Some((reason, _)) = grown {
                return Ok(End::Dropped(*reason));
            }
            std::thread::yield_now();
        }
        Err("no drop is counted".to_owned())
    }
}

impl Lab {
    /// Plugs an interface of the intent into a namespace of its own, without addresses.
    fn plug_bare(&mut self, id: &EniId) {
        let eni = self.intent.enis[id].clone();
        let path = self.run_dir.path().join("netns").join(id.as_str());
        let namespace = Namespace::create(&path).unwrap();
        let inner = Inner::InNamespace { ns: &namespace, name: "eth1" };
        self.fabric().plug(id, &eni, inner).unwrap();
        let mut netlink = namespace.netlink().unwrap();
        let index = netlink.link_by_name("eth1").unwrap().unwrap().index;
        netlink.set_up(index).unwrap();
        let (prefix, router): (u8, Ipv4Addr) = (eni.subnet_cidr.prefix(), eni.subnet_cidr.gateway());
        let seat = Seat { id: id.clone(), address: eni.address, mac: eni.mac, router, prefix, namespace, path };
        self.seats.insert(id.as_str().to_owned(), seat);
    }
}
