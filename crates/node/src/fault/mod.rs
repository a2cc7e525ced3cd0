// SPDX-License-Identifier: Apache-2.0
//! Faults of a host, one variant per step, with the objects involved.

mod image;
mod network;
mod specification;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use image::{CopyFault, ImageFault};
pub use network::NetworkFault;
pub use specification::SpecFault;

/// The node or the machine under it failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file system call failed.
    #[error("could not {step} {}: {cause}", path.display())]
    File {
        /// The step, e.g. `create`.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// A file holds what it must not hold.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and the cure.
        problem: String,
    },
    /// The journal could not be opened.
    #[error("could not open the journal {}: {cause}", path.display())]
    JournalFile {
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: Box<berth_store::StoreFault>,
    },
    /// The journal takes no new records for lack of space.
    #[error("the disk of the journal {} is full, so nothing is begun; free some space", path.display())]
    JournalFull {
        /// The journal's file.
        path: PathBuf,
    },
    /// The journal refused.
    #[error("could not {step} the journal {}: {cause}", path.display())]
    Journal {
        /// The step.
        step: &'static str,
        /// The journal's file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: Box<redb::Error>,
    },
    /// containerd answered with an error.
    #[error("containerd refused {call} of {on}: {} ({:?})", status.message(), status.code())]
    Containerd {
        /// The call, e.g. `Tasks.Create`.
        call: &'static str,
        /// Its object.
        on: String,
        /// The answer.
        status: Box<tonic::Status>,
    },
    /// containerd did not answer.
    #[error("containerd did not answer {call} of {on} in {} s", after.as_secs())]
    ContainerdSilent {
        /// The call.
        call: &'static str,
        /// Its object.
        on: String,
        /// The time limit of the call.
        after: Duration,
    },
    /// The private containerd does not come up.
    #[error("containerd did not start: {problem}; its log is {}", log.display())]
    ContainerdStart {
        /// The problem.
        problem: String,
        /// The log of containerd.
        log: PathBuf,
    },
    /// A registry or an archive did not give an image.
    #[error(transparent)]
    Image(#[from] ImageFault),
    /// The specification of a container cannot be built.
    #[error(transparent)]
    Specification(#[from] SpecFault),
    /// A step of the network failed.
    #[error("could not {step} {on}: {cause}")]
    Network {
        /// The step, e.g. `plug`.
        step: &'static str,
        /// On which interface or namespace.
        on: String,
        /// The cause.
        #[source]
        cause: Box<NetworkFault>,
    },
    /// A system call outside the file system failed.
    #[error("could not {step}: {cause}")]
    System {
        /// The step and its object.
        step: String,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// The settings contradict themselves.
    #[error("{0}")]
    Setting(String),
    /// A part of the node ended that must not end.
    #[error("the node's {0} ended unexpectedly")]
    Ended(&'static str),
    /// Cleaning up left something behind; everything that could be done was done.
    #[error("{} of the steps of cleaning up failed: {}", .0.len(), Joined(.0))]
    Leftovers(Vec<Fault>),
}

impl Fault {
    pub(crate) fn file(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::File { step, path, cause }
    }

    /// For `map_err`: the step of the network that failed, and on which thing.
    pub(crate) fn network<C: Into<NetworkFault>>(step: &'static str, on: impl Into<String>) -> impl FnOnce(C) -> Self {
        let on = on.into();
        move |cause| Self::Network { step, on, cause: Box::new(cause.into()) }
    }

    pub(crate) fn system(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let step = step.into();
        move |cause| Self::System { step, cause }
    }

    /// True if containerd does not know the object.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Containerd { status, .. } if status.code() == tonic::Code::NotFound)
    }

    /// True if a retry can help: containerd ended during the call, or did not run.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Containerd { status, .. } => {
                // A broken connection has no code of its own: what the transport reports is passed on as its source.
                status.code() == tonic::Code::Unavailable || std::error::Error::source(status.as_ref()).is_some()
            }
            _ => false,
        }
    }

    /// Number of the snapshot that containerd could not make because its folder is there; it has no code for that.
    pub(crate) fn stray_snapshot(&self) -> Option<u64> {
        let Self::Containerd { call: "Snapshots.Prepare", status, .. } = self else { return None };
        let renamed = status.message().strip_suffix(": file exists").filter(|text| text.contains("rename "))?;
        renamed.rsplit('/').next()?.parse().ok()
    }

    /// True if containerd holds a thing of this name already.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Containerd { status, .. } if status.code() == tonic::Code::AlreadyExists)
    }
}

/// Joins the results of a clean-up that continues after a failure.
pub(crate) fn all_of(results: impl IntoIterator<Item = Result<(), Fault>>) -> Result<(), Fault> {
    let mut failed: Vec<Fault> = results.into_iter().filter_map(Result::err).collect();
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0)),
        _ => Err(Fault::Leftovers(failed)),
    }
}

/// Counts an absent object as removed.
pub(crate) fn absent_is_fine(result: Result<(), Fault>) -> Result<(), Fault> {
    match result {
        Err(fault) if fault.is_absent() => Ok(()),
        other => other,
    }
}

struct Joined<'a>(&'a [Fault]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_snapshot_is_told_from_other_failures() {
        let failed = |call, text: &str| Fault::Containerd {
            call,
            on: "x".to_owned(),
            status: Box::new(tonic::Status::unknown(text)),
        };
        let text = "failed to rename: rename /a b/snapshots/new-12 /a b/snapshots/54: file exists";
        assert_eq!(failed("Snapshots.Prepare", text).stray_snapshot(), Some(54));
        assert_eq!(failed("Snapshots.Commit", text).stray_snapshot(), None);
        for other in
            ["mkdir /a/54: file exists", "rename /a/new /a/54: no space left on device", "rename /a: file exists"]
        {
            assert_eq!(failed("Snapshots.Prepare", other).stray_snapshot(), None, "{other}");
        }
    }
}
