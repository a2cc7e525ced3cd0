// SPDX-License-Identifier: Apache-2.0
//! `operations/SERVICE.toml`: the operations of a service, with the facts that names and service models do not give.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::gen_names::{capitalised, snake_case};

/// The file of one service.
pub struct Service {
    /// Botocore's name of the service, such as `ecs`; the name of the file.
    pub name: String,
    /// The crate of its rules, a folder of `crates/domain`.
    pub rules: String,
    /// True if each operation has a bucket of its own; otherwise the operations of a group share one.
    pub has_bucket_per_operation: bool,
    /// Groups of operations by name: burst of calls, and calls per second.
    pub rates: BTreeMap<String, [u32; 2]>,
    /// Operations by name.
    pub operations: BTreeMap<String, Row>,
}

/// The line of one operation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Access of its rule to the records.
    pub access: Access,
    /// The group of operations that share a rate limit, without the service's name; never throttled if absent.
    pub rate: Option<String>,
    /// Further permissions it checks.
    #[serde(default)]
    pub also: Vec<String>,
    /// The kinds of resources on which its permission is decided.
    #[serde(default)]
    pub on: Vec<String>,
    /// The reason why it always answers with an error; absent for an operation that can succeed.
    pub refuses: Option<String>,
    /// The first release that supports it.
    #[serde(default = "first_release")]
    pub since: String,
}

/// Access of a rule to the records.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It reads a snapshot.
    Read,
    /// It changes records.
    Write,
    /// It has effects other than records.
    Io,
}

fn first_release() -> String {
    "0.1".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: String,
    #[serde(default)]
    buckets: Buckets,
    #[serde(default)]
    rates: BTreeMap<String, [u32; 2]>,
    operations: BTreeMap<String, Row>,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Buckets {
    #[default]
    Group,
    Operation,
}

impl Service {
    /// The variant of `Service`, such as `Ecs`.
    pub fn variant(&self) -> String {
        capitalised(&self.name)
    }

    /// The variant of `OperationId`, such as `EcsRunTask`.
    pub fn operation_variant(&self, operation: &str) -> String {
        format!("{}{operation}", self.variant())
    }

    /// The name of a group of operations, unique over all services, such as `ecs-cluster-read`.
    pub fn group(&self, rate: &str) -> String {
        format!("{}-{rate}", self.name)
    }

    fn read(name: &str, text: &str) -> Result<Self> {
        let File { rules, buckets, rates, operations } = toml::from_str(text)?;
        for (operation, row) in &operations {
            if let Some(rate) = row.rate.as_ref().filter(|rate| !rates.contains_key(*rate)) {
                bail!("{operation} is in the group {rate:?}, which [rates] does not have");
            }
        }
        if let Some(unused) = rates.keys().find(|rate| operations.values().all(|row| row.rate.as_ref() != Some(rate))) {
            bail!("[rates] has the group {unused:?}, in which there is no operation");
        }
        let has_bucket_per_operation = buckets == Buckets::Operation;
        Ok(Self { name: name.to_owned(), rules, has_bucket_per_operation, rates, operations })
    }
}

/// The function of an operation in the crate of its service's rules: `RunTask` is `run_task`.
pub fn rule(operation: &str) -> String {
    snake_case(operation)
}

/// Reads every file of the folder; services and operations are sorted by name.
pub fn read(folder: &Path) -> Result<Vec<Service>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))?;
    let mut services = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        services.push(Service::read(&name, &text).with_context(|| format!("in {}", path.display()))?);
    }
    ensure!(!services.is_empty(), "{} holds no service", folder.display());
    services.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(services)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refusal(text: &str) -> String {
        format!("{:#}", Service::read("ecs", text).err().unwrap())
    }

    #[test]
    fn a_line_says_only_what_cannot_be_derived() {
        let text =
            "rules = 'ecs'\n[rates]\nread = [2, 1]\n[operations]\nListTasks = { access = 'read', rate = 'read' }";
        let service = Service::read("ecs", text).unwrap();
        let row = &service.operations["ListTasks"];
        assert!(row.access == Access::Read && row.also.is_empty() && row.on.is_empty() && row.since == "0.1");
        assert_eq!(
            (service.operation_variant("ListTasks"), rule("ListTasks")),
            ("EcsListTasks".into(), "list_tasks".into())
        );
        assert_eq!(service.group("read"), "ecs-read");
    }

    #[test]
    fn a_line_with_a_mistake_is_refused() {
        let unknown = refusal("rules = 'ecs'\n[operations]\nListTasks = { access = 'read', action = 'ecs:ListTasks' }");
        assert!(unknown.contains("unknown field `action`"), "{unknown}");
        let group = refusal("rules = 'ecs'\n[operations]\nListTasks = { access = 'read', rate = 'read' }");
        assert!(group.contains("the group \"read\", which [rates] does not have"), "{group}");
        let unused = refusal("rules = 'ecs'\n[rates]\nread = [2, 1]\n[operations]\nListTasks = { access = 'read' }");
        assert!(unused.contains("\"read\", in which there is no operation"), "{unused}");
    }
}
