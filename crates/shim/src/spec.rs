// SPDX-License-Identifier: Apache-2.0
//! The parts of a container's specification that the shim reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fault::Fault;

/// Annotation: containers with the same value have one server.
pub const GROUP: &str = "io.containerd.runc.v2.group";

/// Annotation of a container that only holds its namespaces, for others to share: its program is given no more than its
/// name and a read-only root, and needs nothing.
pub const PAUSE: &str = "berth.pause";

/// Annotation of a container that is to be run by one of [`crate::PROGRAMS`]; otherwise the shim chooses.
pub const RUNTIME: &str = "berth.runtime";

/// The parts of a bundle's `config.json` that the shim reads.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Spec {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    linux: Linux,
    #[serde(default)]
    root: Root,
    #[serde(default)]
    process: Process,
}

#[derive(Debug, Default, Deserialize)]
struct Root {
    #[serde(default)]
    path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
struct Process {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    user: User,
}

/// Who a program is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct User {
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: PathBuf,
}

impl Spec {
    pub fn of(bundle: &Path) -> Result<Self, Fault> {
        let file = bundle.join("config.json");
        let text = std::fs::read(&file).map_err(Fault::file("read", &file))?;
        serde_json::from_slice(&text).map_err(Fault::file("understand", &file))
    }

    /// The group the container is in, if it is in one.
    pub fn group(&self) -> Option<&str> {
        self.annotations.get(GROUP).map(String::as_str)
    }

    /// True if the kernel ends all its processes with the first one.
    pub fn has_own_processes(&self) -> bool {
        self.linux.namespaces.iter().any(|namespace| namespace.kind == "pid" && namespace.path.as_os_str().is_empty())
    }

    /// True for a container that only holds namespaces.
    pub fn is_pause(&self) -> bool {
        self.annotations.contains_key(PAUSE)
    }

    /// The runtime that the caller chose for it, if any.
    pub fn runtime(&self) -> Option<&str> {
        self.annotations.get(RUNTIME).map(String::as_str)
    }

    /// Its root file system.
    pub fn root(&self) -> Option<&Path> {
        Some(self.root.path.as_path()).filter(|path| path.is_absolute())
    }

    /// Its program, if it is nothing but that.
    pub fn program(&self) -> Option<&str> {
        match self.process.args.as_slice() {
            [program] => Some(program),
            _ => None,
        }
    }

    /// Who its program is.
    pub fn user(&self) -> User {
        self.process.user
    }

    /// What its program is called.
    pub fn first_word(&self) -> Option<&str> {
        self.process.args.first().map(String::as_str)
    }

    /// The network namespace it is in, if that has a name.
    pub fn netns(&self) -> Option<&Path> {
        let network = self.linux.namespaces.iter().find(|namespace| namespace.kind == "network")?;
        Some(network.path.as_path()).filter(|path| path.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn group_and_processes_are_read() {
        let read = |text: &str| serde_json::from_str::<Spec>(text).unwrap();
        let one =
            read(r#"{"annotations":{"io.containerd.runc.v2.group":"g"},"linux":{"namespaces":[{"type":"pid"}]}}"#);
        assert_eq!((one.group(), one.has_own_processes()), (Some("g"), true));
        let shared = read(r#"{"linux":{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"},{"type":"mount"}]}}"#);
        assert_eq!((shared.group(), shared.has_own_processes()), (None, false));
        assert!(!read("{}").has_own_processes());
    }
}
