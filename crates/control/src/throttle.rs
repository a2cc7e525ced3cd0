// SPDX-License-Identifier: Apache-2.0
//! Rate limits of operations: a token bucket per group of operations, as AWS throttles an account.
//!
//! A call takes a token; tokens return at a steady rate, up to the size of the bucket. In Amazon ECS the operations of
//! a group share one bucket, in Amazon EC2 every operation has its own. Nothing is throttled by default. The decision
//! is pure ([`Bucket::take`]); [`Throttle`] keeps the buckets. Not here: the group of an operation (`operations/SERVICE.toml`),
//! and the refusal's text (`berth-wire`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use berth_shapes::{GROUPS, Group, Operation, OperationId};
use berth_types::TimestampMs;

/// The rate limit of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls at once (the size of the bucket).
    pub burst: u32,
    /// Tokens added per second.
    pub per_second: u32,
}

impl Rate {
    /// The rate AWS documents for a group ("Request throttling for the Amazon ECS API" and "... EC2 API"). EC2's smaller
    /// buckets for lists without a filter are not implemented.
    fn of_aws(group: &Group) -> Self {
        Self { burst: group.burst, per_second: group.per_second }
    }
}

/// An invalid setting of rates.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateFault {
    /// Neither a word nor a group with its rate.
    #[error("{0:?} is not a rate; write off, aws, or GROUP=BURST/PER_SECOND with whole numbers from 1 on")]
    Unreadable(String),
    /// No operation is in this group.
    #[error("there is no group of operations {0:?}; the groups are {all}", all = groups())]
    UnknownGroup(String),
}

fn groups() -> String {
    GROUPS.iter().map(|group| group.name).collect::<Vec<_>>().join(", ")
}

/// The rates of a server, by group; a group without a rate is never throttled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates(BTreeMap<&'static str, Rate>);

impl Rates {
    /// Parses the words of a setting; each one adds to those before.
    pub fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, RateFault> {
        let mut rates = BTreeMap::new();
        for word in words {
            match word {
                "off" => rates.clear(),
                "aws" => rates.extend(GROUPS.iter().map(|group| (group.name, Rate::of_aws(group)))),
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
    let known = GROUPS.iter().find(|known| known.name == group);
    let known = known.ok_or_else(|| RateFault::UnknownGroup(group.to_owned()))?;
    Ok((known.name, Rate { burst, per_second }))
}

/// The tokens at a point in time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: TimestampMs,
}

impl Bucket {
    fn full(rate: Rate, now: TimestampMs) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    /// Takes a token, or returns `None` when there is none. A clock that is set back adds and removes no tokens.
    fn take(self, rate: Rate, now: TimestampMs) -> Option<Self> {
        let passed_ms = u32::try_from(now.0.saturating_sub(self.at.0).max(0)).unwrap_or(u32::MAX);
        let refilled = self.tokens + f64::from(passed_ms) / 1000.0 * f64::from(rate.per_second);
        let tokens = refilled.min(f64::from(rate.burst));
        (tokens >= 1.0).then_some(Self { tokens: tokens - 1.0, at: now })
    }
}

/// The bucket of a call.
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

    /// True if the operation may be called now; this counts as a call.
    pub(crate) fn admits(&self, operation: &Operation, now: TimestampMs) -> bool {
        let Some(rate) = self.rates.0.get(operation.rate).copied() else { return true };
        let key = match operation.service.facts().has_bucket_per_operation {
            true => Key::Operation(operation.id),
            false => Key::Group(operation.rate),
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

    fn rates(text: &str) -> Result<Rates, RateFault> {
        Rates::read(text.split(','))
    }

    /// Number of admitted calls out of many in this second.
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
}
