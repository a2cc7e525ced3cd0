// SPDX-License-Identifier: Apache-2.0
//! Claims of installations on network namespaces and instance names. Two installations in one namespace would share the
//! bridge of tasks and its addresses; two of one name would treat each other's containers as garbage.
//!
//! A claim is a file that names the claimant, in a folder owned by root outside of every installation; a running node
//! holds a lock on it. A claim is valid while the lock is held or the claimant's data path is up, because tasks
//! continue without a node. The kernel drops the lock with the process, and the claim of a process killed before it
//! created a data path is void. A turn lock serialises claiming, asking and releasing, so that a locked file always
//! names its holder.
//!
//! A socket or a lock on the namespace itself would be within reach of containers of network mode host.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::hosts::LocalHost;
use crate::installation::Installation;

/// Folder of the claims; `/run` does not survive a reboot.
const FOLDER: &str = "/run/berth-claims";

/// The object of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// The network namespace with this inode.
    Namespace(u64),
    /// An instance name.
    Name(String),
}

/// The claimant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claimant {
    instance: String,
    run: PathBuf,
    data: PathBuf,
}

/// Locks that are held while this value exists.
#[derive(Debug)]
pub struct Claim {
    _locks: Vec<File>,
}

impl Claim {
    /// Claims the namespace of this thread and the name of a place for its node.
    pub fn take(installation: &Installation) -> Result<Self> {
        let folder = Path::new(FOLDER);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot create {FOLDER}"))?;
        let _turn = turn(folder)?;
        let subjects = [here()?, Subject::Name(installation.instance.clone())];
        let locks = subjects.iter().map(|subject| take(folder, subject, installation)).collect::<Result<_>>()?;
        Ok(Self { _locks: locks })
    }
}

/// Fails if the namespace of this thread or the name of a place belongs to another installation.
pub fn check(installation: &Installation) -> Result<()> {
    look(Path::new(FOLDER), &here()?, installation)?;
    check_name(installation)
}

/// Fails if the name of a place belongs to another installation.
pub fn check_name(installation: &Installation) -> Result<()> {
    look(Path::new(FOLDER), &Subject::Name(installation.instance.clone()), installation)
}

/// Releases the claims of a place. Nothing of the installation may be left.
pub fn release(installation: &Installation) -> Result<()> {
    release_in(Path::new(FOLDER), installation)
}

fn here() -> Result<Subject> {
    let file = "/proc/thread-self/ns/net";
    Ok(Subject::Namespace(fs::metadata(file).with_context(|| format!("cannot read {file}"))?.ino()))
}

impl Subject {
    fn file(&self, folder: &Path) -> PathBuf {
        match self {
            Self::Namespace(inode) => folder.join(format!("network-{inode}")),
            Self::Name(name) => folder.join(format!("instance-{name}")),
        }
    }

    fn refusal(&self, claimant: &Claimant) -> String {
        let Claimant { instance, run, data } = claimant;
        let end = format!(
            "`berth --data {} --run {} --instance {instance} down` ends that one",
            data.display(),
            run.display()
        );
        match self {
            Self::Namespace(_) => format!(
                "the installation {instance} in {} uses this network namespace; {end}, `ip netns add NAME` and `ip netns \
                 exec NAME berth ... up` start this one in a namespace of its own",
                run.display()
            ),
            Self::Name(name) => format!(
                "the installation in {} has the name {name}, too; choose another name with --instance, or {end}",
                run.display()
            ),
        }
    }
}

impl Claimant {
    fn of(installation: &Installation) -> Self {
        Self { instance: installation.instance.clone(), run: installation.run.clone(), data: installation.data.clone() }
    }

    fn installation(&self) -> Installation {
        Installation { data: self.data.clone(), run: self.run.clone(), instance: self.instance.clone() }
    }

    fn has_data_path(&self) -> bool {
        LocalHost { number: None, installation: self.installation() }.is_up()
    }
}

/// Waits for the turn lock, which is held until the file is dropped.
fn turn(folder: &Path) -> Result<File> {
    let path = folder.join("turn");
    let turn = open_or_make(&path)?;
    turn.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(turn)
}

fn open_or_make(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    options.open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn look(folder: &Path, subject: &Subject, installation: &Installation) -> Result<()> {
    let path = subject.file(folder);
    if !path.exists() {
        return Ok(());
    }
    let _turn = turn(folder)?;
    free_for(&mut open_or_make(&path)?, subject, installation)
}

fn take(folder: &Path, subject: &Subject, installation: &Installation) -> Result<File> {
    let mut file = open_or_make(&subject.file(folder))?;
    free_for(&mut file, subject, installation)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(&Claimant::of(installation))?)?;
    Ok(file)
}

/// Locks a file, unless another installation has a claim to it.
fn free_for(file: &mut File, subject: &Subject, installation: &Installation) -> Result<()> {
    let is_held = match file.try_lock() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock a claim"),
    };
    match claimant(file)? {
        Some(other) if other.run != installation.run && (is_held || other.has_data_path()) => {
            bail!(subject.refusal(&other))
        }
        Some(_) | None => Ok(()),
    }
}

/// The claimant in a file; none if it was killed while it wrote.
fn claimant(file: &mut File) -> Result<Option<Claimant>> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text).ok())
}

fn release_in(folder: &Path, installation: &Installation) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let _turn = turn(folder)?;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let Ok(mut file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() && claimant(&mut file)?.is_some_and(|claimant| claimant.run == installation.run) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn installation(folder: &Path, name: &str) -> Installation {
        Installation { data: folder.join(name).join("data"), run: folder.join(name).join("run"), instance: name.into() }
    }

    #[test]
    fn a_namespace_is_claimed_by_a_running_node_or_its_data_path() {
        let folder = tempfile::tempdir().unwrap();
        let claims = folder.path().join("claims");
        fs::create_dir(&claims).unwrap();
        let (one, other) = (installation(folder.path(), "one"), installation(folder.path(), "other"));
        let subject = Subject::Namespace(7);
        let look =
            |installation: &Installation| look(&claims, &subject, installation).map_err(|error| error.to_string());
        assert_eq!(look(&one), Ok(()));
        let held = take(&claims, &subject, &one).unwrap();
        assert_eq!(look(&one), Ok(()));
        let refused = look(&other).unwrap_err();
        assert!(refused.contains("the installation one in") && refused.contains("--instance one down"), "{refused}");
        assert!(take(&claims, &subject, &other).is_err());
        // The claimant was killed before it created anything.
        drop(held);
        assert_eq!(look(&other), Ok(()));
        // Killed afterwards.
        fs::create_dir_all(one.run.join("netns/fabric")).unwrap();
        assert!(look(&other).is_err() && take(&claims, &subject, &other).is_err());
        drop(take(&claims, &subject, &one).unwrap());
        release_in(&claims, &other).unwrap();
        assert!(look(&other).is_err());
        release_in(&claims, &one).unwrap();
        drop(take(&claims, &subject, &other).unwrap());
    }
}
