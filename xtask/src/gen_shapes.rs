// SPDX-License-Identifier: Apache-2.0
//! The text of `crates/shapes/src/services/SERVICE.rs`: the structures, inputs and error codes of a service, as invocations of
//! the macros of `crates/shapes/src/structure.rs`. Names and types only; no text of the models' documentation is kept.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::gen_file::HEADER;
use crate::gen_model::{Model, members, required, shape_name};
use crate::gen_names::{capitalised, field, snake_case};
use crate::gen_operations::Service;

/// Maximum length of a line with a whole structure. rustfmt does not change the invocations of the macros.
const LINE_MAX: usize = 120;

/// The text of a service's file.
pub fn file(model: &Model, service: &Service) -> Result<String> {
    let mut body = String::from("structure! {\n");
    for name in model.reachable(service.operations.keys().map(String::as_str))? {
        structure(&mut body, model, &name)?;
    }
    writeln!(body, "}}\n\ninputs! {{")?;
    for operation in service.operations.keys() {
        writeln!(body, "    {}", input(model, service, operation)?)?;
    }
    body.push_str("}\n");
    let exceptions = model.exceptions();
    if !exceptions.is_empty() {
        writeln!(body, "\nerror_codes! {{")?;
        for (code, status) in exceptions {
            writeln!(body, "    {} = {code:?} {status},", variant(&code))?;
        }
        body.push_str("}\n");
    }

    let mut out = String::from(HEADER);
    writeln!(out, "//! Shapes of `{}`.\n", model.service)?;
    if body.contains("BTreeMap<") {
        writeln!(out, "use std::collections::BTreeMap;\n")?;
    }
    let macros: Vec<&str> = ["error_codes", "inputs", "structure"]
        .into_iter()
        .filter(|name| body.contains(&format!("{name}! {{")))
        .collect();
    writeln!(out, "use crate::structure::{{{}}};\n", macros.join(", "))?;
    out.push_str(&body);
    Ok(out)
}

/// A structure on one line if it fits, else with a line for each member.
fn structure(out: &mut String, model: &Model, name: &str) -> Result<()> {
    let shape = model.shape(name)?;
    let needed = required(shape);
    let rows = members(shape)
        .map(|(member, reference)| member_row(model, name, member, reference, needed.contains(member.as_str())))
        .collect::<Result<Vec<String>>>()?;
    let name = capitalised(name);
    let line = match rows.is_empty() {
        true => format!("    {name} {{}}"),
        false => format!("    {name} {{ {} }}", rows.join(", ")),
    };
    if line.len() <= LINE_MAX {
        writeln!(out, "{line}")?;
        return Ok(());
    }
    writeln!(out, "    {name} {{")?;
    for row in rows {
        writeln!(out, "        {row},")?;
    }
    writeln!(out, "    }}")?;
    Ok(())
}

/// `vpc_ids: Vec<String> = "VpcIds" query("VpcId") xml("VpcId") items("VpcId")`, without parts that are the default.
fn member_row(model: &Model, parent: &str, name: &str, reference: &Value, required: bool) -> Result<String> {
    let location = reference["locationName"].as_str();
    let query = match (reference["queryName"].as_str(), model.metadata("protocol")) {
        (Some(query), "ec2") => query.to_owned(),
        (None, "ec2") => location.map_or_else(|| name.to_owned(), capitalised),
        _ => location.unwrap_or(name).to_owned(),
    };
    let xml = location.unwrap_or(name);
    let target = model.shape(shape_name(reference).context("member without a shape")?)?;
    let mut row = format!("{}: {} = {name:?}", field(name), rust_type(model, reference, Some(parent))?);
    if query != name {
        write!(row, " query({query:?})")?;
    }
    if xml != name {
        write!(row, " xml({xml:?})")?;
    }
    if target["type"] == "list" {
        let default = if model.metadata("protocol") == "ec2" { "item" } else { "member" };
        let item = target["member"]["locationName"].as_str().unwrap_or(default);
        if item != "member" {
            write!(row, " items({item:?})")?;
        }
        if target["flattened"].as_bool() == Some(true) {
            row.push_str(" flattened");
        }
    }
    if required {
        row.push_str(" required");
    }
    Ok(row)
}

/// The Rust type of a reference; `within` is the structure whose direct member it is, to find recursion.
fn rust_type(model: &Model, reference: &Value, within: Option<&str>) -> Result<String> {
    let name = shape_name(reference).context("reference without a shape")?;
    let shape = model.shape(name)?;
    Ok(match shape["type"].as_str().unwrap_or_default() {
        "string" | "character" => "String".to_owned(),
        "integer" => "i32".to_owned(),
        "long" => "i64".to_owned(),
        "double" | "float" => "f64".to_owned(),
        "boolean" => "bool".to_owned(),
        "timestamp" => "crate::Timestamp".to_owned(),
        "blob" => "Vec<u8>".to_owned(),
        "list" => format!("Vec<{}>", rust_type(model, &shape["member"], None)?),
        "map" => format!("BTreeMap<String, {}>", rust_type(model, &shape["value"], None)?),
        "structure" if within.is_some_and(|parent| name == parent || model.embeds(name, parent)) => {
            format!("Box<{}>", capitalised(name))
        }
        "structure" => capitalised(name),
        other => bail!("the shape {name} has the unknown type {other:?}"),
    })
}

/// `RunTaskRequest: EcsRunTask -> RunTaskResponse,`
fn input(model: &Model, service: &Service, name: &str) -> Result<String> {
    let operation = model.operation(name)?;
    let input = shape_name(&operation["input"]).with_context(|| format!("{name} has no input"))?;
    let output = shape_name(&operation["output"]).map_or_else(|| "crate::NoOutput".to_owned(), capitalised);
    Ok(format!("{}: {} -> {output},", capitalised(input), service.operation_variant(name)))
}

/// The variant of an error code: `IDPCommunicationError` -> `IdpCommunicationError`.
fn variant(code: &str) -> String {
    let words: String = snake_case(code).split('_').map(capitalised).collect();
    words.chars().filter(char::is_ascii_alphanumeric).collect()
}
