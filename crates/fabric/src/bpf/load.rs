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

/// The program of this build, pinned, and whether it took the place of another one (or of none).
pub struct Loaded {
    pub program: SchedClassifier,
    pub is_new: bool,
    /// Names of all pins of this build.
    pub pins: BTreeSet<String>,
}

/// Loads the program with the maps pinned in `directory`, making those that are missing.
///
/// If the program pinned there is the same one, it stays; else the new one takes its place under the same name.
pub fn load(directory: &Path) -> Result<Loaded, Fault> {
    let mut object = open(directory)?;
    let pins = object.maps().map(|(name, _)| name).chain([PROGRAM]).map(str::to_owned).collect();
    let program = verified(&mut object)?;
    let tag = program.info().map_err(Fault::program("inspect"))?.tag();
    let pin = directory.join(PROGRAM);
    if let Ok(pinned) = SchedClassifier::from_pin(&pin)
        && pinned.info().map_err(Fault::program("inspect"))?.tag() == tag
    {
        return Ok(Loaded { program: pinned, is_new: false, pins });
    }
    let fresh = directory.join(format!("{PROGRAM}_new"));
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Fault::pins("remove", &fresh, e)),
        Ok(()) | Err(_) => {}
    }
    program.pin(&fresh).map_err(|source| Fault::Pin { path: fresh.clone(), source })?;
    fs::rename(&fresh, &pin).map_err(|e| Fault::pins("rename into place", &fresh, e))?;
    let program = SchedClassifier::from_pin(&pin).map_err(Fault::program("open"))?;
    Ok(Loaded { program, is_new: true, pins })
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
