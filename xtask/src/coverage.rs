//! `docs/coverage.md`: what of the AWS APIs is answered here.
//!
//! Made of two tables: `operations.toml`, which also drives dispatch, and `coverage.toml`, the fields that are accepted
//! although they have no effect yet. A field that is in neither place acts, or the call is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::{gen_operations, repository};

/// Writes the document, or with `only_check` fails if it is not up to date.
pub fn run(only_check: bool) -> Result<()> {
    let file = repository().join("docs/coverage.md");
    let text = document()?;
    if fs::read_to_string(&file).unwrap_or_default() == text {
        return Ok(());
    }
    if only_check {
        bail!("docs/coverage.md is not up to date; run `cargo xtask gen`");
    }
    fs::create_dir_all(repository().join("docs"))?;
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

struct Field {
    field: String,
    note: String,
}

fn document() -> Result<String> {
    let rows = gen_operations::read(&repository().join("operations.toml"))?;
    let operations: Vec<String> = rows.iter().map(|row| format!("{}.{}", row.service, row.name)).collect();
    let fields = accepted_without_effect(&operations)?;

    let mut out = String::from(
        "# Coverage\n\nMade by `cargo xtask gen` from `operations.toml` and `coverage.toml`. Do not edit.\n\n\
         Every operation listed here is answered in AWS's own protocol. A member of a request either acts, is refused \
         with AWS's error, or stands in the last column of this page's second table.\n\n## Operations\n\n",
    );
    let mut services: BTreeMap<&str, Vec<&gen_operations::Row>> = BTreeMap::new();
    for row in &rows {
        services.entry(&row.service).or_default().push(row);
    }
    for (service, rows) in &services {
        writeln!(out, "### {service} ({})\n", rows.len())?;
        for row in rows {
            match &row.refuses {
                Some(reason) => writeln!(out, "- {} (refused: {reason})", row.name)?,
                None => writeln!(out, "- {}", row.name)?,
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
    Ok(out)
}

/// The rows of `coverage.toml` by operation.
fn accepted_without_effect(operations: &[String]) -> Result<BTreeMap<String, Vec<Field>>> {
    let file = repository().join("coverage.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let table: toml::Table = text.parse().context("coverage.toml is not TOML")?;
    let mut found: BTreeMap<String, Vec<Field>> = BTreeMap::new();
    for (service, members) in &table {
        for (name, fields) in members.as_table().with_context(|| format!("[{service}] is not a table"))? {
            let operation = format!("{service}.{name}");
            if !operations.contains(&operation) {
                bail!("coverage.toml names {operation}, which operations.toml does not");
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
        super::run(true).unwrap();
    }
}
