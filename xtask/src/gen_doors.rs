// SPDX-License-Identifier: Apache-2.0
//! The text of the doors, which map an operation to its rule: one file for each crate of rules and one for the server's
//! own operations.

use std::fmt::Write as _;

use anyhow::Result;

use crate::gen_file::HEADER;
use crate::gen_names::snake_case;
use crate::gen_operations::{Access, Service, rule};

/// The text of `door.rs` in a crate of rules: the operations of all services whose rules it has.
pub fn rules(services: &[&Service]) -> Result<String> {
    let mut rows = String::new();
    for service in services {
        for (name, row) in &service.operations {
            let on: Vec<String> = row.on.iter().map(|kind| format!("resources::{}", kind.replace('-', "_"))).collect();
            let on = on.join(", ");
            let (id, rule) = (service.operation_variant(name), rule(name));
            match row.access {
                Access::Read => writeln!(rows, "OperationId::{id} => Door::read(crate::{rule}, &[{on}]),")?,
                Access::Write => writeln!(rows, "OperationId::{id} => Door::write(crate::{rule}, &[{on}]),")?,
                Access::Io => writeln!(rows, "OperationId::{id} => Door::io(&[{on}]),")?,
            }
        }
    }
    let mut out = String::from(HEADER);
    writeln!(out, "//! The door of the rules: from an operation to the rule that answers it.\n")?;
    writeln!(out, "use berth_shapes::OperationId;\nuse berth_state::door::Door;\n")?;
    if rows.contains("resources::") {
        writeln!(out, "use crate::resources;\n")?;
    }
    writeln!(
        out,
        "/// The rule of an operation, and the resources its permission is decided on; `None` for an operation"
    )?;
    writeln!(out, "/// of another crate.\n#[allow(clippy::too_many_lines)]")?;
    writeln!(out, "pub fn door(operation: OperationId) -> Option<Door> {{\nSome(match operation {{\n{rows}")?;
    writeln!(out, "_ => return None,\n}})\n}}")?;
    Ok(out)
}

/// The text of `crates/control/src/io/rules.rs`: the operations with effects other than records, whose functions are in
/// a file of the folder for each service.
pub fn io(services: &[Service]) -> Result<String> {
    let mut out = String::from(HEADER);
    writeln!(out, "//! The operations with effects other than records.\n")?;
    let (mut modules, mut rows) = (String::new(), String::new());
    for service in services {
        let module = snake_case(&service.name);
        let own = service.operations.iter().filter(|(_, row)| row.access == Access::Io);
        let own: Vec<String> = own
            .map(|(name, _)| {
                format!("OperationId::{} => Rule::new({module}::{}),", service.operation_variant(name), rule(name))
            })
            .collect();
        if !own.is_empty() {
            writeln!(modules, "#[path = \"{module}.rs\"]\nmod {module};")?;
            writeln!(rows, "{}", own.join("\n"))?;
        }
    }
    if rows.is_empty() {
        writeln!(out, "use berth_shapes::OperationId;\n\nuse super::rule::Rule;\n")?;
        writeln!(out, "/// The function of an operation: no operation has such effects yet.")?;
        writeln!(out, "pub(super) fn rule(_operation: OperationId) -> Option<Rule> {{\nNone\n}}")?;
        return Ok(out);
    }
    writeln!(out, "{modules}\nuse berth_shapes::OperationId;\n\nuse super::rule::Rule;\n")?;
    writeln!(out, "/// The function of an operation; `None` for one that reads or writes records.")?;
    writeln!(out, "pub(super) fn rule(operation: OperationId) -> Option<Rule> {{\nSome(match operation {{\n{rows}")?;
    writeln!(out, "_ => return None,\n}})\n}}")?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gen_operations::Row;

    fn service(rows: &[(&str, Access, &[&str])]) -> Service {
        let row = |access, on: &[&str]| Row {
            access,
            rate: None,
            also: Vec::new(),
            on: on.iter().map(|kind| (*kind).to_owned()).collect(),
            refuses: None,
            since: "0.1".to_owned(),
        };
        Service {
            name: "logs".to_owned(),
            rules: "logs".to_owned(),
            has_bucket_per_operation: false,
            rates: Default::default(),
            operations: rows.iter().map(|(name, access, on)| ((*name).to_owned(), row(*access, on))).collect(),
        }
    }

    #[test]
    fn each_line_becomes_a_row_of_its_kind() {
        let logs = service(&[
            ("CreateLogGroup", Access::Write, &["log-group"]),
            ("DescribeLogGroups", Access::Read, &[]),
            ("PutLogEvents", Access::Io, &["log-group", "log-stream"]),
        ]);
        let door = rules(&[&logs]).unwrap();
        for row in [
            "OperationId::LogsCreateLogGroup => Door::write(crate::create_log_group, &[resources::log_group]),",
            "OperationId::LogsDescribeLogGroups => Door::read(crate::describe_log_groups, &[]),",
            "OperationId::LogsPutLogEvents => Door::io(&[resources::log_group, resources::log_stream]),",
        ] {
            assert!(door.contains(row), "{row} is not in\n{door}");
        }
        let io = io(&[logs]).unwrap();
        assert!(io.contains("#[path = \"logs.rs\"]\nmod logs;"), "{io}");
        assert!(io.contains("OperationId::LogsPutLogEvents => Rule::new(logs::put_log_events),"), "{io}");
        assert!(!io.contains("LogGroup"), "{io}");
    }
}
