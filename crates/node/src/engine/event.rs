// SPDX-License-Identifier: Apache-2.0
//! Events for a task's actor: the server's intents, containerd's events, the progress of the actor's own work.

use std::sync::Arc;

use berth_types::TimestampMs;
use berth_types::intent::{EniIntent, TaskIntent};

use super::failure::Failure;
use super::health::Probe;
use crate::Fault;
use crate::containerd::Exit;
use crate::images::Image;
use crate::modes::NetworkPlace;
use crate::namespaces::HeldNamespace;

/// Maximum number of events a task may have waiting.
pub(super) const EVENTS_MAX: usize = 64;

/// An event for a task.
#[derive(Debug)]
pub(super) enum Event {
    /// The server wants this; the interface is absent while it is not to be plugged.
    Wanted(Box<TaskIntent>, Option<Box<EniIntent>>),
    /// The server does not list the task any more.
    Unlisted {
        /// The interface is still to be plugged.
        is_eni_wanted: bool,
    },
    /// A container's program ended.
    Exited(String, Exit),
    /// containerd came back: events may have been missed, so the state must be looked up.
    LookAgain,
    /// News of the launch.
    Progress(LaunchProgress),
    /// A health check was run.
    Health(usize, Probe),
    /// The given restart of a container has ended.
    Restarted(usize, u32, Result<Outcome, Fault>),
}

/// A step that a launch has reached.
#[derive(Debug)]
pub(super) enum LaunchProgress {
    /// The first pull began.
    PullStarted(TimestampMs),
    /// The last pull ended.
    PullStopped(TimestampMs),
    /// This container has its image.
    ImageReady(usize, Arc<Image>),
    /// The task has this namespace now.
    Namespace(HeldNamespace),
    /// The interface is usable.
    Attached,
    /// Its containers have these places, in order; there is no interface.
    Placed(Vec<NetworkPlace>),
    /// The interface could not be plugged.
    NotAttached(Arc<Fault>),
    /// This container is not there any more; it is made under this id in containerd.
    Renamed(usize, String),
    /// containerd is about to be asked to make this container.
    Creating(usize),
    /// This container exists.
    Created(usize),
    /// containerd is about to be asked to start this container's program.
    Starting(usize),
    /// This container's program runs.
    Started(usize, u32),
    /// This container's program never runs; the task goes on without it.
    GivenUp(Failure),
}

/// The result of a restart.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The program was started now, as this process.
    Started(u32),
    /// A node before this one had started it, as this process.
    Found(u32),
    /// A node before this one had started it, and it has ended already.
    Ended(Exit),
}
