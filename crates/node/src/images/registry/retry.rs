// SPDX-License-Identifier: Apache-2.0
//! How often a request to a registry is repeated, and after which pauses. Pure.

use std::time::{Duration, SystemTime};

/// Tries of a request that fails in a way that may pass, as the ECS agent has them.
const TRIES: u32 = 5;
/// Tries of a request that does not reach the registry: no such name, no route, refused, an unknown certificate.
const UNREACHED_TRIES: u32 = 2;
/// Pause after the first try; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1100);
/// Longest pause that grew.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest pause that a registry can ask for.
const ASKED_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Part of a pause that is added at random, so that tasks that failed together do not return together.
const JITTER: f64 = 0.2;

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The answer will be the same again.
    Final,
    /// No connection was made.
    Unreached,
    /// Time-outs, 429, 5xx, broken and short bodies. The registry may have asked for a pause.
    Passing(Option<Duration>),
}

impl Failure {
    /// The failure of a registry that gave an answer before: if it is not reached, it may be starting again.
    pub fn after_an_answer(self) -> Self {
        match self {
            Self::Unreached => Self::Passing(None),
            Self::Final | Self::Passing(_) => self,
        }
    }
}

/// The pause before the next try when `tries` have failed, the last one with `failure`. `chance` is between 0 and 1.
pub(super) fn pause(failure: Failure, tries: u32, chance: f64) -> Option<Duration> {
    let (tries_max, asked) = match failure {
        Failure::Final => return None,
        Failure::Unreached => (UNREACHED_TRIES, None),
        Failure::Passing(asked) => (TRIES, asked),
    };
    if tries >= tries_max {
        return None;
    }
    let grown = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(8)).min(PAUSE_MAX);
    let pause = grown.max(asked.unwrap_or_default().min(ASKED_PAUSE_MAX));
    Some(pause.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0)))
}

/// The pause that a status and its `Retry-After`, in seconds or as a date, ask for; nothing if the answer is final.
pub(super) fn of_status(status: u16, retry_after: Option<&str>, now: SystemTime) -> Failure {
    if !matches!(status, 408 | 429 | 500..=599) {
        return Failure::Final;
    }
    let asked = retry_after.map(str::trim).and_then(|text| match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok().map(|at| at.duration_since(now).unwrap_or_default()),
    });
    Failure::Passing(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(failure: Failure) -> Vec<u128> {
        (1..).map_while(|tries| pause(failure, tries, 0.0)).map(|pause| pause.as_millis()).collect()
    }

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!(pauses(Failure::Passing(None)), [1100, 2200, 4400, 5000]);
        assert_eq!(pauses(Failure::Unreached), [1100]);
        assert!(pauses(Failure::Final).is_empty());
        assert_eq!(pauses(Failure::Unreached.after_an_answer()).len(), 4);
        assert_eq!(pause(Failure::Unreached, 1, 1.0), Some(Duration::from_millis(1320)));
    }

    #[test]
    fn a_registry_asks_for_longer_pauses_within_a_bound() {
        let asked = |seconds| Failure::Passing(Some(Duration::from_secs(seconds)));
        assert_eq!(pauses(asked(3)), [3000, 3000, 4400, 5000]);
        assert_eq!(pauses(asked(u64::MAX)), [30_000; 4]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let of = |status, text| of_status(status, text, now);
        assert_eq!(of(429, Some("7")), Failure::Passing(Some(Duration::from_secs(7))));
        assert_eq!(of(503, Some("Sun, 06 Nov 1994 08:49:47 GMT")), Failure::Passing(Some(Duration::from_secs(10))));
        assert_eq!(of(429, Some("Wed, 06 Nov 1974 08:49:47 GMT")), Failure::Passing(Some(Duration::ZERO)));
        assert_eq!(of(500, Some("soon")), Failure::Passing(None));
        assert_eq!(of(404, Some("7")), Failure::Final);
    }
}
