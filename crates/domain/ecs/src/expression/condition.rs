// SPDX-License-Identifier: Apache-2.0
//! Parsed conditions on container instances, and their evaluation.

use std::cmp::Ordering;
use std::sync::Arc;

use berth_state::Snapshot;
use berth_state::ecs::{Host, Task, TaskStatus};
use berth_types::intent::LaunchType;
use regex::Regex;

use super::time;

/// A parsed condition on container instances.
#[derive(Clone, Debug)]
pub(in super::super) enum Expression {
    /// One of them holds.
    Any(Vec<Expression>),
    /// All of them hold.
    All(Vec<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// One comparison.
    Is(Subject, Test),
}

/// Property of an instance that a condition tests.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Subject {
    AgentConnected,
    AgentVersion,
    Attribute(String),
    Ec2InstanceId,
    RegisteredAt,
    RunningTasksCount,
    TaskGroup,
}

/// Test of a property.
#[derive(Clone, Debug)]
pub(in super::super) enum Test {
    Exists,
    Compare(Comparison, String),
    In(Vec<String>),
    Matches(Regex),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Expression {
    /// True if it holds for the instance.
    pub fn holds(&self, snap: &Snapshot, host: &Host) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(snap, host)),
            Self::All(parts) => parts.iter().all(|part| part.holds(snap, host)),
            Self::Not(part) => !part.holds(snap, host),
            Self::Is(subject, test) => {
                subject.values(snap, host).iter().any(|value| test.holds(subject, value.as_deref()))
            }
        }
    }
}

impl Subject {
    /// The instance's values: none, one, or one for each group of tasks on it. An attribute may be present without a
    /// value.
    fn values(&self, snap: &Snapshot, host: &Host) -> Vec<Option<String>> {
        match self {
            Self::AgentConnected => vec![Some(host.connected.to_string())],
            Self::AgentVersion => vec![Some(host.version.clone())],
            Self::Attribute(name) => host.attribute(name).map(|value| value.map(str::to_owned)).into_iter().collect(),
            Self::Ec2InstanceId => vec![Some(host.instance.to_string())],
            Self::RegisteredAt => host.registered_at.map(|at| Some(at.0.to_string())).into_iter().collect(),
            Self::RunningTasksCount => {
                let is_running =
                    |task: &&Arc<Task>| task.launch_type == LaunchType::Ec2 && task.status == TaskStatus::Running;
                vec![Some(snap.ecs().host_tasks(&host.id).filter(is_running).count().to_string())]
            }
            Self::TaskGroup => {
                snap.ecs().index().loads.groups_on(&host.id).map(|(group, _)| Some(group.to_string())).collect()
            }
        }
    }

    /// Order of two values of the subject; `None` if they have none.
    fn compare(&self, held: &str, asked: &str) -> Option<Ordering> {
        match self {
            Self::AgentVersion => Some(version(held).cmp(&version(asked))),
            Self::RegisteredAt => Some(held.parse::<i64>().ok()?.cmp(&time::milliseconds(asked)?)),
            Self::RunningTasksCount => Some(held.parse::<u64>().ok()?.cmp(&asked.parse().ok()?)),
            Self::Attribute(_) | Self::AgentConnected | Self::Ec2InstanceId | Self::TaskGroup => {
                match (held.parse::<f64>(), asked.parse::<f64>()) {
                    (Ok(held), Ok(asked)) => held.partial_cmp(&asked),
                    _ => Some(held.cmp(asked)),
                }
            }
        }
    }
}

impl Test {
    fn holds(&self, subject: &Subject, held: Option<&str>) -> bool {
        let held_or_empty = held.unwrap_or_default();
        match self {
            Self::Exists => true,
            Self::Compare(Comparison::Equal, asked) => subject.is_equal(held_or_empty, asked),
            Self::Compare(comparison, asked) => {
                subject.compare(held_or_empty, asked).is_some_and(|order| comparison.admits(order))
            }
            Self::In(asked) => asked.iter().any(|asked| subject.is_equal(held_or_empty, asked)),
            Self::Matches(pattern) => pattern.is_match(held_or_empty),
        }
    }
}

impl Subject {
    /// True if two values are equal: texts by their characters; times, versions and numbers by their meaning.
    fn is_equal(&self, held: &str, asked: &str) -> bool {
        match self {
            Self::AgentVersion | Self::RegisteredAt | Self::RunningTasksCount => {
                self.compare(held, asked) == Some(Ordering::Equal)
            }
            Self::AgentConnected | Self::Attribute(_) | Self::Ec2InstanceId | Self::TaskGroup => held == asked,
        }
    }
}

impl Comparison {
    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

/// The numbers of a version, in order; a part that is not a number counts as 0.
fn version(text: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = text.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0)).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}
