// SPDX-License-Identifier: Apache-2.0
//! Why a task or a container does not start, or stops by itself, in AWS's words. The one place of these texts: users see
//! them as `stoppedReason` and as the `reason` of a container.

use std::fmt;
use std::time::Duration;

use crate::Fault;
use crate::modes::PlaceFault;

/// A call of the container runtime for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuntimeStep {
    /// Find out whether it is there.
    Inspect,
    /// Make it, with its file system.
    Create,
    /// Start its program.
    Start,
}

impl fmt::Display for RuntimeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inspect => "CannotInspectContainerError",
            Self::Create => "CannotCreateContainerError",
            Self::Start => "CannotStartContainerError",
        })
    }
}

/// Why a task or a container does not start, or stops by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartReason {
    /// The image cannot be had.
    #[error("CannotPullContainerError: {0}")]
    Pull(#[source] Fault),
    /// The container runtime refused.
    #[error("{step}: {cause}")]
    Runtime {
        /// The call.
        step: RuntimeStep,
        /// Its answer.
        #[source]
        cause: Fault,
    },
    /// The container runtime did not answer.
    #[error(
        "DockerTimeoutError: Could not transition to {}; timed out after waiting {}m{}s",
        reached(*step), after.as_secs() / 60, after.as_secs() % 60
    )]
    RuntimeTimeout {
        /// The call.
        step: RuntimeStep,
        /// The time limit of the call.
        after: Duration,
    },
    /// A port of the host cannot be had.
    #[error("{step}: {0}", step = RuntimeStep::Start)]
    Port(#[source] PlaceFault),
    /// A container it depends on does not get where it must.
    #[error("{step}: dependency graph: {0}", step = RuntimeStep::Start)]
    Dependency(#[source] UnmetDependency),
    /// Something that all containers of the task need cannot be made.
    #[error("ResourceInitializationError: {0}")]
    Resources(#[source] Fault),
    /// The interface of the task cannot be plugged.
    #[error("ResourceInitializationError: network setup of the task failed: {0}")]
    Interface(#[source] std::sync::Arc<Fault>),
    /// The containers of the task cannot be placed in the network.
    #[error("ResourceInitializationError: network setup of the task failed: {0}")]
    Places(#[source] PlaceFault),
    /// The server did not send the interface in time.
    #[error("Timeout waiting for network interface provisioning to complete.")]
    InterfaceTimeout,
    /// The kernel killed the container because its memory limit was reached.
    #[error("OutOfMemoryError: Container killed due to memory usage")]
    OutOfMemory,
    /// The runtime does not know the container any more.
    #[error("ContainerVanishedError: the container is not known to the runtime any more")]
    Vanished,
}

/// The state that a step leads to, as Docker calls it.
fn reached(step: RuntimeStep) -> &'static str {
    match step {
        RuntimeStep::Start => "started",
        RuntimeStep::Create | RuntimeStep::Inspect => "created",
    }
}

/// Why a container stops waiting for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// It was given up.
    WillNotStart,
    /// It ended, and not as it must.
    DidNotSucceed,
    /// Its startTimeout passed.
    TimedOut,
}

/// A dependency between two containers that cannot be met.
#[derive(Debug, thiserror::Error)]
pub(crate) struct UnmetDependency {
    /// The container that waits.
    pub waiting: String,
    /// The container it waits for.
    pub awaited: String,
    /// Why it stops waiting.
    pub why: Unmet,
}

impl fmt::Display for UnmetDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiting, awaited, why } = self;
        let failed = "failed to resolve container ordering dependency";
        match why {
            Unmet::WillNotStart => {
                write!(f, "{failed} [{awaited}] for target [{waiting}] because dependency will never start")
            }
            Unmet::DidNotSucceed => {
                write!(f, "{failed} [{awaited}] for target [{waiting}] as dependency did not exit successfully.")
            }
            Unmet::TimedOut => {
                write!(f, "container ordering dependency [{awaited}] for target [{waiting}] has timed out.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_waits_in_vain_says_what_the_agent_says() {
        let said = [Unmet::WillNotStart, Unmet::DidNotSucceed, Unmet::TimedOut].map(|why| {
            let unmet = UnmetDependency { waiting: "app".to_owned(), awaited: "db".to_owned(), why };
            StartReason::Dependency(unmet).to_string()
        });
        let graph = "CannotStartContainerError: dependency graph:";
        let failed = "failed to resolve container ordering dependency [db] for target [app]";
        assert_eq!(
            said,
            [
                format!("{graph} {failed} because dependency will never start"),
                format!("{graph} {failed} as dependency did not exit successfully."),
                format!("{graph} container ordering dependency [db] for target [app] has timed out."),
            ]
        );
    }
}
