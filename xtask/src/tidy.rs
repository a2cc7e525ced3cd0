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
    ("berth", &["control", "node", "fabric", "shim", "types"]),
    ("control", &["wire", "domain", "store", "shapes", "types"]),
    ("node", &["fabric", "shim", "types"]),
    ("domain", &["shapes", "types"]),
    ("wire", &["shapes"]),
    ("store", &["types"]),
    ("fabric", &["types"]),
    ("shim", &["types"]),
    ("shapes", &[]),
    ("types", &[]),
];

/// Rooms that decide and translate: equal input, equal output.
const PURE: &[&str] = &["types", "shapes", "wire", "domain"];

/// What a pure room may not depend on.
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "rand",
    "getrandom",
    "uuid",
    "libc",
    "nix",
    "rustix",
    "aya",
    "netlink-sys",
    "netlink-packet-route",
    "hyper",
    "tonic",
    "redb",
];

/// What a pure room may not say.
const IMPURE_WORDS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::fs::",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::process::",
    "std::thread::spawn",
    "std::env::var",
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
    let mut folders: Vec<PathBuf> = ["testkit", "bench", "fuzz", "xtask"].iter().map(|name| root.join(name)).collect();
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
    Ok(manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|table| table.keys().cloned())
        .collect())
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

/// Which file of a crate names which file of another top module. Files of one top module may know each other freely;
/// `mod.rs` and `lib.rs` only gather, so what is named through them counts for them alone.
fn module_uses(src: &Path, sources: &[PathBuf]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let files: Vec<&PathBuf> = sources.iter().filter(|file| !is_test_file(file)).collect();
    let names: BTreeSet<String> = files.iter().filter_map(|file| module_of(src, file)).collect();
    let mut modules = BTreeMap::new();
    for file in files {
        let Some(module) = module_of(src, file) else { continue };
        let text = without_tests(&fs::read_to_string(file)?);
        let mut uses: BTreeSet<String> = crate_paths(&text).iter().filter_map(|path| nearest(&names, path)).collect();
        uses.retain(|other| top(other) != top(&module));
        modules.insert(module, uses);
    }
    Ok(modules)
}

/// `a::b` for `src/a/b.rs` and for `src/a/b/mod.rs`; nothing for roots of crates.
fn module_of(src: &Path, file: &Path) -> Option<String> {
    let path = file.strip_prefix(src).ok()?.with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|part| part == "mod") {
        parts.pop();
    }
    (!matches!(parts.first()?.as_str(), "lib" | "main" | "bin")).then(|| parts.join("::"))
}

/// The module a path leads to, as deep as there is a file.
fn nearest(names: &BTreeSet<String>, path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len()).rev().map(|length| parts[..length].join("::")).find(|name| names.contains(name))
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// The paths after `crate::`, those inside braces written out.
fn crate_paths(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join(" ");
    for (at, _) in code.match_indices("crate::") {
        expand("", &code[at + "crate::".len()..], &mut found);
    }
    found
}

/// Reads one path of a `use` or an expression, after `prefix`.
fn expand(prefix: &str, text: &str, found: &mut BTreeSet<String>) {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
    let path = format!("{prefix}{word}");
    if let Some(group) = text[word.len()..].strip_prefix('{').filter(|_| word.is_empty() || word.ends_with("::")) {
        for name in top_names(group) {
            expand(&path, &name, found);
        }
    } else {
        found.insert(path.trim_end_matches(':').to_owned());
    }
}

/// The names at the outermost level of `a::b, c::{d, e}, f}`.
fn top_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut name) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(std::mem::take(&mut name)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                name.push(c);
            }
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
        assert_eq!(cycles("x", &graph), ["crates/x: modules use each other in a circle: chain -> ring; ring -> chain"]);
        graph.insert("chain".to_owned(), uses(&["leaf"]));
        assert!(cycles("x", &graph).is_empty());
    }

    #[test]
    fn paths_after_crate_are_read_inside_braces_too() {
        let text = "use crate::{state::{Snapshot, vpc::Vpc}, env};\n// crate::comment\nlet x = crate::page::next();";
        let names: Vec<String> = crate_paths(text).into_iter().collect();
        assert_eq!(names, ["env", "page::next", "state::Snapshot", "state::vpc::Vpc"]);
    }

    #[test]
    fn a_path_leads_to_the_deepest_file() {
        let names = BTreeSet::from(["vpc".to_owned(), "vpc::record".to_owned()]);
        assert_eq!(nearest(&names, "vpc::record::Eni").as_deref(), Some("vpc::record"));
        assert_eq!(nearest(&names, "vpc::Eni").as_deref(), Some("vpc"));
        assert_eq!(nearest(&names, "Snapshot"), None);
    }
}
