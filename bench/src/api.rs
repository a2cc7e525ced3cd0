//! Calls per second through HTTP with SigV4: durable RunTask and DescribeTasks, beside another endpoint (moto) if given.
//!
//! Run it against a `berth server` of its own: the tasks it starts stay records.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use berth_shapes::ecs::DescribeTasksRequest;

use crate::client::{Client, Credentials};
use crate::{idle_host, scene, table};

const SAMPLE: Duration = Duration::from_secs(3);

/// Which endpoints to ask.
#[derive(clap::Args)]
pub struct Options {
    /// Where Berth's API listens.
    #[arg(long, default_value = "http://127.0.0.1:4566")]
    endpoint: String,
    /// Its data folder.
    #[arg(long, default_value = "/var/lib/berth")]
    data: PathBuf,
    /// Its run folder. The benchmark joins as a host that starts nothing, so that only the server is measured.
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
    /// Connections at the same time.
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
    let ours = measure(&options.endpoint, &credentials, options)?;
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
    println!("\ngoals against moto: RunTask >= 5, DescribeTasks >= 20");
    Ok(())
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

/// Calls per second of all connections together, and what the calls left behind.
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
