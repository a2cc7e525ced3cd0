// SPDX-License-Identifier: Apache-2.0
//! Random worlds, judged by the compiled program and by reading the records. `BERTH_WORLDS` is the number of conversations,
//! `BERTH_SEED` the first seed; `cargo xtask soak worlds` runs many.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Instant;

use berth_fabric::oracle::worlds::making::{self, Probes, Size};
use berth_fabric::oracle::worlds::reading::End;
use berth_fabric::oracle::worlds::shrink;
use berth_fabric::oracle::worlds::trial::{Difference, converse};
use berth_fabric::oracle::worlds::world::{Probe, World};

/// Conversations of one world.
const EACH: u64 = 400;
/// Kinds of ends that random worlds must show: arrivals, answers and drop reasons.
const KINDS: usize = 20;
/// Conversations without a wish.
const DEFAULT: u64 = 1_000_000;

fn wish(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Text that names the seed, and the smallest world that was found.
fn told(seed: u64, world: &World, probe: &Probe, found: &Difference) -> String {
    let mut text = format!("seed {seed}: {probe:?}\n{found:?}\n");
    match shrink::difference(world, probe) {
        Some(_) => {
            let small = shrink::smallest(world, probe);
            text += &format!("in this world: {:?}\n", small.intent);
        }
        None => text += "the conversation alone does not differ: it needs those before it\n",
    }
    text
}

/// The kind of an end.
fn name(end: &End) -> String {
    match end {
        End::Dropped(reason) => reason.as_str().to_owned(),
        End::Arrives(..) => "arrives".to_owned(),
        End::Leaves(_) => "leaves".to_owned(),
        End::Answered => "answered".to_owned(),
    }
}

/// What some conversations came to.
#[derive(Default)]
struct Seen {
    conversations: u64,
    packets: u64,
    ends: BTreeMap<String, u64>,
}

impl Seen {
    /// Judges conversations of the world of a seed.
    fn judge(&mut self, seed: u64) {
        let world = making::world(seed, Size::default());
        let mut machine = world.machine(seed as u32).unwrap();
        let mut probes = Probes::new(&world, seed);
        for _ in 0..EACH {
            let probe = probes.draw();
            let judged = converse(&world, &mut machine, &probe);
            let judged = judged.unwrap_or_else(|found| panic!("{}", told(seed, &world, &probe, &found)));
            self.conversations += 1;
            self.packets += judged.len() as u64;
            judged.iter().for_each(|end| *self.ends.entry(name(end)).or_default() += 1);
        }
    }

    fn add(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.packets += other.packets;
        other.ends.into_iter().for_each(|(name, count)| *self.ends.entry(name).or_default() += count);
    }
}

#[test]
fn the_program_and_the_records_agree_in_random_worlds() {
    let (wanted, first) = (wish("BERTH_WORLDS", DEFAULT), wish("BERTH_SEED", 1));
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let begin = Instant::now();
    let mut all = Seen::default();
    std::thread::scope(|scope| {
        let judge = |nth: u64| {
            let mut seen = Seen::default();
            let mut seed = first + nth;
            while seen.conversations < wanted.div_ceil(threads) {
                seen.judge(seed);
                seed += threads;
            }
            seen
        };
        let running: Vec<_> = (0..threads).map(|nth| scope.spawn(move || judge(nth))).collect();
        running.into_iter().for_each(|thread| all.add(thread.join().unwrap()));
    });
    let Seen { conversations, packets, ends } = all;
    println!("{conversations} conversations, {packets} packets in {:.0} s: {ends:?}", begin.elapsed().as_secs_f64());
    assert!(packets * 10 >= conversations * 13, "too few packets pass: {packets} of {conversations} conversations");
    assert!(ends.len() >= KINDS, "only {} kinds of ends: {ends:?}", ends.len());
}
