//! Measurements of containers as Docker gives them, read from cgroups and `/proc`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::clock;
use crate::container::cgroups::{Cgroups, keyed};
use crate::engine::Host;
use crate::engine::record::{ContainerRecord, TaskRecord};

/// Clock ticks in a second, of `/proc/stat`.
const TICKS: u64 = 100;

/// Measurements of one container.
pub(super) fn container(host: &Host, task: &TaskRecord, endpoint_id: &str) -> Option<Value> {
    let wanted = task.intent.containers.iter().find(|container| container.endpoint_id == endpoint_id)?;
    let record = task.containers.iter().find(|container| container.name == wanted.name)?;
    Some(measure(host, task, record))
}

/// Measurements of all containers of a task by their ids.
pub(super) fn task(host: &Host, task: &TaskRecord) -> Value {
    let of = |record: &ContainerRecord| (record.runtime_id.clone(), measure(host, task, record));
    Value::Object(task.containers.iter().map(of).collect::<Map<_, _>>())
}

/// `null` for a container that does not run.
fn measure(host: &Host, task: &TaskRecord, record: &ContainerRecord) -> Value {
    let Some(pid) = record.pid.filter(|_| record.exit.is_none()) else { return Value::Null };
    let cgroup = host.container_cgroup(&task.id, &record.runtime_id);
    let Some(used) = read_cgroup(&host.cgroups, &cgroup) else { return Value::Null };
    let cpus = fs::read_to_string("/proc/stat").unwrap_or_default();
    let online = cpus.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    let networks = fs::read_to_string(format!("/proc/{pid}/net/dev")).map(|text| networks(&text)).unwrap_or_default();
    json!({
        "read": clock::now().rfc3339(),
        "preread": "0001-01-01T00:00:00Z",
        "name": format!("/{}", record.runtime_id),
        "id": record.runtime_id,
        "num_procs": 0,
        "pids_stats": {"current": used.processes},
        "networks": networks,
        "memory_stats": {
            "usage": used.memory_bytes,
            "max_usage": used.memory_max_bytes,
            "limit": used.memory_limit_bytes,
            "stats": {"cache": used.cache_bytes, "rss": used.rss_bytes},
        },
        "blkio_stats": {
            "io_service_bytes_recursive": blocks(&used.io_bytes),
            "io_serviced_recursive": blocks(&used.io_calls),
            "io_queue_recursive": [],
            "io_service_time_recursive": [],
            "io_wait_time_recursive": [],
            "io_merged_recursive": [],
            "io_time_recursive": [],
            "sectors_recursive": [],
        },
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": used.cpu_ns,
                "usage_in_kernelmode": used.cpu_kernel_ns,
                "usage_in_usermode": used.cpu_user_ns,
            },
            "system_cpu_usage": system_ns(&cpus),
            "online_cpus": online,
            "throttling_data": {
                "periods": used.periods,
                "throttled_periods": used.throttled_periods,
                "throttled_time": used.throttled_ns,
            },
        },
        "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        "storage_stats": {},
    })
}

#[derive(Debug, Default, PartialEq)]
struct Used {
    cpu_ns: u64,
    memory_bytes: u64,
    memory_max_bytes: u64,
    memory_limit_bytes: u64,
    cache_bytes: u64,
    rss_bytes: u64,
    processes: u64,
    cpu_kernel_ns: u64,
    cpu_user_ns: u64,
    periods: u64,
    throttled_periods: u64,
    throttled_ns: u64,
    /// Lines `MAJOR:MINOR OPERATION COUNT`.
    io_bytes: String,
    io_calls: String,
}

fn read_cgroup(cgroups: &Cgroups, cgroup: &str) -> Option<Used> {
    let text = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).ok();
    let number = |dir: &Path, file: &str| text(dir, file).and_then(|text| text.trim().parse().ok());
    let memory = cgroups.dir("memory", cgroup);
    let processes = number(&cgroups.dir("pids", cgroup), "pids.current").unwrap_or(0);
    match cgroups {
        Cgroups::V1(_) => {
            let detail = text(&memory, "memory.stat")?;
            let (accounted, cpu) = (cgroups.dir("cpuacct", cgroup), cgroups.dir("cpu", cgroup));
            let ticks = text(&accounted, "cpuacct.stat").unwrap_or_default();
            let throttled = text(&cpu, "cpu.stat").unwrap_or_default();
            let blocks = cgroups.dir("blkio", cgroup);
            let ns = |key| keyed(&ticks, key).unwrap_or(0) * (1_000_000_000 / TICKS);
            Some(Used {
                cpu_kernel_ns: ns("system"),
                cpu_user_ns: ns("user"),
                periods: keyed(&throttled, "nr_periods").unwrap_or(0),
                throttled_periods: keyed(&throttled, "nr_throttled").unwrap_or(0),
                throttled_ns: keyed(&throttled, "throttled_time").unwrap_or(0),
                io_bytes: text(&blocks, "blkio.throttle.io_service_bytes_recursive").unwrap_or_default(),
                io_calls: text(&blocks, "blkio.throttle.io_serviced_recursive").unwrap_or_default(),
                cpu_ns: number(&accounted, "cpuacct.usage").unwrap_or(0),
                memory_bytes: number(&memory, "memory.usage_in_bytes")?,
                memory_max_bytes: number(&memory, "memory.max_usage_in_bytes").unwrap_or(0),
                memory_limit_bytes: keyed(&detail, "hierarchical_memory_limit").unwrap_or(0),
                cache_bytes: keyed(&detail, "total_cache").unwrap_or(0),
                rss_bytes: keyed(&detail, "total_rss").unwrap_or(0),
                processes,
            })
        }
        Cgroups::V2(_) => {
            let detail = text(&memory, "memory.stat")?;
            let cpu = text(&memory, "cpu.stat")?;
            let ns = |key| keyed(&cpu, key).unwrap_or(0) * 1000;
            Some(Used {
                cpu_kernel_ns: ns("system_usec"),
                cpu_user_ns: ns("user_usec"),
                periods: keyed(&cpu, "nr_periods").unwrap_or(0),
                throttled_periods: keyed(&cpu, "nr_throttled").unwrap_or(0),
                throttled_ns: ns("throttled_usec"),
                io_bytes: String::new(),
                io_calls: String::new(),
                cpu_ns: ns("usage_usec"),
                memory_bytes: number(&memory, "memory.current")?,
                memory_max_bytes: number(&memory, "memory.peak").unwrap_or(0),
                memory_limit_bytes: number(&memory, "memory.max").unwrap_or(u64::MAX),
                cache_bytes: keyed(&detail, "file").unwrap_or(0),
                rss_bytes: keyed(&detail, "anon").unwrap_or(0),
                processes,
            })
        }
    }
}

/// Block devices in Docker's words. Sums over operations and devices are left out: whoever asks can add.
fn blocks(text: &str) -> Vec<Value> {
    let line = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        let (operation, count) = rest.split_once(' ')?;
        let number = |text: &str| text.trim().parse::<u64>().ok();
        Some(json!({"major": number(major)?, "minor": number(minor)?, "op": operation, "value": number(count)?}))
    };
    text.lines().filter_map(line).filter(|line| line["op"] != "Total").collect()
}

/// CPU time of the whole machine.
fn system_ns(stat: &str) -> u64 {
    let line = stat.lines().find(|line| line.starts_with("cpu ")).unwrap_or_default();
    let ticks: u64 = line.split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks * (1_000_000_000 / TICKS)
}

/// Interfaces but `lo`, as `/proc/net/dev` counts them.
fn networks(text: &str) -> Map<String, Value> {
    let mut networks = Map::new();
    for line in text.lines() {
        let Some((name, counts)) = line.split_once(':') else { continue };
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|count| count.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
            counts[..]
        else {
            continue;
        };
        if name.trim() != "lo" {
            let counts = json!({
                "rx_bytes": rx_bytes, "rx_packets": rx_packets, "rx_errors": rx_errors, "rx_dropped": rx_dropped,
                "tx_bytes": tx_bytes, "tx_packets": tx_packets, "tx_errors": tx_errors, "tx_dropped": tx_dropped,
            });
            networks.insert(name.trim().to_owned(), counts);
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_counted_without_lo() {
        let text = "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth1: 10 2 0 1 0 0 0 0 20 3 0 0 0 0 0 0\n";
        let seen = networks(text);
        assert_eq!(seen.len(), 1);
        assert_eq!((&seen["eth1"]["rx_bytes"], &seen["eth1"]["tx_packets"]), (&json!(10), &json!(3)));
    }

    #[test]
    fn block_devices_have_numbers_and_operations() {
        let found = blocks("8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], json!({"major": 8, "minor": 0, "op": "Read", "value": 4096}));
    }

    #[test]
    fn machine_time_is_the_sum_of_all_states() {
        assert_eq!(system_ns("cpu  1 2 3 4 0 0 0 0 9 9\ncpu0 1 1 1 1\n"), 100_000_000);
    }
}
