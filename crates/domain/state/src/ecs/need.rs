// SPDX-License-Identifier: Apache-2.0
//! Resources of a host: reserved by one task, reserved by all its tasks, and free.

use berth_types::link::Capacity;
use serde::{Deserialize, Serialize};

/// Resources of a host that one task reserves, or several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// CPU units.
    pub cpu_units: u64,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Network interfaces.
    pub enis: u64,
}

impl Need {
    /// Sum of both needs.
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu_units: self.cpu_units + other.cpu_units,
            memory_mib: self.memory_mib + other.memory_mib,
            enis: self.enis + other.enis,
        }
    }

    /// Difference of both needs.
    pub fn without(self, other: Self) -> Self {
        Self {
            cpu_units: self.cpu_units - other.cpu_units,
            memory_mib: self.memory_mib - other.memory_mib,
            enis: self.enis - other.enis,
        }
    }
}

/// Resources that the tasks of one launch type reserve on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// All their needs together.
    pub need: Need,
    /// Number of tasks.
    pub tasks: usize,
}

/// Resources by which strategy binpack can order instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// CPU units.
    Cpu,
    /// Memory, MiB.
    Memory,
}

impl Resource {
    /// Amount of this resource in a need.
    pub fn of(self, need: Need) -> u64 {
        match self {
            Self::Cpu => need.cpu_units,
            Self::Memory => need.memory_mib,
        }
    }

    /// Amount of this resource that is free.
    pub fn free(self, capacity: Capacity, taken: Need) -> u64 {
        let has = match self {
            Self::Cpu => capacity.cpu_units,
            Self::Memory => capacity.memory_mib,
        };
        u64::from(has).saturating_sub(self.of(taken))
    }
}
