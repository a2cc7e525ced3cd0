//! `berth doctor`: what this machine lacks, with the cure.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::args::Format;
use crate::show;

#[derive(Serialize)]
struct Row {
    check: &'static str,
    ok: bool,
    found: String,
    cure: String,
}

/// Prints every check; fails when something is missing.
pub fn run(format: Format) -> Result<ExitCode> {
    let mut rows: Vec<Row> = berth_node::doctor()
        .into_iter()
        .map(|check| match check.found {
            Ok(found) => Row { check: check.name, ok: true, found, cure: String::new() },
            Err(problem) => Row { check: check.name, ok: false, found: "missing".into(), cure: problem },
        })
        .collect();
    for finding in berth_fabric::doctor::check() {
        if rows.iter().all(|row| row.check != finding.name) {
            rows.push(Row { check: finding.name, ok: finding.ok, found: finding.what, cure: finding.cure.to_owned() });
        }
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let ok = if row.ok { "ok" } else { "MISSING" };
            vec![row.check.to_owned(), ok.to_owned(), row.found.clone(), row.cure.clone()]
        })
        .collect();
    show::print(format, &rows, &["CHECK", "", "FOUND", "CURE"], &cells)?;
    Ok(if rows.iter().all(|row| row.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
