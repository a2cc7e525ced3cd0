// SPDX-License-Identifier: Apache-2.0
//! `berth shell`: a command behind a new network interface inside a VPC.
//!
//! The server creates a seat (interface and namespace) on a host; the command is a child of this process inside that
//! namespace. However the command ends, the seat is closed afterwards and the command's exit code is returned.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result, bail};
use berth_types::admin::{Reply, Request, Seat};
use berth_types::{SecurityGroupId, SubnetId};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::ShellArgs;
use crate::installation::Installation;
use crate::{admin, hosts};

/// Opens a seat, runs the command, closes the seat.
pub fn run(installation: &Installation, args: &ShellArgs) -> Result<ExitCode> {
    let seat = open(installation, args)?;
    let outcome = run_in(installation, &seat, &command_of(args));
    let closed = admin::ask(installation, Request::CloseSeat { eni: seat.eni.clone() });
    let status = outcome?;
    closed.with_context(|| format!("the interface {} could not be removed", seat.eni))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn open(installation: &Installation, args: &ShellArgs) -> Result<Seat> {
    let subnet = args.subnet.as_deref().map(SubnetId::parse).transpose().context("--subnet")?;
    let groups: Result<Vec<SecurityGroupId>, _> =
        args.security_groups.iter().map(|group| SecurityGroupId::parse(group)).collect();
    let security_groups = groups.context("--security-groups")?;
    let host = match hosts::chosen(installation, args.host.as_deref())?.first() {
        Some(host) if args.host.is_some() => host.id()?,
        Some(_) | None => None,
    };
    match admin::ask(installation, Request::OpenSeat { subnet, security_groups, host })? {
        Reply::Seat(seat) => Ok(seat),
        other => bail!("the server answered {other:?} to a request for an interface"),
    }
}

fn command_of(args: &ShellArgs) -> Vec<String> {
    if args.command.is_empty() {
        vec![std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into())]
    } else {
        args.command.clone()
    }
}

fn run_in(installation: &Installation, seat: &Seat, command: &[String]) -> Result<ExitStatus> {
    let host = hosts::with_id(installation, &seat.host)?;
    let host = host.with_context(|| format!("host {} is not on this machine; run this there", seat.host))?;
    let path = host.installation.run.join("netns").join(&seat.netns);
    let namespace = File::open(&path).with_context(|| format!("cannot open the namespace {}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // From here on these signals end the command, not this process: the seat must be closed afterwards.
        let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let program = command.first().context("no command")?.clone();
        let arguments = command[1..].to_vec();
        let environment = [("BERTH_ENI", seat.eni.to_string()), ("BERTH_ADDRESS", seat.address.to_string())];
        // A child inherits the namespace of the thread that starts it; this thread does nothing else.
        let (tell, told) = tokio::sync::oneshot::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let child = setns(&namespace, CloneFlags::CLONE_NEWNET)
                .map_err(std::io::Error::from)
                .and_then(|()| std::process::Command::new(program).args(arguments).envs(environment).spawn());
            match child {
                Ok(mut child) => {
                    tell.send(Ok(child.id())).ok();
                    end.send(child.wait()).ok();
                }
                Err(error) => {
                    tell.send(Err(error)).ok();
                }
            }
        });
        let pid = told.await?.with_context(|| format!("cannot run {}", command.join(" ")))?;
        let pid = Pid::from_raw(i32::try_from(pid)?);
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                status = &mut ended => return Ok(status??),
                _ = terminate.recv() => { kill(pid, Signal::SIGTERM).ok(); }
                _ = hangup.recv() => { kill(pid, Signal::SIGHUP).ok(); }
                // The terminal sends SIGINT to the command as well.
                _ = interrupt.recv() => {}
            }
        }
    })
}
