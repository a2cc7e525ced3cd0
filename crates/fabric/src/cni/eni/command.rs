// SPDX-License-Identifier: Apache-2.0
//! `ecs-eni` and `vpc-eni` as plugins: two sets of keys for one configuration, two shapes of result.

use std::net::IpAddr;

use berth_types::MacAddress;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::{EniConfig, add, give_back, missing};
use crate::cni::Fault;
use crate::cni::bridge::command::is_gone;
use crate::cni::call::{Call, Command};
use crate::cni::spec::{CniError, Interface, Ip, Outcome, RouteTo, Version};
use crate::kernel::netlink::{Link, Route};
use crate::kernel::{Namespace, Netlink};

/// Selects one of the two plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cni) enum Dialect {
    EcsEni,
    VpcEni,
}

/// Keys of both plugins. Unknown keys are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    /// ecs-eni: id of the interface.
    eni: String,
    mac: String,
    #[serde(rename = "ip-addresses")]
    ip_addresses: Vec<String>,
    #[serde(rename = "gateway-ip-addresses")]
    gateway_ip_addresses: Vec<String>,
    #[serde(rename = "block-instance-metadata")]
    block_instance_metadata: bool,
    #[serde(rename = "stay-down")]
    stay_down: bool,
    mtu: u32,
    /// Ours, for both plugins.
    #[serde(rename = "vpc-cidrs")]
    vpc_cidrs: Vec<String>,
    /// vpc-eni: name of the device, if it is not found by hardware address.
    #[serde(rename = "eniName")]
    eni_name: String,
    #[serde(rename = "eniMACAddress")]
    eni_mac_address: String,
    #[serde(rename = "eniIPAddresses")]
    eni_ip_addresses: Vec<String>,
    #[serde(rename = "gatewayIPAddresses")]
    eni_gateway_ip_addresses: Vec<String>,
    #[serde(rename = "blockInstanceMetadata")]
    eni_block_instance_metadata: bool,
}

/// Executes a call.
pub(in crate::cni) fn run(dialect: Dialect, call: &Call) -> Result<Option<Value>, CniError> {
    match call.command {
        Command::Add => {
            let config = config(dialect, call, mac_of)?;
            let namespace = Namespace::open(call.required_netns()?)?;
            let device = add(&namespace, &call.if_name, &config)?;
            Ok(Some(outcome(dialect, call, &config, &device).to_json(call.version)))
        }
        Command::Check => check(dialect, call).map(|()| None),
        Command::Del => del(dialect, call).map(|()| None),
        // There is no state that could remain or be unavailable: the device ends with its namespace.
        Command::Gc | Command::Status => Ok(None),
    }
}

/// Parses the configuration; `mac_of` finds the hardware address of a device given by name.
pub(in crate::cni) fn config(
    dialect: Dialect,
    call: &Call,
    mac_of: impl Fn(&str, &Call) -> Result<String, CniError>,
) -> Result<EniConfig, CniError> {
    let keys: Keys = call.config_as()?;
    let block_instance_metadata = keys.block_instance_metadata || keys.eni_block_instance_metadata;
    let (mac, addresses, gateways) = match dialect {
        Dialect::EcsEni => {
            required("eni", !keys.eni.is_empty())?;
            required("mac", !keys.mac.is_empty())?;
            required("ip-addresses", !keys.ip_addresses.is_empty())?;
            (keys.mac, keys.ip_addresses, keys.gateway_ip_addresses)
        }
        Dialect::VpcEni => {
            required("eniMACAddress or eniName", !(keys.eni_mac_address.is_empty() && keys.eni_name.is_empty()))?;
            let mac = match keys.eni_mac_address.as_str() {
                "" => mac_of(&keys.eni_name, call)?,
                mac => mac.to_owned(),
            };
            (mac, keys.eni_ip_addresses, keys.eni_gateway_ip_addresses)
        }
    };
    let mac: MacAddress = mac.parse().map_err(|error| CniError::config(format!("{error}")))?;
    let gateways: Vec<IpAddr> = all("gateway address", &gateways)?;
    // There is one default route for each family; a second one would replace the first.
    if gateways.iter().filter(|gateway| gateway.is_ipv4()).count() > 1
        || gateways.iter().filter(|gateway| gateway.is_ipv6()).count() > 1
    {
        return Err(CniError::config("more than one gateway address of a family").with_details("name one for each"));
    }
    Ok(EniConfig {
        mac,
        addresses: all("address", &addresses)?,
        gateways,
        mtu: (keys.mtu != 0).then_some(keys.mtu),
        vpc_cidrs: all("VPC CIDR block", &keys.vpc_cidrs)?,
        block_instance_metadata,
        stay_down: keys.stay_down,
    })
}

fn required(key: &str, is_there: bool) -> Result<(), CniError> {
    if is_there { Ok(()) } else { Err(CniError::config(format!("missing required parameter {key}"))) }
}

fn all<T: std::str::FromStr>(what: &str, texts: &[String]) -> Result<Vec<T>, CniError> {
    let parse = |text: &String| text.parse().map_err(|_| CniError::config(format!("invalid {what} {text:?}")));
    texts.iter().map(parse).collect()
}

/// The hardware address of a device named in `vpc-eni`'s configuration: here, or already inside under its new name.
fn mac_of(name: &str, call: &Call) -> Result<String, CniError> {
    let mut link = Netlink::open()?.link_by_name(name)?;
    if link.is_none()
        && let Some(netns) = &call.netns
    {
        link = Namespace::open(netns)?.netlink()?.link_by_name(&call.if_name)?;
    }
    let mac = link.and_then(|link| link.mac);
    mac.map(|mac| mac.to_string()).ok_or_else(|| CniError::new(CniError::FAILED, format!("no device {name:?} here")))
}

/// `ecs-eni` 0.3.x answers like the official one, with the device's old name; later versions follow the specification.
fn outcome(dialect: Dialect, call: &Call, config: &EniConfig, device: &Link) -> Outcome {
    let is_official_ecs_eni = dialect == Dialect::EcsEni && call.version < Version::V0_4_0;
    let sandbox = call.netns.as_ref().map(|path| path.display().to_string());
    let interface = if is_official_ecs_eni || config.stay_down {
        Interface {
            name: device.name.clone(),
            mac: Some(config.mac),
            sandbox: sandbox.filter(|_| !is_official_ecs_eni),
        }
    } else {
        Interface { name: call.if_name.clone(), mac: Some(config.mac), sandbox }
    };
    let ip = |address: &IpNet| {
        let router = config.gateways.iter().find(|gateway| address.trunc().contains(*gateway)).copied();
        if is_official_ecs_eni {
            Ip { address: *address, gateway: None, interface: None }
        } else {
            Ip { address: *address, gateway: router, interface: Some(0) }
        }
    };
    let way_out = |gateway| RouteTo { dst: Route::default_via(gateway, 0).dst, gw: Some(gateway) };
    let routes = if is_official_ecs_eni || config.stay_down {
        Vec::new()
    } else {
        config.gateways.iter().copied().map(way_out).collect()
    };
    Outcome { interfaces: vec![interface], ips: config.addresses.iter().map(ip).collect(), routes }
}

fn check(dialect: Dialect, call: &Call) -> Result<(), CniError> {
    let namespace = Namespace::open(call.required_netns()?)?;
    let missing = missing(&namespace, &call.if_name, &config(dialect, call, mac_of)?)?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.iter().map(ToString::to_string).collect();
    Err(Fault::Differs { what: call.if_name.clone(), missing }.into())
}

/// `ecs-eni` leaves the device to its namespace: hardware returns when that ends, a veth pair ends with it. `vpc-eni`
/// moves it back.
fn del(dialect: Dialect, call: &Call) -> Result<(), CniError> {
    if dialect == Dialect::EcsEni {
        return Ok(());
    }
    let keys: Keys = call.config_as()?;
    let namespace = match call.netns.as_deref().map(Namespace::open) {
        Some(Ok(namespace)) => namespace,
        Some(Err(fault)) if !is_gone(&fault) => return Err(fault.into()),
        Some(Err(_)) | None => return Ok(()),
    };
    let mac = match keys.eni_mac_address.as_str() {
        "" => namespace.netlink()?.link_by_name(&call.if_name)?.and_then(|link| link.mac),
        text => Some(text.parse().map_err(|error| CniError::config(format!("{error}")))?),
    };
    match mac {
        Some(mac) => Ok(give_back(&namespace, mac)?),
        None => Ok(()),
    }
}
