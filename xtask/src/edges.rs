// SPDX-License-Identifier: Apache-2.0
//! The crates of the workspace, by their manifests, and the table of their allowed dependencies: `xtask/edges.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The table, from the root of the checkout.
pub const TABLE: &str = "xtask/edges.toml";

/// A crate of the workspace.
pub struct Crate {
    /// Package name.
    pub name: String,
    /// Folder with its `Cargo.toml`.
    pub folder: PathBuf,
    /// Packages it needs to build and run, without those of its tests.
    pub dependencies: BTreeSet<String>,
}

/// Row of a crate.
#[derive(Debug)]
pub struct Row {
    /// Crates of the workspace that it may depend on.
    pub uses: BTreeSet<String>,
    /// Crates outside the workspace that a pure crate may depend on; `None` for an acting crate.
    pub external: Option<BTreeSet<String>>,
}

impl Row {
    /// True if the crate gives equal output for equal input.
    pub fn is_pure(&self) -> bool {
        self.external.is_some()
    }
}

/// Every crate of the workspace, by the `members` of the root manifest.
pub fn crates(root: &Path) -> Result<Vec<Crate>> {
    let workspace = manifest(root)?;
    let members = workspace["workspace"]["members"].as_array().context("the workspace has no members")?;
    let mut folders = BTreeSet::new();
    for member in members.iter().filter_map(toml::Value::as_str) {
        match member.strip_suffix("/*") {
            None => _ = folders.insert(root.join(member)),
            Some(parent) => {
                for entry in fs::read_dir(root.join(parent)).with_context(|| format!("cannot read {parent}"))? {
                    folders.extend(Some(entry?.path()).filter(|folder| folder.join("Cargo.toml").is_file()));
                }
            }
        }
    }
    let shared = workspace["workspace"].get("dependencies").and_then(toml::Value::as_table);
    folders.into_iter().map(|folder| crate_in(folder, shared)).collect()
}

fn crate_in(folder: PathBuf, shared: Option<&toml::Table>) -> Result<Crate> {
    let manifest = manifest(&folder)?;
    let name = manifest["package"]["name"].as_str().context("a package has no name")?.to_owned();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = [Some(&manifest)]
        .into_iter()
        .flatten()
        .chain(targets.into_iter().flat_map(|targets| targets.values().filter_map(toml::Value::as_table)));
    let dependencies = tables
        .flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")])
        .flatten()
        .filter_map(toml::Value::as_table)
        .flatten()
        .map(|(key, value)| package(key, value, shared))
        .collect();
    Ok(Crate { name, folder, dependencies })
}

/// Name of the package of a dependency; its key may be an alias.
fn package(key: &str, value: &toml::Value, shared: Option<&toml::Table>) -> String {
    let renamed = |value: &toml::Value| value.get("package").and_then(toml::Value::as_str).map(str::to_owned);
    let by_workspace = shared.and_then(|shared| shared.get(key)).and_then(renamed);
    renamed(value).or(by_workspace).unwrap_or_else(|| key.to_owned())
}

fn manifest(folder: &Path) -> Result<toml::Table> {
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", file.display()))
}

/// Reads the table.
pub fn table(text: &str) -> Result<BTreeMap<String, Row>> {
    let table: toml::Table = text.parse().with_context(|| format!("{TABLE} is not TOML"))?;
    table
        .into_iter()
        .map(|(name, row)| {
            let row = row_of(&row).with_context(|| format!("{TABLE}: the row of {name}"))?;
            Ok((name, row))
        })
        .collect()
}

fn row_of(row: &toml::Value) -> Result<Row> {
    let row = row.as_table().context("is not a table")?;
    if let Some(odd) = row.keys().find(|key| !["kind", "uses", "external"].contains(&key.as_str())) {
        bail!("has an unknown key {odd}");
    }
    let names = |key: &str| -> Result<BTreeSet<String>> {
        let names = row.get(key).and_then(toml::Value::as_array).with_context(|| format!("lacks the list {key}"))?;
        Ok(names.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
    };
    let external = match row.get("kind").and_then(toml::Value::as_str) {
        Some("pure") => Some(names("external")?),
        Some("acting") if row.contains_key("external") => bail!("lists external crates, which only a pure crate does"),
        Some("acting") => None,
        _ => bail!("has no kind: \"pure\" or \"acting\""),
    };
    Ok(Row { uses: names("uses")?, external })
}

/// Crates without a row, rows without a crate, and dependencies that no row allows.
pub fn findings(crates: &[Crate], table: &BTreeMap<String, Row>) -> Vec<String> {
    let members: BTreeSet<&str> = crates.iter().map(|krate| krate.name.as_str()).collect();
    let mut found = Vec::new();
    for name in table.iter().flat_map(|(name, row)| [name].into_iter().chain(&row.uses)) {
        if !members.contains(name.as_str()) {
            found.push(format!("{TABLE} names {name}, which is no member of the workspace"));
        }
    }
    for krate in crates {
        let name = &krate.name;
        let Some(row) = table.get(name) else {
            found.push(format!("{name} has no row in {TABLE}: add one with its kind and the crates it may depend on"));
            continue;
        };
        for other in &krate.dependencies {
            if members.contains(other.as_str()) {
                if !row.uses.contains(other) {
                    found.push(format!("{name} depends on {other}: not an edge of {TABLE}"));
                }
            } else if row.external.as_ref().is_some_and(|allowed| !allowed.contains(other)) {
                found.push(format!("{name} is pure and depends on {other}, which its row in {TABLE} does not list"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn krate(name: &str, dependencies: &[&str]) -> Crate {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        Crate { name: name.to_owned(), folder: PathBuf::new(), dependencies }
    }

    fn found(table_text: &str, crates: &[Crate]) -> Vec<String> {
        findings(crates, &table(table_text).unwrap())
    }

    #[test]
    fn a_dependency_that_is_no_edge_is_found() {
        let crates = [krate("a", &["b", "serde"]), krate("b", &["tokio"])];
        let table = "a = { kind = 'acting', uses = [] }\nb = { kind = 'acting', uses = [] }";
        assert_eq!(found(table, &crates), ["a depends on b: not an edge of xtask/edges.toml"]);
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let table = "a = { kind = 'acting', uses = ['c'] }\nd = { kind = 'acting', uses = [] }";
        assert_eq!(
            found(table, &[krate("a", &[]), krate("b", &[])]),
            [
                "xtask/edges.toml names c, which is no member of the workspace",
                "xtask/edges.toml names d, which is no member of the workspace",
                "b has no row in xtask/edges.toml: add one with its kind and the crates it may depend on",
            ]
        );
    }

    #[test]
    fn a_pure_crate_depends_on_what_its_row_lists_alone() {
        let table = "a = { kind = 'pure', uses = ['b'], external = ['serde'] }\nb = { kind = 'acting', uses = [] }";
        assert_eq!(
            found(table, &[krate("a", &["b", "serde", "rand"]), krate("b", &["rand"])]),
            ["a is pure and depends on rand, which its row in xtask/edges.toml does not list"]
        );
    }

    #[test]
    fn a_row_says_its_kind() {
        let error = |row: &str| format!("{:#}", table(row).unwrap_err());
        assert!(error("a = { uses = [] }").contains("the row of a: has no kind"), "{}", error("a = { uses = [] }"));
        assert!(error("a = { kind = 'pure', uses = [] }").contains("lacks the list external"));
        assert!(error("a = { kind = 'acting', uses = [], x = 1 }").contains("has an unknown key x"));
    }

    #[test]
    fn members_are_read_from_manifests_wherever_they_are() {
        let root = std::env::temp_dir().join(format!("berth-edges-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write(
            "Cargo.toml",
            "[workspace]\nmembers = ['tools', 'rooms/deep/one', 'flat/*']\n[workspace.dependencies]\ns = { package = 'serde' }",
        );
        write("tools/Cargo.toml", "[package]\nname = 'tools'\n[dev-dependencies]\nfree = '1'");
        write(
            "rooms/deep/one/Cargo.toml",
            "[package]\nname = 'one'\n[dependencies]\ns.workspace = true\n[build-dependencies]\ncc = '1'\n\
             [target.'cfg(unix)'.dependencies]\nnix = '1'",
        );
        write("flat/two/Cargo.toml", "[package]\nname = 'two'");
        write("flat/notes/README.md", "");
        let crates = crates(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let shown: Vec<String> =
            crates.iter().map(|krate| format!("{} {:?}", krate.name, krate.dependencies)).collect();
        assert_eq!(shown, ["two {}", r#"one {"cc", "nix", "serde"}"#, "tools {}"]);
    }
}
