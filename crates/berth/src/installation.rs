// SPDX-License-Identifier: Apache-2.0
//! The folders of an installation, and its running processes.
//!
//! A running process holds a lock on `<run>/lock/<role>`, which contains its process id. The kernel drops the lock with
//! the process, so a held lock proves that the process in it is alive and ours; a process is never ended because of a
//! stale file. A turn lock (`<run>/lock/turn`) serialises taking a role and asking for its holder. Without it, a reader
//! could see the file before the id is in it, or hold the lock just when another process tries to take it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::args::InstallationArgs;

/// The processes of an installation, in the order they are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `berth up`.
    Supervisor,
    /// `berth node`.
    Node,
    /// `berth server`.
    Server,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Supervisor, Role::Node, Role::Server];

    /// The command that starts it.
    pub fn command(self) -> &'static str {
        match self {
            Role::Supervisor => "up",
            Role::Node => "node",
            Role::Server => "server",
        }
    }
}

/// The folders of an installation, absolute.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Lasting data.
    pub data: PathBuf,
    /// Sockets, namespaces, locks.
    pub run: PathBuf,
    /// Its name.
    pub instance: String,
}

impl Installation {
    /// Makes the folders' names absolute.
    pub fn new(args: &InstallationArgs) -> Result<Self> {
        Ok(Self {
            data: std::path::absolute(&args.data).context("--data is not a path")?,
            run: std::path::absolute(&args.run).context("--run is not a path")?,
            instance: args.instance.clone(),
        })
    }

    /// The installation of a simulated host below this one.
    pub fn of_host(&self, number: u32) -> Self {
        let folder = |base: &Path| base.join("hosts").join(number.to_string());
        Self { data: folder(&self.data), run: folder(&self.run), instance: format!("{}-{number}", self.instance) }
    }

    /// The options that select this installation in another `berth`.
    pub fn arguments(&self) -> Vec<String> {
        [("--data", self.data.display().to_string()), ("--run", self.run.display().to_string())]
            .into_iter()
            .chain([("--instance", self.instance.clone())])
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect()
    }

    /// The server's Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("server.sock")
    }

    /// The administrator's key, written by the server.
    pub fn credentials(&self) -> PathBuf {
        self.data.join("credentials")
    }

    /// Folder of the processes' own logs, when they are detached.
    pub fn logs(&self) -> PathBuf {
        self.data.join("log")
    }

    /// Log of one of the processes, when it is not on the terminal.
    pub fn log_of(&self, role: Role) -> PathBuf {
        self.logs().join(format!("{}.log", role.command()))
    }

    /// Creates the folders, readable only by their owner, and restricts those that are open to others.
    pub fn create(&self) -> Result<()> {
        let advice = "run as root or choose --data and --run";
        for folder in [&self.data, &self.run] {
            if berth_node::base_folder(folder).context(advice)? {
                eprintln!("berth: other users could write to {}; this right has been removed", folder.display());
            }
        }
        let logs = self.logs();
        for folder in [&logs, &self.locks()] {
            berth_node::private_folder(folder).context(advice)?;
        }
        for file in fs::read_dir(&logs).with_context(|| format!("cannot list {}", logs.display()))? {
            berth_node::close(&file?.path())?;
        }
        Ok(())
    }

    /// Takes the role until the returned file is dropped; fails when another process holds it.
    pub fn claim(&self, role: Role) -> Result<File> {
        let turn = open_or_make(&self.turn_file())?;
        turn.lock().with_context(|| format!("cannot lock {}", self.turn_file().display()))?;
        let path = self.lock_file(role);
        let mut file = open_or_make(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                bail!(
                    "`berth {}` already runs in {} as process {}; `berth down` stops it",
                    role.command(),
                    self.run.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(file)
    }

    /// Process id of the role's present holder.
    pub fn holder(&self, role: Role) -> Result<Option<i32>> {
        let turn = open_if_there(&self.turn_file())?;
        if let Some(turn) = &turn {
            turn.lock_shared().with_context(|| format!("cannot lock {}", self.turn_file().display()))?;
        }
        let Some(mut file) = open_if_there(&self.lock_file(role))? else { return Ok(None) };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(Some(
                    text.trim().parse().with_context(|| format!("{:?} holds no process id", self.lock_file(role)))?,
                ))
            }
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Blocks until the role is free.
    pub fn wait_until_free(&self, role: Role) -> Result<()> {
        if let Some(file) = open_if_there(&self.lock_file(role))? {
            file.lock_shared()?;
        }
        Ok(())
    }

    fn locks(&self) -> PathBuf {
        self.run.join("lock")
    }

    fn turn_file(&self) -> PathBuf {
        self.locks().join("turn")
    }

    fn lock_file(&self, role: Role) -> PathBuf {
        self.locks().join(role.command())
    }
}

fn open_or_make(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    options.open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn open_if_there(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_role_is_held_by_one_and_free_again_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let installation =
            Installation { data: folder.path().join("data"), run: folder.path().join("run"), instance: "t".into() };
        installation.create().unwrap();
        assert_eq!(installation.holder(Role::Server).unwrap(), None);
        let held = installation.claim(Role::Server).unwrap();
        assert_eq!(installation.holder(Role::Server).unwrap(), Some(std::process::id() as i32));
        let refused = installation.claim(Role::Server).unwrap_err().to_string();
        assert!(refused.contains("already runs"), "{refused}");
        drop(held);
        installation.wait_until_free(Role::Server).unwrap();
        assert_eq!(installation.holder(Role::Server).unwrap(), None);
    }

    #[test]
    fn who_asks_is_never_in_the_way_of_who_takes_a_role() {
        let folder = tempfile::tempdir().unwrap();
        let installation =
            Installation { data: folder.path().join("data"), run: folder.path().join("run"), instance: "t".into() };
        installation.create().unwrap();
        drop(installation.claim(Role::Node).unwrap());
        let own = Some(std::process::id() as i32);
        std::thread::scope(|scope| {
            let asking =
                scope.spawn(|| (0..2000).map(|_| installation.holder(Role::Node).unwrap()).collect::<Vec<_>>());
            while !asking.is_finished() {
                drop(installation.claim(Role::Node).unwrap());
            }
            assert!(asking.join().unwrap().into_iter().all(|holder| holder.is_none() || holder == own));
        });
    }
}
