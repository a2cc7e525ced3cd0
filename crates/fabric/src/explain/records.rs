// SPDX-License-Identifier: Apache-2.0
//! The gates according to the records: attachments, ranges, and the rules read one by one.

use berth_types::explain::{Ends, Party};
use berth_types::intent::Direction;
use berth_types::{HostId, Ipv4Cidr};

use super::answer::{Answer, Answers, Deciding, Packet};
use crate::DropReason;
use crate::reading::{self, Question};

/// The answers in the order of the gates.
pub(super) fn answers(ends: &Ends, packet: Packet, host: &HostId) -> Answers {
    let source = source(&ends.source, host);
    let destination = match source {
        Answer::Drop(_) => Answer::NotReached,
        Answer::Pass(_) | Answer::NotReached => destination(ends, packet, host),
    };
    let receiver = match (&destination, &ends.receiver) {
        (Answer::Pass(_), Some(receiver)) => receiver,
        _ => return [source, destination, Answer::NotReached, Answer::NotReached],
    };
    let gate = |direction, own: &Party, peer: &Party, denial| {
        let q = Question {
            direction,
            group_set: own.group_set,
            peer: peer.address,
            peer_set: peer.group_set,
            protocol: packet.protocol,
            port: packet.port,
        };
        let admitting = reading::admitting(&ends.group_sets, &ends.security_groups, &q);
        let named = admitting.map(|(group, rule, _)| Deciding::Rule { group: group.clone(), rule: rule.clone() });
        Answer::by_rules(named.collect(), denial)
    };
    let egress = gate(Direction::Egress, &ends.source, receiver, DropReason::SecurityGroupEgress);
    let ingress = gate(Direction::Ingress, receiver, &ends.source, DropReason::SecurityGroupIngress);
    [source, destination, egress, ingress]
}

fn source(source: &Party, host: &HostId) -> Answer {
    let is_usable = source.attachment.as_ref().is_some_and(|it| it.host == *host && it.is_usable);
    if is_usable { Answer::open() } else { Answer::Drop(DropReason::NotProgrammed) }
}

/// In the order of `check_addresses`, `answer_echo` and `find_receiver` of the data path.
fn destination(ends: &Ends, packet: Packet, host: &HostId) -> Answer {
    let (to, subnet) = (ends.destination, ends.source.subnet_cidr);
    if to == ends.source.address {
        return Answer::Drop(DropReason::OwnAddress);
    }
    if to == subnet.broadcast() || to.octets()[0] >= 224 {
        return Answer::Drop(DropReason::Multicast);
    }
    if to == subnet.gateway() {
        return if packet.is_echo_request() { Answer::open() } else { Answer::Drop(DropReason::Router) };
    }
    match ends.receiver.as_ref().and_then(|receiver| receiver.attachment.as_ref()) {
        Some(attachment) if attachment.host != *host => Answer::Drop(DropReason::OtherHost),
        Some(attachment) if !attachment.is_usable => Answer::Drop(DropReason::NotPlugged),
        Some(_) => Answer::open(),
        None if ends.cidrs.iter().any(|range: &Ipv4Cidr| range.contains(to)) => Answer::Drop(DropReason::NoEndpoint),
        None => Answer::Drop(DropReason::NoRoute),
    }
}
