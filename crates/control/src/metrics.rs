// SPDX-License-Identifier: Apache-2.0
//! Counters of the front door and their text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use berth_shapes::{OPERATIONS, Operation};
use berth_types::HostId;
use berth_types::report::FlowTable;

use crate::commit::CommitStats;

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS_US: [u64; 11] = [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// The label of requests without a known operation.
const UNKNOWN: &str = "unknown";

/// Counters of the front door.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// One for each operation, and one for requests without a known operation.
    operations: Vec<OperationCounts>,
}

#[derive(Debug, Default)]
struct OperationCounts {
    ok: AtomicU64,
    /// Refusals and failures by code. Codes are a closed set, which bounds the map.
    errors: Mutex<BTreeMap<&'static str, u64>>,
    buckets: [AtomicU64; BOUNDS_US.len()],
    sum_us: AtomicU64,
    count: AtomicU64,
}

/// Figures of other modules.
pub(crate) struct Gauges<'a> {
    pub(crate) revision: u64,
    pub(crate) hosts_connected: usize,
    pub(crate) flow_tables: Vec<(HostId, FlowTable)>,
    pub(crate) commit: &'a CommitStats,
    pub(crate) connections: usize,
    pub(crate) displaced: u64,
    pub(crate) refused: u64,
    pub(crate) unverified_bytes: usize,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let operations = (0..=OPERATIONS.len()).map(|_| OperationCounts::default()).collect();
        Self { operations }
    }

    /// Counts an answered request; `code` is that of its error, if any.
    pub(crate) fn answered(&self, operation: Option<&Operation>, code: Option<&'static str>, took: Duration) {
        let index = operation.map_or(OPERATIONS.len(), |operation| operation.id as usize);
        let Some(counts) = self.operations.get(index) else { return };
        match code {
            None => {
                counts.ok.fetch_add(1, Ordering::Relaxed);
            }
            Some(code) => {
                *counts.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
            }
        }
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = BOUNDS_US.iter().position(|bound| took_us <= *bound) {
            counts.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        counts.sum_us.fetch_add(took_us, Ordering::Relaxed);
        counts.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The text for Prometheus.
    pub(crate) fn text(&self, gauges: &Gauges<'_>) -> String {
        let mut out = String::with_capacity(4096);
        self.requests(&mut out);
        self.latencies(&mut out);
        let commit = gauges.commit;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let plain = [
            ("berth_commit_groups_total", "counter", "Durable writes.", read(&commit.groups)),
            ("berth_commit_changes_total", "counter", "Changes stored.", read(&commit.changes)),
            ("berth_commit_refused_total", "counter", "Changes refused by their rule.", read(&commit.refused)),
            ("berth_commit_overloaded_total", "counter", "Changes turned away.", read(&commit.overloaded)),
            ("berth_commit_failed_total", "counter", "Durable writes that failed.", read(&commit.failed)),
            ("berth_revision", "gauge", "Revision of the records.", gauges.revision),
            ("berth_hosts_connected", "gauge", "Hosts whose stream is open.", gauges.hosts_connected as u64),
            ("berth_http_connections", "gauge", "Open connections to the API.", gauges.connections as u64),
            (
                "berth_http_connections_displaced_total",
                "counter",
                "Idle connections closed in favour of newcomers.",
                gauges.displaced,
            ),
            (
                "berth_http_connections_refused_total",
                "counter",
                "Connections refused while all others had requests under way.",
                gauges.refused,
            ),
            (
                "berth_http_unverified_bytes",
                "gauge",
                "Bytes held for callers who are not verified yet.",
                gauges.unverified_bytes as u64,
            ),
        ];
        for (name, kind, help, value) in plain {
            head(&mut out, name, kind, help);
            line(&mut out, format_args!("{name} {value}"));
        }
        flow_tables(&mut out, &gauges.flow_tables);
        out
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, &OperationCounts)> {
        let names = OPERATIONS.iter().map(|row| (row.service.name(), row.name)).chain([(UNKNOWN, UNKNOWN)]);
        let used = |counts: &OperationCounts| counts.count.load(Ordering::Relaxed) > 0;
        let all = names.zip(&self.operations).map(|((service, name), counts)| (service, name, counts));
        all.filter(move |(_, _, counts)| used(counts))
    }

    fn requests(&self, out: &mut String) {
        const NAME: &str = "berth_requests_total";
        head(out, NAME, "counter", "Requests by operation and error code.");
        for (service, name, counts) in self.named() {
            let labels = format!("service=\"{service}\",operation=\"{name}\"");
            line(out, format_args!("{NAME}{{{labels},code=\"OK\"}} {}", counts.ok.load(Ordering::Relaxed)));
            for (code, count) in counts.errors.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                line(out, format_args!("{NAME}{{{labels},code=\"{code}\"}} {count}"));
            }
        }
    }

    fn latencies(&self, out: &mut String) {
        const NAME: &str = "berth_request_duration_seconds";
        head(out, NAME, "histogram", "Time from the request's last byte to its answer.");
        for (service, name, counts) in self.named() {
            let labels = format!("service=\"{service}\",operation=\"{name}\"");
            let mut below = 0;
            for (bound, bucket) in BOUNDS_US.iter().zip(&counts.buckets) {
                below += bucket.load(Ordering::Relaxed);
                let bound_s = *bound as f64 / 1e6;
                line(out, format_args!("{NAME}_bucket{{{labels},le=\"{bound_s}\"}} {below}"));
            }
            let count = counts.count.load(Ordering::Relaxed);
            line(out, format_args!("{NAME}_bucket{{{labels},le=\"+Inf\"}} {count}"));
            let sum_s = counts.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
            line(out, format_args!("{NAME}_sum{{{labels}}} {sum_s}"));
            line(out, format_args!("{NAME}_count{{{labels}}} {count}"));
        }
    }
}

fn flow_tables(out: &mut String, tables: &[(HostId, FlowTable)]) {
    type Value = fn(&FlowTable) -> u32;
    let gauges: [(&str, &str, Value); 4] = [
        ("berth_flows_used", "Rows of the host's flow table in use.", |table| table.used),
        ("berth_flows_max", "Rows of the host's flow table.", |table| table.max),
        ("berth_flows_shared_used", "Rows in use that interfaces share.", |table| table.shared_used),
        ("berth_flows_shared_max", "Rows that interfaces share.", |table| table.shared_max),
    ];
    for (name, help, value) in gauges {
        head(out, name, "gauge", help);
        for (host, table) in tables {
            line(out, format_args!("{name}{{host=\"{host}\"}} {}", value(table)));
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
