// SPDX-License-Identifier: Apache-2.0
//! `berth logs`: the output of a task's containers.
//!
//! It reads the files of the log drivers, so it works while server and node are down. With `--follow` the folder is
//! watched, not polled.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};

use crate::args::{Format, LogsArgs};
use crate::hosts;
use crate::installation::Installation;

/// A line in the format of the log driver.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    log: String,
    stream: String,
    time: String,
}

/// A line in the output.
#[derive(Clone, Debug, Serialize)]
struct Shown<'a> {
    time: &'a str,
    container: &'a str,
    stream: &'a str,
    message: &'a str,
}

/// Prints the lines of one task in the order of their times.
pub fn run(installation: &Installation, args: &LogsArgs) -> Result<ExitCode> {
    let logs: Vec<PathBuf> =
        hosts::local(installation)?.iter().map(|host| host.installation.data.join("node/logs")).collect();
    let logs: Vec<PathBuf> = logs.into_iter().filter(|folder| folder.exists()).collect();
    if logs.is_empty() {
        bail!("no task has written logs in {} yet (or name its folder with --data)", installation.data.display());
    }
    let folder = folder_of(&logs, &args.task)?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC).context("cannot watch files")?;
    let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(&folder, events).with_context(|| format!("cannot watch {}", folder.display()))?;
    let mut tails = BTreeMap::new();
    loop {
        let mut lines = new_lines(&folder, args.container.as_deref(), &mut tails)?;
        lines.sort_by(|(_, a), (_, b)| a.time.cmp(&b.time));
        let several = args.container.is_none() && tails.len() > 1;
        for (container, line) in &lines {
            print_line(args.output, several.then_some(container), container, line)?;
        }
        std::io::stdout().flush()?;
        if !args.follow {
            break;
        }
        watch.read_events().context("cannot watch files")?;
    }
    if let Some(container) = &args.container
        && !tails.contains_key(container)
    {
        bail!("task {} has no logs of a container {container:?}", args.task);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_line(format: Format, prefix: Option<&String>, container: &str, line: &Line) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => {
            let message = line.log.trim_end_matches('\n');
            let shown = Shown { time: &line.time, container, stream: &line.stream, message };
            writeln!(out, "{}", serde_json::to_string(&shown)?)?;
        }
        Format::Table => {
            let prefix = prefix.map(|name| format!("{name}: ")).unwrap_or_default();
            let end = if line.log.ends_with('\n') || prefix.is_empty() { "" } else { "\n" };
            write!(out, "{prefix}{}{end}", line.log)?;
        }
    }
    Ok(())
}

/// The folder of the task with this id, ARN or beginning of an id.
fn folder_of(logs: &[PathBuf], task: &str) -> Result<PathBuf> {
    let id = task.rsplit('/').next().unwrap_or(task);
    let mut found = Vec::new();
    for folder in logs {
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        found.extend(paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(id))));
    }
    match (found.pop(), found.len()) {
        (Some(folder), 0) => Ok(folder),
        (Some(_), more) => bail!("{} tasks begin with {id}; give more digits", more + 1),
        (None, _) => {
            let looked: Vec<String> = logs.iter().map(|folder| folder.display().to_string()).collect();
            bail!(
                "no logs of a task {id} in {}; those of a stopped task are removed as --stopped-logs-max-age and \
                 --stopped-logs-max-size of `berth node` say",
                looked.join(", ")
            )
        }
    }
}

/// The read position in a container's log.
struct Tail {
    file: BufReader<File>,
    inode: u64,
}

impl Tail {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let inode = file.metadata()?.ino();
        Ok(Self { file: BufReader::new(file), inode })
    }

    /// Every complete line that was not read before.
    fn lines(&mut self, found: &mut Vec<Line>) -> Result<()> {
        let mut text = String::new();
        loop {
            text.clear();
            let length = self.file.read_line(&mut text)?;
            if !text.ends_with('\n') {
                // An incomplete line is read again when its end is written.
                self.file.seek(SeekFrom::Current(-i64::try_from(length)?))?;
                return Ok(());
            }
            found.push(serde_json::from_str(&text).with_context(|| format!("damaged log line {text:?}"))?);
        }
    }
}

fn new_lines(folder: &Path, only: Option<&str>, tails: &mut BTreeMap<String, Tail>) -> Result<Vec<(String, Line)>> {
    let mut all = Vec::new();
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    names.sort();
    for path in names.iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
        let container = container_of(path)?;
        if only.is_some_and(|only| only != container) {
            continue;
        }
        let mut lines = Vec::new();
        let inode = std::fs::metadata(path)?.ino();
        match tails.get_mut(&container) {
            None => {
                // Oldest first: the rotated files, then the current one.
                for rotated in rotated_files(path, &names) {
                    Tail::open(&rotated)?.lines(&mut lines)?;
                }
                let mut tail = Tail::open(path)?;
                tail.lines(&mut lines)?;
                tails.insert(container.clone(), tail);
            }
            Some(tail) => {
                tail.lines(&mut lines)?;
                if tail.inode != inode {
                    *tail = Tail::open(path)?;
                    tail.lines(&mut lines)?;
                }
            }
        }
        all.extend(lines.into_iter().map(|line| (container.clone(), line)));
    }
    Ok(all)
}

/// The container of a log file: its name, or the content of the `.name` file where the container's name is too long.
fn container_of(log: &Path) -> Result<String> {
    let file = log.with_extension("name");
    match std::fs::read_to_string(&file) {
        Ok(name) => Ok(name),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            Ok(log.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        }
        Err(cause) => Err(cause).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn rotated_files(current: &Path, names: &[PathBuf]) -> Vec<PathBuf> {
    let prefix = format!("{}.", current.display());
    let mut found: Vec<(u32, PathBuf)> = names
        .iter()
        .filter_map(|path| Some((path.to_str()?.strip_prefix(&prefix)?.parse().ok()?, path.clone())))
        .collect();
    found.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(text: &str) -> String {
        format!("{}\n", serde_json::json!({ "log": text, "stream": "stdout", "time": "2026-01-01T00:00:00Z" }))
    }

    #[test]
    fn rotated_files_come_first_and_half_a_line_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        std::fs::write(folder.path().join("web.log.2"), line("one\n")).unwrap();
        std::fs::write(folder.path().join("web.log.1"), line("two\n")).unwrap();
        let half = line("four\n");
        std::fs::write(&path, format!("{}{}", line("three\n"), &half[..10])).unwrap();
        let mut tails = BTreeMap::new();
        let mut read = || -> Vec<String> {
            new_lines(folder.path(), None, &mut tails).unwrap().into_iter().map(|(_, line)| line.log).collect()
        };
        assert_eq!(read(), ["one\n", "two\n", "three\n"]);
        assert!(read().is_empty());
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&half.as_bytes()[10..]).unwrap();
        assert_eq!(read(), ["four\n"]);
    }

    #[test]
    fn a_log_is_of_the_container_named_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("nnn-0.log"), line("one\n")).unwrap();
        std::fs::write(folder.path().join("nnn-0.name"), "nnnnnn").unwrap();
        let lines = |only| new_lines(folder.path(), only, &mut BTreeMap::new()).unwrap();
        assert_eq!(lines(Some("nnnnnn"))[0].0, "nnnnnn");
        assert!(lines(Some("nnn-0")).is_empty());
    }

    #[test]
    fn a_task_is_found_by_arn_and_by_the_beginning_of_its_id() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(one.path().join("9f3c1")).unwrap();
        std::fs::create_dir(two.path().join("9fee2")).unwrap();
        let hosts = [one.path().to_owned(), two.path().to_owned()];
        let found = |task: &str| folder_of(&hosts, task).map(|path| path.file_name().unwrap().to_owned());
        assert_eq!(found("9f3").unwrap(), "9f3c1");
        assert_eq!(found("arn:aws:ecs:us-west-2:1:task/default/9fee2").unwrap(), "9fee2");
        assert!(found("9f").unwrap_err().to_string().contains("2 tasks"));
        assert!(found("77").is_err());
    }
}
