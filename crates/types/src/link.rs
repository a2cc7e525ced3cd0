// SPDX-License-Identifier: Apache-2.0
//! The stream between server and node: a sequence of JSON frames, each preceded by its length (4 bytes, big-endian).
//!
//! The node speaks first with `Hello`; the server answers with a complete intent, later with patches. Either side may
//! drop the stream at any time: the next `Hello` starts over and no state is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admin;
use crate::instance::InstanceInterface;
use crate::intent::{HostIntent, IntentPatch};
use crate::report::{EniReport, FlowTable, FreeSpace, RuntimeReport, TaskReport};
use crate::{HostId, InstanceId};

/// Version of this protocol; both ends refuse another.
pub const PROTOCOL_VERSION: u32 = 2;

/// Largest frame either side accepts, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// From a node, or from the command line, to the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToServer {
    /// First frame of a node.
    Hello(Box<Hello>),
    /// A task changed.
    Task(Box<TaskReport>),
    /// An interface changed.
    Eni(EniReport),
    /// The free space of the data folder changed.
    FreeSpace(FreeSpace),
    /// The container runtime began or ceased to answer.
    Runtime(RuntimeReport),
    /// The data path holds everything that this generation asks for (tasks may still be starting).
    Programmed {
        /// Generation of the intent.
        generation: u64,
    },
    /// The host's flow table after a sweep.
    FlowTable(FlowTable),
    /// First and only frame of the command line on this connection; answered by one `ToNode::Admin`.
    Admin(admin::Request),
}

/// From the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToNode {
    /// The whole intent; replaces the previous one.
    Intent {
        /// Its generation.
        generation: u64,
        /// The intent.
        intent: Box<HostIntent>,
    },
    /// A patch on the generation held. A node that holds another generation drops the stream and sends `Hello` again.
    Patch(Box<IntentPatch>),
    /// The server refuses the node; the text gives the reason and the remedy. The stream ends.
    Refused {
        /// For the log.
        reason: String,
    },
    /// Answer to `ToServer::Admin`.
    Admin(Result<admin::Reply, String>),
}

/// Identity of a node, and the state it holds at present.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// `PROTOCOL_VERSION` of the node.
    pub protocol: u32,
    /// Its stable identity, kept in its data folder.
    pub host: HostId,
    /// The EC2 instance id it shows, kept in its data folder.
    pub instance: InstanceId,
    /// Name of the ECS cluster it joins as a container instance.
    pub cluster: String,
    /// Version of Berth, e.g. `0.1.0`.
    pub version: String,
    /// Version of containerd, e.g. `1.6.20`.
    pub runtime_version: String,
    /// Its capacity.
    pub capacity: Capacity,
    /// ECS attributes: capabilities (without value) and facts (with value).
    pub attributes: BTreeMap<String, Option<String>>,
    /// Whether its container runtime answers; absent from nodes of 0.1.0, which do not check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeReport>,
    /// The primary interface the host wants; absent if it wants none, and from nodes of 0.1.0, which have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_interface: Option<InstanceInterface>,
    /// Every task known to the node.
    pub tasks: Vec<TaskReport>,
    /// Every interface plugged; any other is `Gone` for this host.
    pub enis: Vec<EniReport>,
}

/// The capacity of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// 1024 for each core.
    pub cpu_units: u32,
    /// Memory for tasks.
    pub memory_mib: u32,
    /// Maximum number of task interfaces.
    pub enis: u32,
}
