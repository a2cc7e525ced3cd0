// SPDX-License-Identifier: Apache-2.0
//! Long streams through gateways arrive as they were sent, with and without the offloads of devices. Needs root.
//! `BERTH_BULK_MIB` is the length of each stream; `cargo xtask soak bulk` sends 1 GiB.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use berth_types::intent::RouteIntent;
use lab::Lab;
use lab::talk::PATIENCE;
use lab::ways::{WORLD, gateway};
use sha2::{Digest, Sha256};

const CHUNK_BYTES: usize = 1 << 20;
/// MiB of each stream without a wish.
const DEFAULT: u64 = 64;
const PUBLIC: &str = "198.18.0.10";
const GATEWAYS_PUBLIC: &str = "198.18.0.20";

/// `web` behind the internet gateway, `app` behind a NAT gateway.
fn behind_gateways() -> Lab {
    let mut lab = Lab::new();
    lab.world();
    lab.write_rules("open", &["all to 0.0.0.0/0", "all from 0.0.0.0/0"]);
    lab.subnet(1, "10.0.1.0/24", &[("0.0.0.0/0", RouteIntent::InternetGateway(gateway(1)))]);
    let nat = lab.nat("nat", 1, &["10.0.1.200"], Some(GATEWAYS_PUBLIC));
    lab.subnet(1, "10.0.2.0/24", &[("0.0.0.0/0", nat)]);
    lab.seat("web", 1, "10.0.1.10/24", &["open"]);
    lab.seat("app", 1, "10.0.2.10/24", &["open"]);
    lab.publish("web", PUBLIC);
    lab
}

/// Sends numbers that never repeat, and returns their sum.
fn pour(mut to: TcpStream, chunks: u64, seed: u64) -> [u8; 32] {
    let (mut sum, mut chunk, mut number) = (Sha256::new(), vec![0; CHUNK_BYTES], seed);
    for _ in 0..chunks {
        for word in chunk.chunks_exact_mut(8) {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&number.to_le_bytes());
        }
        to.write_all(&chunk).unwrap();
        sum.update(&chunk);
    }
    to.shutdown(Shutdown::Write).unwrap();
    sum.finalize().into()
}

/// Number and sum of the bytes that arrive.
fn drain(mut from: TcpStream) -> (u64, [u8; 32]) {
    from.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut sum, mut chunk, mut bytes) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
    loop {
        match from.read(&mut chunk).unwrap() {
            0 => return (bytes, sum.finalize().into()),
            read => {
                sum.update(&chunk[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// A stream in each direction at once, from a seat to the world and back.
fn stream(lab: &Lab, from: &str, port: u16, chunks: u64) {
    let listener = lab.host().inside(|| TcpListener::bind((WORLD, port))).unwrap().unwrap();
    let client = lab.at(from).dial((WORLD, port).into(), PATIENCE).unwrap();
    let (server, _) = listener.accept().unwrap();
    std::thread::scope(|scope| {
        let [out, back] = [&client, &server].map(|end| end.try_clone().unwrap());
        let out = scope.spawn(move || pour(out, chunks, 1));
        let back = scope.spawn(move || pour(back, chunks, 2));
        let heard = scope.spawn(move || drain(client));
        let (bytes, sum) = drain(server);
        assert_eq!((bytes, sum), (chunks * CHUNK_BYTES as u64, out.join().unwrap()), "{from} to the world");
        let (bytes, sum) = heard.join().unwrap();
        assert_eq!((bytes, sum), (chunks * CHUNK_BYTES as u64, back.join().unwrap()), "the world to {from}");
    });
}

#[test]
fn streams_through_gateways_arrive_as_they_were_sent_with_offloads_and_without() {
    let chunks = std::env::var("BERTH_BULK_MIB").map_or(DEFAULT, |text| text.parse().unwrap());
    let mut lab = behind_gateways();
    stream(&lab, "web", 8000, chunks);
    stream(&lab, "app", 8001, chunks);
    lab.turn_offloads_off();
    stream(&lab, "web", 8002, chunks);
    stream(&lab, "app", 8003, chunks);
}
