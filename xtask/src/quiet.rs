// SPDX-License-Identifier: Apache-2.0
//! Runs a suite's commands with their output in a log file: a suite that passes prints one line, one that fails prints
//! the end of the failed command's output.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Maximum number of lines printed of a failed command, counted from the end.
const SHOWN_LINES_MAX: usize = 400;

/// Maximum number of lines repeated of one panic.
const PANIC_LINES_MAX: usize = 12;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed or could not run.
    pub failed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The log of one suite and the tests counted in it.
pub struct Quiet {
    log: File,
    path: PathBuf,
    began: Instant,
    /// Tests counted so far.
    pub counts: Counts,
}

impl Quiet {
    /// Begins the log `FOLDER/SUITE.log`; an earlier one is replaced.
    pub fn begin(folder: &Path, suite: &str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join(format!("{suite}.log"));
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { log, path, began: Instant::now(), counts: Counts::default() })
    }

    /// Runs a command to its end. A failure prints the end of its output and is returned.
    pub fn run(&mut self, command: &mut Command) -> Result<()> {
        self.progress(command);
        writeln!(self.log, "$ {command:?}")?;
        let (reader, writer) = std::io::pipe()?;
        let child = command.stdout(writer.try_clone()?).stderr(writer).spawn();
        let mut child = child.with_context(|| format!("cannot run {command:?}"))?;
        // The command holds the write ends too; the output ends when the last one is closed.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut kept = VecDeque::new();
        let mut panics = Panics::default();
        for line in BufReader::new(reader).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            writeln!(self.log, "{line}")?;
            self.counts += counts_of(&line);
            panics.read(&line);
            if kept.len() == SHOWN_LINES_MAX {
                kept.pop_front();
            }
            kept.push_back(line);
        }
        let status = child.wait()?;
        self.end_progress();
        if status.success() {
            return Ok(());
        }
        kept.iter().for_each(|line| println!("{line}"));
        // Last, because a reader who shortens the output keeps its end.
        panics.lines.iter().for_each(|line| println!("{line}"));
        bail!("{command:?}: {status}; the whole output is in {}", self.path.display())
    }

    /// The line of a suite that has ended.
    pub fn summary(&self, suite: &str) -> String {
        let Counts { passed, failed } = self.counts;
        let outcome = match failed {
            0 => format!("{passed} tests passed"),
            _ => format!("{passed} tests passed, {failed} failed"),
        };
        format!("{suite}: {outcome} in {} s", self.began.elapsed().as_secs())
    }

    /// Shows a person at a terminal which command runs.
    fn progress(&self, command: &Command) {
        if std::io::stderr().is_terminal() {
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
            let line: String = words.join(" ").chars().take(100).collect();
            eprint!("\r\x1b[K{} s: {line}", self.began.elapsed().as_secs());
        }
    }

    fn end_progress(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// The messages of panics, which long logs of the same tests surround.
#[derive(Default)]
struct Panics {
    lines: Vec<String>,
    /// Lines that the present message may still have.
    left: usize,
}

impl Panics {
    fn read(&mut self, line: &str) {
        if line.starts_with("thread '") && line.contains(" panicked at ") {
            self.left = PANIC_LINES_MAX;
        } else if line.starts_with("stack backtrace:") || line.starts_with("note: ") {
            self.left = 0;
        }
        if self.left > 0 {
            self.left -= 1;
            self.lines.push(line.to_owned());
        }
    }
}

/// Tests that a closing line of libtest or pytest counts; none for any other line.
fn counts_of(line: &str) -> Counts {
    let closing = match line.strip_prefix("test result: ") {
        Some(rest) => rest.split_once(". ").map(|(_, counts)| counts),
        None => line.strip_prefix('=').map(|rest| rest.trim_matches(['=', ' '])),
    };
    let Some(closing) = closing else { return Counts::default() };
    let mut counts = Counts::default();
    let words: Vec<&str> = closing.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
    for pair in words.windows(2) {
        let Ok(number) = pair[0].parse::<u64>() else { continue };
        match pair[1] {
            "passed" => counts.passed += number,
            "failed" | "error" | "errors" => counts.failed += number,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_counted_and_no_others() {
        let counts = |line| (counts_of(line).passed, counts_of(line).failed);
        let libtest =
            "test result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.1s";
        assert_eq!(counts(libtest), (12, 1));
        assert_eq!(counts("=========== 2 failed, 212 passed, 1 error in 301.22s (0:05:01) ==========="), (212, 3));
        assert_eq!(counts("======= 214 passed in 301.22s ======"), (214, 0));
        assert_eq!(counts("running 12 tests; 3 passed before"), (0, 0));
    }

    #[test]
    fn the_message_of_a_panic_is_kept_without_its_surroundings() {
        let mut panics = Panics::default();
        let log =
            "before\n\nthread 'a_test' (7) panicked at tests/a.rs:3:5:\nleft: 1\nstack backtrace:\n 0: main\nafter";
        log.lines().for_each(|line| panics.read(line));
        assert_eq!(panics.lines, ["thread 'a_test' (7) panicked at tests/a.rs:3:5:", "left: 1"]);
    }

    #[test]
    fn a_failed_command_is_named_with_its_log_and_the_next_ones_run() {
        let folder = std::env::temp_dir().join(format!("berth-xtask-{}", std::process::id()));
        let mut quiet = Quiet::begin(&folder, "suite").unwrap();
        let mut shell = |script: &str| quiet.run(Command::new("sh").args(["-c", script]));
        let failed = shell("echo out; echo 'test result: ok. 3 passed; 0 failed' >&2; exit 4").unwrap_err().to_string();
        shell("echo more").unwrap();
        assert!(failed.contains("exit status: 4") && failed.contains("suite.log"), "{failed}");
        assert_eq!(quiet.counts, Counts { passed: 3, failed: 0 });
        let log = fs::read_to_string(&quiet.path).unwrap();
        assert!(log.contains("out\n") && log.contains("more\n"), "{log}");
        fs::remove_dir_all(folder).unwrap();
    }
}
