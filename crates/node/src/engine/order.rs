//! The order of a task's containers: what each one waits for before it starts, and whom it outlives. Pure.

use berth_types::TimestampMs;
use berth_types::container::{Condition, Dependency, RestartPolicy};
use berth_types::intent::TaskIntent;
use berth_types::report::HealthStatus;

use super::record::ContainerRecord;
use crate::containerd::Exit;

/// How far a dependency is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// As far as it must be.
    Yes,
    /// It may get there.
    NotYet,
    /// It cannot get there any more.
    Never,
}

/// Whether a container is as far as another one needs it.
pub(super) fn met(condition: Condition, container: &ContainerRecord) -> Met {
    let is_healthy = container.health.as_ref().is_some_and(|health| health.status == HealthStatus::Healthy);
    match (condition, container.exit) {
        (Condition::Start, Some(_)) | (Condition::Complete, Some(_)) => Met::Yes,
        (Condition::Success, Some(exit)) if exit.code == 0 => Met::Yes,
        (Condition::Success | Condition::Healthy, Some(_)) => Met::Never,
        (Condition::Start, None) if container.started_at.is_some() => Met::Yes,
        (Condition::Healthy, None) if is_healthy => Met::Yes,
        (Condition::Start | Condition::Complete | Condition::Success | Condition::Healthy, None) => Met::NotYet,
    }
}

/// Milliseconds a container still has to get there; `None` is without end. Its time begins with its start.
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

/// Whether a container whose program ended is started again.
pub(super) fn restarts(policy: Option<&RestartPolicy>, exit: Exit, started_at: Option<TimestampMs>) -> bool {
    let Some(policy) = policy.filter(|policy| policy.enabled) else { return false };
    let is_ignored = policy.ignored_exit_codes.iter().flatten().any(|code| *code == exit.code);
    let ran_ms = exit.at.0 - started_at.unwrap_or(exit.at).0;
    !is_ignored && ran_ms >= i64::from(policy.attempt_period_s) * 1000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::health::Health;
    use super::super::record::TaskRecord;
    use super::*;
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
            (Success, container(true, Some(1), None), Met::Never),
            (Healthy, container(true, None, Some(HealthStatus::Unknown)), Met::NotYet),
            (Healthy, container(true, None, Some(HealthStatus::Unhealthy)), Met::NotYet),
            (Healthy, container(true, None, Some(HealthStatus::Healthy)), Met::Yes),
            (Healthy, container(true, Some(0), Some(HealthStatus::Healthy)), Met::Never),
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
    fn a_container_is_started_again_unless_its_code_is_ignored_or_it_ran_too_short() {
        let policy = RestartPolicy { enabled: true, ignored_exit_codes: Some(vec![0]), attempt_period_s: 60 };
        let exit = |code, at| Exit { code, at: TimestampMs(at) };
        let started = Some(TimestampMs(0));
        assert!(restarts(Some(&policy), exit(1, 60_000), started));
        assert!(!restarts(Some(&policy), exit(1, 59_999), started));
        assert!(!restarts(Some(&policy), exit(0, 60_000), started));
        assert!(!restarts(None, exit(1, 60_000), started));
        let disabled = RestartPolicy { enabled: false, ..policy };
        assert!(!restarts(Some(&disabled), exit(1, 60_000), started));
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
