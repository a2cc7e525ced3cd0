// SPDX-License-Identifier: Apache-2.0
//! Samples of what running containers use of the processors, one a second as Docker takes them: two are kept of each
//! container, so that a caller can compute what was used between them. Memory, network and disks are read when they are
//! asked for (`endpoint`), which also takes the samples.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_types::TimestampMs;
use serde_json::{Value, json};

use crate::cgroups::{Cgroups, keyed};
use crate::clock;

/// Nanoseconds of a clock tick of `/proc/stat`.
const TICK_NS: u64 = 10_000_000;

/// The samples of this host's running containers, by runtime id.
#[derive(Default)]
pub(crate) struct Samples(Mutex<HashMap<String, History>>);

/// The last sample of a container and the one before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct History {
    pub last: Sample,
    pub before: Option<Sample>,
}

impl History {
    /// Counters of a container that was started again begin at zero: what was before them is forgotten.
    fn then(self, next: Sample) -> Self {
        let before = Some(self.last).filter(|last| last.cpu.total_ns <= next.cpu.total_ns);
        Self { last: next, before }
    }
}

/// What a container had used at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub at: TimestampMs,
    pub cpu: Cpu,
    pub machine: Machine,
}

/// Time a container had used of the processors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub total_ns: u64,
    pub kernel_ns: u64,
    pub user_ns: u64,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

/// Processors of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Machine {
    /// Time of all of them in all states.
    pub system_ns: u64,
    pub online: usize,
}

impl Samples {
    fn table(&self) -> MutexGuard<'_, HashMap<String, History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The samples of a container; none before its first second has passed.
    pub(crate) fn of(&self, runtime_id: &str) -> Option<History> {
        self.table().get(runtime_id).cloned()
    }

    /// Adds a sample of each running container and forgets the others.
    pub(crate) fn add(&self, taken: Vec<(String, Sample)>) {
        let mut table = self.table();
        let mut known = std::mem::take(&mut *table);
        table.extend(taken.into_iter().map(|(id, sample)| {
            let history = match known.remove(&id) {
                Some(history) => history.then(sample),
                None => History { last: sample, before: None },
            };
            (id, history)
        }));
    }
}

/// A sample of one container; `None` if its cgroup is gone.
pub(crate) fn take(cgroups: &Cgroups, cgroup: &str, machine: Machine) -> Option<Sample> {
    Some(Sample { at: clock::now(), cpu: Cpu::read(cgroups, cgroup)?, machine })
}

impl Cpu {
    fn read(cgroups: &Cgroups, cgroup: &str) -> Option<Self> {
        let text = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).ok();
        match cgroups {
            Cgroups::V1(_) => {
                let (accounted, cpu) = (cgroups.dir("cpuacct", cgroup), cgroups.dir("cpu", cgroup));
                let total_ns = text(&accounted, "cpuacct.usage")?.trim().parse().ok()?;
                let ticks = text(&accounted, "cpuacct.stat").unwrap_or_default();
                let throttled = text(&cpu, "cpu.stat").unwrap_or_default();
                Some(Self {
                    total_ns,
                    kernel_ns: keyed(&ticks, "system").unwrap_or(0) * TICK_NS,
                    user_ns: keyed(&ticks, "user").unwrap_or(0) * TICK_NS,
                    periods: keyed(&throttled, "nr_periods").unwrap_or(0),
                    throttled_periods: keyed(&throttled, "nr_throttled").unwrap_or(0),
                    throttled_ns: keyed(&throttled, "throttled_time").unwrap_or(0),
                })
            }
            Cgroups::V2(_) => {
                // One tree: any controller leads to it.
                let cpu = text(&cgroups.dir("cpu", cgroup), "cpu.stat")?;
                let ns = |key| keyed(&cpu, key).unwrap_or(0) * 1000;
                Some(Self {
                    total_ns: ns("usage_usec"),
                    kernel_ns: ns("system_usec"),
                    user_ns: ns("user_usec"),
                    periods: keyed(&cpu, "nr_periods").unwrap_or(0),
                    throttled_periods: keyed(&cpu, "nr_throttled").unwrap_or(0),
                    throttled_ns: ns("throttled_usec"),
                })
            }
        }
    }
}

impl Machine {
    pub(crate) fn read() -> Self {
        Self::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn of(stat: &str) -> Self {
        let (all, each): (Vec<&str>, Vec<&str>) =
            stat.lines().filter(|line| line.starts_with("cpu")).partition(|line| line.starts_with("cpu "));
        let ticks = all.first().map(|line| line.split_whitespace().skip(1).take(8));
        let ticks: u64 = ticks.into_iter().flatten().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Self { system_ns: ticks * TICK_NS, online: each.len() }
    }
}

/// `cpu_stats` of a sample in Docker's form.
pub(crate) fn document(sample: &Sample) -> Value {
    let mut document = used(&sample.cpu);
    document["system_cpu_usage"] = json!(sample.machine.system_ns);
    document["online_cpus"] = json!(sample.machine.online);
    document
}

/// `precpu_stats`: zeros without the machine's numbers while there is no earlier sample, as Docker has it.
pub(crate) fn earlier_document(sample: Option<&Sample>) -> Value {
    sample.map_or_else(|| used(&Cpu::default()), document)
}

fn used(cpu: &Cpu) -> Value {
    json!({
        "cpu_usage": {
            "total_usage": cpu.total_ns,
            "usage_in_kernelmode": cpu.kernel_ns,
            "usage_in_usermode": cpu.user_ns,
        },
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_ns,
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample(at: i64, total_ns: u64) -> Sample {
        Sample { at: TimestampMs(at), cpu: Cpu { total_ns, ..Cpu::default() }, machine: Machine::default() }
    }

    #[test]
    fn two_samples_of_running_containers_are_kept() {
        let samples = Samples::default();
        let add = |all: &[(&str, i64, u64)]| {
            samples.add(all.iter().map(|(id, at, ns)| ((*id).to_owned(), sample(*at, *ns))).collect());
        };
        let times = |id| samples.of(id).map(|history| (history.last.at.0, history.before.map(|before| before.at.0)));
        add(&[("a", 1, 10), ("b", 1, 10)]);
        assert_eq!((times("a"), times("c")), (Some((1, None)), None));
        add(&[("a", 2, 20), ("b", 2, 5)]);
        assert_eq!(times("a"), Some((2, Some(1))));
        assert_eq!(times("b"), Some((2, None)), "it was started again");
        add(&[("a", 3, 20)]);
        assert_eq!((times("a"), times("b")), (Some((3, Some(2))), None));
    }

    #[test]
    fn machine_time_is_the_sum_of_all_states() {
        let machine = Machine::of("cpu  1 2 3 4 0 0 0 0 9 9\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n");
        assert_eq!(machine, Machine { system_ns: 100_000_000, online: 2 });
    }

    #[test]
    fn a_first_sample_has_nothing_before_it() {
        assert_eq!(document(&sample(1, 7))["cpu_usage"]["total_usage"], 7);
        let none = earlier_document(None);
        assert_eq!((&none["cpu_usage"]["total_usage"], none.get("system_cpu_usage")), (&json!(0), None));
    }
}
