//! The program: loaded into the kernel, or adopted from where the last process pinned it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};

use super::pins;
use crate::fault::Fault;

/// Compiled by build.rs from `bpf/fabric.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fabric.bpf.o"));

const PROGRAM: &str = "fabric_port";
/// Pin of a program that has not taken the place of the one before yet.
const FRESH: &str = "fabric_port_new";

/// Pin of this build's program: its name and the build, so that it is known without a look at it.
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

/// Loads the program with the maps pinned in `directory`, making those that are missing. A new one has to be settled.
///
/// If all of this build is pinned there, it stays: the verifier's work is most of a start.
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

/// Names a new program as this build's, once every device has it: a process that dies before leaves it new.
pub fn settle(directory: &Path) -> Result<(), Fault> {
    let (fresh, pin) = (directory.join(FRESH), directory.join(pin_name()));
    fs::rename(&fresh, &pin).map_err(|e| Fault::pins("rename into place", &fresh, e))?;
    for other in pins::list(directory)?.iter().filter(|name| name.starts_with(PROGRAM) && **name != pin_name()) {
        pins::remove_one(&directory.join(other))?;
    }
    Ok(())
}

/// Loads the program with maps of its own that nobody else sees.
pub fn try_load() -> Result<SchedClassifier, Fault> {
    pins::mount()?;
    let directory = pins::scratch()?;
    let tried = load(&directory);
    pins::remove(&directory)?;
    Ok(tried?.program)
}

fn open(directory: &Path) -> Result<Ebpf, Fault> {
    EbpfLoader::new().default_map_pin_directory(directory).load(OBJECT).map_err(Fault::load)
}

fn verified(object: &mut Ebpf) -> Result<&mut SchedClassifier, Fault> {
    let program = object.program_mut(PROGRAM).ok_or(Fault::NoProgram)?;
    let program: &mut SchedClassifier = program.try_into().map_err(Fault::program("read"))?;
    program.load().map_err(Fault::program("load"))?;
    Ok(program)
}
