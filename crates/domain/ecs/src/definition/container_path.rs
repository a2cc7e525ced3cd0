// SPDX-License-Identifier: Apache-2.0
//! `containerPath` of a mount point: an absolute path, and Docker's options after a colon.

use berth_state::Refusal;

use super::super::refuse::{client, not_yet};

/// Refuses a path that is not absolute and options Docker does not take; `path` names the member.
pub(super) fn check(text: &str, path: &str) -> Result<(), Refusal> {
    let (target, options) = match text.split_once(':') {
        Some((target, options)) => (target, options.split(',').collect()),
        None => (text, Vec::new()),
    };
    let invalid = |what: &str| client(format!("Invalid '{path}' setting '{text}': {what}."));
    if !target.starts_with('/') {
        return Err(invalid("the path must be absolute"));
    }
    if target.split('/').any(|part| part == "..") || target.trim_matches('/').is_empty() {
        return Err(invalid("the path must be below '/', without '..'"));
    }
    for option in &options {
        match *option {
            // Containers have no SELinux label; hints about consistency change nothing on Linux, as with Docker.
            "ro" | "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nocopy" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                return Err(not_yet(format!("option '{option}' of {path}")));
            }
            other => return Err(invalid(&format!("invalid mode '{other}'"))),
        }
    }
    if options.contains(&"ro") && options.contains(&"rw") {
        return Err(invalid("only one of 'ro' and 'rw' can be given"));
    }
    Ok(())
}
