// SPDX-License-Identifier: Apache-2.0
//! A conversation judged by the program and by the records: a first packet, the answer to it, later packets, also after a
//! change that leaves everything as it is.

use super::datagram::Datagram;
use super::machine::{Fate, Machine};
use super::reading::{End, Reading};
use super::world::{Probe, Sender, World};

/// The address of every router.
const ROUTER: [u8; 6] = [0x0e, 0, 0, 0, 0, 1];
/// Ports that a NAT gateway chooses from.
const GATEWAY_PORTS: std::ops::RangeInclusive<u16> = 10_536..=65_535;

/// Program and records differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The packet, in a word.
    pub packet: &'static str,
    /// Headers that were sent.
    pub sent: Datagram,
    /// By the records.
    pub records: End,
    /// By the program.
    pub program: Result<End, String>,
}

/// Judges a conversation, and returns the end of each of its packets.
pub fn converse(world: &World, machine: &mut Machine, probe: &Probe) -> Result<Vec<End>, Difference> {
    let reading = Reading::new(world);
    let first = probe.first;
    let journey = reading.first(&probe.sender, first);
    let seen =
        compare(world, machine, ("the first packet", &probe.sender, first), &journey.end, journey.has_free_port())?;
    let (receiver, arrived) = match &seen {
        End::Arrives(id, datagram) => (Sender::Interface(id.clone()), *datagram),
        End::Leaves(datagram) => (Sender::Outside, *datagram),
        End::Dropped(_) | End::Answered => return Ok(vec![seen]),
    };
    let reply = arrived.reply();
    let answer = reading.answer(&journey, reply);
    let heard = compare(world, machine, ("the answer", &receiver, reply), &answer.end, !answer.is_carried)?;
    if !answer.is_carried || matches!(heard, End::Dropped(_)) {
        return Ok(vec![seen, heard]);
    }
    let later = first.later();
    let expected = match seen.clone() {
        End::Arrives(id, datagram) => End::Arrives(id, datagram.later()),
        End::Leaves(datagram) => End::Leaves(datagram.later()),
        other => other,
    };
    let last = compare(world, machine, ("a later packet", &probe.sender, later), &expected, false)?;
    machine.change_nothing();
    compare(world, machine, ("a packet after a change", &probe.sender, later), &expected, false)?;
    compare(world, machine, ("an answer after a change", &receiver, reply), &answer.end, false)?;
    Ok(vec![seen, heard, last])
}

/// The end according to the program, which is that of the records.
fn compare(
    world: &World,
    machine: &mut Machine,
    (packet, sender, sent): (&'static str, &Sender, Datagram),
    records: &End,
    has_free_port: bool,
) -> Result<End, Difference> {
    let program = send(world, machine, sender, &sent);
    let is_equal = match (records, &program) {
        (End::Arrives(at, wanted), Ok(End::Arrives(there, seen))) => at == there && fits(wanted, seen, has_free_port),
        (End::Leaves(wanted), Ok(End::Leaves(seen))) => fits(wanted, seen, has_free_port),
        (wanted, Ok(seen)) => wanted == seen,
        (_, Err(_)) => false,
    };
    match program {
        Ok(end) if is_equal => Ok(end),
        program => Err(Difference { packet, sent, records: records.clone(), program }),
    }
}

/// True if the packet is the wanted one, but for a port that a gateway chose.
pub fn fits(wanted: &Datagram, seen: &Datagram, has_free_port: bool) -> bool {
    let is_chosen = has_free_port && GATEWAY_PORTS.contains(&seen.ports.0);
    *wanted == *seen || (is_chosen && wanted.from_port(seen.ports.0) == *seen)
}

fn send(world: &World, machine: &mut Machine, sender: &Sender, sent: &Datagram) -> Result<End, String> {
    let from = match sender {
        Sender::Interface(id) => world.eni(id).map_or([4; 6], |eni| eni.mac.0),
        Sender::Outside => [4; 6],
    };
    let device = world.device(sender);
    let read = |frame: &[u8]| Datagram::in_frame(frame).map_err(str::to_owned);
    match machine.run(device, &sent.frame(7, from, ROUTER)) {
        Fate::Dropped(Some(reason)) => Ok(End::Dropped(reason)),
        Fate::Dropped(None) => Err("dropped without a reason".to_owned()),
        Fate::Left(to, frame) if world.interface(to).is_some() => read(&frame).map(|_| End::Answered),
        Fate::Left(_, frame) => read(&frame).map(End::Leaves),
        Fate::Delivered(to, frame) => match world.interface(to) {
            Some(id) => read(&frame).map(|datagram| End::Arrives(id.clone(), datagram)),
            None => Err(format!("delivered to device {to}, which is no interface's")),
        },
    }
}
