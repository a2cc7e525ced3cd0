//! From accepted to RUNNING: network and images at the same time, then every container is made, then each one starts
//! when those it depends on are far enough. Each step can be taken up again after the node was killed in the middle of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_types::container::{Dependency, IpcMode, PidMode};
use berth_types::intent::{ContainerIntent, EniIntent, LaunchType};
use berth_types::mode::NetworkMode;
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Host;
use super::actor::{Event, Progress, make_cgroup};
use super::order::{self, Met};
use super::record::TaskRecord;
use super::standing::Standing;
use super::stop::States;
use crate::blocking::blocking;
use crate::container::machine::{self, Machine};
use crate::container::{files, image_volumes, names, spec, storage, users};
use crate::containerd::{Mounts, NewContainer, TaskState};
use crate::images::{Image, ImageConfig};
use crate::modes::{Place, PlaceFault};
use crate::namespaces::HeldNamespace;
use crate::{Fault, Step, clock};

/// The server must have sent the interface by then.
const ENI_LIMIT: Duration = Duration::from_secs(180);
/// So often a launch is tried again because a container was gone before its program could be started.
const VANISHED_MAX: u32 = 5;

/// A launch that did not reach RUNNING.
#[derive(Debug)]
pub(super) enum LaunchFault {
    /// It was asked to end.
    Cancelled,
    /// A step failed that may succeed when it is tried again.
    Interrupted(Fault),
    /// A step failed.
    Failed {
        /// In AWS's words.
        reason: String,
        /// The container it is about.
        container: Option<usize>,
    },
}

impl LaunchFault {
    fn task(kind: &str, fault: Fault) -> Self {
        match fault.is_transient() {
            true => Self::Interrupted(fault),
            false => Self::Failed { reason: format!("{kind}: {fault}"), container: None },
        }
    }

    /// A call of the runtime for a container failed, or was not answered.
    fn runtime(kind: &str, index: usize, fault: Fault) -> Self {
        let Fault::ContainerdSilent { after, .. } = &fault else { return Self::container(kind, index, fault) };
        let reached = if kind == "CannotStartContainerError" { "started" } else { "created" };
        let (minutes, seconds) = (after.as_secs() / 60, after.as_secs() % 60);
        let text = format!("Could not transition to {reached}; timed out after waiting {minutes}m{seconds}s");
        Self::container("DockerTimeoutError", index, Fault::Specification(text))
    }

    pub(super) fn container(kind: &str, index: usize, fault: Fault) -> Self {
        match fault.is_transient() {
            true => Self::Interrupted(fault),
            false => Self::Failed { reason: format!("{kind}: {fault}"), container: Some(index) },
        }
    }
}

/// A launch.
pub(super) struct Launch {
    pub host: Arc<Host>,
    pub record: TaskRecord,
    pub eni: watch::Receiver<Option<EniIntent>>,
    pub states: States,
    pub progress: mpsc::Sender<Event>,
    pub cancel: CancellationToken,
    /// A node before this one, or a launch that was interrupted, may have done some of it.
    pub is_resumed: bool,
    /// Launches of this task that were interrupted.
    pub interruptions: u32,
}

impl Launch {
    pub async fn run(mut self) -> Result<(), LaunchFault> {
        let found = self.look().await?;
        let (network, images) = tokio::join!(self.network(), self.images());
        // When both failed the pull is what the user can mend.
        let images = match images {
            Err(fault @ (LaunchFault::Failed { .. } | LaunchFault::Interrupted(_))) => return Err(fault),
            other => other,
        };
        let standing = Arc::new(network?);
        let images = images?;
        let configs: Vec<&ImageConfig> = images.iter().map(|image| &image.config).collect();
        image_volumes::add(&mut self.record.intent, &configs);
        let start = std::time::Instant::now();
        self.files(standing.clone()).await?;
        self.fill_volumes(&images).await?;
        let mut makings = Vec::new();
        for (index, image) in images.iter().enumerate() {
            if !found[index] {
                makings.push(self.make(index, image, &standing).boxed());
            }
        }
        let made = join_all(makings).await;
        made.into_iter().collect::<Result<Vec<()>, LaunchFault>>()?;
        tracing::debug!(task = %self.record.id, took_ms = start.elapsed().as_millis(), "containers made");
        let mut starts = Vec::new();
        for index in 0..self.record.containers.len() {
            starts.push(self.start_in_turn(index).boxed());
        }
        try_join_all(starts).await.map(drop)
    }

    /// Which containers are there already. One that is not but may have been begins anew under another id: a containerd
    /// that comes back clears away what it finds of the old one, at a time nobody can tell.
    async fn look(&mut self) -> Result<Vec<bool>, LaunchFault> {
        let mut found = vec![false; self.record.containers.len()];
        for (index, is_found) in found.iter_mut().enumerate() {
            let container = &self.record.containers[index];
            *is_found = container.started_at.is_some();
            if !self.is_resumed || !container.is_created || *is_found {
                continue;
            }
            let cannot = |fault| LaunchFault::runtime("CannotInspectContainerError", index, fault);
            let state = self.host.containerd.task_state(&container.runtime_id).await.map_err(cannot)?;
            *is_found = state != TaskState::Absent;
            if !*is_found {
                let runtime_id = names::runtime_id(&self.record.intent, &container.name, &names::suffix());
                self.tell(Progress::Renamed(index, runtime_id.clone())).await;
                self.record.rename(index, runtime_id);
            }
        }
        Ok(found)
    }

    async fn start_in_turn(&self, index: usize) -> Result<(), LaunchFault> {
        let wanted = self.record.wanted(&self.record.containers[index].name);
        for dependency in wanted.map(|wanted| wanted.depends_on.as_slice()).unwrap_or_default() {
            self.wait_for(index, dependency).await?;
        }
        self.go_on()?;
        self.start(index).await
    }

    /// Waits until a container is as far as the one at `index` needs it.
    async fn wait_for(&self, index: usize, dependency: &Dependency) -> Result<(), LaunchFault> {
        let limit_s = self.record.wanted(&dependency.container).and_then(|wanted| wanted.start_timeout_s);
        let mut states = self.states.clone();
        loop {
            let (met, left_ms) = {
                let states = states.borrow_and_update();
                let Some(found) = states.iter().find(|one| one.name == dependency.container) else { return Ok(()) };
                let left_ms = order::time_left(dependency, limit_s, found.started_at, clock::now());
                (order::met(dependency.condition, found), left_ms)
            };
            let timeout = async {
                match left_ms {
                    Some(left_ms) => tokio::time::sleep(Duration::from_millis(left_ms)).await,
                    None => std::future::pending().await,
                }
            };
            match met {
                Met::Yes => return Ok(()),
                Met::Never => return Err(self.unmet(index, dependency, "did not exit successfully")),
                Met::NotYet => {}
            }
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return Err(LaunchFault::Cancelled) },
                () = timeout => return Err(self.unmet(index, dependency, "has timed out")),
                () = self.cancel.cancelled() => return Err(LaunchFault::Cancelled),
            }
        }
    }

    fn unmet(&self, index: usize, dependency: &Dependency, why: &str) -> LaunchFault {
        let (waiting, awaited) = (&self.record.containers[index].name, &dependency.container);
        let graph = "dependency graph: failed to resolve container ordering dependency";
        let text = format!("{graph} [{awaited}] for target [{waiting}]: {awaited} {why}.");
        LaunchFault::container("CannotStartContainerError", index, Fault::Specification(text))
    }

    fn go_on(&self) -> Result<(), LaunchFault> {
        if self.cancel.is_cancelled() { Err(LaunchFault::Cancelled) } else { Ok(()) }
    }

    pub(super) async fn tell(&self, progress: Progress) {
        self.progress.send(Event::Progress(progress)).await.ok();
    }

    async fn network(&self) -> Result<Standing, LaunchFault> {
        match self.record.intent.network_mode {
            NetworkMode::Awsvpc => self.together().await.map(|(held, eni)| Standing::Together(held, eni)),
            NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => {
                let (places, held) = tokio::join!(self.apart(), self.shared());
                Ok(Standing::Apart(places?, held?))
            }
        }
    }

    /// The pause container whose processes or memory the containers share, though each has a place of its own.
    async fn shared(&self) -> Result<Option<HeldNamespace>, LaunchFault> {
        if !self.shares_namespaces() {
            return Ok(None);
        }
        self.namespace().await.map(Some).map_err(|fault| {
            self.cancel.cancel();
            LaunchFault::task("ResourceInitializationError", fault)
        })
    }

    fn shares_namespaces(&self) -> bool {
        self.record.intent.pid_mode == PidMode::Task || self.record.intent.ipc_mode == IpcMode::Task
    }

    /// A place for each container.
    async fn apart(&self) -> Result<Vec<Place>, LaunchFault> {
        let container = |kind: &str, index: usize, fault: &PlaceFault| LaunchFault::Failed {
            reason: format!("{kind}: {fault}"),
            container: Some(index),
        };
        match self.host.places.take(&self.record).await {
            Ok(places) => {
                self.tell(Progress::Placed(places.clone())).await;
                Ok(places)
            }
            Err(fault) => {
                self.cancel.cancel();
                Err(match &fault {
                    PlaceFault::PortTaken { container: index, .. } | PlaceFault::NoPort { container: index, .. } => {
                        container("CannotStartContainerError", *index, &fault)
                    }
                    PlaceFault::NoAddress(_) | PlaceFault::NoRange | PlaceFault::Fault(_) => LaunchFault::Failed {
                        reason: format!("ResourceInitializationError: network setup of the task failed: {fault}"),
                        container: None,
                    },
                })
            }
        }
    }

    /// A namespace for all containers, with an interface of the VPC.
    async fn together(&self) -> Result<(HeldNamespace, EniIntent), LaunchFault> {
        let eni = self.interface().await?;
        let taken = self.namespace().await;
        let plugged = match taken {
            Ok(held) => self.plug(held, &eni).await,
            Err(fault) => Err(fault),
        };
        match plugged {
            Ok(held) => {
                self.tell(Progress::Attached).await;
                Ok((held, eni))
            }
            Err(fault) if fault.is_transient() => {
                self.cancel.cancel();
                Err(LaunchFault::Interrupted(fault))
            }
            Err(fault) => {
                self.tell(Progress::NotAttached(fault.to_string())).await;
                self.cancel.cancel();
                let reason = format!("ResourceInitializationError: network setup of the task failed: {fault}");
                Err(LaunchFault::Failed { reason, container: None })
            }
        }
    }

    async fn interface(&self) -> Result<EniIntent, LaunchFault> {
        let mut eni = self.eni.clone();
        let known = async {
            match eni.wait_for(Option::is_some).await {
                Ok(known) => known.clone(),
                Err(_) => None,
            }
        };
        tokio::select! {
            known = known => known.ok_or(LaunchFault::Cancelled),
            () = self.cancel.cancelled() => Err(LaunchFault::Cancelled),
            () = tokio::time::sleep(ENI_LIMIT) => Err(LaunchFault::Failed {
                reason: "Timeout waiting for network interface provisioning to complete.".to_owned(),
                container: None,
            }),
        }
    }

    async fn namespace(&self) -> Result<HeldNamespace, Fault> {
        let is_wired = self.record.intent.launch_type == LaunchType::Fargate;
        let held = match &self.record.namespace {
            Some(held) => held.clone(),
            None => self.host.namespaces.take(&self.host.network, &self.record.id, is_wired).await?,
        };
        self.tell(Progress::Namespace(held.clone())).await;
        let labels = names::labels(&self.record.intent, crate::pause::NAME, &Default::default());
        let labels = names::runtime_labels(labels, &self.host.config.instance);
        self.host.containerd.label_container(&held.pause_id, labels).await?;
        self.host.config.pass(Step::PauseLabelled);
        tracing::debug!(task = %self.record.id, namespace = held.name, "namespace taken");
        Ok(held)
    }

    async fn plug(&self, mut held: HeldNamespace, eni: &EniIntent) -> Result<HeldNamespace, Fault> {
        let Some(id) = &self.record.intent.eni else { return Ok(held) };
        match self.record.intent.launch_type {
            LaunchType::Fargate => self.host.network.plug_in_place(id, eni, &held.name).await?,
            LaunchType::Ec2 => {
                // Noted before: whatever the plugins have done when we are killed, they take back.
                self.host.namespaces.note_plugins(&held.name, eni.mac, None).await?;
                self.host.config.pass(Step::PluginsNoted);
                let address = self.host.network.plug_host_first(id, eni, &held.name, &held.pause_id).await?;
                held.bridge_address = Some(address);
                self.host.namespaces.note_plugins(&held.name, eni.mac, Some(address)).await?;
                self.host.config.pass(Step::PluginsAddressNoted);
                self.tell(Progress::Namespace(held.clone())).await;
            }
        }
        Ok(held)
    }

    async fn images(&self) -> Result<Vec<Arc<Image>>, LaunchFault> {
        self.tell(Progress::PullStarted(clock::now())).await;
        let mut pulls = Vec::new();
        for index in 0..self.record.containers.len() {
            pulls.push(self.image(index).boxed());
        }
        let pulled = tokio::select! {
            pulled = join_all(pulls) => pulled.into_iter().collect::<Result<Vec<_>, LaunchFault>>(),
            () = self.cancel.cancelled() => return Err(LaunchFault::Cancelled),
        };
        self.tell(Progress::PullStopped(clock::now())).await;
        if pulled.is_err() {
            self.cancel.cancel();
        }
        pulled
    }

    async fn image(&self, index: usize) -> Result<Arc<Image>, LaunchFault> {
        let wanted = self.record.wanted(&self.record.containers[index].name);
        if let Some(words) = crate::images::other_processor(self.record.intent.cpu_architecture.as_deref()) {
            return Err(LaunchFault::container("CannotPullContainerError", index, Fault::Image(words)));
        }
        let image = self.host.images.ready(wanted.map(|wanted| wanted.image.as_str()).unwrap_or_default()).await;
        let image = image.map_err(|fault| LaunchFault::container("CannotPullContainerError", index, fault))?;
        self.host.config.pass(Step::ImageReady);
        self.tell(Progress::ImageReady(index, image.clone())).await;
        Ok(image)
    }

    async fn files(&self, standing: Arc<Standing>) -> Result<(), LaunchFault> {
        let (host, record) = (self.host.clone(), self.record.clone());
        let made = blocking("file writer", move || {
            standing.prepare(&host, &record)?;
            host.config.pass(Step::FilesMade);
            let logs = host.config.log_dir(record.id.as_str());
            std::fs::create_dir_all(&logs).map_err(Fault::file("create", &logs))?;
            make_cgroup(&host, &record)?;
            host.config.pass(Step::CgroupMade);
            Ok(())
        });
        made.await.map_err(|fault| LaunchFault::task("ResourceInitializationError", fault))
    }

    /// Makes a container, up to where its program would start.
    async fn make(&self, index: usize, image: &Image, standing: &Standing) -> Result<(), LaunchFault> {
        self.go_on()?;
        let cannot = |kind| move |fault: Fault| LaunchFault::runtime(kind, index, fault);
        let container = &self.record.containers[index];
        let id = container.runtime_id.as_str();
        self.tell(Progress::Creating(index)).await;
        let mounts = self.host.containerd.prepare_snapshot(id, &image.chain).await;
        let mounts = mounts.map_err(cannot("CannotCreateContainerError"))?;
        self.host.config.pass(Step::SnapshotMade);
        let mounts = self.limited(id, mounts).map_err(cannot("CannotCreateContainerError"))?;
        let pause = self.pause_process(standing).await.map_err(cannot("CannotCreateContainerError"))?;
        let (spec, labels) = self
            .specification(index, image, standing, &mounts, pause)
            .map_err(|why| LaunchFault::container("CannotCreateContainerError", index, Fault::Specification(why)))?;
        let new = NewContainer { id, image: &image.name, labels, spec: &spec, snapshot: Some(id) };
        self.host.containerd.create_container(new).await.map_err(cannot("CannotCreateContainerError"))?;
        self.host.config.pass(Step::ContainerMade);
        let io = self.host.io(&self.record, &container.name);
        self.host.containerd.create_task(id, mounts, io).await.map_err(cannot("CannotStartContainerError"))?;
        self.host.config.pass(Step::ContainerTaskMade);
        self.tell(Progress::Created(index)).await;
        Ok(())
    }

    /// What the container writes goes into the task's own storage, if that has a limit.
    fn limited(&self, id: &str, mounts: Mounts) -> Result<Mounts, Fault> {
        match self.record.intent.ephemeral_storage_gib {
            Some(_) => storage::move_writes(&self.host.config.task_dir(self.record.id.as_str()), id, mounts),
            None => Ok(mounts),
        }
    }

    /// Process of the pause container, when its namespaces are shared.
    async fn pause_process(&self, standing: &Standing) -> Result<Option<u32>, Fault> {
        let (true, Some(held)) = (self.shares_namespaces(), standing.held()) else { return Ok(None) };
        match self.host.containerd.task_state(&held.pause_id).await? {
            TaskState::Running(pid) => Ok(Some(pid)),
            TaskState::Absent | TaskState::Created | TaskState::Exited(_) => Err(Fault::Ended("pause container")),
        }
    }

    fn specification(
        &self,
        index: usize,
        image: &Image,
        standing: &Standing,
        mounts: &Mounts,
        pause: Option<u32>,
    ) -> Result<(oci_spec::runtime::Spec, std::collections::HashMap<String, String>), String> {
        let record = &self.record;
        let container = record.wanted(&record.containers[index].name).ok_or("the container is not in the task")?;
        let stand = standing.of(&self.host, record, index).ok_or("the container has no place in the network")?;
        let written = container.user.as_deref().or(image.config.user.as_deref()).unwrap_or_default();
        let layers: Vec<&Path> =
            mounts.iter().flat_map(|mount| users::layers(&mount.r#type, &mount.source, &mount.options)).collect();
        let file = |name| users::read_in_layers(&layers, name);
        let user = users::resolve(written, &file("etc/passwd"), &file("etc/group"))?;
        let config = &self.host.config;
        let task_dir = config.task_dir(record.id.as_str());
        let volumes = files::volumes(&task_dir, &config.shared_volumes_dir(), &record.intent);
        let volumes = volumes.map_err(|fault| fault.to_string())?;
        let devices = devices(container).map_err(|fault| fault.to_string())?;
        let spec = spec::build(&spec::Wanted {
            volumes: &volumes,
            init: &crate::pause::init_program(&config.node_dir()),
            devices: &devices,
            machine: &Machine::look(&self.host.cgroups),
            pause,
            task: &record.intent,
            container,
            image: &image.config,
            user: &user,
            hostname: &stand.hostname,
            task_dir: &task_dir,
            files: &stand.files,
            netns: &stand.netns,
            cgroup: &self.host.container_cgroup(&record.id, &record.containers[index].runtime_id),
            group: &stand.group,
            runtime: config.oci_runtime.as_deref(),
            region: &config.region,
        })?;
        let labels = names::labels(&record.intent, &container.name, &container.labels);
        Ok((spec, names::runtime_labels(labels, &config.instance)))
    }

    async fn start(&self, index: usize) -> Result<(), LaunchFault> {
        let container = &self.record.containers[index];
        // By a launch before this one. What became of it is looked up by the actor, who may know its end already.
        if container.started_at.is_some() {
            return Ok(());
        }
        let id = container.runtime_id.as_str();
        let cannot = |fault: Fault| match fault.is_absent() && self.interruptions < VANISHED_MAX {
            true => LaunchFault::Interrupted(fault),
            false => LaunchFault::runtime("CannotStartContainerError", index, fault),
        };
        // From here on the end of its process is the end of its program.
        self.tell(Progress::Starting(index)).await;
        if self.is_resumed {
            match self.host.containerd.task_state(id).await.map_err(cannot)? {
                // Absent: the start says so.
                TaskState::Created | TaskState::Absent => {}
                TaskState::Running(pid) => {
                    self.tell(Progress::Started(index, pid)).await;
                    return Ok(());
                }
                TaskState::Exited(exit) => {
                    self.tell(Progress::Started(index, 0)).await;
                    self.progress.send(Event::Exited(id.to_owned(), exit)).await.ok();
                    return Ok(());
                }
            }
        }
        let pid = self.host.containerd.start_task(id).await.map_err(cannot)?;
        self.host.config.pass(Step::ContainerStarted);
        self.tell(Progress::Started(index, pid)).await;
        // An essential container that is over already ends the launch; the actor knows and cancels it.
        let is_over = self.states.borrow().iter().any(|one| one.runtime_id == id && one.exit.is_some());
        if is_over { self.go_on() } else { Ok(()) }
    }
}

/// The devices a container asks for; all of the host for a privileged one.
fn devices(container: &ContainerIntent) -> Result<Vec<machine::HostDevice>, Fault> {
    if container.privileged {
        return Ok(machine::all_devices());
    }
    let mut devices = Vec::new();
    for device in container.linux.devices.iter().flatten() {
        let inside = device.container_path.as_ref().unwrap_or(&device.host_path);
        let all = || vec!["read".to_owned(), "write".to_owned(), "mknod".to_owned()];
        let access: String = device
            .permissions
            .clone()
            .filter(|given| !given.is_empty())
            .unwrap_or_else(all)
            .iter()
            .filter_map(|permission| permission.chars().next())
            .collect();
        devices.extend(machine::devices(Path::new(&device.host_path), Path::new(inside), &access)?);
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_does_not_answer_is_told_as_docker_is() {
        let silent = Fault::ContainerdSilent { call: "x", on: "c".to_owned(), after: Duration::from_secs(240) };
        let LaunchFault::Failed { reason, .. } = LaunchFault::runtime("CannotStartContainerError", 0, silent) else {
            panic!("it failed");
        };
        assert_eq!(reason, "DockerTimeoutError: Could not transition to started; timed out after waiting 4m0s");
        let other = LaunchFault::runtime("CannotCreateContainerError", 0, Fault::Setting("x".to_owned()));
        assert!(matches!(other, LaunchFault::Failed { reason, .. } if reason == "CannotCreateContainerError: x"));
    }
}
