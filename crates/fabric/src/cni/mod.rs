//! Container network plugins: `ecs-eni`, `vpc-eni`, `ecs-bridge`, `ecs-ipam`, as a library and as executables.
//!
//! The node calls the library ([`bridge::add`], [`eni::configure_in_place`]); the executable `berth-cni` answers to the
//! four names and speaks the Container Network Interface 0.3.0 to 1.1.0 ([`plugin_main`]), so that the official Amazon
//! ECS agent and any CNI runtime can call it. Both act by the same plans. ADD undoes what it did when it fails and
//! may be run again after a crash; DEL of what is not there is success; errors inside a namespace are errors.
//! Not here: the fabric's end of an interface (the data path), who gets which address in a VPC (the server).

mod asked;
pub mod bridge;
mod call;
pub mod eni;
pub mod exec;
pub mod ipam;
mod plugin;
pub mod spec;

#[doc(hidden)]
pub use asked::{Asked, Bridged};
#[doc(hidden)]
pub use plugin::asked;
pub use plugin::plugin_main;

use std::path::PathBuf;

use berth_types::MacAddress;
use ipnet::IpNet;

use crate::kernel;

/// Why a plugin could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The kernel refused a step.
    #[error(transparent)]
    Kernel(#[from] kernel::Fault),
    /// The address pool refused.
    #[error(transparent)]
    Lease(#[from] ipam::LeaseFault),
    /// ADD looked for a device that is not there.
    #[error("no device with MAC address {mac} here or in the container; it was never attached or went elsewhere")]
    NoDevice {
        /// The address looked for.
        mac: MacAddress,
    },
    /// ADD looked for one device and found more.
    #[error("several devices have MAC address {mac}: {names}; remove all but one")]
    SeveralDevices {
        /// The address looked for.
        mac: MacAddress,
        /// Their names.
        names: String,
    },
    /// The name for the container's end is taken by something else.
    #[error("{name} in namespace {namespace} is another device ({found}); delete it or choose another interface name")]
    NameTaken {
        /// The interface name.
        name: String,
        /// The container's namespace.
        namespace: PathBuf,
        /// What is there.
        found: String,
    },
    /// The bridge has an address in the pool's subnet that is not the pool's gateway.
    #[error("bridge {bridge} has address {found} where {wanted} belongs; remove it or set forceAddress")]
    BridgeAddress {
        /// The bridge.
        bridge: String,
        /// The address it has.
        found: IpNet,
        /// The address it should have.
        wanted: IpNet,
    },
    /// CHECK found differences.
    #[error("{what} is not as ADD left it; missing: {}", .missing.join("; "))]
    Differs {
        /// The interface.
        what: String,
        /// The steps that would mend it.
        missing: Vec<String>,
    },
    /// A step failed, and so did putting things back.
    #[error("{failed}; undoing it failed too: {undo}", failed = describe(.failed), undo = describe(.undo))]
    Undo {
        /// The first failure.
        failed: Box<Fault>,
        /// The failure of the undoing.
        undo: Box<Fault>,
    },
}

impl Fault {
    /// True if the same call may succeed when made again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Kernel(fault) => fault.is_transient(),
            Self::Lease(fault) => fault.is_transient(),
            Self::Undo { failed, .. } => failed.is_transient(),
            Self::NoDevice { .. }
            | Self::SeveralDevices { .. }
            | Self::NameTaken { .. }
            | Self::BridgeAddress { .. }
            | Self::Differs { .. } => false,
        }
    }
}

/// An error with its causes, joined by colons.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
