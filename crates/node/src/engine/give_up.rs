// SPDX-License-Identifier: Apache-2.0
//! Containers that are given up: they could not be pulled, created or started, or wait for one that never gets there.
//!
//! A container the task can do without ends alone, with its reason; any other one ends the task. The rules are those of
//! the ECS agent.

use super::event::LaunchProgress;
use super::failure::{FailedAt, Failure};
use super::launch::{LaunchFault, TaskLaunch};

impl TaskLaunch {
    /// Gives up the container that failed and returns nothing; a failure that ends the task is returned as it is.
    pub(super) async fn settle<T>(&self, result: Result<T, LaunchFault>) -> Result<Option<T>, LaunchFault> {
        let failure = match result {
            Ok(done) => return Ok(Some(done)),
            Err(LaunchFault::Container(failure)) if !self.ends_task(&failure) => failure,
            Err(fault) => return Err(fault),
        };
        let container = &self.record.containers[failure.index];
        tracing::warn!(task = %self.record.id, container = container.name, reason = failure.reason.to_string(), "container given up");
        self.without.add(failure.index);
        let is_begun = failure.at == FailedAt::Runtime;
        self.tell(LaunchProgress::GivenUp(failure)).await;
        // A start that was not answered may have succeeded. What stays now is removed with the task.
        if is_begun && let Err(fault) = self.host.containerd.destroy_container(&container.runtime_id).await {
            tracing::warn!(task = %self.record.id, container = container.runtime_id, %fault, "could not remove a given-up container");
        }
        Ok(None)
    }

    fn ends_task(&self, failure: &Failure) -> bool {
        let wanted = self.record.containers.get(failure.index).and_then(|one| self.record.wanted(&one.name));
        failure.ends_task(wanted.is_none_or(|wanted| wanted.essential), self.host.config.images.pull)
    }
}
