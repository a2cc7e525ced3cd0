// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask fuzz`: the targets of the crate `fuzz`, guided by coverage.
//!
//! Uses libFuzzer. Its coverage is an LLVM pass that flags enable in the stable compiler too; the flags need a separate
//! build folder and profile. The corpus is kept in `target/fuzz/TARGET/corpus`, inputs that break a law in
//! `target/fuzz/TARGET/found`. Not here: the fixed seeds of the tests (`fuzz/tests/seeds.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::checkout::repository;

/// Flags of `cargo fuzz`, without the sanitizers, which need a nightly compiler.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Maximum length of an input in bytes, as in `fuzz/src/mutate.rs`.
const BYTES_MAX: usize = 16 * 1024;

/// Maximum run time of an input; a longer one is a finding.
const INPUT_S_MAX: u32 = 10;

/// Maximum memory of an input; a larger one is a finding.
const MEMORY_MIB_MAX: u32 = 2048;

struct Asked {
    targets: Vec<String>,
    minutes: u64,
    seed: u32,
}

/// `[TARGET] [--minutes N] [--seed S]`: one target or all, each for N minutes.
pub fn run(args: &[&str]) -> Result<()> {
    let asked = read(args)?;
    let program = build()?;
    let mut broken = Vec::new();
    for target in &asked.targets {
        println!("== fuzz {target}: {} min, seed {}", asked.minutes, asked.seed);
        let found = fuzz(&program, target, &asked)?;
        for input in &found {
            println!("== fuzz {target}: seed {} found {}", asked.seed, input.display());
            println!("   once the bug is fixed, keep it as fuzz/corpus/{target}/NAME; the tests then run it");
        }
        if !found.is_empty() {
            broken.push(target.as_str());
        }
    }
    if broken.is_empty() { Ok(()) } else { bail!("laws broken in: {}", broken.join(", ")) }
}

fn read(args: &[&str]) -> Result<Asked> {
    let known = known()?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // libFuzzer takes 0 for "any".
    let mut asked = Asked { targets: Vec::new(), minutes: 1, seed: since.subsec_nanos().max(1) };
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let mut number = || rest.next().with_context(|| format!("{word} needs a number"));
        match *word {
            "--minutes" => asked.minutes = number()?.parse().context("--minutes is not a number")?,
            "--seed" => asked.seed = number()?.parse().context("--seed is not a number of 32 bits")?,
            name if known.contains(name) => asked.targets.push(name.to_owned()),
            other => bail!("there is no target {other:?}; there are {}", Vec::from_iter(known).join(", ")),
        }
    }
    if asked.targets.is_empty() {
        asked.targets = known.into_iter().collect();
    }
    Ok(asked)
}

/// All targets: the names of the folders of inputs.
fn known() -> Result<BTreeSet<String>> {
    names(&repository().join("fuzz/corpus"))
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let read = || format!("cannot read {}", folder.display());
    let entries = fs::read_dir(folder).with_context(read)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Builds the program; a target is named, so that the flags do not reach build scripts.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let folder = repository().join("target/fuzz/build");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--package", "berth-fuzz", "--bin", "berth-fuzz", "--features", "libfuzzer"])
        .args(["--profile", "fuzz", "--target", &host, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .current_dir(repository());
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the fuzzer does not build: {status}");
    }
    Ok(folder.join(host).join("fuzz/berth-fuzz"))
}

/// Default target triple of the compiler.
fn host() -> Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("cannot run rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Runs one target and returns the new inputs that broke a law.
fn fuzz(program: &Path, target: &str, asked: &Asked) -> Result<Vec<PathBuf>> {
    let folder = repository().join("target/fuzz").join(target);
    let (learnt, found) = (folder.join("corpus"), folder.join("found"));
    for folder in [&learnt, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let before = names(&found)?;
    let mut command = Command::new(program);
    command
        .env("BERTH_FUZZ_TARGET", target)
        .args([format!("-max_total_time={}", asked.minutes * 60), format!("-seed={}", asked.seed)])
        .args([format!("-max_len={BYTES_MAX}"), format!("-timeout={INPUT_S_MAX}")])
        .args([format!("-rss_limit_mb={MEMORY_MIB_MAX}"), "-print_final_stats=1".to_owned()])
        .arg(format!("-artifact_prefix={}/", found.display()));
    let words = repository().join("fuzz/dictionary").join(format!("{target}.dict"));
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    let status = command.args([&learnt, &repository().join("fuzz/corpus").join(target)]).status();
    let status = status.with_context(|| format!("cannot run {}", program.display()))?;
    let new: Vec<PathBuf> = names(&found)?.difference(&before).map(|name| found.join(name)).collect();
    match (status.success(), new.is_empty()) {
        (false, true) => bail!("fuzz {target}: {status}, but no input was left behind"),
        _ => Ok(new),
    }
}
