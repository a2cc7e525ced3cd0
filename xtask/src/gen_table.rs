// SPDX-License-Identifier: Apache-2.0
//! The text of the tables in `crates/shapes/src`: services, error codes of all services, operations, rate limits.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use crate::gen_file::HEADER;
use crate::gen_model::{Model, required, shape_name};
use crate::gen_names::capitalised;
use crate::gen_operations::{Row, Service};

/// A service with its model.
pub type Known<'a> = (&'a Service, &'a Model);

/// The text of `services/mod.rs`.
pub fn modules(services: &[Known<'_>]) -> Result<String> {
    let mut out = String::from(HEADER);
    writeln!(out, "//! The shapes of each service.\n")?;
    for (service, _) in services {
        writeln!(out, "pub mod {};", service.name)?;
    }
    Ok(out)
}

/// The text of `service_table.rs`.
pub fn services(services: &[Known<'_>]) -> Result<String> {
    let mut out = String::from(HEADER);
    writeln!(out, "//! The services that Berth implements, and facts from their models.\n")?;
    writeln!(out, "use crate::facts::{{Protocol, ServiceFacts}};\n")?;
    writeln!(
        out,
        "/// An AWS service that Berth implements. Other crates do not list the variants, so that a new service"
    )?;
    writeln!(out, "/// does not change them.\n#[non_exhaustive]")?;
    writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum Service {{")?;
    for (service, _) in services {
        writeln!(out, "{},", service.variant())?;
    }
    writeln!(out, "}}\n\nimpl Service {{\n/// Every service, by name.\npub const ALL: &[Service] = &[")?;
    for (service, _) in services {
        writeln!(out, "Service::{},", service.variant())?;
    }
    writeln!(
        out,
        "];\n\n/// The facts of its model.\npub const fn facts(self) -> &'static ServiceFacts {{\nmatch self {{"
    )?;
    for (service, model) in services {
        writeln!(
            out,
            "Service::{} => &ServiceFacts {{ name: {:?}, protocol: Protocol::{}, target: {:?}, version: {:?}, \
             namespace: {:?}, has_bucket_per_operation: {} }},",
            service.variant(),
            service.name,
            protocol(model)?,
            model.metadata("targetPrefix"),
            model.metadata("apiVersion"),
            namespace(model),
            service.has_bucket_per_operation,
        )?;
    }
    writeln!(out, "}}\n}}\n}}")?;
    Ok(out)
}

/// The text of `error_code.rs`. A service whose model has no exceptions has its codes in `SERVICE_errors.rs`.
pub fn error_codes(services: &[Known<'_>]) -> Result<String> {
    let mut out = String::from(HEADER);
    writeln!(out, "//! Error codes of all services as one type.\n")?;
    let codes: Vec<(String, String)> = services
        .iter()
        .map(|(service, model)| match model.exceptions().is_empty() {
            true => (service.variant(), format!("crate::{}_errors::{}ErrorCode", service.name, service.variant())),
            false => (service.variant(), format!("crate::services::{}::ErrorCode", service.name)),
        })
        .chain([("Common".to_owned(), "crate::common_errors::CommonErrorCode".to_owned())])
        .collect();
    writeln!(out, "crate::error::any_error_code! {{")?;
    for (variant, path) in codes {
        writeln!(out, "    {variant}({path}),")?;
    }
    writeln!(out, "}}")?;
    Ok(out)
}

/// The text of `operation_id.rs`, which the description of an operation needs.
pub fn ids(services: &[Known<'_>]) -> Result<String> {
    let mut out = String::from(HEADER);
    writeln!(out, "//! The identities of operations, in the order of the table.\n")?;
    writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum OperationId {{")?;
    for (service, _) in services {
        for name in service.operations.keys() {
            writeln!(out, "{},", service.operation_variant(name))?;
        }
    }
    writeln!(out, "}}")?;
    Ok(out)
}

/// The text of `operations.rs`.
pub fn operations(services: &[Known<'_>]) -> Result<String> {
    let mut out = String::from(HEADER);
    writeln!(out, "//! The table of operations.\n\nuse crate::{{Group, Operation, OperationId, Service}};\n")?;
    writeln!(out, "impl OperationId {{\n/// The operation's row.")?;
    writeln!(out, "pub const fn row(self) -> &'static Operation {{ &OPERATIONS[self as usize] }}\n}}\n")?;
    writeln!(out, "/// Every operation, in the order of [`OperationId`].\npub static OPERATIONS: &[Operation] = &[")?;
    for (service, model) in services {
        for (name, row) in &service.operations {
            writeln!(out, "{},", table_row(service, model, name, row)?)?;
        }
    }
    writeln!(
        out,
        "];\n\n/// The groups of operations with the rates AWS documents.\npub static GROUPS: &[Group] = &["
    )?;
    for (service, _) in services {
        for (rate, [burst, per_second]) in &service.rates {
            let name = service.group(rate);
            writeln!(out, "Group {{ name: {name:?}, burst: {burst}, per_second: {per_second} }},")?;
        }
    }
    writeln!(out, "];\n")?;
    inputs_macro(&mut out, services)?;
    Ok(out)
}

/// AWS writes the namespace with a slash at its end, which some models lack.
fn namespace(model: &Model) -> String {
    match model.metadata("xmlNamespace").trim_end_matches('/') {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    }
}

fn protocol(model: &Model) -> Result<&'static str> {
    Ok(match model.metadata("protocol") {
        "json" => "AwsJson11",
        "query" => "AwsQuery",
        "ec2" => "Ec2Query",
        other => bail!("{} speaks {other}, which the generator does not know", model.service),
    })
}

fn table_row(service: &Service, model: &Model, name: &str, row: &Row) -> Result<String> {
    let operation = model.operation(name)?;
    let input = shape_name(&operation["input"]).with_context(|| format!("{name} has no input"))?;
    let needed: Vec<&str> = required(model.shape(input)?).into_iter().collect();
    Ok(format!(
        "Operation {{ id: OperationId::{}, service: Service::{}, name: {name:?}, action: {:?}, also: &{:?}, since: {:?}, \
         rate: {:?}, required_members: &{needed:?}, result_wrapper: {:?}, has_output: {} }}",
        service.operation_variant(name),
        service.variant(),
        format!("{}:{name}", service.name),
        row.also,
        row.since,
        row.rate.as_deref().map(|rate| service.group(rate)).unwrap_or_default(),
        operation["output"]["resultWrapper"].as_str().unwrap_or_default(),
        operation["output"].is_object(),
    ))
}

fn inputs_macro(out: &mut String, services: &[Known<'_>]) -> Result<()> {
    writeln!(out, "/// Calls `$with! {{ (id, service module, input) ... }}` with one row per operation.")?;
    writeln!(out, "#[macro_export]\nmacro_rules! for_each_operation {{ ($with:ident) => {{ $with! {{")?;
    for (service, model) in services {
        for name in service.operations.keys() {
            let input = capitalised(shape_name(&model.operation(name)?["input"]).unwrap_or_default());
            writeln!(out, "({}, {}, {input})", service.operation_variant(name), service.name)?;
        }
    }
    writeln!(out, "}} }} }}")?;
    Ok(())
}
