// SPDX-License-Identifier: Apache-2.0
//! The next step of a task's actor. Pure.

use berth_types::report::TaskStage;

/// The state that decides the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The stage of the task.
    pub stage: TaskStage,
    /// The work under way.
    pub work: Option<Work>,
    /// A container is being started again; no other work begins before that has ended.
    pub is_restarting: bool,
    /// The server wants it stopped, forgot it, or the node must end it.
    pub must_stop: bool,
    /// The server still lists the task.
    pub is_listed: bool,
    /// The server still wants its interface here.
    pub is_eni_wanted: bool,
    /// Interface and namespace have been given back.
    pub is_released: bool,
}

/// Work that runs concurrently with the actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Towards RUNNING.
    Launch,
    /// Ending and removing the containers.
    Stop,
    /// Giving back interface and namespace.
    Release,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing to do until something changes.
    Wait,
    /// Begin some work.
    Begin(Work),
    /// The launch must end early; the stop follows.
    CancelLaunch,
    /// Forget the task.
    End,
}

pub(super) fn next(seen: Seen) -> Next {
    match (seen.stage, seen.work) {
        (_, Some(Work::Launch)) if seen.must_stop => Next::CancelLaunch,
        (_, Some(Work::Launch | Work::Stop | Work::Release)) => Next::Wait,
        (TaskStage::Provisioning | TaskStage::Pending | TaskStage::Running | TaskStage::Stopping, None)
            if seen.is_restarting =>
        {
            Next::Wait
        }
        (TaskStage::Provisioning | TaskStage::Pending | TaskStage::Running, None) if seen.must_stop => {
            Next::Begin(Work::Stop)
        }
        (TaskStage::Provisioning | TaskStage::Pending, None) => Next::Begin(Work::Launch),
        (TaskStage::Running, None) => Next::Wait,
        (TaskStage::Stopping, None) => Next::Begin(Work::Stop),
        (TaskStage::Stopped, None) if seen.is_released && !seen.is_listed => Next::End,
        (TaskStage::Stopped, None) if seen.is_released || seen.is_eni_wanted => Next::Wait,
        (TaskStage::Stopped, None) => Next::Begin(Work::Release),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRESH: Seen = Seen {
        stage: TaskStage::Provisioning,
        work: None,
        is_restarting: false,
        must_stop: false,
        is_listed: true,
        is_eni_wanted: true,
        is_released: false,
    };

    #[test]
    fn a_life_in_order() {
        assert_eq!(next(FRESH), Next::Begin(Work::Launch));
        let running = Seen { stage: TaskStage::Running, ..FRESH };
        assert_eq!(next(running), Next::Wait);
        let asked = Seen { must_stop: true, ..running };
        assert_eq!(next(asked), Next::Begin(Work::Stop));
        let stopped = Seen { stage: TaskStage::Stopped, ..asked };
        assert_eq!(next(stopped), Next::Wait, "the server has not detached the interface yet");
        let detached = Seen { is_eni_wanted: false, ..stopped };
        assert_eq!(next(detached), Next::Begin(Work::Release));
        let released = Seen { is_released: true, ..detached };
        assert_eq!(next(released), Next::Wait, "the server has not read the last report yet");
        assert_eq!(next(Seen { is_listed: false, ..released }), Next::End);
    }

    #[test]
    fn a_launch_is_cancelled_before_the_stop() {
        let launching = Seen { work: Some(Work::Launch), must_stop: true, ..FRESH };
        assert_eq!(next(launching), Next::CancelLaunch);
        assert_eq!(next(Seen { work: None, ..launching }), Next::Begin(Work::Stop));
    }

    fn stage() -> impl Strategy<Value = TaskStage> {
        use TaskStage::{Pending, Provisioning, Running, Stopped, Stopping};
        prop::sample::select(vec![Provisioning, Pending, Running, Stopping, Stopped])
    }

    proptest! {
        /// Whatever is seen: nothing is forgotten before it was released, and a task that must stop is never launched.
        #[test]
        fn nothing_leaks(stage in stage(), flags: [bool; 5], work in 0u8..4) {
            let work = [None, Some(Work::Launch), Some(Work::Stop), Some(Work::Release)][usize::from(work)];
            let [must_stop, is_listed, is_eni_wanted, is_released, is_restarting] = flags;
            let seen = Seen { stage, work, is_restarting, must_stop, is_listed, is_eni_wanted, is_released };
            let step = next(seen);
            if step == Next::End {
                prop_assert!(is_released && !is_listed && work.is_none() && stage == TaskStage::Stopped);
            }
            if must_stop {
                prop_assert_ne!(step, Next::Begin(Work::Launch));
            }
            if is_restarting {
                prop_assert!(!matches!(step, Next::Begin(Work::Launch | Work::Stop)), "one hand at a container");
            }
            if work.is_some() {
                prop_assert!(matches!(step, Next::Wait | Next::CancelLaunch), "one work at a time");
            }
        }
    }
}
