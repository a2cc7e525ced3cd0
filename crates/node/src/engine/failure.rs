// SPDX-License-Identifier: Apache-2.0
//! A container that cannot run, and what that means for its task. Pure. The rules are those of the ECS agent.

use berth_types::TimestampMs;
use serde::{Deserialize, Serialize};

use super::reason::StartReason;
use crate::PullBehavior;

/// Exit code the ECS agent gives a container that never started because of a dependency: that of SIGTERM.
const DEPENDENCY_EXIT_CODE: i32 = 143;

/// A container whose program never ran and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    /// When that was decided.
    pub at: TimestampMs,
    /// The exit code that is reported for it.
    pub exit_code: Option<i32>,
}

/// The step at which a container failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailedAt {
    /// Its image could not be had.
    Pull,
    /// It could not be created or started.
    Runtime,
    /// A container it waits for does not get where it must.
    Dependency,
}

/// A container that cannot run, and why.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Its index in the task.
    pub index: usize,
    /// Why.
    pub reason: StartReason,
    /// The step at which it failed.
    pub at: FailedAt,
}

impl Failure {
    /// True if the task ends with this container. Where the settings ask for a fresh image, a failed pull ends any task:
    /// an older image must not run in its place.
    pub fn ends_task(&self, is_essential: bool, pull: PullBehavior) -> bool {
        let must_be_fresh = match pull {
            PullBehavior::Always | PullBehavior::Once => true,
            PullBehavior::Default | PullBehavior::PreferCached => false,
        };
        is_essential || (self.at == FailedAt::Pull && must_be_fresh)
    }

    /// The record of the container's failure.
    pub fn given_up(&self, at: TimestampMs) -> GivenUp {
        let exit_code = match self.at {
            FailedAt::Dependency => Some(DEPENDENCY_EXIT_CODE),
            FailedAt::Pull | FailedAt::Runtime => None,
        };
        GivenUp { at, exit_code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PullBehavior::{Always, Default, Once, PreferCached};

    #[test]
    fn a_task_ends_with_what_it_cannot_do_without() {
        let failure = |at| Failure { index: 0, reason: StartReason::OutOfMemory, at };
        let cases = [
            (FailedAt::Pull, Default, false),
            (FailedAt::Pull, PreferCached, false),
            (FailedAt::Pull, Always, true),
            (FailedAt::Pull, Once, true),
            (FailedAt::Runtime, Default, false),
            (FailedAt::Runtime, Always, false),
            (FailedAt::Dependency, Default, false),
            (FailedAt::Dependency, Once, false),
        ];
        for (at, pull, expected) in cases {
            assert_eq!(failure(at).ends_task(false, pull), expected, "{at:?} {pull:?}");
            assert!(failure(at).ends_task(true, pull), "essential: {at:?} {pull:?}");
        }
    }

    #[test]
    fn only_a_dependency_gives_an_exit_code() {
        let code = |at| Failure { index: 0, reason: StartReason::OutOfMemory, at }.given_up(TimestampMs(1)).exit_code;
        assert_eq!([FailedAt::Pull, FailedAt::Runtime, FailedAt::Dependency].map(code), [None, None, Some(143)]);
    }
}
