// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask soak`: tests that take too long to run for each change.
//!
//! `upgrade` is a file `tests/acceptance/soak_upgrade.py`, run like the acceptance suite (root). It needs the program of an
//! earlier commit, which is built in `target/previous/COMMIT`. `service` adds a made-up service to a copy of the
//! repository (`soak_service`). `worlds` judges random worlds and sends packets of them, `bulk` sends long streams through
//! gateways (root).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::repository;
use crate::soak_service;
use crate::suites::{cargo, needs_root, run as run_command};

const CASES: [&str; 4] = ["bulk", "service", "upgrade", "worlds"];

/// Suites of the fabric that a case runs for longer: the case, the suite, and the variable that says how long.
const LONGER: [(&str, &str, &str, &str); 3] = [
    ("bulk", "kernel_datapath_bulk", "BERTH_BULK_MIB", "1024"),
    ("worlds", "worlds", "BERTH_WORLDS", "100000000"),
    ("worlds", "kernel_datapath_random", "BERTH_WORLDS_PACKETS", "10000"),
];

/// The commits whose running tasks and pinned maps the case `upgrade` takes over, the newest first;
/// `tests/acceptance/previous/` has files of the same programs.
const PREVIOUS_COMMITS: [&str; 2] = ["9812466", "9b9b31e"];

/// Runs the named cases, or all.
pub fn run(cases: &[&str]) -> Result<()> {
    if let Some(unknown) = cases.iter().find(|case| !CASES.contains(case)) {
        bail!("there is no soak case {unknown:?}; there are {}", CASES.join(", "));
    }
    for case in CASES.iter().filter(|case| cases.is_empty() || cases.contains(case)) {
        println!("== soak {case}");
        match *case {
            "service" => soak_service::run()?,
            "upgrade" => upgrade()?,
            case => longer(case)?,
        }
    }
    Ok(())
}

/// Runs suites of the fabric with the length of the case, unless the variable is set.
fn longer(case: &str) -> Result<()> {
    needs_root("this soak case")?;
    for (_, suite, variable, length) in LONGER.into_iter().filter(|(of, ..)| *of == case) {
        let mut test = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        test.args(["test", "--release", "--package", "berth-fabric", "--test", suite, "--", "--nocapture"]);
        if std::env::var_os(variable).is_none() {
            test.env(variable, length);
        }
        run_command(test.current_dir(repository()))?;
    }
    Ok(())
}

fn upgrade() -> Result<()> {
    needs_root("the soak case upgrade")?;
    cargo(&["build", "--package", "berth", "--bins"])?;
    for commit in PREVIOUS_COMMITS {
        println!("from {commit}");
        let mut suite = Command::new(repository().join("tests/acceptance/run"));
        suite.arg("tests/acceptance/soak_upgrade.py").env("BERTH_PREVIOUS", previous_programs(commit)?);
        run_command(suite.current_dir(repository()))?;
    }
    Ok(())
}

/// The folder with the programs of an earlier commit; builds them if they are missing.
fn previous_programs(commit: &str) -> Result<PathBuf> {
    let folder = repository().join("target/previous").join(commit);
    let programs = folder.join("target/debug");
    if programs.join("berth").exists() {
        return Ok(programs);
    }
    if !folder.exists() {
        check_out(commit, &folder)?;
    }
    println!("building the programs of {commit} in {}", folder.display());
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    build.args(["build", "--package", "berth", "--bins"]).current_dir(&folder).env_remove("CARGO_TARGET_DIR");
    run_command(&mut build)?;
    Ok(programs)
}

/// Checks out the files of an earlier commit, without registering a work tree in git.
fn check_out(commit: &str, folder: &Path) -> Result<()> {
    let partial = folder.with_extension("partial");
    std::fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let archive = partial.with_extension("tar");
    let git = |words: &[&str]| run_command(Command::new("git").args(words).current_dir(repository()));
    git(&["archive", "--output", &archive.to_string_lossy(), commit])
        .with_context(|| format!("commit {commit} is needed: fetch the whole history"))?;
    run_command(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&partial))?;
    std::fs::remove_file(&archive)?;
    std::fs::rename(&partial, folder).with_context(|| format!("cannot create {}", folder.display()))
}
