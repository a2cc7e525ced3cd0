// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask gen`: writes the shapes of each service and the tables in `crates/shapes/src`, the door of each crate of
//! rules, and `docs/coverage.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::checkout::repository;
use crate::gen_file::put;
use crate::gen_model::{Model, data_folder};
use crate::{coverage, gen_doors, gen_operations, gen_shapes, gen_table};

/// Writes the files; with `check`, fails if a file differs from the generated text.
pub fn run(check: bool) -> Result<()> {
    let root = repository();
    put_all(root, &[data_folder(root)?], check)
}

/// Writes the files of the checkout at `root`, with service models from the first of the folders that has each.
pub fn put_all(root: &Path, models: &[PathBuf], check: bool) -> Result<()> {
    let services = gen_operations::read(&root.join("operations"))?;
    let models = services.iter().map(|service| Model::read(models, &service.name)).collect::<Result<Vec<_>>>()?;
    let known: Vec<_> = services.iter().zip(&models).collect();

    let shapes = root.join("crates/shapes/src");
    for (service, model) in &known {
        put(&shapes.join(format!("services/{}.rs", service.name)), &gen_shapes::file(model, service)?, check)?;
    }
    put(&shapes.join("services/mod.rs"), &gen_table::modules(&known)?, check)?;
    put(&shapes.join("service_table.rs"), &gen_table::services(&known)?, check)?;
    put(&shapes.join("error_code.rs"), &gen_table::error_codes(&known)?, check)?;
    put(&shapes.join("operation_id.rs"), &gen_table::ids(&known)?, check)?;
    put(&shapes.join("operations.rs"), &gen_table::operations(&known)?, check)?;

    let crates: BTreeSet<&str> = services.iter().map(|service| service.rules.as_str()).collect();
    for rules in crates {
        let own: Vec<_> = services.iter().filter(|service| service.rules == rules).collect();
        put(&root.join(format!("crates/domain/{rules}/src/door.rs")), &gen_doors::rules(&own)?, check)?;
    }
    put(&root.join("crates/control/src/io/rules.rs"), &gen_doors::io(&services)?, check)?;
    coverage::run(root, check)
}
