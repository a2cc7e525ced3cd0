// SPDX-License-Identifier: Apache-2.0
//! `docs/coverage.md`: the AWS operations and members that Berth supports.
//!
//! Made from the folder `operations`, from which the doors are made too, and `coverage.toml`, the fields that are
//! accepted although they have no effect yet. A field in neither place has an effect, or its call is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::gen_operations::{self, Service};

/// Writes the document; with `only_check`, fails if it is not up to date.
pub fn run(root: &Path, only_check: bool) -> Result<()> {
    let file = root.join("docs/coverage.md");
    let text = document(root)?;
    if fs::read_to_string(&file).unwrap_or_default() == text {
        return Ok(());
    }
    if only_check {
        bail!("docs/coverage.md is not up to date; run `cargo xtask gen`");
    }
    fs::create_dir_all(root.join("docs"))?;
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The keys of `coverage.toml` that are not services, with the headings of their lists.
const LISTS: [(&str, &str); 2] =
    [("differs", "Behaviour that differs from AWS on purpose"), ("not-planned", "Not planned")];

struct Field {
    field: String,
    note: String,
}

fn document(root: &Path) -> Result<String> {
    let services = gen_operations::read(&root.join("operations"))?;
    let names = |service: &Service| service.operations.keys().map(|name| format!("{}.{name}", service.name)).collect();
    let operations: Vec<String> = services.iter().flat_map(|service| -> Vec<String> { names(service) }).collect();
    let table = table(root)?;
    let fields = accepted_without_effect(&table, &operations)?;

    let mut out = String::from(
        "# Coverage\n\nMade by `cargo xtask gen` from `operations/` and `coverage.toml`. Do not edit.\n\n\
         Every operation listed here is answered in AWS's own protocol. A member of a request either acts, is refused \
         with AWS's error, or stands in the last column of this page's second table.\n\n## Operations\n\n",
    );
    for service in &services {
        writeln!(out, "### {} ({})\n", service.name, service.operations.len())?;
        for (name, row) in &service.operations {
            match &row.refuses {
                Some(reason) => writeln!(out, "- {name} (refused: {reason})")?,
                None => writeln!(out, "- {name}")?,
            }
        }
        writeln!(out)?;
    }
    writeln!(out, "## Accepted without effect\n\n| operation | member | what happens |\n|---|---|---|")?;
    for (operation, fields) in &fields {
        for Field { field, note } in fields {
            writeln!(out, "| {operation} | `{field}` | {note} |")?;
        }
    }
    for (key, heading) in LISTS {
        writeln!(out, "\n## {heading}\n")?;
        for (what, why) in table.get(key).and_then(toml::Value::as_table).into_iter().flatten() {
            writeln!(out, "- {what}: {}", why.as_str().with_context(|| format!("{what}: the text is missing"))?)?;
        }
    }
    Ok(out)
}

fn table(root: &Path) -> Result<toml::Table> {
    let file = root.join("coverage.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse().context("coverage.toml is not TOML")
}

/// The rows of `coverage.toml` by operation.
fn accepted_without_effect(table: &toml::Table, operations: &[String]) -> Result<BTreeMap<String, Vec<Field>>> {
    let mut found: BTreeMap<String, Vec<Field>> = BTreeMap::new();
    for (service, members) in table.iter().filter(|(key, _)| LISTS.iter().all(|(list, _)| list != key)) {
        for (name, fields) in members.as_table().with_context(|| format!("[{service}] is not a table"))? {
            let operation = format!("{service}.{name}");
            if !operations.contains(&operation) {
                bail!("coverage.toml names {operation}, which operations/{service}.toml does not");
            }
            for (field, note) in fields.as_table().with_context(|| format!("[{operation}] is not a table"))? {
                let note = note.as_str().with_context(|| format!("{operation} {field}: the note is not text"))?;
                found.entry(operation.clone()).or_default().push(Field { field: field.clone(), note: note.to_owned() });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn the_coverage_document_is_up_to_date() {
        super::run(crate::checkout::repository(), true).unwrap();
    }
}
