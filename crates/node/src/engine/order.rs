// SPDX-License-Identifier: Apache-2.0
//! The order of a task's containers: which containers each one waits for before it starts, and which it outlives. Pure.

use berth_types::TimestampMs;
use berth_types::container::{Condition, Dependency};
use berth_types::intent::TaskIntent;
use berth_types::report::HealthStatus;

use super::reason::Unmet;
use super::record::ContainerRecord;

/// Whether a dependency is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// It is met.
    Yes,
    /// It may still be met.
    NotYet,
    /// It cannot be met any more.
    Never(Unmet),
}

/// Whether a container is as far as another one needs it.
pub(super) fn met(condition: Condition, container: &ContainerRecord) -> Met {
    // Whatever the condition: it is one of a container that was started.
    if container.given_up.is_some() {
        return Met::Never(Unmet::WillNotStart);
    }
    let is_healthy = container.health.as_ref().is_some_and(|health| health.status == HealthStatus::Healthy);
    match (condition, container.exit) {
        (Condition::Start, Some(_)) | (Condition::Complete, Some(_)) => Met::Yes,
        (Condition::Success, Some(exit)) if exit.code == 0 => Met::Yes,
        (Condition::Success | Condition::Healthy, Some(_)) => Met::Never(Unmet::DidNotSucceed),
        (Condition::Start, None) if container.started_at.is_some() => Met::Yes,
        (Condition::Healthy, None) if is_healthy => Met::Yes,
        (Condition::Start | Condition::Complete | Condition::Success | Condition::Healthy, None) => Met::NotYet,
    }
}

/// Milliseconds left for a container to meet the condition; `None` without a limit. The time begins with its start.
pub(super) fn time_left(
    dependency: &Dependency,
    limit_s: Option<u32>,
    started_at: Option<TimestampMs>,
    now: TimestampMs,
) -> Option<u64> {
    let is_timed = dependency.condition != Condition::Start;
    let limit_ms = limit_s.filter(|_| is_timed).map(|limit| i64::from(limit) * 1000)?;
    let until = started_at?.0 + limit_ms;
    Some(u64::try_from(until - now.0).unwrap_or(0))
}

/// The containers that wait for this one: it is ended after them.
pub(super) fn dependents<'a>(task: &'a TaskIntent, name: &'a str) -> impl Iterator<Item = &'a str> {
    let waits = move |dependency: &Dependency| dependency.container == name;
    task.containers.iter().filter(move |one| one.depends_on.iter().any(waits)).map(|one| one.name.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::failure::GivenUp;
    use super::super::health::Health;
    use super::super::record::TaskRecord;
    use super::*;
    use crate::containerd::Exit;
    use berth_types::TaskId;
    use berth_types::intent::ContainerIntent;

    fn container(started: bool, code: Option<i32>, health: Option<HealthStatus>) -> ContainerRecord {
        let task = crate::container::spec::tests::task();
        let mut container = TaskRecord::accept(TaskId::from_bits(1), task, None).containers.remove(0);
        container.started_at = started.then_some(TimestampMs(1));
        container.exit = code.map(|code| Exit { code, at: TimestampMs(2) });
        container.health = health.map(|status| Health { status, ..Health::unknown(TimestampMs(0)) });
        container
    }

    fn given_up() -> ContainerRecord {
        let given_up = Some(GivenUp { at: TimestampMs(1), exit_code: Some(143) });
        ContainerRecord { given_up, ..container(false, None, Some(HealthStatus::Unknown)) }
    }

    #[test]
    fn a_condition_is_met_not_yet_or_never() {
        use Condition::{Complete, Healthy, Start, Success};
        let cases = [
            (Start, container(false, None, None), Met::NotYet),
            (Start, container(true, None, None), Met::Yes),
            (Start, container(true, Some(1), None), Met::Yes),
            (Complete, container(true, None, None), Met::NotYet),
            (Complete, container(true, Some(1), None), Met::Yes),
            (Success, container(true, None, None), Met::NotYet),
            (Success, container(true, Some(0), None), Met::Yes),
            (Success, container(true, Some(1), None), Met::Never(Unmet::DidNotSucceed)),
            (Healthy, container(true, None, Some(HealthStatus::Unknown)), Met::NotYet),
            (Healthy, container(true, None, Some(HealthStatus::Unhealthy)), Met::NotYet),
            (Healthy, container(true, None, Some(HealthStatus::Healthy)), Met::Yes),
            (Healthy, container(true, Some(0), Some(HealthStatus::Healthy)), Met::Never(Unmet::DidNotSucceed)),
            (Start, given_up(), Met::Never(Unmet::WillNotStart)),
            (Complete, given_up(), Met::Never(Unmet::WillNotStart)),
            (Success, given_up(), Met::Never(Unmet::WillNotStart)),
            (Healthy, given_up(), Met::Never(Unmet::WillNotStart)),
        ];
        for (condition, container, expected) in cases {
            assert_eq!(met(condition, &container), expected, "{condition:?} {container:?}");
        }
    }

    #[test]
    fn the_time_of_a_dependency_begins_with_its_start() {
        let on = |condition| Dependency { container: "db".to_owned(), condition };
        let left = |condition, limit, started: Option<i64>| {
            time_left(&on(condition), limit, started.map(TimestampMs), TimestampMs(5000))
        };
        assert_eq!(left(Condition::Healthy, Some(3), Some(4000)), Some(2000));
        assert_eq!(left(Condition::Healthy, Some(3), Some(0)), Some(0));
        assert_eq!(left(Condition::Healthy, Some(3), None), None);
        assert_eq!(left(Condition::Healthy, None, Some(0)), None);
        assert_eq!(left(Condition::Start, Some(3), Some(0)), None);
    }

    #[test]
    fn dependents_are_those_that_wait() {
        let mut task = crate::container::spec::tests::task();
        let depends_on = vec![Dependency { container: "app".to_owned(), condition: Condition::Start }];
        let side = ContainerIntent { name: "side".to_owned(), depends_on, ..task.containers[0].clone() };
        task.containers.push(side);
        assert_eq!(dependents(&task, "app").collect::<Vec<_>>(), ["side"]);
        assert_eq!(dependents(&task, "side").count(), 0);
    }
}
