// SPDX-License-Identifier: Apache-2.0
//! The state of an open data path; the other files of this folder act on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use aya::programs::SchedClassifier;
use berth_types::intent::{GroupSetIntent, SecurityGroupIntent};
use berth_types::{GroupSetId, HostId, Ipv4Cidr, SecurityGroupId};

use super::clock::Clock;
use super::held::Held;
use crate::bpf::Maps;
use crate::compile;
use crate::kernel::{Namespace, Netlink};

/// The location of an instance's fabric.
#[derive(Clone, Debug)]
pub struct FabricConfig {
    /// Name of the instance; pins are under `/sys/fs/bpf/berth/<instance>/`.
    pub instance: String,
    /// Run folder; the fabric's namespace is `<run_dir>/netns/fabric`.
    pub run_dir: PathBuf,
    /// This host, to distinguish local endpoints from others.
    pub host: HostId,
}

impl FabricConfig {
    pub(super) fn namespace(&self) -> PathBuf {
        self.run_dir.join("netns").join("fabric")
    }
}

/// The data path of one instance.
pub struct Fabric {
    pub(super) config: FabricConfig,
    pub(super) namespace: Namespace,
    pub(super) netlink: Netlink,
    pub(super) program: SchedClassifier,
    /// The program of the edge to the world.
    pub(super) edge_program: SchedClassifier,
    pub(super) maps: Maps,
    /// `None` after a failed change: the maps are read again before the next one.
    pub(super) held: Option<Held>,
    pub(super) compiled: Option<Compiled>,
    /// Above the index of every device since the fabric was opened.
    pub(super) next_device: u32,
    /// Names of the pins in use.
    pub(super) pins: BTreeSet<String>,
    pub(super) clock: Clock,
    /// The way to the world, once `program` has opened it.
    pub(super) world: Option<World>,
    /// False until it is known whether an earlier process has left a way to the world.
    pub(super) is_world_known: bool,
    /// The range of the regional endpoints in effect, or none; `None` until it is known.
    pub(super) endpoints: Option<Option<Ipv4Cidr>>,
    /// The limits in effect, by row: cost of a byte, and burst. `None` until they are known.
    pub(super) rates: Option<BTreeMap<u32, (u64, u64)>>,
}

/// The open way to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// Public addresses of the installation.
    pub pool: Ipv4Cidr,
    /// The host's own address in the pool.
    pub address: Ipv4Addr,
    /// Index of the end in the fabric's namespace.
    pub ifindex: u32,
    /// Index of the end at the host, in the host's namespace.
    pub host_ifindex: u32,
}

/// The policies of the last intent, so that an intent with the same groups costs no compilation.
pub(super) struct Compiled {
    pub(super) group_sets: BTreeMap<GroupSetId, GroupSetIntent>,
    pub(super) security_groups: BTreeMap<SecurityGroupId, SecurityGroupIntent>,
    pub(super) policies: BTreeMap<GroupSetId, compile::Policy>,
}
