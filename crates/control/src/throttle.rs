//! How often operations may be called: a bucket of tokens per group of operations, as AWS throttles an account.
//!
//! A call takes a token; tokens come back at a steady rate, up to the size of the bucket. In Amazon ECS the operations of
//! a group share one bucket, in Amazon EC2 every operation has its own. Nothing is throttled unless the server is told to.
//! Deciding is pure ([`Bucket::take`]); [`Throttle`] keeps the buckets. Not here: which group an operation is in
//! (`operations.toml`), and what the refusal says (`berth-wire`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use berth_shapes::{Operation, OperationId, Service};
use berth_types::TimestampMs;

/// How often the operations of a group may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls at once.
    pub burst: u32,
    /// Calls that may follow in each second.
    pub per_second: u32,
}

const fn rate(burst: u32, per_second: u32) -> Rate {
    Rate { burst, per_second }
}

/// The groups, and what AWS documents for all Regions ("Request throttling for the Amazon ECS API" and "... EC2 API").
/// EC2's smaller buckets for lists without a filter are not told apart.
const AWS: [(&str, Rate); 19] = [
    ("ecs-cluster-modify", rate(20, 1)),
    ("ecs-cluster-read", rate(50, 20)),
    ("ecs-task-definition-modify", rate(20, 1)),
    ("ecs-task-definition-read", rate(50, 20)),
    ("ecs-task-definition-delete", rate(5, 1)),
    ("ecs-capacity-provider-read", rate(50, 20)),
    ("ecs-tag-modify", rate(20, 10)),
    ("ecs-tag-read", rate(50, 20)),
    ("ecs-setting-modify", rate(10, 1)),
    ("ecs-setting-read", rate(50, 20)),
    ("ecs-cluster-resource-modify", rate(100, 40)),
    ("ecs-cluster-resource-read", rate(100, 20)),
    ("ecs-agent-modify", rate(200, 120)),
    ("ecs-task-protection", rate(200, 80)),
    ("ec2-read", rate(100, 20)),
    ("ec2-modify", rate(50, 5)),
    ("ec2-interface-modify", rate(100, 5)),
    ("ec2-tag-modify", rate(100, 10)),
    ("ec2-default-vpc-create", rate(1, 1)),
];

/// A setting that names no rates.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateFault {
    /// Not a word and not a group with its rate.
    #[error("{0:?} is no rate; write off, aws, or GROUP=BURST/PER_SECOND with whole numbers from 1 on")]
    Unreadable(String),
    /// No operation is in this group.
    #[error("there is no group of operations {0:?}; the groups are {all}", all = groups())]
    UnknownGroup(String),
}

fn groups() -> String {
    AWS.map(|(group, _)| group).join(", ")
}

/// The rates of a server, by group; a group without one is never throttled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates(BTreeMap<&'static str, Rate>);

impl Rates {
    /// Reads words of a setting; each one adds to those before.
    pub fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, RateFault> {
        let mut rates = BTreeMap::new();
        for word in words {
            match word {
                "off" => rates.clear(),
                "aws" => rates.extend(AWS),
                word => {
                    let (group, rate) = read_rate(word)?;
                    rates.insert(group, rate);
                }
            }
        }
        Ok(Self(rates))
    }
}

fn read_rate(word: &str) -> Result<(&'static str, Rate), RateFault> {
    let unreadable = || RateFault::Unreadable(word.to_owned());
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    let (group, rate) = word.split_once('=').ok_or_else(unreadable)?;
    let (burst, per_second) = rate.split_once('/').ok_or_else(unreadable)?;
    let (burst, per_second) = number(burst).zip(number(per_second)).ok_or_else(unreadable)?;
    let known = AWS.iter().find(|(known, _)| *known == group);
    let (group, _) = known.ok_or_else(|| RateFault::UnknownGroup(group.to_owned()))?;
    Ok((group, Rate { burst, per_second }))
}

/// Tokens at a time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: TimestampMs,
}

impl Bucket {
    fn full(rate: Rate, now: TimestampMs) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    /// Takes a token, or `None` when there is none. A clock that is set back brings no tokens and takes none.
    fn take(self, rate: Rate, now: TimestampMs) -> Option<Self> {
        let passed_ms = u32::try_from(now.0.saturating_sub(self.at.0).max(0)).unwrap_or(u32::MAX);
        let refilled = self.tokens + f64::from(passed_ms) / 1000.0 * f64::from(rate.per_second);
        let tokens = refilled.min(f64::from(rate.burst));
        (tokens >= 1.0).then_some(Self { tokens: tokens - 1.0, at: now })
    }
}

/// Whose tokens a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Group(&'static str),
    Operation(OperationId),
}

/// The buckets of a server.
pub(crate) struct Throttle {
    rates: Rates,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

impl Throttle {
    pub(crate) fn new(rates: Rates) -> Self {
        Self { rates, buckets: Mutex::default() }
    }

    /// True if the operation may be called now; that counts as a call.
    pub(crate) fn admits(&self, operation: &Operation, now: TimestampMs) -> bool {
        let Some(rate) = self.rates.0.get(operation.rate).copied() else { return true };
        let key = match operation.service {
            Service::Ec2 => Key::Operation(operation.id),
            Service::Ecs | Service::Sts => Key::Group(operation.rate),
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key).or_insert_with(|| Bucket::full(rate, now));
        match bucket.take(rate, now) {
            Some(left) => {
                *bucket = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use berth_shapes::OPERATIONS;

    fn rates(text: &str) -> Result<Rates, RateFault> {
        Rates::read(text.split(','))
    }

    /// Calls that pass out of many at this second.
    fn admitted(throttle: &Throttle, operation: OperationId, second: i64) -> usize {
        (0..500).filter(|_| throttle.admits(operation.row(), TimestampMs(second * 1000))).count()
    }

    #[test]
    fn a_group_has_its_burst_and_then_its_rate() {
        use OperationId::{EcsDescribeTasks, EcsRunTask, EcsStopTask};
        let throttle = Throttle::new(rates("aws").unwrap());
        assert_eq!(admitted(&throttle, EcsRunTask, 0), 100);
        assert_eq!(admitted(&throttle, EcsStopTask, 0), 0, "StopTask is in the group of RunTask");
        assert_eq!(admitted(&throttle, EcsDescribeTasks, 0), 100, "DescribeTasks is in another");
        assert_eq!(admitted(&throttle, EcsStopTask, 1), 40);
        assert_eq!(admitted(&throttle, EcsRunTask, 1000), 100, "a bucket holds no more than its burst");
        assert_eq!(admitted(&throttle, EcsRunTask, 900), 0, "the clock was set back");
    }

    #[test]
    fn a_rate_below_a_call_per_tick_adds_up() {
        let throttle = Throttle::new(rates("ecs-cluster-modify=1/1").unwrap());
        let passed = |ms| throttle.admits(OperationId::EcsCreateCluster.row(), TimestampMs(ms));
        let found: Vec<i64> = (0..30).map(|tick| tick * 100).filter(|ms| passed(*ms)).collect();
        assert_eq!(found, [0, 1000, 2000]);
    }

    #[test]
    fn each_operation_of_ec2_has_its_own_bucket() {
        let throttle = Throttle::new(rates("aws").unwrap());
        assert_eq!(admitted(&throttle, OperationId::Ec2CreateSubnet, 0), 50);
        assert_eq!(admitted(&throttle, OperationId::Ec2CreateVpc, 0), 50);
    }

    #[test]
    fn nothing_is_throttled_unless_asked_for() {
        for text in ["off", "aws,off"] {
            assert_eq!(admitted(&Throttle::new(rates(text).unwrap()), OperationId::EcsCreateCluster, 0), 500);
        }
        assert_eq!(Rates::default(), rates("off").unwrap());
    }

    #[test]
    fn a_setting_that_is_none_is_refused_with_what_it_could_be() {
        for text in ["on", "ecs-cluster-modify", "ecs-cluster-modify=1", "ecs-cluster-modify=0/1", "ec2-read=a/b"] {
            assert_eq!(rates(text), Err(RateFault::Unreadable(text.to_owned())));
        }
        let unknown = rates("ecs-coffee=1/1").unwrap_err().to_string();
        assert!(unknown.contains("\"ecs-coffee\"") && unknown.contains("ecs-task-protection"), "{unknown}");
    }

    #[test]
    fn every_group_of_the_operations_file_has_a_rate_and_the_other_way_round() {
        let mut used: Vec<&str> = OPERATIONS.iter().map(|row| row.rate).filter(|group| !group.is_empty()).collect();
        used.sort_unstable();
        used.dedup();
        let mut known = AWS.map(|(group, _)| group);
        known.sort_unstable();
        assert_eq!(used, known);
    }
}
