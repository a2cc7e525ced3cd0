// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask soak service`: a new service of three operations needs its own files, and one row in each of [`ROWS`].
//!
//! `target/soak/service/tree` becomes a copy of the checkout. It has a target folder of its own beside it, because cargo
//! gives crates of the copy and of the checkout the same names there. The copy gets a made-up service, `parrot`: its own
//! files, from `xtask/soak/service/files`, and the rows. The files are generated, the copy
//! passes the checks of its structure, compiles, and passes the tests of the service and of the doors. A file that a
//! person has to edit beyond the rows is a failure: either of the compiler, or because the list here grew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::checkout::repository;
use crate::gen_model::data_folder;
use crate::suites::run as run_command;
use crate::{generated, tidy};

/// A file that lists services, and the rows of the new one.
struct Rows {
    file: &'static str,
    /// Lines that the rows add or change.
    lines: usize,
    edits: &'static [Edit],
}

enum Edit {
    /// New lines before the first line that begins with the first text.
    Before(&'static str, &'static str),
    /// More text after the first text, with which a line begins.
    Inside(&'static str, &'static str),
}

/// Every file that a person edits for a new service, besides the service's own files.
const ROWS: &[Rows] = &[
    // The list of the workspace: the member, and the name under which others depend on it.
    Rows {
        file: "Cargo.toml",
        lines: 2,
        edits: &[
            Edit::Before("    \"crates/domain/plan\",", "    \"crates/domain/parrot\","),
            Edit::Before("berth-plan = {", "berth-parrot = { path = \"crates/domain/parrot\" }"),
        ],
    },
    // The table of edges: the crate's row, and the edge from the server to it.
    Rows {
        file: "xtask/edges.toml",
        lines: 2,
        edits: &[
            Edit::Before(
                "berth-plan = {",
                "berth-parrot = { kind = \"pure\", uses = [\"berth-shapes\", \"berth-state\"], external = [] }",
            ),
            Edit::Inside("berth-control = { kind = \"acting\", uses = [", "\"berth-parrot\", "),
        ],
    },
    // The row of dispatch, and the dependency on the crate that it names.
    Rows {
        file: "crates/control/Cargo.toml",
        lines: 1,
        edits: &[Edit::Before("berth-plan.workspace", "berth-parrot.workspace = true")],
    },
    Rows {
        file: "crates/control/src/front/dispatch.rs",
        lines: 1,
        edits: &[Edit::Before("    berth_vpc::door,", "    berth_parrot::door,")],
    },
    // The row of the records, with its comment, and the module that it names.
    Rows {
        file: "crates/domain/state/src/lib.rs",
        lines: 1,
        edits: &[Edit::Before("pub mod records;", "pub mod parrot;")],
    },
    Rows {
        file: "crates/domain/state/src/snapshot.rs",
        lines: 2,
        edits: &[Edit::Before("        /// EC2 networking.", "        /// Parrots.\n        Parrot => parrot,")],
    },
];

/// The service's own files, by their paths in the repository.
const OWN_FILES: &str = "xtask/soak/service/files";
/// The folder of the service's model, which is like botocore's folder of models.
const MODELS: &str = "xtask/soak/service/model";

/// Words in the first lines of files that a program writes: the generator, and cargo its `Cargo.lock`.
const GENERATED: [&str; 2] = ["@generated", "Made by `cargo xtask gen`"];

/// Copies the checkout, adds the service, compiles, and compares.
pub fn run() -> Result<()> {
    let root = repository();
    let tree = root.join("target/soak/service/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    for file in listed(root)? {
        copy(&root.join(&file), &tree.join(&file))?;
    }
    let before = contents(&tree)?;
    let own = contents(&root.join(OWN_FILES))?;
    for file in own.keys() {
        ensure!(!before.contains_key(file), "{} is a file of the repository already", file.display());
        copy(&root.join(OWN_FILES).join(file), &tree.join(file))?;
    }
    for rows in ROWS {
        let path = tree.join(rows.file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, edited(&text, rows.edits).with_context(|| format!("rows of {}", rows.file))?)?;
    }
    generated::put_all(&tree, &[root.join(MODELS), data_folder(root)?], false)?;
    cargo_in(&tree, &["check", "--quiet", "--workspace"])?;
    tidy::check(&tree)?;
    cargo_in(&tree, &["test", "--quiet", "--package", "berth-parrot", "--lib"])?;
    let tests = ["every_operation_is_behind_one_door", "the_parrot_says_a_word_that_it_knows"];
    cargo_in(&tree, &[&["test", "--quiet", "--package", "berth-control", "--lib", "--"], &tests[..]].concat())?;

    let odd = unexpected(&before, &own, &contents(&tree)?);
    ensure!(odd.is_empty(), "a new service needs edits beyond its rows:\n  {}", odd.join("\n  "));
    let lines: usize = ROWS.iter().map(|rows| rows.lines).sum();
    println!(
        "a service of three operations: its own files, and {lines} lines in {} files that list services",
        ROWS.len()
    );
    Ok(())
}

/// The files that git knows, and those not yet added, without the ignored ones.
fn listed(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("a name of a file is not UTF-8")?;
    Ok(text.split_terminator('\0').map(PathBuf::from).filter(|file| root.join(file).is_file()).collect())
}

/// The files below a folder with their contents, by their paths from there.
type Contents = BTreeMap<PathBuf, Vec<u8>>;

fn contents(folder: &Path) -> Result<Contents> {
    let (mut found, mut next) = (Contents::new(), vec![folder.to_owned()]);
    while let Some(dir) = next.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                next.push(path);
            } else if path.is_file() {
                found.insert(path.strip_prefix(folder)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Copies a file with its mode and its time of change, from which cargo knows that it need not compile it again; a
/// link stays a link.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = || -> std::io::Result<()> {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        if from.is_symlink() {
            return symlink(fs::read_link(from)?, to);
        }
        fs::copy(from, to)?;
        fs::File::options().append(true).open(to)?.set_modified(fs::metadata(from)?.modified()?)
    };
    copied().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn edited(text: &str, edits: &[Edit]) -> Result<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for edit in edits {
        let (Edit::Before(anchor, added) | Edit::Inside(anchor, added)) = edit;
        let at = lines.iter().position(|line| line.starts_with(anchor));
        let at = at.with_context(|| format!("no line begins with {anchor:?}"))?;
        match edit {
            Edit::Before(..) => lines.insert(at, (*added).to_owned()),
            Edit::Inside(..) => lines[at].insert_str(anchor.len(), added),
        }
    }
    Ok(lines.join("\n") + "\n")
}

fn cargo_in(tree: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(args).current_dir(tree).env("CARGO_TARGET_DIR", repository().join("target/soak/service/build"));
    // The copy is new each time; the files for the next compilation would only take up space.
    command.env("CARGO_INCREMENTAL", "0");
    run_command(&mut command)
}

/// Files of the copy that a person would have had to edit or write, and that are neither rows nor the service's own.
fn unexpected(before: &Contents, own: &Contents, after: &Contents) -> Vec<String> {
    let mut odd = Vec::new();
    for (file, now) in after.iter().filter(|(file, now)| before.get(*file) != Some(now) && !own.contains_key(*file)) {
        let rows = ROWS.iter().find(|rows| Path::new(rows.file) == file);
        let lines = added_lines(before.get(file).map_or(&[][..], Vec::as_slice), now);
        let allowed = rows.map_or(0, |rows| rows.lines);
        if lines != allowed && !is_generated(now) {
            odd.push(format!("{}: {lines} new lines instead of {allowed}", file.display()));
        }
    }
    odd.extend(before.keys().filter(|file| !after.contains_key(*file)).map(|file| format!("{}: gone", file.display())));
    odd
}

fn is_generated(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let mut first = text.lines().take(3);
    first.any(|line| GENERATED.iter().any(|words| line.contains(words)))
}

/// The number of lines that were not there before.
fn added_lines(before: &[u8], now: &[u8]) -> usize {
    let mut known: BTreeMap<&[u8], usize> = BTreeMap::new();
    for line in before.split(|byte| *byte == b'\n') {
        *known.entry(line).or_default() += 1;
    }
    let mut added = 0;
    for line in now.split(|byte| *byte == b'\n') {
        match known.get_mut(line) {
            Some(left) if *left > 0 => *left -= 1,
            _ => added += 1,
        }
    }
    added
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_are_put_before_a_line_and_inside_one() {
        let text = "a = [x]\nb\n";
        let edits = [Edit::Before("b", "new"), Edit::Inside("a = [", "w, ")];
        assert_eq!(edited(text, &edits).unwrap(), "a = [w, x]\nnew\nb\n");
        assert!(edited(text, &[Edit::Before("c", "new")]).is_err());
    }

    #[test]
    fn an_edit_beyond_the_rows_is_found_unless_a_program_made_it() {
        let files = |list: &[(&str, &str)]| -> Contents {
            list.iter().map(|(file, text)| (PathBuf::from(*file), text.as_bytes().to_vec())).collect()
        };
        let dispatch = "crates/control/src/front/dispatch.rs";
        let before = files(&[(dispatch, "a\n"), ("door.rs", "// @generated\n"), ("match.rs", "x\n")]);
        let own = files(&[("parrot.rs", "")]);
        let rows = |dispatch_now: &str, match_now: &str| {
            let generated = "// @generated\nrow\n";
            let after = [(dispatch, dispatch_now), ("door.rs", generated), ("match.rs", match_now), ("parrot.rs", "p")];
            unexpected(&before, &own, &files(&after))
        };
        assert_eq!(rows("a\nrow\n", "x\n"), [""; 0]);
        assert_eq!(rows("a\nrow\n", "y\n"), ["match.rs: 1 new lines instead of 0"]);
        assert_eq!(rows("a\nrow\nrow\n", "x\n"), [format!("{dispatch}: 2 new lines instead of 1")]);
    }
}
