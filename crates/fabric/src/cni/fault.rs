// SPDX-License-Identifier: Apache-2.0
//! Reasons why a plugin could not do its work.

use std::path::PathBuf;

use berth_types::MacAddress;
use ipnet::IpNet;

use super::causes::describe;
use super::ipam;
use super::spec::CniError;
use crate::kernel;

/// Reason why a plugin could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The kernel refused a step.
    #[error(transparent)]
    Kernel(#[from] kernel::Fault),
    /// The address pool refused.
    #[error(transparent)]
    Lease(#[from] ipam::LeaseFault),
    /// ADD did not find its device.
    #[error("no device with MAC address {mac} here or in the container; it was never attached or went elsewhere")]
    NoDevice {
        /// The hardware address.
        mac: MacAddress,
    },
    /// ADD found several matching devices.
    #[error("several devices have MAC address {mac}: {names}; remove all but one")]
    SeveralDevices {
        /// The hardware address.
        mac: MacAddress,
        /// Their names.
        names: String,
    },
    /// The name for the container's end is in use.
    #[error("{name} in namespace {namespace} is another device ({found}); delete it or choose another interface name")]
    NameTaken {
        /// The interface name.
        name: String,
        /// The container's namespace.
        namespace: PathBuf,
        /// The object with this name.
        found: String,
    },
    /// The port could not be guarded.
    #[error(transparent)]
    Port(Box<crate::fault::Fault>),
    /// The bridge has another address than the pool's gateway.
    #[error("bridge {bridge} has address {found} where {wanted} belongs; remove it or set forceAddress")]
    BridgeAddress {
        /// The bridge.
        bridge: String,
        /// The address it has.
        found: IpNet,
        /// The expected address.
        wanted: IpNet,
    },
    /// CHECK found differences.
    #[error("{what} is not as ADD left it; missing: {}", .missing.join("; "))]
    Differs {
        /// The interface.
        what: String,
        /// The steps that would remove them.
        missing: Vec<String>,
    },
    /// A step failed, and undoing the earlier ones failed, too.
    #[error("{failed}; undoing it failed too: {undo}", failed = describe(.failed), undo = describe(.undo))]
    Undo {
        /// The first failure.
        failed: Box<Fault>,
        /// The failure of the undoing.
        undo: Box<Fault>,
    },
}

impl From<crate::fault::Fault> for Fault {
    fn from(fault: crate::fault::Fault) -> Self {
        Self::Port(Box::new(fault))
    }
}

impl Fault {
    /// True if a repetition of the same call may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Kernel(fault) => fault.is_transient(),
            Self::Lease(fault) => fault.is_transient(),
            Self::Undo { failed, .. } => failed.is_transient(),
            Self::NoDevice { .. }
            | Self::SeveralDevices { .. }
            | Self::NameTaken { .. }
            | Self::Port(_)
            | Self::BridgeAddress { .. }
            | Self::Differs { .. } => false,
        }
    }
}

impl From<Fault> for CniError {
    fn from(fault: Fault) -> Self {
        let code = if fault.is_transient() { Self::TRY_AGAIN } else { Self::FAILED };
        Self::new(code, describe(&fault))
    }
}

impl From<kernel::Fault> for CniError {
    fn from(fault: kernel::Fault) -> Self {
        Fault::Kernel(fault).into()
    }
}

impl From<ipam::LeaseFault> for CniError {
    fn from(fault: ipam::LeaseFault) -> Self {
        Fault::Lease(fault).into()
    }
}
