// SPDX-License-Identifier: Apache-2.0
//! A host that joins a server and never starts a task: it leaves only the cost of the server.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result};
use berth_types::link::{Capacity, Hello, PROTOCOL_VERSION, ToServer};
use berth_types::{HostId, InstanceId};

/// Joins; the host stays connected while the returned value exists.
pub fn join(socket: &Path, cluster: &str) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        host: HostId::from_bits(0xbe9c),
        instance: InstanceId::from_bits(0xbe9c),
        cluster: cluster.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_version: "0".to_owned(),
        capacity: Capacity { cpu_units: u32::MAX / 8, memory_mib: u32::MAX / 8, enis: 1_000_000 },
        attributes: BTreeMap::new(),
        runtime: None,
        instance_interface: None,
        tasks: Vec::new(),
        enis: Vec::new(),
    };
    let frame = serde_json::to_vec(&ToServer::Hello(Box::new(hello)))?;
    stream.write_all(&u32::try_from(frame.len())?.to_be_bytes())?;
    stream.write_all(&frame)?;
    // The first intent shows that the server accepted the host; later ones are read so that the stream never fills.
    let mut length = [0u8; 4];
    stream.read_exact(&mut length)?;
    std::io::copy(&mut (&stream).take(u32::from_be_bytes(length).into()), &mut std::io::sink())?;
    let mut rest = stream.try_clone()?;
    std::thread::spawn(move || std::io::copy(&mut rest, &mut std::io::sink()));
    Ok(stream)
}
