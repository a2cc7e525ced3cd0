// SPDX-License-Identifier: Apache-2.0
//! `berth env`: the environment that points AWS tools at this installation.

use std::process::ExitCode;

use anyhow::{Context, Result};
use berth_control::Authority;
use serde::Deserialize;
use serde_json::json;

use crate::admin;
use crate::args::{EnvArgs, EnvFormat};
use crate::installation::Installation;

/// The administrator's key as the server writes it.
#[derive(Debug, Deserialize)]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
}

/// Prints the environment.
pub fn run(installation: &Installation, args: &EnvArgs) -> Result<ExitCode> {
    let status = admin::status(installation)?;
    let file = installation.credentials();
    let text =
        std::fs::read(&file).with_context(|| format!("cannot read the key in {}; run as root", file.display()))?;
    let key: Credentials = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let bundle = Authority::certificate_path(&installation.data).display().to_string();
    let bundle = status.endpoint.starts_with("https:").then_some(("AWS_CA_BUNDLE", bundle.as_str()));
    let variables = [
        ("AWS_ENDPOINT_URL", status.endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", &key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
        ("AWS_DEFAULT_REGION", &status.region),
        ("AWS_REGION", &status.region),
    ];
    match args.output {
        EnvFormat::Shell => {
            for (name, value) in variables.into_iter().chain(bundle) {
                println!("export {name}='{value}'");
            }
            // A token of another account in the environment would be sent with the key and refused.
            println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
        }
        EnvFormat::Json => {
            let object: serde_json::Map<_, _> =
                variables.into_iter().chain(bundle).map(|(name, value)| (name.to_owned(), json!(value))).collect();
            println!("{}", serde_json::to_string_pretty(&object)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
