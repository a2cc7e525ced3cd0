// SPDX-License-Identifier: Apache-2.0
//! containerd tasks: the processes of containers.

use berth_types::TimestampMs;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::{
    CreateTaskRequest, DeleteTaskRequest, GetRequest, KillRequest, ListTasksRequest, StartRequest, WaitRequest,
};
use containerd_client::types::v1::Status;
use serde::{Deserialize, Serialize};

use super::client::{CALL_LIMIT, Containerd, WORK_LIMIT, call};
use super::snapshots::Mounts;
use crate::Fault;

/// The exit of a container's first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Exit code, or 128 and the signal.
    pub code: i32,
    /// When.
    pub at: TimestampMs,
}

/// The state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// It has no process.
    Absent,
    /// Everything is ready; the program has not started.
    Created,
    /// The program runs as this process.
    Running(u32),
    /// The program has ended.
    Exited(Exit),
}

/// Where a container's output goes: a URI containerd's shim understands, or nowhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Io {
    /// For stdout and stderr.
    pub output: String,
    /// A terminal is between.
    pub terminal: bool,
}

impl Containerd {
    /// Makes everything around the process; answers its id. The caller has seen that there is no process.
    pub async fn create_task(&self, id: &str, rootfs: Mounts, io: Io) -> Result<u32, Fault> {
        match self.try_create_task(id, rootfs.clone(), io.clone()).await {
            // A containerd killed in the middle of this call left a shim without a process.
            Err(fault) if fault.is_taken() => {
                crate::fault::absent_is_fine(self.delete_task(id).await)?;
                self.try_create_task(id, rootfs, io).await
            }
            other => other,
        }
    }

    async fn try_create_task(&self, id: &str, rootfs: Mounts, io: Io) -> Result<u32, Fault> {
        let stderr = if io.terminal { String::new() } else { io.output.clone() };
        let request = self.request(CreateTaskRequest {
            container_id: id.to_owned(),
            rootfs,
            stdout: io.output,
            stderr,
            terminal: io.terminal,
            ..CreateTaskRequest::default()
        });
        let mut client = TasksClient::new(self.channel.clone());
        call("Tasks.Create", id, WORK_LIMIT, client.create(request)).await.map(|answer| answer.pid)
    }

    /// Starts the program.
    pub async fn start_task(&self, id: &str) -> Result<u32, Fault> {
        let request = self.request(StartRequest { container_id: id.to_owned(), exec_id: String::new() });
        let mut client = TasksClient::new(self.channel.clone());
        call("Tasks.Start", id, WORK_LIMIT, client.start(request)).await.map(|answer| answer.pid)
    }

    /// Sends a signal to the program, or to all processes of the container.
    pub async fn kill_task(&self, id: &str, signal: u32, all: bool) -> Result<(), Fault> {
        let request = self.request(KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal, all });
        let mut client = TasksClient::new(self.channel.clone());
        call("Tasks.Kill", id, CALL_LIMIT, client.kill(request)).await.map(drop)
    }

    /// Removes a process that has ended or was never started.
    pub async fn delete_task(&self, id: &str) -> Result<(), Fault> {
        let request = self.request(DeleteTaskRequest { container_id: id.to_owned() });
        let mut client = TasksClient::new(self.channel.clone());
        call("Tasks.Delete", id, WORK_LIMIT, client.delete(request)).await.map(drop)
    }

    /// Waits for the exit of the program; returns at once for a container without one.
    pub async fn wait_task(&self, id: &str) -> Result<(), Fault> {
        let request = self.request(WaitRequest { container_id: id.to_owned(), exec_id: String::new() });
        let mut client = TasksClient::new(self.channel.clone());
        let waited = call("Tasks.Wait", id, CALL_LIMIT, client.wait(request)).await.map(drop);
        crate::fault::absent_is_fine(waited)
    }

    /// Ids of the first processes of all containers that have one.
    pub async fn task_pids(&self) -> Result<Vec<i32>, Fault> {
        let request = self.request(ListTasksRequest { filter: String::new() });
        let mut client = TasksClient::new(self.channel.clone());
        let listed = call("Tasks.List", "all", CALL_LIMIT, client.list(request)).await?;
        let alive = listed.tasks.into_iter().filter(|task| task.status() != Status::Stopped);
        Ok(alive.filter_map(|task| i32::try_from(task.pid).ok().filter(|pid| *pid > 0)).collect())
    }

    /// The present state of a container.
    pub async fn task_state(&self, id: &str) -> Result<TaskState, Fault> {
        let request = self.request(GetRequest { container_id: id.to_owned(), exec_id: String::new() });
        let mut client = TasksClient::new(self.channel.clone());
        let process = match call("Tasks.Get", id, CALL_LIMIT, client.get(request)).await {
            Ok(answer) => answer.process.unwrap_or_default(),
            Err(fault) if fault.is_absent() => return Ok(TaskState::Absent),
            Err(fault) => return Err(fault),
        };
        Ok(match process.status() {
            Status::Created => TaskState::Created,
            Status::Stopped => TaskState::Exited(exit(process.exit_status, process.exited_at)),
            Status::Running | Status::Paused | Status::Pausing | Status::Unknown => TaskState::Running(process.pid),
        })
    }
}

pub(super) fn exit(status: u32, at: Option<prost_types::Timestamp>) -> Exit {
    let at = at.map_or_else(crate::clock::now_ms, |at| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000);
    Exit { code: i32::try_from(status).unwrap_or(255), at: TimestampMs(at) }
}
