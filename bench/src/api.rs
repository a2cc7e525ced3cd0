// SPDX-License-Identifier: Apache-2.0
//! Calls per second through HTTP with SigV4: durable RunTask and DescribeTasks, compared with another endpoint (moto)
//! if given.
//!
//! Run it against a separate `berth server`: its tasks exist only as records.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use berth_shapes::ecs::DescribeTasksRequest;

use crate::client::{self, Client, Credentials};
use crate::{idle_host, scene, table};

const SAMPLE: Duration = Duration::from_secs(3);

/// The endpoints.
#[derive(clap::Args)]
pub struct Options {
    /// Address of Berth's API.
    #[arg(long, default_value = "http://127.0.0.1:4566")]
    endpoint: String,
    /// Address of its metrics.
    #[arg(long, default_value = "http://127.0.0.1:4567")]
    admin_endpoint: String,
    /// Its data folder.
    #[arg(long, default_value = "/var/lib/berth")]
    data: PathBuf,
    /// Its run folder. The benchmark joins as a host that starts nothing, so that it measures only the server.
    #[arg(long, default_value = "/run/berth")]
    run: PathBuf,
    /// Cluster of the tasks.
    #[arg(long, default_value = "default")]
    cluster: String,
    /// Image of the tasks.
    #[arg(long, default_value = "busybox:latest")]
    image: String,
    /// Another endpoint to compare with, e.g. a moto server.
    #[arg(long)]
    against: Option<String>,
    /// Number of tasks stored in Berth before the measurement, of a definition without interfaces.
    #[arg(long, default_value_t = 0)]
    standing: u32,
    /// Number of concurrent connections.
    #[arg(long, default_value_t = 8)]
    connections: u32,
}

struct Rates {
    run_task: f64,
    describe_tasks: f64,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let credentials = Credentials::read(&options.data.join("credentials"))?;
    let _host = idle_host::join(&options.run.join("server.sock"), &options.cluster)?;
    fill(&credentials, options)?;
    let before = commits(&options.admin_endpoint)?;
    let ours = measure(&options.endpoint, &credentials, options)?;
    let after = commits(&options.admin_endpoint)?;
    let other = options.against.as_ref().map(|endpoint| measure(endpoint, &credentials, options)).transpose()?;
    let row = |name: &str, ours: f64, other: Option<f64>| {
        let text = other.map_or("-".to_owned(), |other| format!("{other:.0}"));
        vec![
            name.to_owned(),
            format!("{ours:.0}"),
            text,
            other.map_or("-".to_owned(), |other| table::ratio(ours, other)),
        ]
    };
    let rows = [
        row("RunTask, durable", ours.run_task, other.as_ref().map(|o| o.run_task)),
        row("DescribeTasks", ours.describe_tasks, other.as_ref().map(|o| o.describe_tasks)),
    ];
    table::print(&["call", "per second", "other", "x other"], &rows);
    println!("\nwith {} tasks stored; {:.1} changes in each durable write", options.standing, after.per_group(&before));
    println!("goals against moto: RunTask >= 5, DescribeTasks >= 20");
    Ok(())
}

/// Starts the tasks that must exist, as fast as the server accepts them.
fn fill(credentials: &Credentials, options: &Options) -> Result<()> {
    if options.standing == 0 {
        return Ok(());
    }
    let mut client = Client::connect(&options.endpoint, credentials)?;
    scene::prepare_plain(&mut client, &options.cluster, &options.image)?;
    let left = std::sync::atomic::AtomicU32::new(options.standing.div_ceil(scene::RUN_MAX));
    std::thread::scope(|scope| {
        let worker = || -> Result<()> {
            let mut client = Client::connect(&options.endpoint, credentials)?;
            let take = |left: u32| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                let answer = client.json(&scene::run_plain_tasks(&options.cluster))?;
                let started = answer["tasks"].as_array().map_or(0, Vec::len);
                ensure!(started == scene::RUN_MAX as usize, "not all tasks were started: {answer}");
            }
            Ok(())
        };
        let workers: Vec<_> = (0..options.connections).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })
}

/// Counters of the commit loop.
struct Commits {
    groups: f64,
    changes: f64,
}

impl Commits {
    fn per_group(&self, before: &Self) -> f64 {
        (self.changes - before.changes) / (self.groups - before.groups)
    }
}

fn commits(endpoint: &str) -> Result<Commits> {
    let text = client::get(endpoint, "/_berth/metrics")?;
    let value = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("the metrics have no {name}"))?.trim().parse().context("read a metric")
    };
    Ok(Commits { groups: value("berth_commit_groups_total")?, changes: value("berth_commit_changes_total")? })
}

fn measure(endpoint: &str, credentials: &Credentials, options: &Options) -> Result<Rates> {
    let mut client = Client::connect(endpoint, credentials)?;
    let scene = scene::prepare(&mut client, &options.cluster, &options.image)?;
    let (run_task, tasks) = together(endpoint, credentials, options, |client, tasks| {
        let answer = client.json(&scene::run_task(&options.cluster, &scene, "FARGATE"))?;
        let task = answer["tasks"][0]["taskArn"].as_str().with_context(|| format!("no task was started: {answer}"))?;
        tasks.push(task.to_owned());
        Ok(())
    })?;
    let request = DescribeTasksRequest {
        cluster: Some(options.cluster.clone()),
        tasks: Some(tasks.iter().take(1).cloned().collect()),
        ..Default::default()
    };
    let (describe_tasks, _) = together(endpoint, credentials, options, |client, _| client.call(&request).map(drop))?;
    Ok(Rates { run_task, describe_tasks })
}

/// Calls per second of all connections together, and the results of the calls.
fn together(
    endpoint: &str,
    credentials: &Credentials,
    options: &Options,
    call: impl Fn(&mut Client, &mut Vec<String>) -> Result<()> + Sync,
) -> Result<(f64, Vec<String>)> {
    std::thread::scope(|scope| {
        let worker = || -> Result<(f64, Vec<String>)> {
            let mut client = Client::connect(endpoint, credentials)?;
            let (begin, mut count, mut left) = (Instant::now(), 0u32, Vec::new());
            while begin.elapsed() < SAMPLE {
                call(&mut client, &mut left)?;
                count += 1;
            }
            Ok((f64::from(count) / begin.elapsed().as_secs_f64(), left))
        };
        let workers: Vec<_> = (0..options.connections).map(|_| scope.spawn(worker)).collect();
        let (mut rate, mut left) = (0.0, Vec::new());
        for worker in workers {
            let (own, mut own_left) = worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
            rate += own;
            left.append(&mut own_left);
        }
        Ok((rate, left))
    })
}
