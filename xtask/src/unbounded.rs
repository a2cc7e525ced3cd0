// SPDX-License-Identifier: Apache-2.0
//! The rule that every read has a limit: the node and the shim read files and responses through `berth_shim::read`, or
//! chunk by chunk.

/// Crates that read the bytes of tasks, images and registries.
pub const CRATES: &[&str] = &["berth-node", "berth-shim"];

/// Reads that end only at the end of the source.
const READS: &[&str] = &[
    "read_to_end(",
    "read_to_string(",
    "fs::read(",
    // Whole bodies of responses: reqwest's and `http_body_util`'s.
    ".bytes().await",
    ".text().await",
    "BodyExt",
    "body::to_bytes(",
];

/// Paths of kernel files, in the same line as the read.
const KERNEL_PATHS: &[&str] = &["\"/proc/", "\"/sys/"];

/// Files with reads of sources that no task, image or registry writes, each with the source.
const ALLOWED: &[(&str, &str)] = &[
    ("crates/node/src/cgroups.rs", "files of cgroups and /proc"),
    ("crates/node/src/container/mounts.rs", "/proc/self/mountinfo"),
    ("crates/node/src/containerd/supervise.rs", "the notes of the node"),
    ("crates/node/src/endpoint/stats.rs", "files of cgroups and /proc"),
    ("crates/node/src/identity.rs", "the node's own identity"),
    ("crates/node/src/modes/files.rs", "/etc/hosts and /etc/resolv.conf of the host"),
    ("crates/node/src/modes/kernel.rs", "tables of sockets in /proc"),
    ("crates/node/src/pause.rs", "programs the node has written"),
    ("crates/node/src/samples.rs", "files of cgroups"),
    ("crates/shim/src/pause.rs", "the shim's own notes, and /proc"),
    ("crates/shim/src/read.rs", "the reads with a limit"),
    ("crates/shim/src/runtime.rs", "names and process ids the shim and the runtime have written"),
    ("crates/shim/src/spec.rs", "the specification the node has made"),
];

/// Reads without a limit in the text of a file, which is `shown` in findings.
pub fn findings(shown: &str, text: &str) -> Vec<String> {
    if ALLOWED.iter().any(|(file, _)| *file == shown) {
        return Vec::new();
    }
    let is_kernel = |line: &str| KERNEL_PATHS.iter().any(|path| line.contains(path));
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//") && !is_kernel(line));
    let reads = code.filter_map(|(number, line)| {
        let read = READS.iter().find(|read| line.contains(**read))?;
        Some(format!(
            "{shown}:{}: `{read}` reads without a limit; use berth_shim::read, or add the file to xtask/src/unbounded.rs \
             with the reason why no task, image or registry decides how much it holds",
            number + 1
        ))
    });
    reads.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_without_a_limit_is_found_by_file_and_line() {
        let text = "// fs::read(path)\nlet a = fs::read(path);\nlet b = fs::read_to_string(\"/proc/meminfo\");\n\
                    let c = answer.bytes().await?;\nlet d = word.bytes().all(|byte| byte == 0);\n";
        let found = findings("crates/node/src/x.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/node/src/x.rs:2: `fs::read(` reads without a limit"), "{found:?}");
        assert!(found[1].starts_with("crates/node/src/x.rs:4: `.bytes().await`"), "{found:?}");
        assert!(findings("crates/node/src/identity.rs", text).is_empty());
    }
}
