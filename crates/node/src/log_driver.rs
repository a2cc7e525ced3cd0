//! Where a container's output goes, as its log driver says.

use std::path::Path;

use berth_shim::LogTarget;
use berth_types::container::LogIntent;

/// A log file is rotated when it is larger than this, unless said otherwise.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files kept of a log, unless said otherwise; with a size alone it is one, as Docker has it. `NAME.1` is the youngest
/// after the current one.
const FILES_MAX: u32 = 4;
/// What a task definition says, for the log in `file`; nothing if nothing is to be kept.
pub(crate) fn target(log: &LogIntent, file: &Path) -> Option<LogTarget> {
    let option = |name: &str| log.options.get(name).map(String::as_str);
    let is_json = log.driver == "json-file";
    let bytes_max = option("max-size").filter(|_| is_json).and_then(bytes);
    let files_max = option("max-file").filter(|_| is_json).and_then(|count| count.parse().ok());
    (log.driver != "none").then(|| LogTarget {
        file: file.to_owned(),
        bytes_max: bytes_max.unwrap_or(FILE_BYTES_MAX),
        files_max: files_max.unwrap_or(if bytes_max.is_some() { 1 } else { FILES_MAX }),
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
    fn limits_are_those_of_the_options() {
        let limits = |driver: &str, given: &[(&str, &str)]| {
            let options = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let log = LogIntent { driver: driver.to_owned(), options };
            target(&log, Path::new("/app.log")).map(|target| (target.bytes_max, target.files_max))
        };
        assert_eq!(limits("", &[]), Some((16 << 20, 4)));
        assert_eq!(limits("json-file", &[("max-size", "2k")]), Some((2048, 1)));
        assert_eq!(limits("json-file", &[("max-size", "1M"), ("max-file", "3")]), Some((1 << 20, 3)));
        assert_eq!(limits("none", &[]), None);
    }
}
