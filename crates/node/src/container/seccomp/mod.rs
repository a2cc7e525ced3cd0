// SPDX-License-Identifier: Apache-2.0
//! The system calls a container may make (ADR 21): decided here by its capabilities, and written in two forms, which are
//! the same. crun takes a finished program, which costs a launch nothing; runc translates the names itself.

mod profile;
mod program;
mod table;

pub(super) use profile::Profile;
pub(super) use program::annotation;

/// Annotation by which crun is given a finished program.
pub(super) const PROGRAM: &str = "run.oci.seccomp_bpf_data";

#[cfg(test)]
mod tests;
