// SPDX-License-Identifier: Apache-2.0
//! The program: loaded into the kernel, or adopted from the pins of an earlier process.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};

use super::pins;
use super::shares::rows_for;
use crate::fault::Fault;

/// Compiled by build.rs from `bpf/fabric.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fabric.bpf.o"));

/// The program of interfaces and the one of the edge to the world.
const PROGRAMS: [&str; 2] = ["fabric_port", "fabric_world"];
/// Ends the pin of a program that has not replaced the earlier one yet.
const FRESH: &str = "new";

/// Pin of this build's program: its name and the build, so that the pin's name identifies it.
fn pin_name(program: &str) -> String {
    format!("{program}_{}", include_str!(concat!(env!("OUT_DIR"), "/fabric.build")))
}

fn fresh_name(program: &str) -> String {
    format!("{program}_{FRESH}")
}

/// The programs of this build, and whether devices may still have others.
pub struct Loaded {
    pub port: SchedClassifier,
    pub world: SchedClassifier,
    pub is_new: bool,
    /// Names of all pins of this build.
    pub pins: BTreeSet<String>,
}

/// Loads the programs with the maps pinned in `directory`, creating missing ones. New programs must be settled.
///
/// A complete set of pins of this build is kept: verification is most of a start.
pub fn load(directory: &Path) -> Result<Loaded, Fault> {
    let found = pins::list(directory)?;
    let mut object = open(directory)?;
    let pins = object.maps().map(|(name, _)| name.to_owned()).chain(PROGRAMS.map(pin_name)).collect();
    let has_made_maps = pins::list(directory)?.len() > found.len();
    let is_new = has_made_maps || !PROGRAMS.iter().all(|program| found.contains(&pin_name(program)));
    let [port, world] = PROGRAMS.map(|program| match is_new {
        true => pin_fresh(&mut object, directory, program),
        false => SchedClassifier::from_pin(directory.join(pin_name(program))).map_err(Fault::program("open")),
    });
    Ok(Loaded { port: port?, world: world?, is_new, pins })
}

fn pin_fresh(object: &mut Ebpf, directory: &Path, program: &str) -> Result<SchedClassifier, Fault> {
    let fresh = directory.join(fresh_name(program));
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Fault::pins("remove", &fresh, e)),
        Ok(()) | Err(_) => {}
    }
    let program = verified(object, program)?;
    program.pin(&fresh).map_err(|source| Fault::Pin { path: fresh.clone(), source })?;
    SchedClassifier::from_pin(&fresh).map_err(Fault::program("open"))
}

/// Names new programs as this build's, once every device has them: if the process dies before, they stay new.
pub fn settle(directory: &Path) -> Result<(), Fault> {
    for program in PROGRAMS {
        let (fresh, pin) = (directory.join(fresh_name(program)), directory.join(pin_name(program)));
        fs::rename(&fresh, &pin).map_err(|e| Fault::pins("rename into place", &fresh, e))?;
        let others = pins::list(directory)?;
        for other in others.iter().filter(|name| name.starts_with(program) && **name != pin_name(program)) {
            pins::remove_one(&directory.join(other))?;
        }
    }
    Ok(())
}

/// The outcome of a trial.
pub struct Tried {
    /// The program of interfaces.
    pub port: SchedClassifier,
    /// Instructions that the verifier followed for all programs; `None` where the kernel does not say.
    pub steps: Option<u32>,
    /// Time to make the maps, and to verify and load the programs.
    pub took: Duration,
}

/// Loads the programs with private maps.
pub fn try_load() -> Result<Tried, Fault> {
    pins::mount()?;
    let directory = pins::scratch()?;
    let begin = Instant::now();
    let tried = load(&directory);
    let took = begin.elapsed();
    pins::remove(&directory)?;
    let Loaded { port, world, .. } = tried?;
    let steps = |program: &SchedClassifier| program.info().ok()?.verified_instruction_count();
    let steps = steps(&port).zip(steps(&world)).map(|(port, world)| port + world);
    Ok(Tried { port, steps, took })
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

fn verified<'a>(object: &'a mut Ebpf, program: &str) -> Result<&'a mut SchedClassifier, Fault> {
    let program = object.program_mut(program).ok_or(Fault::NoProgram)?;
    let program: &mut SchedClassifier = program.try_into().map_err(Fault::program("read"))?;
    program.load().map_err(Fault::program("load"))?;
    Ok(program)
}
