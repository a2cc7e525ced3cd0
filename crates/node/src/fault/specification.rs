// SPDX-License-Identifier: Apache-2.0
//! Faults of a container's specification: what the task definition, the image or the request asks for cannot be written.

use std::path::PathBuf;

use oci_spec::OciSpecError;

/// Why the specification of a container or of a program in it cannot be built. The texts are Docker's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum SpecFault {
    /// The image has no user of this name.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// The image has no group of this name.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// There is nothing to run.
    #[error("no command specified: neither the image nor the task definition has one")]
    NoCommand,
    /// The command of a health check is empty.
    #[error("No exec command specified")]
    NoExecCommand,
    /// Two things are to be mounted at one path.
    #[error("Duplicate mount point: {}", .0.display())]
    MountedTwice(PathBuf),
    /// A memory file system would hide a file system of the kernel.
    #[error("a memory file system must not be at {0}")]
    MemoryOverSystem(String),
    /// The kernel does not know an option of a memory file system.
    #[error("{option:?} is no option of the memory file system at {path}")]
    MemoryOption {
        /// The option.
        option: String,
        /// Where it is to be mounted.
        path: String,
    },
    /// The task has no such container.
    #[error("the container is not in the task")]
    NoContainer,
    /// The network of the task was made without the container.
    #[error("the container has no place in the network")]
    NoPlace,
    /// The container's stored specification has no process.
    #[error("{0} has no process")]
    NoProcess(String),
    /// The specification is not valid.
    #[error(transparent)]
    Invalid(#[from] OciSpecError),
    /// The specification could not be written or read as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}
