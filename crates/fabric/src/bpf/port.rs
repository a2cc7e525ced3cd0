// SPDX-License-Identifier: Apache-2.0
//! The filter of a bridge port (`bpf/port.bpf.c`): the program, loaded once for an instance and pinned, and its map of
//! ports.
//!
//! Both are pinned in a directory next to the fabric's, so that a process that only connects a container opens two
//! files. The pin `PROGRAM` is the program to attach; the pin with the build's name identifies its build.
#![allow(unsafe_code)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, Map, MapData, MapError};
use aya::programs::SchedClassifier;
use aya::{EbpfLoader, Pod};

use super::{attach, batch, pins};
use crate::fault::Fault;

/// Compiled by build.rs from `bpf/port.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/port.bpf.o"));

const PROGRAM: &str = "bridge_port";
const MAP: &str = "ports";
/// Pin of the program while it is verified but has not replaced an older one yet.
const FRESH: &str = "bridge_port_new";
/// Row that counts for ports without a lease.
pub const NOBODY: u32 = 0;
/// `REASONS_MAX` of `bpf/port.bpf.c`.
pub const REASONS_MAX: usize = 16;

/// `struct port`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    pub address: [u8; 4],
    pub gateway: [u8; 4],
    pub endpoint: [u8; 4],
    pub service: [u8; 2],
    pub mac: [u8; 6],
    pub name: [u8; 16],
    pub pad: u32,
    pub packets: u64,
    pub bytes: u64,
    pub drops: [u64; REASONS_MAX],
}

const _: () = assert!(size_of::<Port>() == 184);

// SAFETY: `repr(C)`, integers and arrays of them only, and no padding (the assertion above).
unsafe impl Pod for Port {}

/// The program and the map, open.
pub struct Guard {
    program: SchedClassifier,
    ports: HashMap<MapData, u32, Port>,
}

impl Guard {
    /// Opens the pins of a node in `directory`.
    pub fn open(directory: &Path) -> Result<Self, Fault> {
        let program = SchedClassifier::from_pin(directory.join(PROGRAM)).map_err(Fault::program("open"))?;
        Ok(Self { program, ports: open_map(directory)? })
    }

    /// Attaches the program to the host's end of a pair and then inserts its row: a port with a row has the program,
    /// and a port without a row drops everything. Must be called in the namespace of the device.
    pub fn admit(&mut self, device: &str, ifindex: u32, port: &Port) -> Result<(), Fault> {
        attach::attach(&mut self.program, device)?;
        self.ports.insert(ifindex, port, 0).map_err(|source| Fault::map("write", MAP, source))
    }

    /// The row of a port.
    pub fn port(&self, ifindex: u32) -> Result<Option<Port>, Fault> {
        match self.ports.get(&ifindex, 0) {
            Ok(port) => Ok(Some(port)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(Fault::map("read", MAP, source)),
        }
    }

    /// Removes a row. An absent row counts as success.
    pub fn remove(&mut self, ifindex: u32) -> Result<(), Fault> {
        match self.ports.remove(&ifindex) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(e)) if e.io_error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Fault::map("remove from", MAP, source)),
        }
    }

    /// All rows.
    pub fn ports(&self) -> Result<Vec<(u32, Port)>, Fault> {
        read(&self.ports)
    }
}

/// Creates the pins of this build in `directory` and replaces another build's program on every device of the calling
/// thread's namespace that has a row.
pub fn install(directory: &Path) -> Result<(), Fault> {
    fs::create_dir_all(directory).map_err(|e| Fault::pins("make", directory, e))?;
    let of_build = directory.join(format!("{PROGRAM}_{}", include_str!(concat!(env!("OUT_DIR"), "/port.build"))));
    if of_build.exists() && directory.join(PROGRAM).exists() && directory.join(MAP).exists() {
        return Ok(());
    }
    let mut object = EbpfLoader::new().default_map_pin_directory(directory).load(OBJECT).map_err(Fault::load)?;
    let program: &mut SchedClassifier =
        object.program_mut(PROGRAM).ok_or(Fault::NoProgram)?.try_into().map_err(Fault::program("read"))?;
    program.load().map_err(Fault::program("load"))?;
    let fresh = directory.join(FRESH);
    remove_pin(&fresh)?;
    program.pin(&fresh).map_err(|source| Fault::Pin { path: fresh.clone(), source })?;
    let mut program = SchedClassifier::from_pin(&fresh).map_err(Fault::program("open"))?;
    let mut ports = open_map(directory)?;
    if ports.get(&NOBODY, 0).is_err() {
        ports.insert(NOBODY, Port::default(), 0).map_err(|source| Fault::map("write", MAP, source))?;
    }
    // A process that connects a container meanwhile uses the new one.
    fs::rename(&fresh, directory.join(PROGRAM)).map_err(|e| Fault::pins("rename into place", &fresh, e))?;
    for (ifindex, _) in read(&ports)?.into_iter().filter(|(ifindex, _)| *ifindex != NOBODY) {
        if let Some(device) = name_of(ifindex) {
            attach::attach(&mut program, &device)?;
        }
    }
    for other in pins::list(directory)?.into_iter().filter(|name| name != PROGRAM && name != MAP) {
        remove_pin(&directory.join(other))?;
    }
    program.pin(&of_build).map_err(|source| Fault::Pin { path: of_build.clone(), source })
}

/// Loads the program with a private map, to prove that the kernel accepts it.
pub fn try_load() -> Result<(), Fault> {
    pins::mount()?;
    let directory = pins::scratch()?;
    let tried = install(&directory);
    pins::remove(&directory)?;
    tried
}

/// The rows pinned in `directory`.
pub fn read_pinned(directory: &Path) -> Result<Vec<(u32, Port)>, Fault> {
    read(&open_map(directory)?)
}

fn read(ports: &HashMap<MapData, u32, Port>) -> Result<Vec<(u32, Port)>, Fault> {
    let mut found = Vec::new();
    let read = batch::read(ports, |ifindex: u32, port: Port| found.push((ifindex, port)));
    read.map_err(|cause| Fault::map("read", MAP, MapError::IoError(cause)))?;
    Ok(found)
}

fn open_map(directory: &Path) -> Result<HashMap<MapData, u32, Port>, Fault> {
    let data = MapData::from_pin(directory.join(MAP)).map_err(|source| Fault::map("open", MAP, source))?;
    HashMap::try_from(Map::HashMap(data)).map_err(|source| Fault::map("open", MAP, source))
}

fn remove_pin(path: &PathBuf) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Fault::pins("remove", path, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Name of a device of the calling thread's namespace.
fn name_of(ifindex: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(ifindex).ok()?;
    name.into_string().ok()
}
