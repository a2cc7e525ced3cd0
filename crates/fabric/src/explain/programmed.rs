// SPDX-License-Identifier: Apache-2.0
//! The gates according to the kernel: the pinned maps, read and evaluated like in the program.

use std::net::Ipv4Addr;
use std::path::Path;

use berth_types::explain::Ends;
use berth_types::intent::Direction;
use berth_types::{GroupSetId, Ipv4Cidr};

use super::answer::{Answer, Answers, Deciding, Packet};
use crate::bpf::layout::{ENDPOINT_OTHER_HOST, Endpoint, EndpointKey, Eni};
use crate::bpf::{Maps, pins};
use crate::compile::Names;
use crate::fabric::Held;
use crate::{DropReason, Fault};

/// The content of an instance's maps.
#[derive(Debug)]
pub struct Programmed(pub(super) Held);

impl Programmed {
    /// Reads the pinned maps of a running instance, without its node. `run_dir` is the instance's run folder; it only
    /// names the instance in the error when there is none.
    pub fn read(instance: &str, run_dir: &Path) -> Result<Self, Fault> {
        Ok(Self(Held::read(&Maps::open(&pins::of_running(instance, run_dir)?)?)?))
    }

    /// The answers in the order of the gates.
    pub(super) fn answers(&self, ends: &Ends, packet: Packet) -> Answers {
        use Answer::NotReached;
        let Some(eni) = self.0.plugged.get(&ends.source.eni) else {
            return [Answer::Drop(DropReason::NotProgrammed), NotReached, NotReached, NotReached];
        };
        let (destination, receiver) = self.destination(eni, ends.destination, packet);
        let Some(receiver) = receiver else { return [Answer::open(), destination, NotReached, NotReached] };
        let side = self.0.side();
        // An interface that is not programmed yet has group set 0.
        let set_of = |endpoint: Option<&Endpoint>| GroupSetId(endpoint.map_or(0, |it| it.group_set[side]));
        let own = set_of(self.0.endpoints.get(&eni.endpoint_key()));
        let to = set_of(Some(receiver));
        let here = Ipv4Addr::from(eni.address);
        [
            Answer::open(),
            destination,
            self.gate(ends, packet, Direction::Egress, own, (ends.destination, to)),
            self.gate(ends, packet, Direction::Ingress, to, (here, own)),
        ]
    }

    /// `check_addresses`, `answer_echo` and `find_receiver` of the data path.
    fn destination(&self, eni: &Eni, to: Ipv4Addr, packet: Packet) -> (Answer, Option<&Endpoint>) {
        let drop = |reason| (Answer::Drop(reason), None);
        let (own, mask) = (u32::from_be_bytes(eni.address), u32::from_be_bytes(eni.mask));
        if to.octets() == eni.address {
            return drop(DropReason::OwnAddress);
        }
        if to.to_bits() == own | !mask || to.octets()[0] >= 224 {
            return drop(DropReason::Multicast);
        }
        if to.octets() == eni.router {
            return if packet.is_echo_request() { (Answer::open(), None) } else { drop(DropReason::Router) };
        }
        let in_vpc = |(vni, range): &(berth_types::Vni, Ipv4Cidr)| vni.0 == eni.vni && range.contains(to);
        match self.0.endpoints.get(&EndpointKey { vni: eni.vni, address: to.octets() }) {
            Some(endpoint) if endpoint.ifindex != 0 => (Answer::open(), Some(endpoint)),
            Some(endpoint) if endpoint.flags & ENDPOINT_OTHER_HOST != 0 => drop(DropReason::OtherHost),
            Some(_) => drop(DropReason::NotPlugged),
            None if self.0.cidrs.iter().any(in_vpc) => drop(DropReason::NoEndpoint),
            None => drop(DropReason::NoRoute),
        }
    }

    /// `ask` of the data path, with every matching bit instead of any.
    fn gate(
        &self,
        ends: &Ends,
        packet: Packet,
        direction: Direction,
        set: GroupSetId,
        (peer, peer_set): (Ipv4Addr, GroupSetId),
    ) -> Answer {
        let (column, denial) = match direction {
            Direction::Egress => (0, DropReason::SecurityGroupEgress),
            Direction::Ingress => (1, DropReason::SecurityGroupIngress),
        };
        let ruleset = self.0.policies.get(&set).map_or(0, |policy| policy.ruleset[self.0.side()][column]);
        let Some(tables) = self.0.rulesets.get(&ruleset).filter(|_| ruleset != 0) else {
            return Answer::Drop(DropReason::NoPolicy);
        };
        let admitting = tables.admitting(peer, peer_set, packet.protocol, packet.port);
        let set = ends.group_sets.get(&set);
        let names = set.map(|set| Names::of(set, &ends.group_sets, &ends.security_groups, direction));
        let named = admitting.bits().flat_map(|bit| {
            let rules = names.as_ref().map(|names| names.of_bit(tables, bit)).unwrap_or_default();
            match rules.is_empty() {
                true => vec![Deciding::Unrecorded { ruleset, bit }],
                false => rules.into_iter().map(|(group, rule)| Deciding::Rule { group, rule }).collect(),
            }
        });
        // A rule that names a prefix list has a bit for each of its ranges.
        let mut distinct: Vec<Deciding> = Vec::new();
        for one in named {
            if !distinct.contains(&one) {
                distinct.push(one);
            }
        }
        Answer::by_rules(distinct, denial)
    }
}
