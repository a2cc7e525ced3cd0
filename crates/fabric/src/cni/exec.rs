// SPDX-License-Identifier: Apache-2.0
//! Runs plugin executables, as a container runtime does.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::spec::CniError;

/// Time limit for a plugin that sets up an interface, as in the official agent.
pub const SETUP_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for a plugin that cleans up.
pub const CLEANUP_LIMIT: Duration = Duration::from_secs(30);
/// Time limit for a plugin called by a plugin.
pub const DELEGATE_LIMIT: Duration = Duration::from_secs(20);

/// Reason why a plugin gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginFault {
    /// It could not be started, or its pipes failed.
    #[error("could not run plugin {path}", path = .path.display())]
    Start {
        /// The executable.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It returned an error.
    #[error("plugin {path} failed: {error}", path = .path.display())]
    Refused {
        /// The executable.
        path: PathBuf,
        /// Its error.
        error: CniError,
    },
    /// It exceeded its time limit and was killed.
    #[error("plugin {path} was killed after {limit_s} s without an answer", path = .path.display())]
    Late {
        /// The executable.
        path: PathBuf,
        /// The limit.
        limit_s: u64,
    },
    /// Its output was invalid.
    #[error("plugin {path} ended with {status} and no readable answer: {said:?}", path = .path.display())]
    Garbled {
        /// The executable.
        path: PathBuf,
        /// Its exit status.
        status: String,
        /// What it said.
        said: String,
    },
}

impl PluginFault {
    /// True if the plugin reports that a retry may help, or if it timed out.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Late { .. } => true,
            Self::Refused { error, .. } => error.code == CniError::TRY_AGAIN,
            Self::Start { .. } | Self::Garbled { .. } => false,
        }
    }
}

/// The first executable of this name in a list of directories.
pub fn find(name: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') {
        return None;
    }
    directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Runs a plugin in the calling thread's namespace: `environment` is added to the present one, `input` goes to standard
/// input. Returns its result; `Value::Null` if it printed nothing, as on DEL. A plugin past its limit is killed.
pub fn run_plugin(
    path: &Path,
    environment: &[(String, String)],
    input: &Value,
    limit: Duration,
) -> Result<Value, PluginFault> {
    let start = |cause| PluginFault::Start { path: path.to_owned(), cause };
    let mut child = Command::new(path)
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.to_string().as_bytes()));
    let (sender, receiver) = mpsc::channel();
    let pipes = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::Builder::new().name("plugin-output".into()).spawn(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (stdout, stderr) = pipes;
        // Both pipes close when the plugin ends; its standard error is far below a pipe's size.
        drop(stdout.map(|mut pipe| pipe.read_to_end(&mut out)));
        drop(stderr.map(|mut pipe| pipe.read_to_end(&mut err)));
        drop(sender.send((out, err)));
    });
    reader.map_err(start)?;
    let Ok((out, err)) = receiver.recv_timeout(limit) else {
        child.kill().and_then(|()| child.wait()).map_err(start)?;
        return Err(PluginFault::Late { path: path.to_owned(), limit_s: limit.as_secs() });
    };
    let status = child.wait().map_err(start)?;
    let value = if out.is_empty() { Ok(Value::Null) } else { serde_json::from_slice::<Value>(&out) };
    match value {
        Ok(value) if status.success() => {
            // A plugin that did not read all of its input may still have completed its work.
            drop(written);
            Ok(value)
        }
        Ok(value) if CniError::from_json(&value).is_some() => {
            let error = CniError::from_json(&value).unwrap_or_else(|| CniError::new(CniError::FAILED, ""));
            Err(PluginFault::Refused { path: path.to_owned(), error })
        }
        Ok(_) | Err(_) => {
            let said = [out, err].concat();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            Err(PluginFault::Garbled { path: path.to_owned(), status: status.to_string(), said })
        }
    }
}
