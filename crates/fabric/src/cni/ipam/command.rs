// SPDX-License-Identifier: Apache-2.0
//! `ecs-ipam` as a plugin.

use serde::Deserialize;
use serde_json::Value;

use super::{Bare, InvalidPool, Ipam, IpamConfig, Lease, LeaseFault, LeaseRequest, Owner, Wanted};
use crate::cni::call::{Call, Command};
use crate::cni::spec::{CniError, Ip, Outcome, RouteTo};

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    ipam: IpamConfig,
}

impl From<InvalidPool> for CniError {
    fn from(invalid: InvalidPool) -> Self {
        Self::config(invalid.to_string())
    }
}

/// Executes a call on the leases that the environment names.
pub(in crate::cni) fn run(call: &Call) -> Result<Option<Value>, CniError> {
    let ipam = Ipam::from_env();
    match call.command {
        Command::Add => add(&ipam, call).map(|(outcome, _)| Some(outcome.to_json(call.version))),
        Command::Check => check(&ipam, call).map(|()| None),
        Command::Del => del(&ipam, call).map(|()| None),
        Command::Gc => gc(&ipam, call).map(|()| None),
        Command::Status => status(&ipam).map(|()| None),
    }
}

/// The requested addresses and routes of a configuration.
pub(in crate::cni) fn asked(call: &Call) -> Result<(Vec<Wanted>, Vec<RouteTo>), CniError> {
    let config = call.config_as::<Config>()?.ipam;
    Ok((config.wanted()?, config.routes()))
}

/// Leases addresses. The second value is true if the leases existed before.
pub(in crate::cni) fn add(ipam: &Ipam, call: &Call) -> Result<(Outcome, bool), CniError> {
    let config = call.config_as::<Config>()?.ipam;
    let request = LeaseRequest {
        wanted: config.wanted()?,
        id: config.id.clone(),
        network: call.network().to_owned(),
        owner: owner(call),
    };
    let (leases, stood) = ipam.allocate(&request)?;
    let ips = leases.iter().zip(&request.wanted).map(|(lease, wanted)| Ip {
        address: lease.address,
        gateway: Some(wanted.pool.gateway()),
        interface: None,
    });
    Ok((Outcome { interfaces: Vec::new(), ips: ips.collect(), routes: config.routes() }, stood))
}

pub(in crate::cni) fn check(ipam: &Ipam, call: &Call) -> Result<(), CniError> {
    let config = call.config_as::<Config>()?.ipam;
    let leases = ipam.leases()?;
    for wanted in config.wanted()? {
        let is_there = |lease: &Lease| is_of(lease, &config, call) && lease.address.trunc() == wanted.pool.subnet();
        if !leases.iter().any(is_there) {
            let msg = format!("id {:?} has no lease in {}; ADD it again", config.id, wanted.pool);
            return Err(CniError::new(CniError::FAILED, msg));
        }
    }
    Ok(())
}

pub(in crate::cni) fn del(ipam: &Ipam, call: &Call) -> Result<(), CniError> {
    let config = call.config_as::<Config>()?.ipam;
    let addresses = [config.ipv4_address, config.ipv6_address].into_iter().flatten().map(|Bare(address)| address);
    for address in addresses {
        ipam.release_address(address)?;
    }
    ipam.release_where(|lease| is_of(lease, &config, call))?;
    Ok(())
}

/// Frees every lease of the network whose attachment is unknown to the runtime.
pub(in crate::cni) fn gc(ipam: &Ipam, call: &Call) -> Result<(), CniError> {
    let valid = call.valid_attachments()?;
    ipam.release_where(|lease| {
        let of = |(container_id, if_name): &(String, String)| {
            *container_id == lease.owner.container_id && *if_name == lease.owner.if_name
        };
        lease.network == call.network() && !valid.iter().any(of)
    })?;
    Ok(())
}

/// Ready if the leases can be read.
pub(in crate::cni) fn status(ipam: &Ipam) -> Result<(), CniError> {
    let unavailable = |fault: LeaseFault| {
        CniError::new(CniError::NOT_AVAILABLE, "the lease file cannot be used")
            .with_details(crate::cni::describe(&fault))
    };
    ipam.leases().map(drop).map_err(unavailable)
}

/// By id if the configuration has one, otherwise by owner.
fn is_of(lease: &Lease, config: &IpamConfig, call: &Call) -> bool {
    if config.id.is_empty() {
        !call.container_id.is_empty() && lease.id.is_empty() && lease.owner == owner(call)
    } else {
        lease.id == config.id
    }
}

fn owner(call: &Call) -> Owner {
    Owner { container_id: call.container_id.clone(), if_name: call.if_name.clone() }
}
