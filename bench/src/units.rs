// SPDX-License-Identifier: Apache-2.0
//! The cost of the program per packet, by running it on made-up packets. Without sockets, wake-ups and other cores the
//! figures repeat within a few nanoseconds, so a slower data path shows here first.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Result, ensure};
use berth_fabric::Inner;

use crate::crowd::CROWD;
use crate::table;
use crate::topology::{Ground, address, eni_id, mac};

const REPEAT: u32 = 50_000;
const TRIALS: u32 = 40;
const PLUGS: u32 = 40;
const RULES: [(&str, u32, u32); 3] = [("1", 1, 1500), ("100", 100, 1500), ("1000", 1000, 1500)];
/// An unused address inside the subnet.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 200);

const SYN: u8 = 2;
const ACK: u8 = 16;

/// Measures and prints.
pub fn run() -> Result<()> {
    let mut ground = Ground::new()?;
    ground.fabric(&RULES)?;
    let mut rows = Vec::new();
    let mut gates = Vec::new();
    for (pair, (rules, ..)) in RULES.iter().enumerate() {
        let other = address(pair, 1);
        let unknown = ground.time(pair, &tcp(pair, NOBODY, 1, SYN), false)?;
        let opening = ground.time(pair, &tcp(pair, other, 1, SYN), true)?;
        let known = ground.time(pair, &tcp(pair, other, 1, ACK), true)?;
        // Without an entry, both gates are evaluated; the creation of the entry costs extra.
        let judged = ground.time(pair, &icmp_reply(pair, other), true)?;
        let gate = judged.saturating_sub(unknown) / 2;
        gates.push(gate);
        rows.push([rules.to_string()].into_iter().chain([known, opening, judged, unknown, gate].map(cell)).collect());
    }
    let header = ["rules", "known flow ns", "first packet ns", "no entry ns", "no endpoint ns", "one gate ns"];
    table::print(&header, &rows);
    let ratio = table::ratio(gates[2] as f64, gates[0] as f64);
    let (plug, writes) = ground.plug_times()?;
    println!(
        "\ninterface made, p50 {:.2} ms, p99 {:.2} ms (goal <= 3 p50), {writes} map writes (goal <= 3)",
        plug[0], plug[1]
    );
    let alone = ground.time(0, &tcp(0, address(0, 1), 1, ACK), true)?;
    let making = ground.crowd()?;
    let crowded = ground.time(0, &tcp(0, address(0, 1), 1, ACK), true)?;
    println!(
        "{CROWD} more interfaces on the host: the first 100 made in {:.2} ms each, the last 100 in {:.2} ms (p50); a \
         packet of a known flow {alone} ns before, {crowded} ns then",
        making.first_ms, making.last_ms
    );
    println!("one gate, 1,000 rules: {} ns (goal <= 250), {ratio} of 1 rule (goal <= 6)", gates[2]);
    Ok(())
}

fn cell(nanoseconds: u64) -> String {
    nanoseconds.to_string()
}

impl Ground {
    /// Milliseconds to plug an interface repeatedly (median, 99th percentile), and map writes of each.
    fn plug_times(&mut self) -> Result<([f64; 2], u64)> {
        let namespace = self.namespace("plugged")?;
        let intent = self.intent()?;
        let (id, fabric) = (eni_id(0, 0), self.made_fabric()?);
        let (mut times, mut writes) = (Vec::new(), 0);
        for _ in 0..PLUGS {
            fabric.unplug(&id)?;
            let (begin, before) = (Instant::now(), fabric.writes());
            fabric.plug(&id, &intent.enis[&id], Inner::InNamespace { ns: &namespace, name: "eth1" })?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            // One more is the endpoint, which stays here.
            writes = fabric.writes() - before + 1;
        }
        Ok(([table::percentile(&mut times, 0.5), table::percentile(&mut times, 0.99)], writes))
    }

    /// The fastest of several trials, in nanoseconds: noise only slows things down.
    fn time(&mut self, pair: usize, frame: &[u8], passes: bool) -> Result<u64> {
        let fabric = self.made_fabric()?;
        let mut best = u64::MAX;
        for _ in 0..TRIALS {
            let trial = fabric.try_packet(&eni_id(pair, 0), frame, REPEAT)?;
            ensure!(trial.passed == passes, "a packet that should{} pass", if passes { "" } else { " not" });
            best = best.min(u64::try_from(trial.run.as_nanos())?);
        }
        Ok(best)
    }
}

fn tcp(pair: usize, to: Ipv4Addr, port: u16, flags: u8) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(40_000u16.to_be_bytes());
    segment.extend(port.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0]);
    frame(pair, to, 6, &segment)
}

/// Never opens a flow, so it is evaluated every time.
fn icmp_reply(pair: usize, to: Ipv4Addr) -> Vec<u8> {
    frame(pair, to, 1, &[0; 20])
}

fn frame(pair: usize, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(mac(pair, 1).0);
    frame.extend(mac(pair, 0).0);
    frame.extend([8, 0, 0x45, 0, 0, 20 + payload.len() as u8, 0, 7, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(address(pair, 0).octets());
    frame.extend(to.octets());
    frame.extend(payload);
    frame
}
