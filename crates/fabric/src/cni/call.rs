// SPDX-License-Identifier: Apache-2.0
//! One call of a plugin: environment and standard input, checked according to the specification.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::spec::{CniError, Version};

/// The command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Check,
    Del,
    Gc,
    Status,
}

impl Command {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let all = [Self::Add, Self::Check, Self::Del, Self::Gc, Self::Status];
        all.into_iter().find(|command| command.as_str() == text)
    }

    /// As in `CNI_COMMAND`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
            Self::Gc => "GC",
            Self::Status => "STATUS",
        }
    }

    /// The version that introduced it.
    fn since(self) -> Version {
        match self {
            Self::Add | Self::Del => Version::V0_3_0,
            Self::Check => Version::V0_4_0,
            Self::Gc | Self::Status => Version::V1_1_0,
        }
    }
}

/// A checked call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) command: Command,
    pub(super) version: Version,
    pub(super) container_id: String,
    /// Empty paths are `None`; DEL needs none.
    pub(super) netns: Option<PathBuf>,
    pub(super) if_name: String,
    pub(super) plugin_path: Vec<PathBuf>,
    /// Standard input as read.
    pub(super) config: Value,
}

impl Call {
    /// Checks that environment and configuration fit together.
    pub(super) fn new(
        command: Command,
        env: &BTreeMap<String, String>,
        config: Value,
        plugin: &str,
    ) -> Result<Self, CniError> {
        let version = version_of(&config)?;
        if version < command.since() {
            let (command, since) = (command.as_str(), command.since());
            let msg = format!("config version {version} does not allow {command}; it came with {since}");
            return Err(CniError::new(CniError::INCOMPATIBLE_VERSION, msg));
        }
        let get = |key: &str| env.get(key).cloned().unwrap_or_default();
        let call = Self {
            command,
            version,
            container_id: get("CNI_CONTAINERID"),
            netns: Some(get("CNI_NETNS")).filter(|path| !path.is_empty()).map(PathBuf::from),
            if_name: get("CNI_IFNAME"),
            plugin_path: std::env::split_paths(&get("CNI_PATH")).filter(|path| !path.as_os_str().is_empty()).collect(),
            config,
        };
        call.check_environment(plugin)?;
        Ok(call)
    }

    /// The network's name; empty if there is none.
    pub(super) fn network(&self) -> &str {
        self.config.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The container's namespace, which ADD and CHECK require.
    pub(super) fn required_netns(&self) -> Result<&PathBuf, CniError> {
        self.netns.as_ref().ok_or_else(|| CniError::environment("required env variables [CNI_NETNS] missing"))
    }

    /// The configuration as a plugin's own type. Keys the type does not know are ignored.
    pub(super) fn config_as<T: DeserializeOwned>(&self) -> Result<T, CniError> {
        T::deserialize(&self.config)
            .map_err(|error| CniError::config("invalid network configuration").with_details(error))
    }

    /// The attachments GC must keep: container id and interface name.
    pub(super) fn valid_attachments(&self) -> Result<Vec<(String, String)>, CniError> {
        let missing = || CniError::config("GC needs cni.dev/valid-attachments");
        let list = self.config.get("cni.dev/valid-attachments").and_then(Value::as_array).ok_or_else(missing)?;
        let text = |item: &Value, key| item.get(key).and_then(Value::as_str).map(str::to_owned);
        list.iter()
            .map(|item| text(item, "containerID").zip(text(item, "ifname")))
            .collect::<Option<_>>()
            .ok_or_else(|| CniError::config("an entry of cni.dev/valid-attachments lacks containerID or ifname"))
    }

    fn check_environment(&self, plugin: &str) -> Result<(), CniError> {
        if matches!(self.command, Command::Gc | Command::Status) {
            return Ok(());
        }
        // The official agent calls DEL of `ecs-ipam` on its own without a container id.
        let is_pool = plugin == "ecs-ipam";
        let needs_netns = matches!(self.command, Command::Add | Command::Check);
        let missing: Vec<_> = [
            ("CNI_CONTAINERID", self.container_id.is_empty() && !is_pool),
            ("CNI_NETNS", self.netns.is_none() && needs_netns),
            ("CNI_IFNAME", self.if_name.is_empty() && !is_pool),
        ]
        .into_iter()
        .filter_map(|(name, is_missing)| is_missing.then_some(name))
        .collect();
        if !missing.is_empty() {
            return Err(CniError::environment(format!("required env variables [{}] missing", missing.join(","))));
        }
        if !self.container_id.is_empty() && !is_container_id(&self.container_id) {
            return Err(CniError::environment(format!("invalid CNI_CONTAINERID {:?}", self.container_id)));
        }
        if !self.if_name.is_empty() && !is_interface_name(&self.if_name) {
            return Err(CniError::environment(format!("invalid CNI_IFNAME {:?}", self.if_name)));
        }
        Ok(())
    }
}

/// The version of a configuration; without one it is 0.1.0, which is not supported.
fn version_of(config: &Value) -> Result<Version, CniError> {
    let text = config.get("cniVersion").and_then(Value::as_str).unwrap_or("0.1.0");
    Version::parse(text).ok_or_else(|| {
        let known = Version::ALL.map(Version::as_str).join(", ");
        CniError::new(CniError::INCOMPATIBLE_VERSION, "incompatible CNI versions")
            .with_details(format!("config is {text:?}, plugin supports {known}"))
    })
}

fn is_container_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// True for a name that the kernel accepts (`dev_valid_name`).
pub(super) fn is_interface_name(text: &str) -> bool {
    const BYTES_MAX: usize = 15;
    (1..=BYTES_MAX).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control())
}
