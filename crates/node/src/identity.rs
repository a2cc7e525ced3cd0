// SPDX-License-Identifier: Apache-2.0
//! The identity of this host: made once, kept in the data folder.

use std::fs;
use std::path::Path;

use berth_types::link::Capacity;
use berth_types::{HostId, InstanceId};
use serde::{Deserialize, Serialize};

use crate::Fault;

/// A host's lasting names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The ECS container instance.
    pub host: HostId,
    /// The EC2 instance it shows.
    pub instance: InstanceId,
}

/// The identity of this host, if a node has ever run on this data folder.
pub fn identity(data_dir: &Path) -> Result<Option<Identity>, Fault> {
    let file = crate::config::identity_file(data_dir);
    if file.exists() { load_or_make(&file).map(Some) } else { Ok(None) }
}

/// Reads the identity, or makes one on the first start.
pub(crate) fn load_or_make(file: &Path) -> Result<Identity, Fault> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|cause| Fault::Content {
            path: file.to_owned(),
            problem: format!("not a node identity ({cause}); restore it, or delete it to join as a new host"),
        }),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            let made =
                Identity { host: HostId::from_bits(rand::random()), instance: InstanceId::from_bits(rand::random()) };
            let text = serde_json::to_vec_pretty(&made).expect("an identity is plain text");
            write_whole(file, &text)?;
            Ok(made)
        }
        Err(cause) => Err(Fault::file("read", file)(cause)),
    }
}

/// Writes a file so that a crash leaves the old text or the new one.
pub(crate) fn write_whole(file: &Path, text: &[u8]) -> Result<(), Fault> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    let mut draft = tempfile::NamedTempFile::new_in(dir).map_err(Fault::file("create a file in", dir))?;
    std::io::Write::write_all(&mut draft, text).map_err(Fault::file("write", file))?;
    draft.as_file().sync_all().map_err(Fault::file("write", file))?;
    draft.persist(file).map_err(|fault| Fault::file("write", file)(fault.error))?;
    Ok(())
}

/// Interfaces a host offers unless said otherwise.
const ENIS_DEFAULT: u32 = 1000;

/// The capacity of this machine: all cores, and its memory less a reserve for the system.
pub fn measured_capacity() -> Capacity {
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let memory_mib = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_mib(&text)).unwrap_or(1024);
    Capacity {
        cpu_units: cores * 1024,
        memory_mib: memory_mib.saturating_sub(memory_mib / 16).max(256),
        enis: ENIS_DEFAULT,
    }
}

fn total_mib(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    u32::try_from(kib / 1024).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_identity_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node/identity.json");
        let first = load_or_make(&file).unwrap();
        assert_eq!(load_or_make(&file).unwrap(), first);
        fs::write(&file, "{}").unwrap();
        assert!(load_or_make(&file).is_err());
    }

    #[test]
    fn memory_is_read_in_mib() {
        assert_eq!(total_mib("MemFree: 1 kB\nMemTotal:       2097152 kB\n"), Some(2048));
    }
}
