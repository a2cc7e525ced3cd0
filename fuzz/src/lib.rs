//! Fuzz targets: code of Berth that reads bytes of strangers, each with the laws it must keep whatever the bytes are.
//!
//! A target is a function of bytes that panics when a law is broken; bytes that mean nothing are refused by the code
//! under test in its own words. The same functions run in two ways: with fixed seeds in the tests (`tests/seeds.rs`,
//! [`mutate`]), and guided by coverage with libFuzzer (`cargo xtask fuzz`). Both begin with the files in `corpus`, which
//! also holds the input of every bug that was found.

pub mod corpus;
pub mod mutate;
mod targets;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name, also that of its folder in `corpus`.
    pub name: &'static str,
    /// Panics when a law is broken.
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

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
