// SPDX-License-Identifier: Apache-2.0
//! The removal of a container: its task, its record and its snapshot. Absent parts count as removed.

use super::client::Containerd;
use crate::fault::absent_is_fine;
use crate::{Fault, Step, step};

const SIGKILL: u32 = 9;

impl Containerd {
    /// Removes the parts of a container whose program has ended.
    pub async fn remove_container(&self, id: &str) -> Result<(), Fault> {
        absent_is_fine(self.delete_task(id).await)?;
        self.clear_bundle(id).await?;
        step::pass(&self.fault_points, Step::ContainerTaskRemoved);
        absent_is_fine(self.delete_container(id).await)?;
        step::pass(&self.fault_points, Step::ContainerRemoved);
        absent_is_fine(self.remove_snapshot(id).await)?;
        step::pass(&self.fault_points, Step::SnapshotRemoved);
        Ok(())
    }

    /// Kills all processes of a container and removes it.
    pub async fn destroy_container(&self, id: &str) -> Result<(), Fault> {
        absent_is_fine(self.kill_task(id, SIGKILL, true).await)?;
        self.wait_task(id).await?;
        self.remove_container(id).await
    }
}
