// SPDX-License-Identifier: Apache-2.0
//! The modules of a crate and their uses of each other.
//!
//! A module is a file. A path leads to the file that defines its last name, as far as modules and imports show:
//! `crate::ecs::Task` leads to `ecs/task.rs` if `ecs/mod.rs` says `pub use task::Task`, and to `ecs/mod.rs` if the
//! name is defined there. A glob names everything in its module. `crate`, `$crate`, `self`, `super`, imported names and
//! child modules are followed, in imports, expressions and types. Not seen: methods and traits found by type alone.
//!
//! The own file of a folder (`mod.rs`, `lib.rs`, `main.rs`, `x.rs` beside `x/`) is a member of the folder like its other
//! files, called [`OWN_FILE`]. Its `mod` items, and each `pub use` of an item inside the folder that the file itself
//! does not name otherwise, are not uses. Every other name in it, and every name of an item it defines, is a use. A
//! file used by its children therefore must not use them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path as FilePath;

use anyhow::Result;

use crate::names::{self, Names, Path};
use crate::sources::{is_test_file, sources};

/// Name of a folder's own file among the folder's members.
pub const OWN_FILE: &str = "mod";

/// The segments of a module's path; empty for the root.
pub type Module = Vec<String>;

/// A use of one file by another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The file with the use.
    pub from: Module,
    /// The file that it names.
    pub to: Module,
    /// The path as written, with its line.
    pub written: String,
}

/// The modules of a crate.
pub struct Modules {
    by_path: BTreeMap<Module, Names>,
}

impl Modules {
    /// Reads the modules below `src`, from `lib.rs` (or `main.rs`); programs in `src/bin` are roots of their own, and
    /// are not read.
    pub fn read(src: &FilePath) -> Result<Modules> {
        let mut texts = BTreeMap::new();
        let has_library = src.join("lib.rs").is_file();
        for file in sources(src)?.iter().filter(|file| !is_test_file(file)) {
            if let Some(module) = module_of(src, file, has_library) {
                texts.insert(module, fs::read_to_string(file)?);
            }
        }
        Ok(Modules::of(&texts))
    }

    /// Modules of these texts, without those that are declared for tests alone.
    pub fn of(texts: &BTreeMap<Module, String>) -> Modules {
        let mut by_path: BTreeMap<Module, Names> =
            texts.iter().map(|(module, text)| (module.clone(), names::read(text))).collect();
        let for_tests: Vec<Module> = by_path
            .iter()
            .flat_map(|(module, names)| names.test_modules.iter().map(|name| child(module, name)))
            .collect();
        by_path.retain(|module, _| !for_tests.iter().any(|test| module.starts_with(test)));
        Modules { by_path }
    }

    /// Every use of one file by another.
    pub fn uses(&self) -> BTreeSet<Use> {
        let mut found = BTreeSet::new();
        for (module, names) in &self.by_path {
            let mut add = |targets: BTreeSet<Module>, written: String| {
                for to in targets.into_iter().filter(|to| to != module) {
                    found.insert(Use { from: module.clone(), to, written: written.clone() });
                }
            };
            for import in &names.imports {
                let gathers = |to: &Module| import.is_public && !import.is_used && to.starts_with(module);
                let targets = match self.absolute(module, &import.path) {
                    Some(path) if import.name == "*" => self.everything_in(&path),
                    Some(path) => self.resolved(&path, &mut BTreeSet::new()).into_iter().collect(),
                    None => BTreeSet::new(),
                };
                let targets = targets.into_iter().filter(|to| !gathers(to)).collect();
                add(targets, written(&import.path));
            }
            for path in &names.paths {
                let target = self.absolute(module, path).and_then(|path| self.resolved(&path, &mut BTreeSet::new()));
                add(target.into_iter().collect(), written(path));
            }
            for (name, line) in names.calls.iter().filter(|(name, _)| !names.macros.contains(name)) {
                add(self.macro_of(name).into_iter().collect(), format!("{line}: {name}!"));
            }
        }
        found
    }

    /// The segments from the root of the crate; `None` if the path leads out of the crate.
    fn absolute(&self, module: &Module, path: &Path) -> Option<Vec<String>> {
        let (first, rest) = path.segments.split_first()?;
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" | "super" => {
                let mut base: Vec<String> = module.iter().chain(&path.within).cloned().collect();
                let mut rest = path.segments.as_slice();
                while let Some((word, left)) =
                    rest.split_first().filter(|(word, _)| *word == "self" || *word == "super")
                {
                    if word == "super" {
                        base.pop();
                    }
                    rest = left;
                }
                base.extend_from_slice(rest);
                return Some(base);
            }
            _ => {}
        }
        if self.by_path.contains_key(&child(module, first)) {
            return Some(child(module, first).into_iter().chain(rest.iter().cloned()).collect());
        }
        // An import of the file, unless the path is that import itself.
        let imports = &self.by_path.get(module)?.imports;
        let import = imports.iter().find(|import| import.name == *first && import.path.segments[0] != *first)?;
        Some(self.absolute(module, &import.path)?.into_iter().chain(rest.iter().cloned()).collect())
    }

    /// The file that defines the item of a path from the root, as far as modules and imports show.
    fn resolved(&self, path: &[String], seen: &mut BTreeSet<Vec<String>>) -> Option<Module> {
        if !seen.insert(path.to_vec()) {
            return None;
        }
        let mut module = Module::new();
        for (at, segment) in path.iter().enumerate() {
            let next = child(&module, segment);
            if self.by_path.contains_key(&next) {
                module = next;
                continue;
            }
            let rest = &path[at + 1..];
            return self.through(&module, segment, rest, seen).or(Some(module));
        }
        Some(module)
    }

    /// Follows a name through the imports of a module, and through macros of the root.
    fn through(
        &self,
        module: &Module,
        name: &str,
        rest: &[String],
        seen: &mut BTreeSet<Vec<String>>,
    ) -> Option<Module> {
        let names = self.by_path.get(module)?;
        if names.items.contains(name) {
            return None;
        }
        if let Some(import) = names.imports.iter().find(|import| import.name == name) {
            let path: Vec<String> =
                self.absolute(module, &import.path)?.into_iter().chain(rest.iter().cloned()).collect();
            return self.resolved(&path, seen);
        }
        for import in names.imports.iter().filter(|import| import.name == "*") {
            let Some(glob) = self.absolute(module, &import.path) else { continue };
            let source = self.resolved(&glob, seen)?;
            let is_there =
                |names: &Names| names.items.contains(name) || names.imports.iter().any(|import| import.name == name);
            if self.by_path.get(&source).is_some_and(is_there) {
                return self.through(&source, name, rest, seen).or(Some(source));
            }
        }
        if module.is_empty() { self.macro_of(name) } else { None }
    }

    fn macro_of(&self, name: &str) -> Option<Module> {
        self.by_path.iter().find(|(_, names)| names.macros.contains(name)).map(|(module, _)| module.clone())
    }

    /// The files behind a glob: the module's own, and those of everything it imports.
    fn everything_in(&self, path: &[String]) -> BTreeSet<Module> {
        let mut found = BTreeSet::new();
        let Some(module) = self.resolved(path, &mut BTreeSet::new()) else { return found };
        if let Some(names) = self.by_path.get(&module) {
            for import in &names.imports {
                let path = self.absolute(&module, &import.path);
                found.extend(path.and_then(|path| self.resolved(&path, &mut BTreeSet::new())));
            }
        }
        found.insert(module);
        found
    }
}

fn written(path: &Path) -> String {
    format!("{}: {}", path.line, path.segments.join("::"))
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// `[a, b]` for `src/a/b.rs` and for `src/a/b/mod.rs`; `None` for roots of other programs.
fn module_of(src: &FilePath, file: &FilePath, has_library: bool) -> Option<Module> {
    let path = file.strip_prefix(src).ok()?.with_extension("");
    let mut parts: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let root = if has_library { "lib" } else { "main" };
    if parts == [root] {
        return Some(Module::new());
    }
    if matches!(parts.first()?.as_str(), "lib" | "main" | "bin") {
        return None;
    }
    if parts.last().is_some_and(|part| part == "mod") {
        parts.pop();
    }
    Some(parts)
}

/// The uses between the members of each folder, each with one example.
pub fn by_folder(uses: &BTreeSet<Use>) -> BTreeMap<Module, BTreeMap<(String, String), &Use>> {
    let mut folders: BTreeMap<Module, BTreeMap<(String, String), &Use>> = BTreeMap::new();
    for one in uses {
        let common = one.from.iter().zip(&one.to).take_while(|(a, b)| a == b).count();
        let member = |module: &Module| module.get(common).map_or_else(|| OWN_FILE.to_owned(), Clone::clone);
        let edge = (member(&one.from), member(&one.to));
        folders.entry(one.from[..common].to_vec()).or_default().entry(edge).or_insert(one);
    }
    folders
}
