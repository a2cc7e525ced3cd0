// SPDX-License-Identifier: Apache-2.0
//! Further processes in a running container. What one puts out comes through a pipe with a name, which is drained for as
//! long as the process runs; only the first bytes are kept. The name is gone when the call returns.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::{
    DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, StartRequest, WaitRequest,
};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use oci_spec::runtime::{Process, Spec};
use tokio::net::unix::pipe::{self, Receiver};

use super::client::{CALL_LIMIT, Containerd, WORK_LIMIT, call};
use crate::fault::absent_is_fine;
use crate::{Fault, SpecFault};

const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;
/// Bytes kept of a command's output, as Docker does for health checks.
const OUTPUT_BYTES_MAX: usize = 4096;

/// A command that was run.
pub(crate) struct Ran {
    /// Its exit code; absent when it took longer than it may and was killed.
    pub code: Option<i32>,
    /// The first bytes of what it put out.
    pub output: Vec<u8>,
}

impl Containerd {
    /// Runs a command as the container's own program would be run, and kills it after `limit`. Its pipe is in `folder`.
    pub async fn exec(&self, id: &str, command: Vec<String>, folder: &Path, limit: Duration) -> Result<Ran, Fault> {
        let mut process = self.process_of(id).await?;
        process.set_args(Some(command));
        process.set_terminal(Some(false));
        let spec = serde_json::to_vec(&process).map_err(SpecFault::from)?;
        let exec_id = format!("exec-{:016x}", rand::random::<u64>());
        let mut output = Output::make(folder.join(&exec_id))?;
        let path = output.path.display().to_string();
        let request = self.request(ExecProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.clone(),
            stdout: path.clone(),
            stderr: path,
            spec: Some(prost_types::Any { type_url: PROCESS_TYPE.to_owned(), value: spec }),
            ..ExecProcessRequest::default()
        });
        let mut client = TasksClient::new(self.channel.clone());
        call("Tasks.Exec", id, CALL_LIMIT, client.exec(request)).await?;
        let ended = tokio::select! {
            ended = self.run_exec(id, &exec_id, limit) => ended,
            fault = output.drain() => Err(fault),
        };
        let request = self.request(DeleteProcessRequest { container_id: id.to_owned(), exec_id });
        let deleted = call("Tasks.DeleteProcess", id, CALL_LIMIT, client.delete_process(request)).await.map(drop);
        let code = ended?;
        absent_is_fine(deleted)?;
        Ok(Ran { code, output: output.take()? })
    }

    async fn run_exec(&self, id: &str, exec_id: &str, limit: Duration) -> Result<Option<i32>, Fault> {
        let mut client = TasksClient::new(self.channel.clone());
        let request = self.request(StartRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() });
        call("Tasks.Start", id, WORK_LIMIT, client.start(request)).await?;
        let wait = || self.request(WaitRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() });
        match call("Tasks.Wait", id, limit, client.wait(wait())).await {
            Ok(ended) => Ok(Some(i32::try_from(ended.exit_status).unwrap_or(255))),
            Err(Fault::ContainerdSilent { .. }) => {
                let (container_id, exec_id) = (id.to_owned(), exec_id.to_owned());
                let request = self.request(KillRequest { container_id, exec_id, signal: SIGKILL, all: false });
                absent_is_fine(call("Tasks.Kill", id, CALL_LIMIT, client.kill(request)).await.map(drop))?;
                call("Tasks.Wait", id, CALL_LIMIT, client.wait(wait())).await?;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// The process of the container's own program, from its specification.
    async fn process_of(&self, id: &str) -> Result<Process, Fault> {
        let request = self.request(GetContainerRequest { id: id.to_owned() });
        let mut client = ContainersClient::new(self.channel.clone());
        let found = call("Containers.Get", id, CALL_LIMIT, client.get(request)).await?;
        let spec = found.container.and_then(|container| container.spec).map(|spec| spec.value).unwrap_or_default();
        let spec: Spec = serde_json::from_slice(&spec).map_err(SpecFault::from)?;
        spec.process().clone().ok_or_else(|| SpecFault::NoProcess(id.to_owned()).into())
    }
}

/// The pipe a command writes to, and the first bytes of what came.
struct Output {
    path: PathBuf,
    pipe: Receiver,
    kept: Vec<u8>,
}

impl Output {
    fn make(path: PathBuf) -> Result<Self, Fault> {
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| Fault::file("make a pipe at", &path)(errno.into()))?;
        // A writer as well: before the command has the pipe open there is no other, and a pipe without one is at its end.
        match pipe::OpenOptions::new().read_write(true).open_receiver(&path) {
            Ok(pipe) => Ok(Self { path, pipe, kept: Vec::new() }),
            Err(cause) => {
                std::fs::remove_file(&path).ok();
                Err(Fault::file("open", &path)(cause))
            }
        }
    }

    /// Takes what comes until the pipe breaks.
    async fn drain(&mut self) -> Fault {
        loop {
            let read = async {
                self.pipe.readable().await?;
                self.read()
            };
            match read.await {
                Ok(()) => {}
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                Err(cause) => return Fault::file("read", &self.path)(cause),
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; 8192];
        let length = self.pipe.try_read(&mut chunk)?;
        self.keep(&chunk[..length]);
        Ok(())
    }

    fn keep(&mut self, chunk: &[u8]) {
        let kept = chunk.len().min(OUTPUT_BYTES_MAX - self.kept.len());
        self.kept.extend_from_slice(&chunk[..kept]);
    }

    /// What was kept, with what the pipe still holds. A process that the command left behind may go on to write, so this
    /// ends when enough is kept.
    fn take(mut self) -> Result<Vec<u8>, Fault> {
        let mut chunk = [0; OUTPUT_BYTES_MAX];
        while self.kept.len() < OUTPUT_BYTES_MAX {
            // The system call itself: the runtime may not have heard yet of what came last.
            match nix::unistd::read(&self.pipe, &mut chunk) {
                Ok(length) => self.keep(&chunk[..length]),
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(Fault::file("read", &self.path)(errno.into())),
            }
        }
        Ok(std::mem::take(&mut self.kept))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn a_pipe_is_drained_and_its_first_bytes_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exec-1");
        let mut output = Output::make(path.clone()).unwrap();
        let mut writer = std::fs::File::options().write(true).open(&path).unwrap();
        let written = tokio::task::spawn_blocking(move || {
            // Far more than a pipe holds.
            writer.write_all(&[b'x'; 1 << 20]).unwrap();
            writer
        });
        let mut writer = tokio::select! {
            writer = written => writer.unwrap(),
            fault = output.drain() => panic!("{fault}"),
        };
        // The pipe may still be full, and nothing reads it while this thread writes.
        nix::unistd::read(&output.pipe, &mut [0; 8192]).ok();
        writer.write_all(b"end").unwrap();
        assert_eq!(output.take().unwrap(), [b'x'; OUTPUT_BYTES_MAX]);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_comes_last_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exec-1");
        let output = Output::make(path.clone()).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().write_all(b"looked\n").unwrap();
        assert_eq!(output.take().unwrap(), b"looked\n");
    }
}
