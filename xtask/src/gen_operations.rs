//! `operations.toml`, and the generated table and dispatch macro made from it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::gen_model::{Model, required, shape_name};
use crate::gen_names::capitalised;
use crate::gen_shapes::HEADER;

/// One row of `operations.toml`.
pub struct Row {
    /// The service, such as `ecs`.
    pub service: String,
    /// The operation, such as `RunTask`.
    pub name: String,
    action: String,
    also: Vec<String>,
    handler: String,
    since: String,
    rate: Option<String>,
    /// Why the operation answers with an error, whatever it is asked; it acts when absent.
    pub refuses: Option<String>,
}

impl Row {
    /// The variant of `OperationId`, such as `EcsRunTask`.
    pub fn variant(&self) -> String {
        format!("{}{}", capitalised(&self.service), self.name)
    }
}

/// Reads the table; rows come out by service, then by name.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let table: toml::Table = text.parse().with_context(|| format!("{} is not TOML", path.display()))?;
    let mut rows = Vec::new();
    for (service, operations) in &table {
        let operations = operations.as_table().with_context(|| format!("{service} is not a table"))?;
        for (name, row) in operations {
            rows.push(row_of(service, name, row).with_context(|| format!("row [{service}.{name}]"))?);
        }
    }
    Ok(rows)
}

fn row_of(service: &str, name: &str, row: &toml::Value) -> Result<Row> {
    let row = row.as_table().context("is not a table")?;
    if let Some(odd) =
        row.keys().find(|key| !["action", "also", "handler", "rate", "refuses", "since"].contains(&key.as_str()))
    {
        bail!("has an unknown key {odd}");
    }
    let text = |key: &str| {
        row.get(key).and_then(toml::Value::as_str).map(str::to_owned).with_context(|| format!("lacks {key}"))
    };
    let also = row.get("also").and_then(toml::Value::as_array).into_iter().flatten();
    Ok(Row {
        service: service.to_owned(),
        name: name.to_owned(),
        action: text("action")?,
        also: also.filter_map(toml::Value::as_str).map(str::to_owned).collect(),
        handler: text("handler")?,
        since: text("since")?,
        rate: row.get("rate").and_then(toml::Value::as_str).map(str::to_owned),
        refuses: row.get("refuses").and_then(toml::Value::as_str).map(str::to_owned),
    })
}

/// The text of `operations.rs`.
pub fn file(models: &[Model], rows: &[Row]) -> Result<String> {
    let mut out = String::from(HEADER);
    writeln!(out, "//! The table of operations.\n\nuse crate::{{Operation, Protocol, Service}};\n")?;
    writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum OperationId {{")?;
    for row in rows {
        writeln!(out, "{},", row.variant())?;
    }
    writeln!(out, "}}\n\nimpl OperationId {{\n/// The operation's row.")?;
    writeln!(out, "pub const fn row(self) -> &'static Operation {{ &OPERATIONS[self as usize] }}\n}}\n")?;
    writeln!(out, "/// Every operation, in the order of [`OperationId`].\npub static OPERATIONS: &[Operation] = &[")?;
    for row in rows {
        writeln!(out, "{},", table_row(model_of(models, row)?, row)?)?;
    }
    writeln!(out, "];\n")?;
    dispatch_macro(&mut out, models, rows)?;
    Ok(out)
}

fn table_row(model: &Model, row: &Row) -> Result<String> {
    let operation = model.operation(&row.name)?;
    let protocol = match model.protocol() {
        "json" => "AwsJson11",
        "query" => "AwsQuery",
        "ec2" => "Ec2Query",
        other => bail!("{} speaks {other}, which the generator does not know", row.service),
    };
    let input = shape_name(&operation["input"]).with_context(|| format!("{} has no input", row.name))?;
    let needed: Vec<&str> = required(model.shape(input)?).into_iter().collect();
    Ok(format!(
        "Operation {{ id: OperationId::{}, service: Service::{}, name: {:?}, protocol: Protocol::{protocol}, \
         action: {:?}, also: &{:?}, handler: {:?}, since: {:?}, rate: {:?}, required_members: &{needed:?}, \
         result_wrapper: {:?}, has_output: {} }}",
        row.variant(),
        capitalised(&row.service),
        row.name,
        row.action,
        row.also,
        row.handler,
        row.since,
        row.rate.as_deref().unwrap_or_default(),
        operation["output"]["resultWrapper"].as_str().unwrap_or_default(),
        operation["output"].is_object(),
    ))
}

fn dispatch_macro(out: &mut String, models: &[Model], rows: &[Row]) -> Result<()> {
    writeln!(
        out,
        "/// Calls `$with! {{ (id, service module, input, handler path) ... }}` with one row per operation, so that"
    )?;
    writeln!(out, "/// dispatch is written once and never lists operations a second time.")?;
    writeln!(out, "#[macro_export]\nmacro_rules! for_each_operation {{ ($with:ident) => {{ $with! {{")?;
    for row in rows {
        let operation = model_of(models, row)?.operation(&row.name)?;
        let input = capitalised(shape_name(&operation["input"]).unwrap_or_default());
        writeln!(out, "({}, {}, {input}, {})", row.variant(), row.service, row.handler)?;
    }
    writeln!(out, "}} }} }}")?;
    Ok(())
}

fn model_of<'a>(models: &'a [Model], row: &Row) -> Result<&'a Model> {
    models.iter().find(|model| model.service == row.service).with_context(|| format!("no model of {}", row.service))
}
