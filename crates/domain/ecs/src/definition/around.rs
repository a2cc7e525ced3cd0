// SPDX-License-Identifier: Apache-2.0
//! The settings of a task against which its containers are checked.

use berth_types::intent::LaunchType;

use super::network_mode::NetworkMode;

/// Settings of the task that its containers must agree with.
pub(super) struct Around {
    pub mode: NetworkMode,
    /// The mode as given; bridge if absent.
    pub given_mode: Option<NetworkMode>,
    /// The required compatibilities.
    pub required: Vec<LaunchType>,
    /// FARGATE is among the required compatibilities.
    pub fargate: bool,
    pub has_execution_role: bool,
    pub cpu_units: Option<u32>,
    pub memory_mib: Option<u32>,
}
