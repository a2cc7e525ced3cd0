// SPDX-License-Identifier: Apache-2.0
//! Faults of the network: what the fabric, the kernel, a plugin or `nft` answered.

use std::net::Ipv6Addr;

use berth_fabric::cni::describe;

/// Why a step of the network failed. Texts have the whole chain of causes, because faults are shown as one line.
#[derive(Debug, thiserror::Error)]
pub enum NetworkFault {
    /// The data path refused.
    #[error("{}", describe(.0))]
    Fabric(#[from] berth_fabric::Fault),
    /// The kernel refused.
    #[error("{}", describe(.0))]
    Kernel(#[from] berth_fabric::kernel::Fault),
    /// The bridge or an interface could not be set up.
    #[error("{}", describe(.0))]
    Cni(#[from] berth_fabric::cni::Fault),
    /// A plugin failed.
    #[error("{}", describe(.0))]
    Plugin(#[from] berth_fabric::cni::exec::PluginFault),
    /// The leases of addresses could not be read.
    #[error("{}", describe(.0))]
    Leases(#[from] berth_fabric::cni::ipam::LeaseFault),
    /// `nft` could not be run.
    #[error("nft does not run ({0}); install the nftables package")]
    NoNft(#[source] std::io::Error),
    /// `nft` refused the rules; the text is its own.
    #[error("{0}")]
    Rules(String),
    /// The result of a plugin has no address.
    #[error("ecs-bridge gave no address: {0}")]
    NoBridgeAddress(String),
    /// The bridge gave an address that tasks cannot use.
    #[error("the bridge gave {0}, which is not an IPv4 address")]
    NotIpv4(Ipv6Addr),
}
