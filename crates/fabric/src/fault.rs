// SPDX-License-Identifier: Apache-2.0
//! Faults of the data path: the step, its object, and the remedy where there is one.

use std::path::{Path, PathBuf};

use aya::maps::MapError;
use aya::programs::ProgramError;
use berth_types::{EniId, Ipv4Cidr};

use crate::compile::{TooManyEntries, TooManyRules};
use crate::kernel;

/// A step of the fabric failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A link or a namespace.
    #[error(transparent)]
    Kernel(#[from] kernel::Fault),
    /// The security groups do not fit the data path.
    #[error(transparent)]
    TooManyRules(#[from] TooManyRules),
    /// A network ACL does not fit the data path.
    #[error(transparent)]
    TooManyEntries(#[from] TooManyEntries),
    /// The VPCs of this host have more subnets or NAT gateways than the data path can hold.
    #[error("this host can hold {limit} {what}; place tasks of fewer VPCs on it")]
    TooMany {
        /// Their name.
        what: &'static str,
        /// The limit.
        limit: u32,
    },
    /// A map operation.
    #[error("could not {step} eBPF map {map}; `bpftool map show` lists maps and their limits")]
    Map {
        /// The operation.
        step: &'static str,
        /// The map.
        map: &'static str,
        /// The kernel's answer.
        #[source]
        source: MapError,
    },
    /// Loading the object file with its maps.
    #[error(
        "could not load the eBPF data path; `berth doctor` says which kernel feature or capability is missing, and \
         `berth down` removes maps of another shape"
    )]
    Load(#[source] Box<aya::EbpfError>),
    /// The object file was built without the program.
    #[error("the embedded eBPF object has no program; build berth-fabric again")]
    NoProgram,
    /// Loading, inspecting or opening the program.
    #[error("could not {step} the eBPF program; `berth doctor` says which kernel feature or capability is missing")]
    Program {
        /// The operation.
        step: &'static str,
        /// The kernel's answer.
        #[source]
        source: Box<ProgramError>,
    },
    /// Pinning the program.
    #[error("could not pin the eBPF program at {}; bpffs must be mounted at /sys/fs/bpf", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: aya::pin::PinError,
    },
    /// A file on bpffs.
    #[error("could not {step} {}; bpffs must be mounted at /sys/fs/bpf and writable", path.display())]
    Pins {
        /// The operation.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// Attaching the program to a device.
    #[error("could not {step} on {device}; the kernel needs NET_SCH_INGRESS and NET_CLS_BPF")]
    Attach {
        /// The operation.
        step: &'static str,
        /// The fabric-side device.
        device: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// Asking how long a jiffy is.
    #[error("could not read the resolution of the coarse clock; a sandbox may forbid clock_getres")]
    Clock(#[source] std::io::Error),
    /// Asking how much memory there is.
    #[error("could not read the size of the memory, by which the flow table is sized; a sandbox may forbid sysinfo")]
    Memory(#[source] std::io::Error),
    /// Listening for a trial.
    #[error("could not listen on the loopback")]
    Listen(#[source] std::io::Error),
    /// Waiting for packets in flight.
    #[error("could not wait for packets in flight; the kernel needs CONFIG_MEMBARRIER")]
    Grace(#[source] std::io::Error),
    /// A device that was just created is missing.
    #[error("interface {eni} was plugged but its device {device} is gone; its namespace was deleted meanwhile")]
    DeviceGone {
        /// The interface.
        eni: EniId,
        /// Its fabric-side device.
        device: String,
    },
    /// All slots of counters are in use.
    #[error("could not plug interface {eni}: this host holds {limit} interfaces already; unplug some")]
    Full {
        /// The interface.
        eni: EniId,
        /// The number of slots.
        limit: u16,
    },
    /// The pool of public addresses is in use on the host.
    #[error(
        "the pool {pool} of public addresses overlaps {found}; remove that, or choose another pool: `berth up \
         --public-pool CIDR`"
    )]
    PoolInUse {
        /// The pool.
        pool: Ipv4Cidr,
        /// What uses it.
        found: String,
    },
    /// A device of another maker has the name of the host's end of the way to the world.
    #[error("device {device} does not belong to this instance, but has the name of its way to the world; rename it")]
    WorldNameTaken {
        /// The device.
        device: String,
    },
    /// The host's end of the way to the world is missing although it was just created.
    #[error("device {device} is gone, which was just created; its namespace was deleted meanwhile")]
    WorldGone {
        /// The device.
        device: String,
    },
    /// The interface is not plugged here.
    #[error("interface {eni} is not plugged on this host")]
    NotPlugged {
        /// The interface.
        eni: EniId,
    },
    /// The maps are not those of a running fabric.
    #[error("no fabric of instance {instance} on this host: {} does not exist; start it with `berth up`", path.display())]
    NotRunning {
        /// Instance name.
        instance: String,
        /// The path at which its maps would be.
        path: PathBuf,
    },
}

impl Fault {
    pub(crate) fn map(step: &'static str, map: &'static str, source: MapError) -> Self {
        Self::Map { step, map, source }
    }

    pub(crate) fn load(source: aya::EbpfError) -> Self {
        Self::Load(Box::new(source))
    }

    pub(crate) fn program(step: &'static str) -> impl FnOnce(ProgramError) -> Self {
        move |source| Self::Program { step, source: Box::new(source) }
    }

    pub(crate) fn pins(step: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Pins { step, path: path.as_ref().to_owned(), source }
    }
}
