//! The checks and test suites that people and CI run: `cargo xtask check`, `cargo xtask test`.
//!
//! `fast` needs nothing; `kernel` (files `tests/kernel_*.rs` of each crate) and `acceptance` (`tests/acceptance`) need
//! root and fail without it. A suite runs to its end even when another failed; the exit code tells of any failure.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{coverage, repository, tidy};

const SUITES: [&str; 3] = ["fast", "kernel", "acceptance"];

/// What must hold before a commit.
pub fn check() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    tidy::check(repository())?;
    coverage::run(true)?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// Runs the suites named, or all.
pub fn test(suites: &[&str]) -> Result<()> {
    if let Some(unknown) = suites.iter().find(|suite| !SUITES.contains(suite)) {
        bail!("there is no suite {unknown:?}; there are {}", SUITES.join(", "));
    }
    let mut failed = Vec::new();
    for suite in SUITES.iter().filter(|suite| suites.is_empty() || suites.contains(suite)) {
        let began = Instant::now();
        println!("== {suite}");
        let outcome = match *suite {
            "fast" => fast(),
            "kernel" => kernel(),
            _ => acceptance(),
        };
        let took_s = began.elapsed().as_secs();
        match outcome {
            Ok(()) => println!("== {suite}: passed in {took_s} s"),
            Err(error) => {
                println!("== {suite}: FAILED after {took_s} s: {error:#}");
                failed.push(*suite);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// Measures this machine: the suites named, or all.
pub fn bench(args: &[&str]) -> Result<()> {
    needs_root("the benchmarks")?;
    run(Command::new(repository().join("scripts/bench")).args(args).current_dir(repository()))
}

fn fast() -> Result<()> {
    check()?;
    cargo(&["test", "--quiet", "--workspace", "--lib", "--bins"])?;
    cargo(&["test", "--quiet", "--workspace", "--doc"])?;
    for test in integration_tests(|name| !name.starts_with("kernel_"))? {
        cargo(&["test", "--quiet", "--package", &test.package, "--test", &test.name])?;
    }
    Ok(())
}

fn kernel() -> Result<()> {
    needs_root("the kernel suite")?;
    // The node's tests run the plugins, which are a program of another crate.
    cargo(&["build", "--package", "berth", "--bins"])?;
    let mut failed = Vec::new();
    for test in integration_tests(|name| name.starts_with("kernel_"))? {
        // One at a time: tests of one file share namespaces, pins and cgroups of the machine.
        let args = ["test", "--package", &test.package, "--test", &test.name, "--", "--test-threads=1"];
        if let Err(error) = cargo(&args) {
            println!("{error:#}");
            failed.push(format!("{}/{}", test.package, test.name));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join(", ")) }
}

fn acceptance() -> Result<()> {
    needs_root("the acceptance suite")?;
    cargo(&["build", "--package", "berth", "--bins"])?;
    let mut command = Command::new(repository().join("tests/acceptance/run"));
    run(command.current_dir(repository()))
}

struct IntegrationTest {
    package: String,
    name: String,
}

/// The files `tests/*.rs` of each crate whose name is wanted.
fn integration_tests(wanted: impl Fn(&str) -> bool) -> Result<Vec<IntegrationTest>> {
    let mut found = Vec::new();
    for krate in tidy::crates(repository())? {
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

fn needs_root(what: &str) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(Path::new("/proc/self")).context("cannot read /proc/self")?.uid();
    if owner == 0 { Ok(()) } else { bail!("{what} needs root: run the same command with sudo") }
}

/// Runs cargo in the checkout.
pub fn cargo(args: &[&str]) -> Result<()> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    run(Command::new(program).args(args).current_dir(repository()))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?}: {status}") }
}
