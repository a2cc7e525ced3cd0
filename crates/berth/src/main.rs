//! `berth`: server, node and administration in one program.
//!
//! The command line is in `args`; each command has a file in `command/`. Errors are printed once, here: what failed, on
//! which thing, and what to do about it.

mod admin;
mod args;
mod command;
mod hosts;
mod place;
mod ready;
mod show;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use args::{Berth, Command, EniCommand, ImageCommand};
use place::Place;

fn main() -> ExitCode {
    done(run(Berth::parse()))
}

fn run(berth: Berth) -> Result<ExitCode> {
    let place = Place::new(&berth.place)?;
    match berth.command {
        Command::Up(args) => command::up::run(&place, &args),
        Command::Server(args) => command::server::run(&place, &args),
        Command::Node(args) => command::node::run(&place, &args),
        Command::Down(args) => command::down::run(&place, &args),
        Command::Env(args) => command::env::run(&place, &args),
        Command::Status(args) => command::status::run(&place, args.output),
        Command::Doctor(args) => command::doctor::run(&place, args.output),
        Command::Shell(args) => command::shell::run(&place, &args),
        Command::Explain(args) => Ok(command::explain::run(&place, &args)),
        Command::Logs(args) => command::logs::run(&place, &args),
        Command::Image(ImageCommand::Load(args)) => command::image::load(&place, &args),
        Command::Image(ImageCommand::Ls { on, show }) => command::image::list(&place, &on, show.output),
        Command::Eni(EniCommand::Stats { eni, on, show }) => {
            command::eni_stats::run(&place, eni.as_deref(), &on, show.output)
        }
    }
}

fn done(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("berth: {error:#}");
        ExitCode::FAILURE
    })
}

/// Fails unless this process is root's.
fn needs_root(what: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { bail!("{what} needs root; run it with sudo") }
}
