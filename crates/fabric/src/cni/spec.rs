// SPDX-License-Identifier: Apache-2.0
//! The terms of the CNI specification: versions, results in the form of each version, errors.

use std::fmt;
use std::net::IpAddr;

use berth_types::MacAddress;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// A supported version of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.0, which the official ECS agent uses.
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0 introduced CHECK.
    V0_4_0,
    /// 1.0.0 removed the address family from results.
    V1_0_0,
    /// 1.1.0 introduced STATUS and GC.
    V1_1_0,
}

impl Version {
    /// All, oldest first.
    pub const ALL: [Self; 5] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// Its text in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The supported version with this text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer to VERSION.
pub fn versions(asked: Option<&str>) -> Value {
    json!({
        "cniVersion": asked.unwrap_or(Version::V1_1_0.as_str()),
        "supportedVersions": Version::ALL.map(Version::as_str),
    })
}

/// An error as a plugin prints it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}", and_details(.details))]
pub struct CniError {
    /// Codes below 100 are the specification's, from 100 on the plugin's.
    pub code: u32,
    /// One sentence.
    pub msg: String,
    /// Details, or empty.
    pub details: String,
}

impl CniError {
    /// The version of the configuration does not fit.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// `CNI_*` variables are missing or wrong.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Standard input could not be read.
    pub const IO_FAILURE: u32 = 5;
    /// Standard input is not what it should be.
    pub const DECODE_FAILURE: u32 = 6;
    /// The configuration is impossible.
    pub const INVALID_CONFIG: u32 = 7;
    /// The same call may succeed later.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: ADD would fail.
    pub const NOT_AVAILABLE: u32 = 50;
    /// Failures of the plugin, numbered as in the official plugins.
    pub const FAILED: u32 = 100;

    /// An error of the given code.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The same with details.
    pub fn with_details(self, details: impl fmt::Display) -> Self {
        Self { details: details.to_string(), ..self }
    }

    pub(super) fn config(msg: impl Into<String>) -> Self {
        Self::new(Self::INVALID_CONFIG, msg)
    }

    pub(super) fn environment(msg: impl Into<String>) -> Self {
        Self::new(Self::INVALID_ENVIRONMENT, msg)
    }

    /// The text for standard output.
    pub fn to_json(&self, version: &str) -> Value {
        let mut object = json!({ "cniVersion": version, "code": self.code, "msg": self.msg });
        if !self.details.is_empty() {
            object["details"] = json!(self.details);
        }
        object
    }

    /// Parses a plugin's output.
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |key| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = value.get("code")?.as_u64()?;
        Some(Self { code: u32::try_from(code).ok()?, msg: text("msg"), details: text("details") })
    }
}

fn and_details(details: &str) -> String {
    if details.is_empty() { String::new() } else { format!(": {details}") }
}

/// An interface in a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<MacAddress>,
    /// Path of the container's namespace; `None` on the host.
    pub sandbox: Option<String>,
}

/// An address in a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// With prefix length.
    pub address: IpNet,
    /// Router of the subnet.
    pub gateway: Option<IpAddr>,
    /// Index in the list of interfaces.
    pub interface: Option<usize>,
}

/// A route in a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTo {
    /// Destination.
    pub dst: IpNet,
    /// Router, if not the one of the address.
    pub gw: Option<IpAddr>,
}

/// The result of ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Interfaces created or changed.
    pub interfaces: Vec<Interface>,
    /// Addresses given.
    pub ips: Vec<Ip>,
    /// Routes set.
    pub routes: Vec<RouteTo>,
}

impl Outcome {
    /// The result in the form of a version.
    pub fn to_json(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".into(), json!(version.as_str()));
        if !self.interfaces.is_empty() {
            object.insert("interfaces".into(), self.interfaces.iter().map(interface_json).collect());
        }
        object.insert("ips".into(), self.ips.iter().map(|ip| ip_json(ip, version)).collect());
        if !self.routes.is_empty() {
            object.insert("routes".into(), self.routes.iter().map(route_json).collect());
        }
        object.insert("dns".into(), json!({}));
        Value::Object(object)
    }

    /// Parses a result of any version; invalid values are an error, unknown members are ignored.
    pub fn from_json(value: &Value) -> Result<Self, CniError> {
        let list = |key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let invalid =
            |what: &str| CniError::new(CniError::DECODE_FAILURE, format!("invalid {what} in a plugin result"));
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut outcome = Self::default();
        for item in list("interfaces") {
            outcome.interfaces.push(Interface {
                name: text(&item, "name").ok_or_else(|| invalid("interface name"))?,
                mac: text(&item, "mac").and_then(|mac| mac.parse().ok()),
                sandbox: text(&item, "sandbox").filter(|sandbox| !sandbox.is_empty()),
            });
        }
        for item in list("ips") {
            let address = text(&item, "address").and_then(|address| address.parse().ok());
            outcome.ips.push(Ip {
                address: address.ok_or_else(|| invalid("address"))?,
                gateway: text(&item, "gateway").and_then(|gateway| gateway.parse().ok()),
                interface: item.get("interface").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok()),
            });
        }
        for item in list("routes") {
            let dst = text(&item, "dst").and_then(|dst| dst.parse().ok()).ok_or_else(|| invalid("route"))?;
            outcome.routes.push(RouteTo { dst, gw: text(&item, "gw").and_then(|gw| gw.parse().ok()) });
        }
        Ok(outcome)
    }
}

fn interface_json(interface: &Interface) -> Value {
    let mut object = json!({ "name": interface.name });
    if let Some(mac) = interface.mac {
        object["mac"] = json!(mac);
    }
    if let Some(sandbox) = &interface.sandbox {
        object["sandbox"] = json!(sandbox);
    }
    object
}

fn ip_json(ip: &Ip, version: Version) -> Value {
    let mut object = json!({ "address": ip.address.to_string() });
    if version < Version::V1_0_0 {
        object["version"] = json!(if ip.address.addr().is_ipv4() { "4" } else { "6" });
    }
    if let Some(gateway) = ip.gateway {
        object["gateway"] = json!(gateway.to_string());
    }
    if let Some(interface) = ip.interface {
        object["interface"] = json!(interface);
    }
    object
}

fn route_json(route: &RouteTo) -> Value {
    let mut object = json!({ "dst": route.dst.to_string() });
    if let Some(gw) = route.gw {
        object["gw"] = json!(gw.to_string());
    }
    object
}
