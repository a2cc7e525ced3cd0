// SPDX-License-Identifier: Apache-2.0
//! `berth host attach`: moves the primary interface of a host.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use berth_types::admin::{Reply, Request};
use berth_types::instance::InstanceInterface;
use berth_types::{SecurityGroupId, SubnetId};

use crate::args::HostAttachArgs;
use crate::installation::Installation;
use crate::{admin, hosts};

/// Asks the server, and prints the new interface once it is usable.
pub fn run(installation: &Installation, args: &HostAttachArgs) -> Result<ExitCode> {
    let groups: Result<Vec<SecurityGroupId>, _> =
        args.security_groups.iter().map(|group| SecurityGroupId::parse(group)).collect();
    let wishes = InstanceInterface {
        subnets: vec![SubnetId::parse(&args.subnet).context("--subnet")?],
        security_groups: groups.context("--security-groups")?,
    };
    let hosts = hosts::chosen(installation, args.host.as_deref())?;
    let [only] = hosts.as_slice() else {
        bail!("there are {} hosts; name one with --host", hosts.len());
    };
    let host = only.id()?.with_context(|| format!("{only} has no identity yet; start it with `berth up`"))?;
    match admin::ask(installation, Request::MoveHost { host: host.clone(), wishes })? {
        Reply::Moved { eni, address } => {
            writeln!(std::io::stdout(), "The primary interface of host {host} is {eni} at {address}.")?;
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("the server answered {other:?} to a request to move a host"),
    }
}
