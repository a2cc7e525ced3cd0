// SPDX-License-Identifier: Apache-2.0
//! The checks and test suites that people and CI run: `cargo xtask check`, `cargo xtask test`.
//!
//! `fast` needs nothing; `kernel` (files `tests/kernel_*.rs` of each crate) and `acceptance` (`tests/acceptance`) need
//! root and fail without it. A suite runs to its end even if another failed; the exit code is 1 if any failed. A suite
//! prints one line; its output is in `target/test/SUITE.log`, and is printed for a failed command.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::repository;
use crate::quiet::{Counts, Quiet};
use crate::{edges, generated, tidy};

const SUITES: [&str; 3] = ["fast", "kernel", "acceptance"];

const CLIPPY: [&str; 7] = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];

/// Checks that must pass before a commit.
pub fn check() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    tidy::check(repository())?;
    generated::run(true)?;
    cargo(&CLIPPY)
}

/// Runs the named suites, or all.
pub fn test(suites: &[&str]) -> Result<()> {
    if let Some(unknown) = suites.iter().find(|suite| !SUITES.contains(suite)) {
        bail!("there is no suite {unknown:?}; there are {}", SUITES.join(", "));
    }
    let mut all = Counts::default();
    let mut failed = Vec::new();
    for suite in SUITES.iter().filter(|suite| suites.is_empty() || suites.contains(suite)) {
        let mut quiet = Quiet::begin(&repository().join("target/test"), suite)?;
        let outcome = match *suite {
            "fast" => fast(&mut quiet),
            "kernel" => kernel(&mut quiet),
            _ => acceptance(&mut quiet),
        };
        if let Err(error) = outcome {
            println!("{suite}: FAILED: {error:#}");
            failed.push(*suite);
            quiet.counts.failed = quiet.counts.failed.max(1);
        }
        println!("{}", quiet.summary(suite));
        all += quiet.counts;
    }
    println!("{} passed, {} failed", all.passed, all.failed);
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// Runs the named benchmark suites on this machine, or all.
pub fn bench(args: &[&str]) -> Result<()> {
    needs_root("the benchmarks")?;
    run(Command::new(repository().join("scripts/bench")).args(args).current_dir(repository()))
}

fn fast(quiet: &mut Quiet) -> Result<()> {
    quiet.run(&mut cargo_command(&["fmt", "--all", "--check"]))?;
    tidy::check(repository())?;
    generated::run(true)?;
    quiet.run(&mut cargo_command(&CLIPPY))?;
    quiet.run(&mut cargo_command(&["test", "--quiet", "--workspace", "--lib", "--bins"]))?;
    quiet.run(&mut cargo_command(&["test", "--quiet", "--workspace", "--doc"]))?;
    for test in integration_tests(|name| !name.starts_with("kernel_"))? {
        quiet.run(&mut cargo_command(&["test", "--quiet", "--package", &test.package, "--test", &test.name]))?;
    }
    Ok(())
}

fn kernel(quiet: &mut Quiet) -> Result<()> {
    needs_root("the kernel suite")?;
    // The node's tests run the plugins, programs of another crate.
    quiet.run(&mut cargo_command(&["build", "--package", "berth", "--bins"]))?;
    let mut failed = Vec::new();
    for test in integration_tests(|name| name.starts_with("kernel_"))? {
        // One at a time: tests of one file share namespaces, pins and cgroups of the machine.
        let args = ["test", "--package", &test.package, "--test", &test.name, "--", "--test-threads=1"];
        if let Err(error) = quiet.run(&mut cargo_command(&args)) {
            println!("{error:#}");
            failed.push(format!("{}/{}", test.package, test.name));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join(", ")) }
}

fn acceptance(quiet: &mut Quiet) -> Result<()> {
    needs_root("the acceptance suite")?;
    quiet.run(&mut cargo_command(&["build", "--package", "berth", "--bins"]))?;
    quiet.run(Command::new(repository().join("tests/acceptance/run")).current_dir(repository()))
}

struct IntegrationTest {
    package: String,
    name: String,
}

/// The files `tests/*.rs` of each crate whose names `wanted` accepts.
fn integration_tests(wanted: impl Fn(&str) -> bool) -> Result<Vec<IntegrationTest>> {
    let mut found = Vec::new();
    for krate in edges::crates(repository())? {
        let Ok(folder) = fs::read_dir(krate.folder.join("tests")) else { continue };
        for entry in folder {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "rs") && wanted(&name) {
                found.push(IntegrationTest { package: krate.name.clone(), name });
            }
        }
    }
    found.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    Ok(found)
}

/// Fails if the caller is not root.
pub fn needs_root(what: &str) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(Path::new("/proc/self")).context("cannot read /proc/self")?.uid();
    if owner == 0 { Ok(()) } else { bail!("{what} needs root: run the same command with sudo") }
}

/// Runs cargo in the checkout.
pub fn cargo(args: &[&str]) -> Result<()> {
    run(&mut cargo_command(args))
}

fn cargo_command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(args).current_dir(repository());
    command
}

/// Runs a command to its end; an exit code other than 0 is a failure.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?}: {status}") }
}
