//! The stream between server and node: one JSON frame after the other, each with a 4-byte big-endian length before it.
//!
//! The node speaks first with `Hello`; the server answers with a complete intent, later with patches. Either side may
//! drop the stream at any time: the next `Hello` starts over and nothing is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admin;
use crate::intent::{HostIntent, IntentPatch};
use crate::report::{EniReport, TaskReport};
use crate::{HostId, InstanceId};

/// Version of this protocol; both ends refuse another.
pub const PROTOCOL_VERSION: u32 = 1;

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
    /// The data path holds all that this generation asks for (tasks may still be on their way).
    Programmed {
        /// Generation of the intent.
        generation: u64,
    },
    /// First and only frame of the command line on this connection; answered by one `ToNode::Admin`.
    Admin(admin::Request),
}

/// From the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToNode {
    /// The whole intent; replaces what was held.
    Intent {
        /// Its generation.
        generation: u64,
        /// The intent.
        intent: Box<HostIntent>,
    },
    /// A step from the generation held. A node that holds another drops the stream and says `Hello` again.
    Patch(Box<IntentPatch>),
    /// The node is not welcome; the text says why and what to do. The stream ends.
    Refused {
        /// For the log.
        reason: String,
    },
    /// Answer to `ToServer::Admin`.
    Admin(Result<admin::Reply, String>),
}

/// Who a node is and what it holds right now.
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
    /// What it can hold.
    pub capacity: Capacity,
    /// ECS attributes: capabilities (without value) and facts (with value).
    pub attributes: BTreeMap<String, Option<String>>,
    /// Every task it knows.
    pub tasks: Vec<TaskReport>,
    /// Every interface plugged; any other is `Gone` for this host.
    pub enis: Vec<EniReport>,
}

/// What a host can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// 1024 for each core.
    pub cpu_units: u32,
    /// Memory for tasks.
    pub memory_mib: u32,
    /// Task interfaces at the same time.
    pub enis: u32,
}
