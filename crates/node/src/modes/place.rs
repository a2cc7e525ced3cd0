// SPDX-License-Identifier: Apache-2.0
//! Places of containers in the network outside of network mode awsvpc, and the bridge they may be on, as the journal
//! keeps them.

use std::net::Ipv4Addr;

use berth_types::TaskId;
use berth_types::mode::{NetworkBinding, NetworkMode, Protocol};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::Fault;

/// A container's place in the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkPlace {
    /// Its task.
    pub task: TaskId,
    /// Its name in the task definition.
    pub container: String,
    /// How it reaches the network.
    pub mode: NetworkMode,
    /// File name of its namespace under `<run>/netns/`; the host's when absent.
    pub namespace: Option<String>,
    /// Outer end of its pair to the bridge.
    pub link: Option<String>,
    /// Its address on the bridge.
    pub address: Option<Ipv4Addr>,
    /// Ports of the host that lead to it.
    pub bindings: Vec<NetworkBinding>,
}

impl NetworkPlace {
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.task, self.container)
    }
}

/// The bridge of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bridge {
    /// Name of the link.
    pub name: String,
    /// Range of its containers; the first address is the host's.
    pub network: Ipv4Net,
    /// `net.ipv4.ip_forward` as it was before.
    pub ip_forward: String,
    /// Devices that forwarded although that said no; unknown to earlier versions.
    #[serde(default)]
    pub forwarding: Vec<String>,
}

impl Bridge {
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network.network()) + 1)
    }
}

/// Why a task gets no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceFault {
    /// A port of the host is taken; in Docker's words.
    #[error("Bind for 0.0.0.0:{port} failed: port is already allocated")]
    PortTaken { container: usize, port: u16, protocol: Protocol },
    /// The host's range for such ports is used up.
    #[error("the host has no {count} free {protocol} ports in a row for the container")]
    NoPort { container: usize, count: u16, protocol: Protocol },
    /// The bridge is full.
    #[error("all addresses of the bridge's range {0} are in use; stop some tasks")]
    NoAddress(Ipv4Net),
    /// No range is left for a bridge.
    #[error("the host has routes to all of 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16; free one for the bridge")]
    NoRange,
    /// A step failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
