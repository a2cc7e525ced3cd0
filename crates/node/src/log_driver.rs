// SPDX-License-Identifier: Apache-2.0
//! The destination of a container's output, according to its log driver.
//!
//! The files of a task's containers are in one folder, named by the containers. A name may be as long as a file name can
//! be; then the file has the beginning of it, and `STEM.name` beside it has all of it.

use std::path::Path;

use berth_shim::LogTarget;
use berth_types::container::LogIntent;
use berth_types::intent::TaskIntent;

use crate::Fault;

/// Bytes of a container's name that fit into a file name, with what else is in it.
const NAME_BYTES_MAX: usize = 200;

/// File name of a container's log without its extension.
pub(crate) fn stem(task: &TaskIntent, container: &str) -> String {
    match container.get(..NAME_BYTES_MAX) {
        Some(beginning) if container.len() > NAME_BYTES_MAX => {
            let index = task.containers.iter().position(|one| one.name == container).unwrap_or_default();
            format!("{beginning}-{index}")
        }
        Some(_) | None => container.to_owned(),
    }
}

/// Makes the folder of a task's logs, and says in it whose they are where the file names do not. Blocks.
pub(crate) fn make_dir(dir: &Path, task: &TaskIntent) -> Result<(), Fault> {
    std::fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    for container in &task.containers {
        let stem = stem(task, &container.name);
        if stem != container.name {
            let file = dir.join(format!("{stem}.name"));
            std::fs::write(&file, &container.name).map_err(Fault::file("write", &file))?;
        }
    }
    Ok(())
}

/// A log file is rotated when it is larger than this, unless said otherwise.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files kept of a log, unless said otherwise; with a size alone it is one, as Docker has it. `NAME.1` is the youngest
/// after the current one.
const FILES_MAX: u32 = 4;
/// Upper bound of `max-file`, for task definitions registered before there was one.
const FILES_LIMIT: u32 = 1000;

/// The log of a task definition, in `file`; none if no output is kept.
pub(crate) fn target(log: &LogIntent, file: &Path) -> Option<LogTarget> {
    let option = |name: &str| log.options.get(name).map(String::as_str);
    let is_json = log.driver == "json-file";
    let bytes_max = option("max-size").filter(|_| is_json).and_then(bytes);
    let files_max = option("max-file").filter(|_| is_json).and_then(|count| count.parse::<u32>().ok());
    (log.driver != "none").then(|| LogTarget {
        file: file.to_owned(),
        bytes_max: bytes_max.unwrap_or(FILE_BYTES_MAX),
        files_max: files_max.map_or(if bytes_max.is_some() { 1 } else { FILES_MAX }, |count| count.min(FILES_LIMIT)),
    })
}

/// Bytes written as Docker does: `10m`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let shift = match text.chars().last()? {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => 0,
    };
    let number: u64 = text.trim_end_matches(['k', 'm', 'g']).parse().ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_long_name_is_shortened_and_told_beside_the_log() {
        let mut task = crate::container::spec::tests::task();
        let name = |end: &str| format!("{}{end}", "n".repeat(254));
        for end in ["a", "b"] {
            let container = crate::container::spec::tests::container();
            task.containers.push(berth_types::intent::ContainerIntent { name: name(end), ..container });
        }
        let dir = tempfile::tempdir().unwrap();
        make_dir(dir.path(), &task).unwrap();
        assert_eq!(stem(&task, &task.containers[0].name), task.containers[0].name);
        for (index, end) in [(1, "a"), (2, "b")] {
            let stem = stem(&task, &name(end));
            assert_eq!(stem, format!("{}-{index}", "n".repeat(200)));
            assert_eq!(std::fs::read_to_string(dir.path().join(format!("{stem}.name"))).unwrap(), name(end));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn limits_are_those_of_the_options() {
        let limits = |driver: &str, given: &[(&str, &str)]| {
            let options = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let log = LogIntent { driver: driver.to_owned(), options };
            target(&log, Path::new("/app.log")).map(|target| (target.bytes_max, target.files_max))
        };
        assert_eq!(limits("", &[]), Some((16 << 20, 4)));
        assert_eq!(limits("json-file", &[("max-size", "2k")]), Some((2048, 1)));
        assert_eq!(limits("json-file", &[("max-size", "1M"), ("max-file", "3")]), Some((1 << 20, 3)));
        assert_eq!(limits("json-file", &[("max-file", "4294967295")]), Some((16 << 20, 1000)));
        assert_eq!(limits("none", &[]), None);
    }
}
