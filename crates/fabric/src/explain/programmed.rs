// SPDX-License-Identifier: Apache-2.0
//! The gates according to the kernel: the pinned maps, read and evaluated like in the program.

use std::net::Ipv4Addr;
use std::path::Path;

use berth_types::GroupSetId;
use berth_types::explain::{Ends, Source};
use berth_types::intent::Direction;

use super::answer::{Answer, Answers, Deciding, Packet, until};
use super::way::{Target, Way};
use crate::bpf::layout::{EndpointKey, Eni, OWNER_NAT};
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

    /// The answers in the order of the gates: `fabric_port`, `judge_first` and `find_way` of the data path.
    pub(super) fn answers(&self, ends: &Ends, packet: Packet) -> Answers {
        let own = match &ends.source {
            Source::Interface(own) => own,
            Source::World(sender) => return self.of_world(ends, packet, *sender),
        };
        let Some(eni) = self.0.plugged.get(&own.eni) else {
            return until([Answer::Drop(DropReason::NotProgrammed)]);
        };
        let (source, destination) = (Answer::open(), Self::destination(eni, ends.destination, packet));
        if matches!(destination, Answer::Drop(_)) || ends.destination.octets() == eni.router {
            return until([source, destination]);
        }
        let way = Way { held: &self.0, ends, packet };
        let is_inside = way.is_inside(eni);
        let (route, target) = if is_inside { way.in_subnet(eni) } else { way.route(eni) };
        let receiver = target.as_ref().and_then(Target::receiver);
        let own = way.group_set(self.0.endpoints.get(&eni.endpoint_key()));
        // A receiver is known by its groups only at its own address.
        let at_own_address = receiver.filter(|(key, _)| key.address == ends.destination.octets());
        let peer = way.group_set(at_own_address.map(|(_, endpoint)| endpoint));
        let egress = self.gate(ends, packet, Direction::Egress, own, (ends.destination, peer));
        if let Answer::Drop(_) = egress {
            return until([source, destination, egress]);
        }
        let acl = |subnet: u16, direction, other| match is_inside {
            true => Answer::open(),
            false => way.network_acl(subnet, direction, other),
        };
        let out = acl(eni.subnet, Direction::Egress, ends.destination);
        if let Answer::Drop(_) = out {
            return until([source, destination, egress, out]);
        }
        let Some(target) = target else { return until([source, destination, egress, out, route]) };
        let reached = way.reached(eni, &target);
        let (Answer::Pass(_), Some((_, receiver))) = (&reached, receiver) else {
            return until([source, destination, egress, out, route, reached]);
        };
        let here = Ipv4Addr::from(eni.address);
        let into = acl(receiver.subnet, Direction::Ingress, here);
        if let Answer::Drop(_) = into {
            return until([source, destination, egress, out, route, reached, into]);
        }
        let ingress = self.gate(ends, packet, Direction::Ingress, way.group_set(Some(receiver)), (here, own));
        [source, destination, egress, out, route, reached, into, ingress]
    }

    /// `fabric_world` of the data path.
    fn of_world(&self, ends: &Ends, packet: Packet, sender: Ipv4Addr) -> Answers {
        if self.0.world.ifindex == 0 {
            return until([Answer::Drop(DropReason::NoWorld)]);
        }
        let source = Answer::open();
        let owner = ends.public.and_then(|public| self.0.privates.get(&public.octets()));
        let Some(owner) = owner else {
            return until([source, Answer::Drop(DropReason::PublicAddressUnused)]);
        };
        if owner.kind == OWNER_NAT {
            return until([source, Answer::Drop(DropReason::NoTranslation)]);
        }
        let arrives = Answer::Pass(vec![Deciding::Arrives(owner.address.into())]);
        let before =
            |last| until([source.clone(), arrives.clone(), Answer::open(), Answer::open(), Answer::open(), last]);
        if self.0.cidrs.iter().any(|(vni, range)| vni.0 == owner.vni && range.contains(sender)) {
            return before(Answer::Drop(DropReason::SpoofedAddress));
        }
        let key = EndpointKey { vni: owner.vni, address: owner.address };
        let endpoint = self.0.endpoints.get(&key);
        let way = Way { held: &self.0, ends, packet };
        let reached = Way::plugged(endpoint);
        let (Answer::Pass(_), Some(endpoint)) = (&reached, endpoint) else { return before(reached) };
        let [source, arrives, egress, out, route, reached, ..] = before(reached);
        let into = way.network_acl(endpoint.subnet, Direction::Ingress, sender);
        if let Answer::Drop(_) = into {
            return until([source, arrives, egress, out, route, reached, into]);
        }
        let own = way.group_set(Some(endpoint));
        let ingress = self.gate(ends, packet, Direction::Ingress, own, (sender, GroupSetId(0)));
        [source, arrives, egress, out, route, reached, into, ingress]
    }

    /// `find_way_back` of the data path.
    pub(super) fn back_through_nat(&self, ends: &Ends, packet: Packet) -> [Answer; 3] {
        let way = Way { held: &self.0, ends, packet };
        let eni = ends.sender().and_then(|own| self.0.plugged.get(&own.eni));
        let route = eni.and_then(|eni| Some((eni, way.route(eni).1?)));
        let Some((eni, Target::NatGateway(Some(nat)))) = route else {
            return std::array::from_fn(|_| Answer::NotReached);
        };
        let subnet = nat.subnet as u16;
        let apart = |subnet: u16, direction, other| match nat.subnet == u32::from(eni.subnet) {
            true => Answer::open(),
            false => way.network_acl(subnet, direction, other),
        };
        [
            way.network_acl(subnet, Direction::Ingress, ends.destination),
            apart(subnet, Direction::Egress, eni.address.into()),
            apart(eni.subnet, Direction::Ingress, ends.destination),
        ]
    }

    /// `check_addresses` and `answer_echo` of the data path.
    fn destination(eni: &Eni, to: Ipv4Addr, packet: Packet) -> Answer {
        let (own, mask) = (u32::from_be_bytes(eni.address), u32::from_be_bytes(eni.mask));
        if to.octets() == eni.address {
            return Answer::Drop(DropReason::OwnAddress);
        }
        if to.to_bits() == own | !mask || to.octets()[0] >= 224 {
            return Answer::Drop(DropReason::Multicast);
        }
        if to.octets() == eni.router && !packet.is_echo_request() {
            return Answer::Drop(DropReason::Router);
        }
        Answer::open()
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
        if packet.is_reply {
            return Answer::open();
        }
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
