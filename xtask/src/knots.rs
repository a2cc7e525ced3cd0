// SPDX-License-Identifier: Apache-2.0
//! Knots: members of a folder that use each other in a cycle, directly or through the files inside them.
//!
//! At each folder of each crate, member `a` uses member `b` when a file of `a` names a file of `b`. Members that reach
//! each other are one knot. `xtask/knots.txt` lists the knots that are not cut yet, one a line, and may only get
//! shorter: a knot that is not listed fails the check, and so does a line that lists more than the sources contain.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};

use crate::modules::{Modules, by_folder};

/// The list, from the root of the checkout.
pub const LIST: &str = "xtask/knots.txt";

/// Members of one folder that use each other in a cycle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Knot {
    /// The package.
    pub package: String,
    /// The folder, from the package's folder.
    pub folder: String,
    /// Names of files without `.rs`, and of folders; `mod` is the folder's own file.
    pub members: BTreeSet<String>,
}

impl fmt::Display for Knot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:", self.package, self.folder)?;
        self.members.iter().try_for_each(|member| write!(f, " {member}"))
    }
}

/// A knot in the sources, with one example of each use inside it.
pub struct Found {
    /// The knot.
    pub knot: Knot,
    /// Such as `a -> b (crate::a:7: super::b::C)`.
    pub uses: Vec<String>,
}

/// Every knot of a package.
pub fn knots(package: &str, modules: &Modules) -> Vec<Found> {
    let uses = modules.uses();
    let mut found = Vec::new();
    for (folder, edges) in by_folder(&uses) {
        let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in edges.keys() {
            graph.entry(from).or_default().insert(to);
        }
        for members in circles(&graph) {
            let inside = edges.iter().filter(|((from, to), _)| members.contains(from) && members.contains(to));
            let uses = inside
                .map(|((from, to), one)| format!("{from} -> {to} ({}:{})", shown(&one.from), one.written))
                .collect();
            let folder = [&["src".to_owned()], folder.as_slice()].concat().join("/");
            found.push(Found { knot: Knot { package: package.to_owned(), folder, members }, uses });
        }
    }
    found
}

fn shown(module: &[String]) -> String {
    [&["crate".to_owned()], module].concat().join("::")
}

/// The sets of at least two members that reach each other.
fn circles(graph: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = graph.keys().map(|&from| (from, reached(graph, from))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (from, to) in reach.iter().filter(|(from, to)| to.contains(*from)) {
        let circle: BTreeSet<String> = to
            .iter()
            .filter(|other| reach.get(*other).is_some_and(|back| back.contains(from)))
            .map(|name| (*name).to_owned())
            .collect();
        if !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

fn reached<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = graph.get(from).into_iter().flatten().copied().collect();
    while let Some(name) = next.pop() {
        if reached.insert(name) {
            next.extend(graph.get(name).into_iter().flatten());
        }
    }
    reached
}

/// Reads the list, without empty lines and comments (`#`).
pub fn read(text: &str) -> Result<Vec<Knot>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line_of(line).with_context(|| format!("{LIST}: not `PACKAGE FOLDER: MEMBERS`: {line}")))
        .collect()
}

fn line_of(line: &str) -> Option<Knot> {
    let (place, members) = line.split_once(':')?;
    let (package, folder) = place.split_once(' ')?;
    let members = members.split_whitespace().map(str::to_owned).collect();
    Some(Knot { package: package.to_owned(), folder: folder.to_owned(), members })
}

/// Differences between the knots and the list, each with its remedy.
pub fn differences(found: &[Found], listed: &[Knot]) -> Vec<String> {
    let mut differences = Vec::new();
    let is_part = |knot: &Knot, line: &Knot| {
        knot.package == line.package && knot.folder == line.folder && knot.members.is_subset(&line.members)
    };
    for one in found.iter().filter(|one| !listed.iter().any(|line| is_part(&one.knot, line))) {
        differences.push(format!(
            "a knot; cut one of its uses:\n    {}\n      {}",
            one.knot,
            one.uses.join("\n      ")
        ));
    }
    let overlaps = |knot: &Knot, line: &Knot| {
        knot.package == line.package && knot.folder == line.folder && !knot.members.is_disjoint(&line.members)
    };
    for line in listed {
        let parts: Vec<&Knot> = found.iter().map(|one| &one.knot).filter(|knot| is_part(knot, line)).collect();
        match parts.as_slice() {
            // A larger knot is reported above.
            [] if found.iter().any(|one| overlaps(&one.knot, line)) => {}
            [] => differences.push(format!("{LIST}: this knot is cut; remove its line: {line}")),
            [knot] if *knot == line => {}
            parts => {
                let parts: Vec<String> = parts.iter().map(|knot| format!("\n    {knot}")).collect();
                differences.push(format!(
                    "{LIST}: this knot got smaller; shorten its line\n    {line}\n  to{}",
                    parts.concat()
                ));
            }
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The knots of a crate `x` with these files, as lines of the list.
    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        found(files).iter().map(|one| one.knot.to_string()).collect()
    }

    fn found(files: &[(&str, &str)]) -> Vec<Found> {
        let texts = files.iter().map(|(path, text)| {
            let module = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            (module, (*text).to_owned())
        });
        knots("x", &Modules::of(&texts.collect()))
    }

    #[test]
    fn a_circle_at_the_root_is_found_and_what_leads_to_it_is_not_blamed() {
        let files = [
            ("", "mod door; mod ring; mod chain; mod leaf;"),
            ("door", "use crate::ring::R;"),
            ("ring", "use crate::chain::C;"),
            ("chain", "use crate::{ring::R, leaf::L};"),
            ("leaf", ""),
        ];
        assert_eq!(lines(&files), ["x src: chain ring"]);
        let uses = &found(&files)[0].uses;
        assert_eq!(
            uses,
            &["chain -> ring (crate::chain:1: crate::ring::R)", "ring -> chain (crate::ring:1: crate::chain::C)"]
        );
    }

    #[test]
    fn a_circle_inside_a_folder_is_found_through_super() {
        let files = [
            ("", "mod f;"),
            ("f", "mod a; mod b; mod c;"),
            ("f/a", "use super::b::B;"),
            ("f/b", "fn g() { super::c::h(); }"),
            ("f/c", "fn h(x: super::super::f::a::A) {}"),
        ];
        assert_eq!(lines(&files), ["x src/f: a b c"]);
    }

    #[test]
    fn a_circle_through_a_re_export_leads_to_the_file_that_defines() {
        let files = [
            ("", "mod f; mod g; pub use f::A;"),
            ("f", "mod a; mod b; pub use a::A; pub use b::*;"),
            ("f/a", "pub struct A; use crate::f::B;"),
            ("f/b", "pub struct B; use super::A;"),
            ("g", "use crate::A;"),
        ];
        assert_eq!(lines(&files), ["x src/f: a b"]);
    }

    #[test]
    fn an_import_of_a_module_is_followed_into_its_paths() {
        let files = [
            ("", "mod f;"),
            ("f", "pub mod a; pub mod b;"),
            ("f/a", "use crate::f; fn g() { f::b::h(); }"),
            ("f/b", "use crate::f::{self as home}; fn h() { home::a::g(); }"),
        ];
        assert_eq!(lines(&files), ["x src/f: a b"]);
    }

    #[test]
    fn circles_at_two_depths_are_two_knots() {
        let files = [
            ("", "mod f; mod g;"),
            ("f", "mod a; mod b;"),
            ("f/a", "use super::b::B; use crate::g::i::I;"),
            ("f/b", "use super::a::A;"),
            ("g", "mod i; mod j;"),
            ("g/i", ""),
            ("g/j", "use crate::f::b::B;"),
        ];
        assert_eq!(lines(&files), ["x src: f g", "x src/f: a b"]);
    }

    #[test]
    fn a_folders_own_file_gathers_freely_but_is_a_member_when_it_defines() {
        let gathering =
            [("", "mod a; mod b; pub use a::A; pub(crate) use b::B;"), ("a", "pub struct A;"), ("b", "use crate::A;")];
        assert!(lines(&gathering).is_empty());
        let defining = [("", "mod a; pub use a::A; pub struct D(A);"), ("a", "pub struct A; use crate::D;")];
        assert_eq!(lines(&defining), ["x src: a mod"]);
        let below = [("", "mod a; fn f() { a::g(); }"), ("a", "pub fn g() {}")];
        assert!(lines(&below).is_empty());
    }

    #[test]
    fn modules_for_tests_are_not_read() {
        let files = [
            ("", "mod a; #[cfg(test)] mod b;"),
            ("a", "pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; }"),
            ("b", "use crate::a::A;"),
        ];
        assert!(lines(&files).is_empty());
    }

    #[test]
    fn a_macro_by_its_bare_name_is_a_use() {
        let files =
            [("", "mod a; mod b;"), ("a", "macro_rules! m { () => { $crate::b::B } }"), ("b", "pub struct B; m!();")];
        assert_eq!(lines(&files), ["x src: a b"]);
    }

    #[test]
    fn the_list_may_only_get_shorter() {
        let two = [("", "mod a; mod b; mod c;"), ("a", "use crate::b::B;"), ("b", "use crate::a::A;"), ("c", "")];
        let differences_with = |text: &str| differences(&found(&two), &read(text).unwrap());

        assert!(differences_with("# why\n\nx src: a b\n").is_empty());
        let new = differences_with("");
        assert!(
            new[0].starts_with("a knot; cut one of its uses:\n    x src: a b\n      a -> b (crate::a:1:"),
            "{new:?}"
        );
        assert_eq!(
            differences_with("x src: a b c\n"),
            ["xtask/knots.txt: this knot got smaller; shorten its line\n    x src: a b c\n  to\n    x src: a b"]
        );
        assert_eq!(
            differences_with("x src: a b\nx src/f: d e\n"),
            ["xtask/knots.txt: this knot is cut; remove its line: x src/f: d e"]
        );
    }
}
