//! Rules about the house that no compiler checks: who may depend on whom, what the pure rooms may not know, names and
//! sizes of files, modules without cycles.
//!
//! Everything is read from `Cargo.toml` files and sources as text; a finding names file and rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Rooms and the rooms each may know.
const EDGES: &[(&str, &[&str])] = &[
    ("berth", &["control", "node", "fabric", "types"]),
    ("control", &["wire", "domain", "store", "shapes", "types"]),
    ("node", &["fabric", "types"]),
    ("domain", &["shapes", "types"]),
    ("wire", &["shapes"]),
    ("store", &["types"]),
    ("fabric", &["types"]),
    ("shapes", &[]),
    ("types", &[]),
];

/// Rooms that decide and translate: equal input, equal output.
const PURE: &[&str] = &["types", "shapes", "wire", "domain"];

/// What a pure room may not depend on.
const IMPURE_CRATES: &[&str] = &[
    "tokio", "tokio-util", "tokio-stream", "rand", "getrandom", "uuid", "libc", "nix", "rustix", "aya", "netlink-sys",
    "netlink-packet-route", "hyper", "tonic", "redb",
];

/// What a pure room may not say.
const IMPURE_WORDS: &[&str] = &[
    "Instant::now", "SystemTime::now", "std::fs::", "std::net::TcpStream", "std::net::TcpListener",
    "std::net::UdpSocket", "std::process::", "std::thread::spawn", "std::env::var",
];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils.rs", "util.rs", "helpers.rs", "common.rs", "manager.rs", "service.rs", "misc.rs"];

const LINES_MAX: usize = 900;

/// Written by `cargo xtask gen`; of any length.
const GENERATED_FOLDER: &str = "crates/shapes/src";

/// A crate of the workspace.
pub struct Crate {
    /// Package name.
    pub name: String,
    /// Folder with its `Cargo.toml`.
    pub folder: PathBuf,
}

/// Every crate of the workspace.
pub fn crates(root: &Path) -> Result<Vec<Crate>> {
    let mut folders: Vec<PathBuf> = ["testkit", "bench", "xtask"].iter().map(|name| root.join(name)).collect();
    for entry in fs::read_dir(root.join("crates"))? {
        folders.push(entry?.path());
    }
    folders.sort();
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders
        .into_iter()
        .map(|folder| {
            let name = manifest(&folder)?["package"]["name"].as_str().context("a package has a name")?.to_owned();
            Ok(Crate { name, folder })
        })
        .collect()
}

/// Fails with all findings, one line each.
pub fn check(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    if findings.is_empty() { Ok(()) } else { bail!("the house is not tidy:\n  {}", findings.join("\n  ")) }
}

fn findings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (room, allowed) in EDGES {
        let folder = root.join("crates").join(room);
        let dependencies = dependencies(&folder)?;
        found.extend(edges_outside(room, allowed, &dependencies));
        if PURE.contains(room) {
            found.extend(
                dependencies
                    .iter()
                    .filter(|name| IMPURE_CRATES.contains(&name.as_str()))
                    .map(|name| format!("crates/{room} depends on {name}, which a pure room may not know")),
            );
        }
        let sources = sources(&folder.join("src"))?;
        if PURE.contains(room) {
            found.extend(impure_words(root, &sources)?);
        }
        found.extend(cycles(room, &module_uses(&folder.join("src"), &sources)?));
    }
    for krate in crates(root)? {
        for file in sources(&krate.folder)? {
            found.extend(file_findings(root, &file)?);
        }
    }
    Ok(found)
}

fn manifest(folder: &Path) -> Result<toml::Table> {
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", file.display()))
}

/// Names of what a crate needs to run (not of what its tests need).
fn dependencies(folder: &Path) -> Result<Vec<String>> {
    let manifest = manifest(folder)?;
    Ok(manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flat_map(|table| table.keys().cloned()).collect())
}

fn edges_outside(room: &str, allowed: &[&str], dependencies: &[String]) -> Vec<String> {
    dependencies
        .iter()
        .filter_map(|name| name.strip_prefix("berth-"))
        .filter(|other| !allowed.contains(other))
        .map(|other| format!("crates/{room} depends on crates/{other}: not an edge of the house"))
        .collect()
}

fn impure_words(root: &Path, sources: &[PathBuf]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in sources.iter().filter(|file| !is_test_file(file)) {
        let text = without_tests(&fs::read_to_string(file)?);
        for word in IMPURE_WORDS.iter().filter(|word| text.contains(**word)) {
            found.push(format!("{}: {word} has no place in a pure room", relative(root, file)));
        }
    }
    Ok(found)
}

fn file_findings(root: &Path, file: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let shown = relative(root, file);
    if EMPTY_NAMES.contains(&name.as_ref()) {
        found.push(format!("{shown}: the name says nothing; name the feature"));
    }
    let text = fs::read_to_string(file)?;
    let lines = text.lines().count();
    if lines > LINES_MAX && !shown.starts_with(GENERATED_FOLDER) {
        found.push(format!("{shown}: {lines} lines; split it by feature (at most {LINES_MAX})"));
    }
    if !text.starts_with("//!") && !is_test_file(file) && !shown.starts_with(GENERATED_FOLDER) {
        found.push(format!("{shown}: the first line does not say what the file is (`//! ...`)"));
    }
    Ok(found)
}

/// Which top module of a crate names which other.
fn module_uses(src: &Path, sources: &[PathBuf]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources.iter().filter(|file| !is_test_file(file)) {
        let Some(module) = top_module(src, file) else { continue };
        let text = without_tests(&fs::read_to_string(file)?);
        modules.entry(module).or_default().extend(crate_paths(&text));
    }
    let names: BTreeSet<String> = modules.keys().cloned().collect();
    for (module, uses) in &mut modules {
        uses.retain(|other| other != module && names.contains(other));
    }
    Ok(modules)
}

fn top_module(src: &Path, file: &Path) -> Option<String> {
    let first = file.strip_prefix(src).ok()?.components().next()?;
    let name = first.as_os_str().to_string_lossy();
    let name = name.strip_suffix(".rs").unwrap_or(&name);
    (!matches!(name, "lib" | "main" | "bin")).then(|| name.to_owned())
}

/// The first names after `crate::`, also inside braces.
fn crate_paths(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if let Some(group) = rest.strip_prefix('{') {
                found.extend(top_names(group).into_iter().map(|name| word(&name)));
            } else {
                found.insert(word(rest));
            }
        }
    }
    found
}

/// The names at the outermost level of `a::b, c::{d, e}, f}`.
fn top_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut name) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut name)),
            _ if depth == 0 => name.push(c),
            _ => {}
        }
    }
    names.push(name);
    names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn cycles(room: &str, uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut left = uses.clone();
    loop {
        let ends: Vec<String> = left.iter().filter(|(_, uses)| uses.is_empty()).map(|(name, _)| name.clone()).collect();
        if ends.is_empty() {
            break;
        }
        for end in ends {
            left.remove(&end);
            left.values_mut().for_each(|uses| {
                uses.remove(&end);
            });
        }
    }
    // What only leads into a cycle is no part of it.
    loop {
        let used: BTreeSet<String> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|name, _| used.contains(name));
        if left.len() == before {
            break;
        }
    }
    if left.is_empty() {
        return Vec::new();
    }
    let knot: Vec<String> = left
        .iter()
        .map(|(name, uses)| {
            let uses: Vec<&str> = uses.iter().filter(|other| left.contains_key(*other)).map(String::as_str).collect();
            format!("{name} -> {}", uses.join(" + "))
        })
        .collect();
    vec![format!("crates/{room}: modules use each other in a circle: {}", knot.join("; "))]
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_test_file(file: &Path) -> bool {
    file.components().any(|part| matches!(part.as_os_str().to_string_lossy().as_ref(), "tests" | "tests.rs"))
        || file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests"))
}

/// The text up to its test module, which by custom ends the file.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        check(crate::repository()).unwrap();
    }

    #[test]
    fn an_edge_that_is_not_drawn_is_found() {
        let dependencies = ["berth-types".to_owned(), "berth-store".to_owned(), "serde".to_owned()];
        assert_eq!(
            edges_outside("domain", &["shapes", "types"], &dependencies),
            ["crates/domain depends on crates/store: not an edge of the house"]
        );
    }

    #[test]
    fn a_circle_of_modules_is_found_and_what_leads_to_it_is_not_blamed() {
        let uses = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut graph = BTreeMap::from([
            ("door".to_owned(), uses(&["ring"])),
            ("ring".to_owned(), uses(&["chain"])),
            ("chain".to_owned(), uses(&["ring", "leaf"])),
            ("leaf".to_owned(), uses(&[])),
        ]);
        assert_eq!(
            cycles("x", &graph),
            ["crates/x: modules use each other in a circle: chain -> ring; ring -> chain"]
        );
        graph.insert("chain".to_owned(), uses(&["leaf"]));
        assert!(cycles("x", &graph).is_empty());
    }

    #[test]
    fn names_after_crate_are_read_inside_braces_too() {
        let text = "use crate::{state::{Snapshot, Vpc}, env};\n// crate::comment\nlet x = crate::page::next();";
        let names: Vec<String> = crate_paths(text).into_iter().collect();
        assert_eq!(names, ["env", "page", "state"]);
    }
}
