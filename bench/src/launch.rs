// SPDX-License-Identifier: Apache-2.0
//! From the RunTask call to RUNNING with a usable interface, image cached: Fargate and EC2 launch type, compared with
//! the same two containers (a pause and the application) started one after the other with containerd's own client
//! `ctr`. Then many Fargate tasks at once: launches per second, and the time of each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use berth_shapes::ecs::{DescribeTasksRequest, RunTaskRequest, StopTaskRequest};

use crate::client::{Client, Credentials};
use crate::scene::Scene;
use crate::{scene, table};

const LAUNCH_LIMIT: Duration = Duration::from_secs(60);

/// The Berth under test.
#[derive(clap::Args)]
pub struct Options {
    /// Address of its API.
    #[arg(long, default_value = "http://127.0.0.1:4566")]
    endpoint: String,
    /// Its data folder.
    #[arg(long, default_value = "/var/lib/berth")]
    data: PathBuf,
    /// Its run folder.
    #[arg(long, default_value = "/run/berth")]
    run: PathBuf,
    /// Cluster of its host.
    #[arg(long, default_value = "default")]
    cluster: String,
    /// Image that contains a `sleep`.
    #[arg(long, default_value = "busybox:latest")]
    image: String,
    /// Number of launches of each kind, one after the other.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Number of tasks started at once.
    #[arg(long, default_value_t = 100)]
    burst: u32,
}

/// Interval of requests about one task: a request costs the server a fraction of a millisecond.
const SINGLE_LOOK: Duration = Duration::from_millis(3);
/// Interval of requests about a burst: far shorter than the burst, and long enough to leave the machine to it.
const BURST_LOOK: Duration = Duration::from_millis(50);
/// Maximum number of tasks in one DescribeTasks.
const DESCRIBE_MAX: usize = 100;
/// Number of concurrent runs of `ctr`: enough to keep two cores busy.
const CTR_AT_ONCE: usize = 6;

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let credentials = Credentials::read(&options.data.join("credentials"))?;
    let mut client = Client::connect(&options.endpoint, &credentials)?;
    let scene = scene::prepare(&mut client, &options.cluster, &options.image)?;
    let mut kinds = [("FARGATE", Vec::new()), ("EC2", Vec::new())];
    // The first launch pulls the image and is not counted.
    launch(&mut client, options, &scene, "FARGATE")?;
    let mut ctr_ms = Vec::new();
    for _ in 0..options.rounds {
        for (launch_type, samples_ms) in &mut kinds {
            samples_ms.push(launch(&mut client, options, &scene, launch_type)?);
        }
        ctr_ms.push(two_containers(options)?);
    }
    let baseline = table::percentile(&mut ctr_ms, 0.5);
    let row = |name: &str, samples_ms: &mut Vec<f64>| {
        let (p50, p99) = (table::percentile(samples_ms, 0.5), table::percentile(samples_ms, 0.99));
        vec![name.to_owned(), format!("{p50:.0}"), format!("{p99:.0}"), table::ratio(p50, baseline)]
    };
    let mut rows: Vec<_> = kinds.iter_mut().map(|(name, samples)| row(name, samples)).collect();
    rows.push(row("ctr run, twice", &mut ctr_ms));
    table::print(&["launch", "p50 ms", "p99 ms", "x ctr"], &rows);
    println!("\ngoals: p50 <= 150 ms, p99 <= 500 ms from RunTask to RUNNING\n");
    burst(&mut client, options, &scene)
}

/// Starts many tasks as fast as the server accepts them, waits until the last one runs, and stops them all.
fn burst(client: &mut Client, options: &Options, scene: &Scene) -> Result<()> {
    let begin = Instant::now();
    let (mut asked, mut left) = (BTreeMap::new(), options.burst);
    while left > 0 {
        let count = left.min(scene::RUN_MAX);
        let request =
            RunTaskRequest { count: Some(count as i32), ..scene::run_task(&options.cluster, scene, "FARGATE") };
        let asked_at = Instant::now();
        let answer = client.json(&request)?;
        let tasks = answer["tasks"].as_array().filter(|tasks| tasks.len() == count as usize);
        let tasks = tasks.with_context(|| format!("not all tasks were started: {answer}"))?;
        asked.extend(tasks.iter().filter_map(|task| Some((task["taskArn"].as_str()?.to_owned(), asked_at))));
        left -= count;
    }
    let all: Vec<String> = asked.keys().cloned().collect();
    let mut took_ms = Vec::new();
    settle(client, options, all.clone(), "RUNNING", BURST_LOOK, |task| {
        took_ms.push(asked[task].elapsed().as_secs_f64() * 1e3);
    })?;
    let running_s = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    for task in &all {
        stop(client, options, task)?;
    }
    settle(client, options, all, "STOPPED", BURST_LOOK, |_| {})?;
    let rate = |seconds: f64| format!("{:.1}", f64::from(options.burst) / seconds);
    let cell = |share, samples_ms: &mut Vec<f64>| format!("{:.0}", table::percentile(samples_ms, share));
    let row = vec![
        options.burst.to_string(),
        rate(running_s),
        cell(0.5, &mut took_ms),
        cell(0.99, &mut took_ms),
        rate(begin.elapsed().as_secs_f64()),
    ];
    table::print(&["tasks at once", "launches/s", "p50 ms", "p99 ms", "stops/s"], &[row]);
    let (ours, ctr) = (f64::from(options.burst) / running_s, pairs_per_second(options)?);
    println!("\n`ctr` starts {ctr:.1} pairs of containers per second: launches are {} of it", table::ratio(ours, ctr));
    println!("goal: 20 launches/s on 2 cores");
    Ok(())
}

/// Repeats the request until every task has the status; reports each when it is first seen. AWS has no call that waits.
fn settle(
    client: &mut Client,
    options: &Options,
    mut waiting: Vec<String>,
    status: &str,
    pause: Duration,
    mut reached: impl FnMut(&str),
) -> Result<()> {
    let mut progress = Instant::now();
    while !waiting.is_empty() {
        ensure!(progress.elapsed() < LAUNCH_LIMIT, "{} tasks did not become {status}", waiting.len());
        let some = waiting.iter().take(DESCRIBE_MAX).cloned().collect();
        let answer = client.json(&describe(options, some))?;
        for task in answer["tasks"].as_array().into_iter().flatten() {
            let (arn, seen) = (task["taskArn"].as_str().unwrap_or_default(), task["lastStatus"].as_str());
            if seen == Some(status) {
                reached(arn);
                waiting.retain(|other| other != arn);
                progress = Instant::now();
            } else if seen == Some("STOPPED") {
                bail!("{arn} stopped: {}", task["stoppedReason"]);
            }
        }
        std::thread::park_timeout(pause);
    }
    Ok(())
}

fn describe(options: &Options, tasks: Vec<String>) -> DescribeTasksRequest {
    DescribeTasksRequest { cluster: Some(options.cluster.clone()), tasks: Some(tasks), ..Default::default() }
}

fn stop(client: &mut Client, options: &Options, task: &str) -> Result<()> {
    let request =
        StopTaskRequest { cluster: Some(options.cluster.clone()), task: Some(task.to_owned()), ..Default::default() };
    client.call(&request).map(drop)
}

/// Starts one task, waits until it runs, stops it, waits until it has stopped. Milliseconds to RUNNING.
fn launch(client: &mut Client, options: &Options, scene: &Scene, launch_type: &str) -> Result<f64> {
    let begin = Instant::now();
    let answer = client.json(&scene::run_task(&options.cluster, scene, launch_type))?;
    let task = answer["tasks"][0]["taskArn"].as_str().with_context(|| format!("no task was started: {answer}"))?;
    wait(client, options, task, "RUNNING")?;
    let elapsed_ms = begin.elapsed().as_secs_f64() * 1e3;
    stop(client, options, task)?;
    wait(client, options, task, "STOPPED")?;
    Ok(elapsed_ms)
}

/// Repeats the request until one task has the status.
fn wait(client: &mut Client, options: &Options, task: &str, status: &str) -> Result<()> {
    settle(client, options, vec![task.to_owned()], status, SINGLE_LOOK, |_| {})
}

fn two_containers(options: &Options) -> Result<f64> {
    let names = [format!("bench-pause-{}", std::process::id()), format!("bench-app-{}", std::process::id())];
    let begin = Instant::now();
    names.iter().try_for_each(|name| run_by_ctr(options, name))?;
    let elapsed_ms = begin.elapsed().as_secs_f64() * 1e3;
    names.iter().try_for_each(|name| remove_by_ctr(options, name))?;
    Ok(elapsed_ms)
}

fn run_by_ctr(options: &Options, name: &str) -> Result<()> {
    ctr(options, &["run", "-d", &image_name(&options.image), name, "sleep", "100000"])
}

fn remove_by_ctr(options: &Options, name: &str) -> Result<()> {
    ctr(options, &["task", "kill", "-s", "SIGKILL", name])?;
    ctr(options, &["task", "delete", "-f", name])?;
    ctr(options, &["container", "delete", name])
}

/// Pairs of containers per second that `ctr` starts, several at a time: the rate of containerd and runc alone on this
/// machine.
fn pairs_per_second(options: &Options) -> Result<f64> {
    let names: Vec<String> = (0..2 * options.burst).map(|nth| format!("bench-{}-{nth}", std::process::id())).collect();
    let at_once = |work: fn(&Options, &str) -> Result<()>| {
        std::thread::scope(|scope| {
            let share = names.len().div_ceil(CTR_AT_ONCE);
            let workers: Vec<_> = names
                .chunks(share)
                .map(|names| scope.spawn(move || names.iter().try_for_each(|name| work(options, name))))
                .collect();
            let joined = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?
            };
            workers.into_iter().try_for_each(joined)
        })
    };
    let begin = Instant::now();
    at_once(run_by_ctr)?;
    let rate = f64::from(options.burst) / begin.elapsed().as_secs_f64();
    at_once(remove_by_ctr)?;
    Ok(rate)
}

fn ctr(options: &Options, arguments: &[&str]) -> Result<()> {
    let socket = options.run.join("containerd/containerd.sock");
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket).args(["--namespace", "berth"]).args(arguments);
    let output = command.output().context("start ctr")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ctr {} failed: {said}", arguments.join(" "));
    Ok(())
}

fn image_name(image: &str) -> String {
    let tagged = if image.contains(':') { image.to_owned() } else { format!("{image}:latest") };
    if tagged.contains('/') { tagged } else { format!("docker.io/library/{tagged}") }
}
