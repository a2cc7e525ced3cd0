// SPDX-License-Identifier: Apache-2.0
//! `berth`: server, node and administration in one program.
//!
//! The command line is in `args`; each command has a file in `command/`. Errors are printed once, here: the failed
//! step, its object, and the remedy.

mod admin;
mod args;
mod claim;
mod command;
mod hosts;
mod installation;
mod ready;
mod rights;
mod server_names;
mod show;
mod told;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use nix::sys::stat::{Mode, umask};

use args::{Berth, Command, EniCommand, HostCommand, ImageCommand};
use installation::Installation;
use told::told;

fn main() -> ExitCode {
    done(run(Berth::parse()))
}

fn run(berth: Berth) -> Result<ExitCode> {
    let installation = Installation::new(&berth.installation)?;
    // The command of `berth shell` keeps the caller's umask.
    if !matches!(berth.command, Command::Shell(_)) {
        umask(Mode::from_bits_truncate(berth_node::PRIVATE_UMASK));
    }
    if let Err(error) = rights::check(&installation, &berth.command) {
        eprintln!("berth: {}", told(&error));
        return Ok(if matches!(berth.command, Command::Explain(_)) {
            command::explain::unanswered()
        } else {
            ExitCode::FAILURE
        });
    }
    match berth.command {
        Command::Up(args) => command::up::run(&installation, &args),
        Command::Server(args) => command::server::run(&installation, &args),
        Command::Node(args) => command::node::run(&installation, &args),
        Command::Edge(args) => command::edge::run(&installation, &args),
        Command::Down(args) => command::down::run(&installation, &args),
        Command::Env(args) => command::env::run(&installation, &args),
        Command::Status(args) => command::status::run(&installation, args.output),
        Command::Doctor(args) => command::doctor::run(&installation, args.output),
        Command::Shell(args) => command::shell::run(&installation, &args),
        Command::Explain(args) => Ok(command::explain::run(&installation, &args)),
        Command::Logs(args) => command::logs::run(&installation, &args),
        Command::Image(ImageCommand::Load(args)) => command::image::load(&installation, &args),
        Command::Image(ImageCommand::Ls { on, show }) => command::image::list(&installation, &on, show.output),
        Command::Eni(EniCommand::Stats { eni, on, show }) => {
            command::eni_stats::run(&installation, eni.as_deref(), &on, show.output)
        }
        Command::Rate(args) => command::rate::run(&installation, &args),
        Command::Host(HostCommand::Attach(args)) => command::host_attach::run(&installation, &args),
    }
}

fn done(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("berth: {}", told(&error));
        ExitCode::FAILURE
    })
}
