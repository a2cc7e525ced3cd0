// SPDX-License-Identifier: Apache-2.0
//! Measurements of containers as Docker gives them, read from cgroups and `/proc`. Those of the processors are the last
//! sample (`samples`), with the one before it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::blocking::blocking;
use crate::cgroups::{Cgroups, keyed};
use crate::container::storage;
use crate::engine::NodeHost;
use crate::engine::record::{ContainerRecord, TaskRecord};
use crate::network::BRIDGE_IF;
use crate::samples::{self, History, Machine, Sample};

/// Time between two samples.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// Measurements of one container.
pub(super) fn container(host: &NodeHost, task: &TaskRecord, endpoint_id: &str) -> Option<Value> {
    let wanted = task.intent.containers.iter().find(|container| container.endpoint_id == endpoint_id)?;
    let record = task.containers.iter().find(|container| container.name == wanted.name)?;
    Some(measure(host, task, record))
}

/// Measurements of all containers of a task by their ids.
pub(super) fn task(host: &NodeHost, task: &TaskRecord) -> Value {
    let of = |record: &ContainerRecord| (record.runtime_id.clone(), measure(host, task, record));
    Value::Object(task.containers.iter().map(of).collect::<Map<_, _>>())
}

/// `null` for a container that does not run.
fn measure(host: &NodeHost, task: &TaskRecord, record: &ContainerRecord) -> Value {
    let Some(pid) = record.pid.filter(|_| record.exit.is_none()) else { return Value::Null };
    let cgroup = host.container_cgroup(&task.id, &record.runtime_id);
    let Some(used) = read_cgroup(&host.cgroups, &cgroup) else { return Value::Null };
    let fresh = || samples::take(&host.cgroups, &cgroup, Machine::read()).map(|last| History { last, before: None });
    let Some(History { last, before }) = host.samples.of(&record.runtime_id).or_else(fresh) else { return Value::Null };
    let networks = fs::read_to_string(format!("/proc/{pid}/net/dev")).map(|text| networks(&text)).unwrap_or_default();
    json!({
        "read": last.at.rfc3339(),
        "preread": before.as_ref().map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |before| before.at.rfc3339()),
        "name": format!("/{}", record.docker_name()),
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
        "cpu_stats": samples::document(&last),
        "precpu_stats": samples::earlier_document(before.as_ref()),
        "storage_stats": {},
    })
}

/// Takes samples until shutdown.
pub(crate) async fn keep_sampling(host: Arc<NodeHost>, shutdown: CancellationToken) -> Result<(), Fault> {
    let mut ticks = tokio::time::interval(SAMPLE_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let sampled = host.clone();
        blocking("sampler", move || {
            let taken = take_all(&sampled);
            sampled.samples.add(taken);
            Ok::<_, Fault>(())
        })
        .await?;
    }
}

fn take_all(host: &NodeHost) -> Vec<(String, Sample)> {
    let mut taken = Vec::new();
    let mut machine = None;
    for task in host.directory.all() {
        for container in task.containers.iter().filter(|one| one.pid.is_some() && one.exit.is_none()) {
            let machine = *machine.get_or_insert_with(Machine::read);
            let cgroup = host.container_cgroup(&task.id, &container.runtime_id);
            let sample = samples::take(&host.cgroups, &cgroup, machine);
            taken.extend(sample.map(|sample| (container.runtime_id.clone(), sample)));
        }
    }
    taken
}

#[derive(Debug, Default, PartialEq)]
struct Used {
    memory_bytes: u64,
    memory_max_bytes: u64,
    memory_limit_bytes: u64,
    cache_bytes: u64,
    rss_bytes: u64,
    processes: u64,
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
            let blocks = cgroups.dir("blkio", cgroup);
            Some(Used {
                io_bytes: text(&blocks, "blkio.throttle.io_service_bytes_recursive").unwrap_or_default(),
                io_calls: text(&blocks, "blkio.throttle.io_serviced_recursive").unwrap_or_default(),
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
            Some(Used {
                io_bytes: String::new(),
                io_calls: String::new(),
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

/// Block devices in Docker's format. Sums over operations and devices are left out: a client can add.
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

/// Interfaces as `/proc/net/dev` counts them, but for `lo` and the one that leads to the metadata endpoint.
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
        if !["lo", BRIDGE_IF].contains(&name.trim()) {
            let counts = json!({
                "rx_bytes": rx_bytes, "rx_packets": rx_packets, "rx_errors": rx_errors, "rx_dropped": rx_dropped,
                "tx_bytes": tx_bytes, "tx_packets": tx_packets, "tx_errors": tx_errors, "tx_dropped": tx_dropped,
            });
            networks.insert(name.trim().to_owned(), counts);
        }
    }
    networks
}

/// Room for what the containers of a Fargate task write, and how much of it is used, MiB.
pub(super) fn ephemeral_storage(host: &NodeHost, task: &TaskRecord) -> Option<Value> {
    let reserved = task.intent.ephemeral_storage_gib? * 1024;
    let dir = storage::dir(&host.config.task_dir(task.id.as_str()));
    let found = nix::sys::statvfs::statvfs(&dir).ok()?;
    let used = (found.blocks() - found.blocks_free()) * found.fragment_size();
    Some(json!({"Utilized": used >> 20, "Reserved": reserved}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_the_task_are_counted() {
        let text = "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  ecs-eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth1: 10 2 0 1 0 0 0 0 20 3 0 0 0 0 0 0\n";
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
}
