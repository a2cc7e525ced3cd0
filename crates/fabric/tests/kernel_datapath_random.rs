// SPDX-License-Identifier: Apache-2.0
//! Conversations of random worlds as real packets: every one arrives, leaves or is dropped as the records say. Needs root.
//! `BERTH_WORLDS_PACKETS` is the number of packets, `BERTH_SEED` the first seed; `cargo xtask soak worlds` sends many.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::net::Ipv4Addr;

use berth_fabric::oracle::worlds::datagram::Datagram;
use berth_fabric::oracle::worlds::making::{self, Probes, Size};
use berth_fabric::oracle::worlds::reading::{End, Reading};
use berth_fabric::oracle::worlds::trial::fits;
use berth_fabric::oracle::worlds::world::{Probe, Sender, World};
use lab::random::Scene;

/// Conversations of one world.
const EACH: u64 = 30;
/// Packets without a wish.
const DEFAULT: u64 = 200;
/// The host's own address in the pool, where the kernel answers.
const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

fn wish(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Sends a packet and compares its end with the predicted one.
fn check(
    scene: &mut Scene<'_>,
    (sender, sent): (&Sender, &Datagram),
    predicted: &End,
    has_free_port: bool,
) -> Result<End, String> {
    let seen = scene.exchange(sender, sent, predicted)?;
    let is_equal = match (predicted, &seen) {
        (End::Arrives(_, wanted), End::Arrives(_, seen)) | (End::Leaves(wanted), End::Leaves(seen)) => {
            fits(wanted, seen, has_free_port)
        }
        (predicted, seen) => predicted == seen,
    };
    if is_equal { Ok(seen) } else { Err(format!("{sent:?}: {seen:?}, not {predicted:?}")) }
}

/// Holds a conversation, and returns the number of its packets.
fn converse(world: &World, scene: &mut Scene<'_>, probe: &Probe) -> Result<u64, String> {
    let reading = Reading::new(world);
    let journey = reading.first(&probe.sender, probe.first);
    let first = (&probe.sender, &probe.first);
    let (receiver, arrived) = match check(scene, first, &journey.end, journey.has_free_port())? {
        End::Arrives(id, datagram) => (Sender::Interface(id), datagram),
        End::Leaves(datagram) => (Sender::Outside, datagram),
        End::Dropped(_) | End::Answered => return Ok(1),
    };
    let reply = arrived.reply();
    let answer = reading.answer(&journey, reply);
    check(scene, (&receiver, &reply), &answer.end, !answer.is_carried)?;
    Ok(2)
}

#[test]
fn real_packets_of_random_worlds_end_as_the_records_say() {
    let (wanted, first) = (wish("BERTH_WORLDS_PACKETS", DEFAULT), wish("BERTH_SEED", 1));
    let mut packets = 0;
    for seed in first.. {
        if packets >= wanted {
            break;
        }
        let world = making::world(seed, Size::default());
        let mut scene = Scene::new(&world);
        let mut probes = Probes::new(&world, seed);
        for _ in 0..EACH {
            let probe = probes.draw();
            if probe.first.dst == HOST {
                continue;
            }
            let done = converse(&world, &mut scene, &probe);
            packets += done.unwrap_or_else(|wrong| panic!("seed {seed}: {probe:?}: {wrong}\nin {:?}", world.intent));
        }
    }
    println!("{packets} packets");
}
