// SPDX-License-Identifier: Apache-2.0
//! Network namespaces: created as files, entered only through a closure, and left on every path.
//!
//! A namespace is kept alive by a bind mount of its `nsfs` file at a path, as in `ip netns`, but nothing else is
//! mounted: entering changes the network of one thread and keeps its file systems (`ip netns exec` remounts `/sys`,
//! which hides bpffs and the cgroups).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, fstatfs};

use super::{Fault, Netlink, Refused};

const THREAD: &str = "/proc/thread-self/ns/net";
/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS: FsType = FsType(0x6e73_6673);

/// An open network namespace. It stays alive at least as long as this value.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    /// Creates a namespace kept alive by a mount at `path`, or returns the live one that is mounted there.
    ///
    /// Missing parent directories are created. The new namespace has `lo`, which is down.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        match Self::open(path) {
            Ok(live) => return Ok(live),
            Err(Fault::OpenNamespace { .. } | Fault::NotANamespace { .. }) => {}
            Err(other) => return Err(other),
        }
        let fault = move |step| move |cause: Refused| Fault::CreateNamespace { path: path.to_owned(), step, cause };
        make_file(path)?;
        let mounted = std::thread::scope(|scope| {
            let fresh = std::thread::Builder::new().name("netns-create".into()).spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_NEWNET).map_err(|e| fault("unshare")(e.into()))?;
                mount_here(path)
            });
            match fresh {
                Ok(thread) => {
                    thread.join().unwrap_or_else(|_| Err(fault("run a thread")(Refused::errno(libc::EFAULT))))
                }
                Err(e) => Err(fault("start a thread")(e.into())),
            }
        });
        mounted?;
        Self::open(path)
    }

    /// Keeps the namespace of the calling thread alive by a mount at `path`, replacing another mount there.
    pub fn keep_here(path: &Path) -> Result<Self, Fault> {
        let here = Self::of_current_thread()?;
        match Self::open(path) {
            Ok(kept) if kept.id()? == here.id()? => return Ok(kept),
            Ok(_) => Self::delete(path)?,
            Err(Fault::OpenNamespace { .. } | Fault::NotANamespace { .. }) => {}
            Err(other) => return Err(other),
        }
        make_file(path)?;
        mount_here(path)?;
        Self::open(path)
    }

    /// Opens a namespace file: one made by [`Namespace::create`] or `ip netns add`, or `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let file =
            File::open(path).map_err(|cause| Fault::OpenNamespace { path: path.to_owned(), cause: cause.into() })?;
        let kind = fstatfs(&file)
            .map_err(|cause| Fault::OpenNamespace { path: path.to_owned(), cause: cause.into() })?
            .filesystem_type();
        if kind != NSFS {
            return Err(Fault::NotANamespace { path: path.to_owned() });
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// The namespace the calling thread is in.
    pub fn of_current_thread() -> Result<Self, Fault> {
        Self::open(Path::new(THREAD))
    }

    /// The namespace of a process.
    pub fn of_pid(pid: u32) -> Result<Self, Fault> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// Unmounts and removes a namespace file. An absent file counts as success; the namespace itself ends with its last
    /// user.
    pub fn delete(path: &Path) -> Result<(), Fault> {
        let fault = |cause: Refused| Fault::DeleteNamespace { path: path.to_owned(), cause };
        loop {
            match nix::mount::umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => break,
                Err(errno) => return Err(fault(errno.into())),
            }
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fault(e.into())),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Runs `work` with the calling thread inside the namespace. The thread is back when this returns, also after a
    /// panic; if it cannot return, the process aborts, because all later work would be in the wrong network.
    ///
    /// `work` must not await or pass the thread to other tasks. Sockets opened inside stay in the namespace.
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> Result<T, Fault> {
        let _home = Home::remember()?;
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|cause| Fault::EnterNamespace { namespace: self.name(), cause: cause.into() })?;
        Ok(work())
    }

    /// A routing socket of this namespace. It may be used from any thread in any namespace.
    pub fn netlink(&self) -> Result<Netlink, Fault> {
        self.inside(Netlink::open)?
    }

    /// The open file, for netlink attributes and `setns`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Inode of the namespace: equal numbers are the same namespace (`readlink /proc/PID/ns/net` shows it).
    pub fn id(&self) -> Result<u64, Fault> {
        let metadata = self.file.metadata();
        let fault = |cause: io::Error| Fault::OpenNamespace { path: self.path.clone(), cause: cause.into() };
        Ok(metadata.map_err(fault)?.ino())
    }

    /// The path from which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The last part of the path from which it was opened, e.g. the task id.
    pub fn file_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or(self.path.as_os_str())
    }
}

/// Creates the file that a namespace is mounted on, with its directories.
fn make_file(path: &Path) -> Result<(), Fault> {
    let fault =
        |step| move |cause: io::Error| Fault::CreateNamespace { path: path.to_owned(), step, cause: cause.into() };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(fault("make its directory"))?;
    }
    match File::options().write(true).create_new(true).open(path) {
        // Left from before a reboot: the mount no longer exists, the file does.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop).map_err(fault("make its file")),
    }
}

/// Mounts the namespace of the calling thread.
fn mount_here(path: &Path) -> Result<(), Fault> {
    let mounted = nix::mount::mount(Some(THREAD), path, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    mounted.map_err(|e| Fault::CreateNamespace { path: path.to_owned(), step: "mount", cause: e.into() })
}

/// The return to the original namespace.
struct Home(Namespace);

impl Home {
    fn remember() -> Result<Self, Fault> {
        Namespace::of_current_thread().map(Self)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if setns(&self.0.file, CloneFlags::CLONE_NEWNET).is_err() {
            // A thread left in a task's namespace would act on the wrong network from here on.
            std::process::abort();
        }
    }
}
