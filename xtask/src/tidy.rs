// SPDX-License-Identifier: Apache-2.0
//! Rules that no compiler checks: dependencies between crates, words forbidden in pure crates, names and sizes of
//! files, modules without cycles.
//!
//! Everything is read from `Cargo.toml` files and sources as text; a finding names file and rule. The dependencies
//! between crates are in `edges`, the cycles of modules in `knots`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::edges::{self, Crate};
use crate::modules::Modules;
use crate::sources::{is_test_file, relative, sources, without_tests};
use crate::{knots, licences, unbounded};

/// Words forbidden in a pure crate.
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

/// File names that name no feature.
const EMPTY_NAMES: &[&str] = &["utils.rs", "util.rs", "helpers.rs", "common.rs", "manager.rs", "service.rs", "misc.rs"];

/// Attribute required in the root of a pure crate; `clippy.toml` lists the methods.
const DENIES_CLOCKS: &str = "#![deny(clippy::disallowed_methods)]";

const LINES_MAX: usize = 900;

/// Beginning of one of the first two lines of a file written by `cargo xtask gen`; such a file may be of any length.
const GENERATED: &str = "// @generated";

/// Fails with all findings, one line each.
pub fn check(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    if findings.is_empty() { Ok(()) } else { bail!("tidy rules are broken:\n  {}", findings.join("\n  ")) }
}

fn findings(root: &Path) -> Result<Vec<String>> {
    let read = |file: &str| fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"));
    let crates = edges::crates(root)?;
    let table = edges::table(&read(edges::TABLE)?)?;
    let mut found = edges::findings(&crates, &table);
    let mut all_knots = Vec::new();
    for krate in &crates {
        let is_pure = table.get(&krate.name).is_some_and(edges::Row::is_pure);
        found.extend(findings_in(root, krate, is_pure)?);
        all_knots.extend(knots::knots(&krate.name, &Modules::read(&krate.folder.join("src"))?));
    }
    found.extend(licences::findings(root)?);
    found.extend(knots::differences(&all_knots, &knots::read(&read(knots::LIST)?)?));
    Ok(found)
}

fn findings_in(root: &Path, krate: &Crate, is_pure: bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if is_pure && !fs::read_to_string(krate.folder.join("src/lib.rs"))?.contains(DENIES_CLOCKS) {
        found.push(format!("{} is pure; its lib.rs must say {DENIES_CLOCKS}", krate.name));
    }
    for file in sources(&krate.folder)? {
        let text = fs::read_to_string(&file)?;
        let shown = relative(root, &file);
        found.extend(file_findings(&shown, &text));
        if is_test_file(&file) || !file.starts_with(krate.folder.join("src")) {
            continue;
        }
        if is_pure {
            found.extend(impure_words(&shown, &text));
        }
        if unbounded::CRATES.contains(&krate.name.as_str()) {
            found.extend(unbounded::findings(&shown, &without_tests(&text)));
        }
    }
    Ok(found)
}

fn impure_words(shown: &str, text: &str) -> Vec<String> {
    let text = without_tests(text);
    let words = IMPURE_WORDS.iter().filter(|word| text.contains(**word));
    words.map(|word| format!("{shown}: {word} has no place in a pure crate")).collect()
}

fn file_findings(shown: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let path = Path::new(shown);
    if path.file_name().is_some_and(|name| EMPTY_NAMES.contains(&name.to_string_lossy().as_ref())) {
        found.push(format!("{shown}: the name describes no feature; rename the file"));
    }
    if text.lines().take(2).any(|line| line.starts_with(GENERATED)) {
        return found;
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{shown}: {lines} lines; split it by feature (at most {LINES_MAX})"));
    }
    let is_licence = |line: &&str| line.starts_with("// SPDX-License-Identifier:") || line.is_empty();
    let begins_with_header = text.lines().find(|line| !is_licence(line)).is_some_and(|line| line.starts_with("//!"));
    if !begins_with_header && !is_test_file(path) {
        found.push(format!("{shown}: does not begin with a description of the file (`//! ...`)"));
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        check(crate::checkout::repository()).unwrap();
    }

    #[test]
    fn generated_files_may_be_long_and_others_say_what_they_are() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert!(file_findings("a.rs", "// SPDX-License-Identifier: Apache-2.0\n\n//! Words.\n").is_empty());
        assert!(file_findings("a.rs", &format!("{GENERATED}\n{long}")).is_empty());
        assert_eq!(file_findings("a.rs", &long).len(), 2);
        assert_eq!(
            file_findings("a/utils.rs", "//! Words.\n"),
            ["a/utils.rs: the name describes no feature; rename the file"]
        );
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found_outside_its_tests() {
        let text = "fn f() { Instant::now(); }\n#[cfg(test)]\nmod tests { std::fs::read(x) }";
        assert_eq!(impure_words("a.rs", text), ["a.rs: Instant::now has no place in a pure crate"]);
    }
}
