//! What a call asks for, as a value: for the fuzzer, which looks at plans and must not touch the machine.

use std::path::Path;

use super::bridge::{self, Want};
use super::call::Call;
use super::eni::{self, EniConfig};
use super::ipam::{self, Wanted};
use super::spec::{CniError, Outcome, RouteTo};

/// A call, understood.
#[derive(Debug)]
pub enum Asked {
    /// An interface of this name is to be made ready.
    Interface(String, EniConfig),
    /// The container is to be connected to a bridge.
    Bridge(Bridged),
    /// Addresses are to be leased, and these routes answered.
    Addresses(Vec<Wanted>, Vec<RouteTo>),
    /// Attachments whose leases stay: container id and interface name.
    Keep(Vec<(String, String)>),
    /// Nothing that a configuration decides.
    Nothing,
}

/// A call of `ecs-bridge`, which also needs what an IPAM plugin answers.
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
    /// What `ecs-ipam` would be asked for by the same configuration.
    pub fn addresses(&self) -> Result<(Vec<Wanted>, Vec<RouteTo>), CniError> {
        ipam::command::asked(&self.call)
    }

    /// The earlier result CHECK brings along.
    pub fn previous(&self) -> Option<Result<Outcome, CniError>> {
        self.call.config.get("prevResult").map(Outcome::from_json)
    }

    /// What is to be made with these addresses.
    pub fn want(&self, leased: &Outcome) -> Result<Want, CniError> {
        let namespace = self.call.netns.as_deref().unwrap_or(Path::new(""));
        self.config.want(&self.call, namespace, leased)
    }
}
