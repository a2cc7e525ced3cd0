// SPDX-License-Identifier: Apache-2.0
//! Direct access to the kernel's network: namespaces, netlink, sysctls; and the one program of a cgroup.
//!
//! The only module with `setns` and rtnetlink. It decides nothing and knows no AWS terms. Every failing step has a
//! [`Fault`] that names the link, route or namespace, with the kernel's own answer as source. Not here: eBPF of the
//! data path (`bpf`), the purpose of the links (`cni`, the data path).

mod devices;
pub mod netlink;
pub mod netns;
pub mod sysctl;

pub use devices::deny_devices;
pub use netlink::Netlink;
pub use netns::Namespace;

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The kernel refused: its error number and, if it gave one, its message (netlink extended acknowledgement).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `errno` of the answer.
    pub errno: i32,
    /// The message of the kernel or the I/O layer.
    pub said: Option<String>,
}

impl Refused {
    /// A refusal with only a number.
    pub fn errno(errno: i32) -> Self {
        Self { errno, said: None }
    }

    /// An answer that could not be parsed.
    pub(crate) fn garbled(said: impl fmt::Display) -> Self {
        Self { errno: libc::EBADMSG, said: Some(said.to_string()) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.errno))?;
        self.said.as_ref().map_or(Ok(()), |said| write!(f, ": {said}"))
    }
}

impl std::error::Error for Refused {}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::errno(errno),
            None => Self { errno: libc::EIO, said: Some(error.to_string()) },
        }
    }
}

impl From<nix::errno::Errno> for Refused {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::errno(errno as i32)
    }
}

/// A step in the kernel failed. One variant per step; the source is the kernel's answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Opening a routing socket.
    #[error("could not open a netlink socket")]
    OpenSocket(#[source] Refused),
    /// Dumping a table.
    #[error("could not list {what}")]
    List {
        /// Which table.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Making a veth pair.
    #[error("could not create veth pair {name} / {peer}")]
    CreateVeth {
        /// The near end.
        name: String,
        /// The far end.
        peer: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Making a bridge.
    #[error("could not create bridge {name}")]
    CreateBridge {
        /// Its name.
        name: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Changing a link.
    #[error("could not {what} of link {link}")]
    SetLink {
        /// The change, e.g. `set the MTU to 9001`.
        what: String,
        /// The link.
        link: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Moving a link to another namespace.
    #[error("could not move link {link} into another namespace")]
    MoveLink {
        /// The link.
        link: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Removing a link.
    #[error("could not delete link {link}")]
    DeleteLink {
        /// The link.
        link: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Adding or removing an address.
    #[error("could not {verb} address {address} on link {link}")]
    Address {
        /// `add` or `remove`.
        verb: &'static str,
        /// Address with prefix length.
        address: ipnet::IpNet,
        /// The link.
        link: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Adding or removing a route.
    #[error("could not {verb} route {route}")]
    Route {
        /// `add` or `remove`.
        verb: &'static str,
        /// The route, as `ip route` would print it.
        route: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Adding or removing a routing rule.
    #[error("could not {verb} routing rule {rule}")]
    Rule {
        /// `add` or `remove`.
        verb: &'static str,
        /// The rule, as `ip rule` would print it.
        rule: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// A link that was just made is gone.
    #[error("link {link} is gone; another program removed it")]
    NoLink {
        /// Its name.
        link: String,
    },
    /// A neighbour entry, or an entry of a bridge.
    #[error("could not {verb} the neighbour {neighbour} of link {link}")]
    Neighbour {
        /// `set` or `remove`.
        verb: &'static str,
        /// Address of the neighbour, or its hardware address on a bridge.
        neighbour: String,
        /// The link.
        link: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Making a namespace.
    #[error("could not create network namespace {path}: {step}", path = .path.display())]
    CreateNamespace {
        /// Its file.
        path: PathBuf,
        /// The step that failed.
        step: &'static str,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Opening a namespace file.
    #[error("could not open network namespace {path}", path = .path.display())]
    OpenNamespace {
        /// Its file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// The file exists but is not a network namespace.
    #[error("{path} is not a network namespace; it was never mounted or has been unmounted", path = .path.display())]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// Entering a namespace.
    #[error("could not enter network namespace {namespace}")]
    EnterNamespace {
        /// Its file.
        namespace: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Removing a namespace.
    #[error("could not delete network namespace {path}", path = .path.display())]
    DeleteNamespace {
        /// Its file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
    /// Reading or writing a sysctl.
    #[error("could not {verb} sysctl {key}")]
    Sysctl {
        /// `read` or `write ...`.
        verb: String,
        /// Its name.
        key: String,
        /// The kernel's answer.
        #[source]
        cause: Refused,
    },
}

impl Fault {
    /// The kernel's answer, if the step reached the kernel.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::OpenSocket(cause)
            | Self::List { cause, .. }
            | Self::CreateVeth { cause, .. }
            | Self::CreateBridge { cause, .. }
            | Self::SetLink { cause, .. }
            | Self::MoveLink { cause, .. }
            | Self::DeleteLink { cause, .. }
            | Self::Address { cause, .. }
            | Self::Route { cause, .. }
            | Self::Rule { cause, .. }
            | Self::Neighbour { cause, .. }
            | Self::CreateNamespace { cause, .. }
            | Self::OpenNamespace { cause, .. }
            | Self::EnterNamespace { cause, .. }
            | Self::DeleteNamespace { cause, .. }
            | Self::Sysctl { cause, .. } => Some(cause),
            Self::NotANamespace { .. } | Self::NoLink { .. } => None,
        }
    }

    /// True if the kernel's answer has this number.
    pub fn is_errno(&self, errno: i32) -> bool {
        self.refused().is_some_and(|refused| refused.errno == errno)
    }

    /// True if a retry of the same step may succeed.
    pub fn is_transient(&self) -> bool {
        const AGAIN: [i32; 6] = [libc::EAGAIN, libc::EBUSY, libc::EINTR, libc::ENOBUFS, libc::ENOMEM, libc::ETIMEDOUT];
        self.refused().is_some_and(|refused| AGAIN.contains(&refused.errno))
    }
}
