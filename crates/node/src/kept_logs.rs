// SPDX-License-Identifier: Apache-2.0
//! Logs of stopped tasks: removed when they are older than the settings say, and the oldest first while all of them take
//! more room than the settings say. A folder of which no record knows counts as one of a stopped task. Logs of tasks that
//! have not stopped stay.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use berth_types::report::TaskStage;
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::blocking::blocking;
use crate::config::LogSettings;
use crate::engine::NodeHost;
use crate::folders;

/// Longest time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Least time between two looks, however many tasks end.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// The logs of a stopped task.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// Name of their folder, the id of the task.
    task: String,
    bytes: u64,
    /// Time since something was written last.
    age: Duration,
}

/// Removes logs for as long as the node lives: looks when a task ends, and when the oldest become too old.
pub(crate) async fn keep(host: Arc<NodeHost>, shutdown: CancellationToken) -> Result<(), Fault> {
    loop {
        let wait = match look(&host).await {
            Ok(wait) => wait,
            Err(fault) => {
                tracing::error!(%fault, "logs of stopped tasks are not removed");
                LOOK_INTERVAL
            }
        };
        let next = async {
            tokio::time::sleep(LOOK_PAUSE).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = host.task_ended.notified() => {}
            }
        };
        tokio::select! {
            () = next => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Removes what is too old or too much; answers when to look again.
async fn look(host: &NodeHost) -> Result<Duration, Fault> {
    let tasks = host.directory.all();
    let going_on = tasks.iter().filter(|task| task.stage != TaskStage::Stopped);
    let going_on: BTreeSet<String> = going_on.map(|task| task.id.as_str().to_owned()).collect();
    let (dir, settings) = (host.config.logs_dir(), host.config.logs);
    blocking("log remover", move || {
        let (removed, kept) = divided(find(&dir, &going_on)?, settings);
        for logs in &removed {
            tracing::info!(task = logs.task, bytes = logs.bytes, age_s = logs.age.as_secs(), "logs are removed");
            folders::remove_folder(&dir.join(&logs.task))?;
        }
        let oldest = kept.iter().map(|logs| logs.age).max();
        Ok(oldest.map_or(LOOK_INTERVAL, |age| settings.max_age.saturating_sub(age).min(LOOK_INTERVAL)))
    })
    .await
}

fn find(dir: &Path, going_on: &BTreeSet<String>) -> Result<Vec<Kept>, Fault> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(Fault::file("list", dir)(cause)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Fault::file("list", dir))?;
        let task = entry.file_name().to_string_lossy().into_owned();
        if !going_on.contains(&task) {
            let path = entry.path();
            let (bytes, written) = measure(&path).map_err(Fault::file("look at", &path))?;
            // A clock that was set back makes nothing old.
            let age = SystemTime::now().duration_since(written).unwrap_or_default();
            found.push(Kept { task, bytes, age });
        }
    }
    Ok(found)
}

/// Size of the files in a folder, and when one was written last.
fn measure(folder: &Path) -> io::Result<(u64, SystemTime)> {
    let mut bytes = 0;
    let mut written = fs::metadata(folder)?.modified()?;
    for file in fs::read_dir(folder)? {
        let found = file?.metadata()?;
        bytes += found.len();
        written = written.max(found.modified()?);
    }
    Ok((bytes, written))
}

/// The logs to remove and the logs to keep.
fn divided(mut found: Vec<Kept>, settings: LogSettings) -> (Vec<Kept>, Vec<Kept>) {
    found.sort_by(|one, other| (one.age, &one.task).cmp(&(other.age, &other.task)));
    let mut total = 0;
    found.into_iter().partition(|logs| {
        total += logs.bytes;
        logs.age >= settings.max_age || total > settings.total_bytes_max
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(task: &str, bytes: u64, age_s: u64) -> Kept {
        Kept { task: task.to_owned(), bytes, age: Duration::from_secs(age_s) }
    }

    #[test]
    fn the_old_ones_go_and_the_oldest_of_too_many() {
        let found = || vec![kept("old", 1, 100), kept("large", 70, 30), kept("young", 20, 1), kept("middle", 20, 20)];
        let removed = |max_age_s, total_bytes_max| {
            let settings = LogSettings { max_age: Duration::from_secs(max_age_s), total_bytes_max };
            let (removed, kept) = divided(found(), settings);
            assert_eq!(removed.len() + kept.len(), 4);
            removed.into_iter().map(|logs| logs.task).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(removed(1000, 1000), "");
        assert_eq!(removed(100, 1000), "old");
        assert_eq!(removed(1000, 110), "old");
        assert_eq!(removed(1000, 109), "large old");
        assert_eq!(removed(1000, 0), "young middle large old");
    }

    #[test]
    fn logs_of_tasks_that_go_on_are_not_found() {
        let dir = tempfile::tempdir().unwrap();
        for task in ["stopped", "running"] {
            fs::create_dir(dir.path().join(task)).unwrap();
            fs::write(dir.path().join(task).join("app.log"), "text").unwrap();
        }
        let found = find(dir.path(), &BTreeSet::from(["running".to_owned()])).unwrap();
        assert_eq!(found.iter().map(|logs| (logs.task.as_str(), logs.bytes)).collect::<Vec<_>>(), [("stopped", 4)]);
        assert_eq!(find(&dir.path().join("absent"), &BTreeSet::new()).unwrap(), []);
    }
}
