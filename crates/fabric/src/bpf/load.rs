// SPDX-License-Identifier: Apache-2.0
//! The program: loaded into the kernel, or adopted from the pins of an earlier process.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};

use super::pins;
use super::shares::rows_for;
use crate::fault::Fault;

/// Compiled by build.rs from `bpf/fabric.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fabric.bpf.o"));

const PROGRAM: &str = "fabric_port";
/// Pin of a program that has not replaced the earlier one yet.
const FRESH: &str = "fabric_port_new";

/// Pin of this build's program: its name and the build, so that the pin's name identifies it.
fn pin_name() -> String {
    format!("{PROGRAM}_{}", include_str!(concat!(env!("OUT_DIR"), "/fabric.build")))
}

/// The program of this build, and whether devices may still have another one.
pub struct Loaded {
    pub program: SchedClassifier,
    pub is_new: bool,
    /// Names of all pins of this build.
    pub pins: BTreeSet<String>,
}

/// Loads the program with the maps pinned in `directory`, creating missing ones. A new program must be settled.
///
/// A complete set of pins of this build is kept: verification is most of a start.
pub fn load(directory: &Path) -> Result<Loaded, Fault> {
    let found = pins::list(directory)?;
    let mut object = open(directory)?;
    let pins = object.maps().map(|(name, _)| name.to_owned()).chain([pin_name()]).collect();
    let has_made_maps = pins::list(directory)?.len() > found.len();
    if found.contains(&pin_name()) && !has_made_maps {
        let program = SchedClassifier::from_pin(directory.join(pin_name())).map_err(Fault::program("open"))?;
        return Ok(Loaded { program, is_new: false, pins });
    }
    let fresh = directory.join(FRESH);
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Fault::pins("remove", &fresh, e)),
        Ok(()) | Err(_) => {}
    }
    let program = verified(&mut object)?;
    program.pin(&fresh).map_err(|source| Fault::Pin { path: fresh.clone(), source })?;
    let program = SchedClassifier::from_pin(&fresh).map_err(Fault::program("open"))?;
    Ok(Loaded { program, is_new: true, pins })
}

/// Names a new program as this build's, once every device has it: if the process dies before, the program stays new.
pub fn settle(directory: &Path) -> Result<(), Fault> {
    let (fresh, pin) = (directory.join(FRESH), directory.join(pin_name()));
    fs::rename(&fresh, &pin).map_err(|e| Fault::pins("rename into place", &fresh, e))?;
    for other in pins::list(directory)?.iter().filter(|name| name.starts_with(PROGRAM) && **name != pin_name()) {
        pins::remove_one(&directory.join(other))?;
    }
    Ok(())
}

/// Loads the program with private maps.
pub fn try_load() -> Result<SchedClassifier, Fault> {
    pins::mount()?;
    let directory = pins::scratch()?;
    let tried = load(&directory);
    pins::remove(&directory)?;
    Ok(tried?.program)
}

/// Creates the missing maps in `directory`.
pub fn make_maps(directory: &Path) -> Result<(), Fault> {
    open(directory).map(drop)
}

fn open(directory: &Path) -> Result<Ebpf, Fault> {
    let memory = nix::sys::sysinfo::sysinfo().map_err(|errno| Fault::Memory(errno.into()))?;
    let rows = rows_for(memory.ram_total());
    let mut loader = EbpfLoader::new();
    loader.default_map_pin_directory(directory).map_max_entries("flows", rows).map_max_entries("flow_ring", rows);
    loader.load(OBJECT).map_err(Fault::load)
}

fn verified(object: &mut Ebpf) -> Result<&mut SchedClassifier, Fault> {
    let program = object.program_mut(PROGRAM).ok_or(Fault::NoProgram)?;
    let program: &mut SchedClassifier = program.try_into().map_err(Fault::program("read"))?;
    program.load().map_err(Fault::program("load"))?;
    Ok(program)
}
