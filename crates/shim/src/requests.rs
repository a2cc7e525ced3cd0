// SPDX-License-Identifier: Apache-2.0
//! containerd's requests, each given to the container it is about.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use containerd_shim_protos::api::*;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::shim_async::Task;
use containerd_shim_protos::ttrpc::r#async::TtrpcContext;
use containerd_shim_protos::ttrpc::{self, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::container::Container;
use crate::events::timestamp;
use crate::fault::Fault;
use crate::reaper::Exit;
use crate::tools::Tools;

/// Containers by id; nothing for one that is being made.
type Containers = BTreeMap<String, Option<Arc<Container>>>;

/// The containers of a group.
pub(crate) struct Service {
    tools: Arc<Tools>,
    containers: Arc<watch::Sender<Containers>>,
    ended: CancellationToken,
}

impl Service {
    pub fn new(tools: Tools) -> Self {
        Self { tools: Arc::new(tools), containers: Arc::default(), ended: CancellationToken::new() }
    }

    /// Cancelled when containerd asks for the shutdown.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Waits until there has been no container for `limit`.
    pub fn unused(&self, limit: Duration) -> impl Future<Output = ()> + use<> {
        unused(self.containers.subscribe(), limit)
    }

    /// The container with this id; waits for one that is being made. A caller that gives up waiting kills the container
    /// next, and must not hear that there is nothing to kill.
    async fn container(&self, id: &str) -> std::result::Result<Arc<Container>, Fault> {
        let found = made(self.containers.subscribe(), id).await;
        found.ok_or_else(|| Fault::Absent(format!("container {id} does not exist here")))
    }
}

async fn made(mut containers: watch::Receiver<Containers>, id: &str) -> Option<Arc<Container>> {
    let all = containers.wait_for(|all| !matches!(all.get(id), Some(None))).await.ok()?;
    all.get(id).cloned().flatten()
}

async fn unused(mut containers: watch::Receiver<Containers>, limit: Duration) {
    // An error of the list itself is the end of the service.
    while containers.wait_for(Containers::is_empty).await.is_ok() {
        let used = containers.wait_for(|all| !all.is_empty());
        if !tokio::time::timeout(limit, used).await.is_ok_and(|used| used.is_ok()) {
            return;
        }
    }
}

/// Runs work to its end, even if the caller has disconnected.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = std::result::Result<T, Fault>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(done) => done.map_err(ttrpc::Error::from),
        Err(cause) => Err(Fault::State(cause.to_string()).into()),
    }
}

#[async_trait]
impl Task for Service {
    async fn create(&self, _: &TtrpcContext, request: CreateTaskRequest) -> Result<CreateTaskResponse> {
        let id = request.id.clone();
        let is_new = self.containers.send_if_modified(|all| match all.entry(id.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(None);
                true
            }
        });
        if !is_new {
            return Err(Fault::Taken(format!("container {id} exists")).into());
        }
        let (containers, tools) = (self.containers.clone(), self.tools.clone());
        let pid = whole(async move {
            let made = Container::create(tools, request).await;
            containers.send_modify(|all| match &made {
                Ok(container) => drop(all.insert(id, Some(container.clone()))),
                Err(_) => drop(all.remove(&id)),
            });
            made.map(|container| container.first.pid() as u32)
        });
        Ok(CreateTaskResponse { pid: pid.await?, ..Default::default() })
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> Result<StartResponse> {
        let container = self.container(&request.id).await?;
        let pid = whole(async move { container.start(&request.exec_id).await }).await?;
        Ok(StartResponse { pid, ..Default::default() })
    }

    async fn delete(&self, _: &TtrpcContext, request: DeleteRequest) -> Result<DeleteResponse> {
        let DeleteRequest { id, exec_id, .. } = request;
        let (container, is_first) = (self.container(&id).await?, exec_id.is_empty());
        let (pid, exit) = whole(async move { container.delete(&exec_id).await }).await?;
        if is_first {
            self.containers.send_modify(|all| drop(all.remove(&id)));
        }
        let Exit { status, at } = exit;
        Ok(DeleteResponse { pid, exit_status: status, exited_at: Some(timestamp(at)).into(), ..Default::default() })
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> Result<Empty> {
        self.container(&request.id).await?.add(request)?;
        Ok(Empty::default())
    }

    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> Result<StateResponse> {
        let container = self.container(&request.id).await?;
        let process = container.process(&request.exec_id)?;
        let exit = process.end();
        let streams = &process.streams;
        Ok(StateResponse {
            id: container.id.clone(),
            bundle: container.bundle.display().to_string(),
            pid: process.pid() as u32,
            status: container.status(&process).into(),
            stdin: streams.stdin.clone(),
            stdout: streams.stdout.clone(),
            stderr: streams.stderr.clone(),
            terminal: streams.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            exec_id: request.exec_id,
            ..Default::default()
        })
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> Result<WaitResponse> {
        let process = self.container(&request.id).await?.process(&request.exec_id)?;
        let Exit { status, at } = process.ended().await;
        Ok(WaitResponse { exit_status: status, exited_at: Some(timestamp(at)).into(), ..Default::default() })
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> Result<Empty> {
        let container = self.container(&request.id).await?;
        whole(async move { container.kill(&request.exec_id, request.signal, request.all).await }).await?;
        Ok(Empty::default())
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> Result<PidsResponse> {
        let pids = self.container(&request.id).await?.pids().await?;
        let processes = pids.into_iter().map(|pid| ProcessInfo { pid, ..Default::default() }).collect();
        Ok(PidsResponse { processes, ..Default::default() })
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> Result<Empty> {
        let container = self.container(&request.id).await?;
        whole(async move { container.pause(true).await }).await?;
        Ok(Empty::default())
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> Result<Empty> {
        let container = self.container(&request.id).await?;
        whole(async move { container.pause(false).await }).await?;
        Ok(Empty::default())
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> Result<Empty> {
        let container = self.container(&request.id).await?;
        whole(async move { container.update(&request.resources.value).await }).await?;
        Ok(Empty::default())
    }

    async fn resize_pty(&self, _: &TtrpcContext, request: ResizePtyRequest) -> Result<Empty> {
        let process = self.container(&request.id).await?.process(&request.exec_id)?;
        process.resize(request.width, request.height)?;
        Ok(Empty::default())
    }

    /// The input of a process ends when its last writer closes; this process holds no writer.
    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> Result<Empty> {
        self.container(&request.id).await?.process(&request.exec_id)?;
        Ok(Empty::default())
    }

    async fn stats(&self, _: &TtrpcContext, _: StatsRequest) -> Result<StatsResponse> {
        let advice = "figures of containers are at the task metadata endpoint (/stats), not at the shim";
        Err(Fault::Unsupported(advice.to_owned()).into())
    }

    async fn checkpoint(&self, _: &TtrpcContext, _: CheckpointTaskRequest) -> Result<Empty> {
        Err(Fault::Unsupported("containers are not checkpointed".to_owned()).into())
    }

    async fn connect(&self, _: &TtrpcContext, request: ConnectRequest) -> Result<ConnectResponse> {
        // Answers at once: a server that does not answer counts as dead.
        let made = self.containers.borrow().get(&request.id).cloned().flatten();
        let task_pid = made.map_or(0, |container| container.first.pid() as u32);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(ConnectResponse { shim_pid: std::process::id(), task_pid, version, ..Default::default() })
    }

    async fn shutdown(&self, _: &TtrpcContext, _: ShutdownRequest) -> Result<Empty> {
        if self.containers.borrow().is_empty() {
            self.ended.cancel();
        }
        Ok(Empty::default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_container_that_is_being_made_is_waited_for() {
        let containers = watch::Sender::new(Containers::from([("one".to_owned(), None)]));
        let mut one = Box::pin(made(containers.subscribe(), "one"));
        tokio::select! {
            biased;
            _ = &mut one => panic!("nobody waited"),
            other = made(containers.subscribe(), "other") => assert!(other.is_none()),
        }
        // It could not be made.
        containers.send_modify(Containers::clear);
        assert!(one.await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_unused_when_it_has_had_no_container_for_long_enough() {
        let began = tokio::time::Instant::now();
        let containers = watch::Sender::new(Containers::new());
        let ended = tokio::spawn(unused(containers.subscribe(), LIMIT));
        tokio::time::sleep(LIMIT / 2).await;
        containers.send_modify(|all| drop(all.insert("one".to_owned(), None)));
        tokio::time::sleep(LIMIT * 5).await;
        assert!(!ended.is_finished());
        containers.send_modify(Containers::clear);
        ended.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), (LIMIT / 2 + LIMIT * 5 + LIMIT).as_secs());
    }
}
