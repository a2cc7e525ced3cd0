// SPDX-License-Identifier: Apache-2.0
//! Checks the rights that a command needs before it begins. A failure half-way would name a file that could not be
//! opened, and not the remedy.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, Uid, User, access, geteuid};

use crate::args::{Command, EniCommand, HostCommand, ImageCommand};
use crate::installation::Installation;

/// The rights a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Rights on the machine: namespaces, eBPF, containerd.
    Root,
    /// Rights on the folders of the installation, which belong to the user who started it.
    Folders,
    /// Nothing.
    Nothing,
}

/// Fails, with the remedy, unless this process has the rights for the command.
pub fn check(installation: &Installation, command: &Command) -> Result<()> {
    let (name, needs) = needs(command);
    if geteuid().is_root() {
        return Ok(());
    }
    match needs {
        Needs::Nothing => Ok(()),
        Needs::Root => bail!("`berth {name}` needs root; run it with sudo"),
        Needs::Folders => {
            [&installation.run, &installation.data].into_iter().try_for_each(|folder| check_folder(name, folder))
        }
    }
}

fn needs(command: &Command) -> (&'static str, Needs) {
    match command {
        Command::Up(_) => ("up", Needs::Root),
        Command::Node(_) => ("node", Needs::Root),
        Command::Edge(_) => ("edge", Needs::Root),
        Command::Down(_) => ("down", Needs::Root),
        Command::Shell(_) => ("shell", Needs::Root),
        Command::Explain(_) => ("explain", Needs::Root),
        Command::Image(ImageCommand::Load(_)) => ("image load", Needs::Root),
        Command::Image(ImageCommand::Ls { .. }) => ("image ls", Needs::Root),
        Command::Eni(EniCommand::Stats { .. }) => ("eni stats", Needs::Root),
        Command::Rate(_) => ("rate", Needs::Root),
        Command::Host(HostCommand::Attach(_)) => ("host attach", Needs::Folders),
        Command::Server(_) => ("server", Needs::Folders),
        Command::Env(_) => ("env", Needs::Folders),
        Command::Status(_) => ("status", Needs::Folders),
        Command::Logs(_) => ("logs", Needs::Folders),
        Command::Doctor(_) => ("doctor", Needs::Nothing),
    }
}

/// A missing folder is reported by the command itself.
fn check_folder(name: &str, folder: &Path) -> Result<()> {
    match access(folder, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        Err(Errno::EACCES) => {
            let owner = owner(folder);
            bail!(
                "`berth {name}` needs the rights of {owner}, who owns {}; run it with sudo, or name another installation \
                 with --run and --data",
                folder.display()
            )
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The owner of a folder, or the parent folder that hides it.
fn owner(folder: &Path) -> String {
    let seen = folder.ancestors().find_map(|folder| match fs::metadata(folder) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        found => found.ok(),
    });
    let Some(uid) = seen.map(|seen| Uid::from_raw(seen.uid())) else { return "another user".to_owned() };
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("user {uid}"),
    }
}
