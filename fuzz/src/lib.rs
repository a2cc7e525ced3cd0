// SPDX-License-Identifier: Apache-2.0
//! Fuzz targets: code of Berth that reads untrusted bytes, each with the properties it must keep for any input.
//!
//! A target is a function of bytes that panics when a property does not hold; the code under test refuses meaningless
//! bytes with its own errors. The same functions run in two ways: with fixed seeds in the tests (`tests/seeds.rs`,
//! [`mutate`]), and guided by coverage with libFuzzer (`cargo xtask fuzz`). Both begin with the files in `corpus`,
//! which also contains the input of every bug that was found.

pub mod corpus;
pub mod mutate;
mod targets;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name, also that of its folder in `corpus`.
    pub name: &'static str,
    /// Panics when a property does not hold.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target { name: "wire", run: targets::wire::run },
    Target { name: "task-definition", run: targets::task_definition::run },
    Target { name: "expression", run: targets::expression::run },
    Target { name: "cni", run: targets::cni::run },
    Target { name: "manifest", run: targets::manifest::run },
    Target { name: "verdict", run: targets::verdict::run },
];

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
