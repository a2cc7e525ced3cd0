// SPDX-License-Identifier: Apache-2.0
//! Development tasks, run as `cargo xtask TASK`. `cargo xtask help` lists them.

mod checkout;
mod coverage;
mod dist;
mod edges;
mod fuzz;
mod gen_doors;
mod gen_file;
mod gen_model;
mod gen_names;
mod gen_operations;
mod gen_shapes;
mod gen_table;
mod generated;
mod knots;
mod licences;
mod modules;
mod names;
mod quiet;
mod soak;
mod soak_service;
mod sources;
mod suites;
mod tidy;
mod unbounded;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::checkout::repository;

const USAGE: &str = "\
usage: cargo xtask TASK

  check                    format, lints, tidy rules, generated files: the checks before a commit
  test [SUITE...]          the test suites: fast, kernel, acceptance (all when none is named; the last two need root)
  gen [--check]            generate shapes, operation table and docs/coverage.md from operations/ and coverage.toml
  image NAME --out FILE    make a container image of the test kit as an OCI archive: nginx, busybox, web, api
  bench [SUITE...]         measure this machine (root): units, datapath, cni, launch, api; see docs/performance.md
  fuzz [TARGET] [--minutes N] [--seed S]
                           look for inputs that break a law (one target or all, N minutes each; 1 if not said)
  soak [CASE...]           tests that take too long to run for each change: bulk, service, upgrade, worlds (root)
  dist                     build the release and pack it into target/dist/
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => suites::check(),
        ["test", suites @ ..] => suites::test(suites),
        ["gen"] => generated::run(false),
        ["gen", "--check"] => generated::run(true),
        ["image", name, "--out", file] | ["image", "--out", file, name] => {
            testkit::images::make(name, repository(), &PathBuf::from(file))
                .with_context(|| format!("cannot make the image {name}"))
        }
        ["bench", rest @ ..] => suites::bench(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["soak", cases @ ..] => soak::run(cases),
        ["dist"] => dist::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown task: {}\n{USAGE}", args.join(" ")),
    }
}
