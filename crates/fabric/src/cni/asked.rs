// SPDX-License-Identifier: Apache-2.0
//! A parsed call of a plugin as a value: for the fuzzer, which inspects plans and must not change the machine.

use std::path::Path;

use super::bridge::{self, Want};
use super::call::Call;
use super::eni::{self, EniConfig};
use super::ipam::{self, Wanted};
use super::spec::{CniError, Outcome, RouteTo};

/// A parsed call.
#[derive(Debug)]
pub enum Asked {
    /// Prepare an interface of this name.
    Interface(String, EniConfig),
    /// Connect the container to a bridge.
    Bridge(Bridged),
    /// Lease addresses, and answer these routes.
    Addresses(Vec<Wanted>, Vec<RouteTo>),
    /// Attachments whose leases are kept: container id and interface name.
    Keep(Vec<(String, String)>),
    /// A call that needs no configuration.
    Nothing,
}

/// A call of `ecs-bridge`, which also needs the answer of an IPAM plugin.
#[derive(Debug)]
pub struct Bridged {
    call: Call,
    config: bridge::command::Config,
}

impl Asked {
    pub(super) fn interface(dialect: eni::command::Dialect, call: Call) -> Result<Self, CniError> {
        let is_found_by_name = |_: &str, _: &Call| Err(CniError::config("the device is looked for on the machine"));
        let config = eni::command::config(dialect, &call, is_found_by_name)?;
        Ok(Self::Interface(call.if_name, config))
    }

    pub(super) fn bridge(call: Call) -> Result<Self, CniError> {
        let config = bridge::command::Config::of(&call)?;
        Ok(Self::Bridge(Bridged { call, config }))
    }

    pub(super) fn addresses(call: &Call) -> Result<Self, CniError> {
        let (wanted, routes) = ipam::command::asked(call)?;
        Ok(Self::Addresses(wanted, routes))
    }
}

impl Bridged {
    /// The request to `ecs-ipam` for the same configuration.
    pub fn addresses(&self) -> Result<(Vec<Wanted>, Vec<RouteTo>), CniError> {
        ipam::command::asked(&self.call)
    }

    /// The earlier result in a CHECK.
    pub fn previous(&self) -> Option<Result<Outcome, CniError>> {
        self.call.config.get("prevResult").map(Outcome::from_json)
    }

    /// The wanted state with these addresses.
    pub fn want(&self, leased: &Outcome) -> Result<Want, CniError> {
        let namespace = self.call.netns.as_deref().unwrap_or(Path::new(""));
        self.config.want(&self.call, namespace, leased)
    }
}
