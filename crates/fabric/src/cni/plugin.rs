// SPDX-License-Identifier: Apache-2.0
//! The executable: selects plugin and command, and writes to standard output.
//!
//! One file with four names. It starts no runtime and leaves nothing running.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::asked::Asked;
use super::call::{Call, Command};
use super::spec::{self, CniError, Version};
use super::{bridge, eni, ipam};

/// The four names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    EcsEni,
    VpcEni,
    EcsBridge,
    EcsIpam,
}

impl Plugin {
    fn named(name: &str) -> Option<Self> {
        match name {
            "ecs-eni" => Some(Self::EcsEni),
            "vpc-eni" => Some(Self::VpcEni),
            "ecs-bridge" => Some(Self::EcsBridge),
            "ecs-ipam" => Some(Self::EcsIpam),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::EcsEni => "ecs-eni",
            Self::VpcEni => "vpc-eni",
            Self::EcsBridge => "ecs-bridge",
            Self::EcsIpam => "ecs-ipam",
        }
    }

    fn run(self, call: &Call) -> Result<Option<Value>, CniError> {
        match self {
            Self::EcsEni => eni::command::run(eni::command::Dialect::EcsEni, call),
            Self::VpcEni => eni::command::run(eni::command::Dialect::VpcEni, call),
            Self::EcsBridge => bridge::command::run(call),
            Self::EcsIpam => ipam::command::run(call),
        }
    }
}

/// `main` of the plugin executable: reads arguments, environment and standard input, executes the call, prints the
/// result or the error and returns the exit status.
pub fn plugin_main() -> ExitCode {
    nix::sys::stat::umask(nix::sys::stat::Mode::S_IRWXG | nix::sys::stat::Mode::S_IRWXO);
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    match arguments.next().as_deref().map(|flag| flag.trim_start_matches('-')) {
        Some("version") => return print(&build(), ExitCode::SUCCESS),
        Some("capabilities") => {
            return print(&json!({ "capabilities": ["awsvpc-network-mode"] }), ExitCode::SUCCESS);
        }
        _ => {}
    }
    let env: BTreeMap<String, String> = std::env::vars().filter(|(key, _)| key.starts_with("CNI_")).collect();
    let mut input = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut input) {
        let refused = CniError::new(CniError::IO_FAILURE, "could not read standard input").with_details(error);
        return print(&refused.to_json(Version::V1_1_0.as_str()), ExitCode::FAILURE);
    }
    match answer(&program, &env, &input) {
        Ok(Some(result)) => print(&result, ExitCode::SUCCESS),
        Ok(None) => ExitCode::SUCCESS,
        Err((error, version)) => print(&error.to_json(&version), ExitCode::FAILURE),
    }
}

/// The whole plugin without the process around it. Errors come with the version for their output.
fn answer(program: &str, env: &BTreeMap<String, String>, input: &[u8]) -> Result<Option<Value>, (CniError, String)> {
    let newest = || Version::V1_1_0.as_str().to_owned();
    let asked = env.get("CNI_COMMAND").map(String::as_str).unwrap_or_default();
    if asked == "VERSION" {
        let config: Value = serde_json::from_slice(input).unwrap_or_default();
        return Ok(Some(spec::versions(config.get("cniVersion").and_then(Value::as_str))));
    }
    let command = command(asked).map_err(|error| (error, newest()))?;
    let config = config(input).map_err(|error| (error, newest()))?;
    let version = config.get("cniVersion").and_then(Value::as_str).map_or_else(newest, str::to_owned);
    let act = || {
        let plugin = which(program, &config)?;
        let call = Call::new(command, env, config.clone(), plugin.name())?;
        plugin.run(&call)
    };
    act().map_err(|error| (error, version))
}

/// A call, read and checked like in [`plugin_main`], but not executed.
#[doc(hidden)]
pub fn asked(program: &str, env: &BTreeMap<String, String>, input: &[u8]) -> Result<Asked, CniError> {
    let command = command(env.get("CNI_COMMAND").map(String::as_str).unwrap_or_default())?;
    let config = config(input)?;
    let plugin = which(program, &config)?;
    let call = Call::new(command, env, config, plugin.name())?;
    match (plugin, command) {
        (_, Command::Gc) => call.valid_attachments().map(Asked::Keep),
        (_, Command::Status) => Ok(Asked::Nothing),
        (Plugin::EcsEni, _) => Asked::interface(eni::command::Dialect::EcsEni, call),
        (Plugin::VpcEni, _) => Asked::interface(eni::command::Dialect::VpcEni, call),
        (Plugin::EcsBridge, _) => Asked::bridge(call),
        (Plugin::EcsIpam, _) => Asked::addresses(&call),
    }
}

fn command(asked: &str) -> Result<Command, CniError> {
    Command::parse(asked).ok_or_else(|| match asked {
        "" => CniError::environment("required env variables [CNI_COMMAND] missing"),
        other => CniError::environment(format!("unknown CNI_COMMAND: {other}")),
    })
}

fn config(input: &[u8]) -> Result<Value, CniError> {
    let unreadable =
        |error| CniError::new(CniError::DECODE_FAILURE, "error unmarshall network config").with_details(error);
    serde_json::from_slice(input).map_err(unreadable)
}

/// Selects by the name of the executable, otherwise by the `type` of the configuration.
fn which(program: &str, config: &Value) -> Result<Plugin, CniError> {
    let base = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = config.get("type").and_then(Value::as_str).unwrap_or_default();
    Plugin::named(base).or_else(|| Plugin::named(kind)).ok_or_else(|| {
        CniError::config(format!("{kind:?} is not one of ecs-eni, vpc-eni, ecs-bridge, ecs-ipam"))
            .with_details("call the executable by one of these names or set \"type\"")
    })
}

fn build() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "dirty": false,
        "gitShortHash": option_env!("BERTH_GIT_SHORT_HASH").unwrap_or("unknown"),
    })
}

fn print(value: &Value, code: ExitCode) -> ExitCode {
    // A caller that closed its end must not take silence for success.
    match writeln!(std::io::stdout(), "{value}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests;
