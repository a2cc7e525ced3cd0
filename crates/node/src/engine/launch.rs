// SPDX-License-Identifier: Apache-2.0
//! From accepted to RUNNING: network and images at the same time, then every container is made, then each one starts
//! when those it depends on are far enough. Each step can be taken up again after the node was killed in the middle of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use berth_types::container::{Dependency, IpcMode, PidMode};
use berth_types::intent::{ContainerIntent, EniIntent, LaunchType};
use berth_types::mode::NetworkMode;
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::event::{Event, LaunchProgress};
use super::failure::{FailedAt, Failure};
use super::host::NodeHost;
use super::order::{self, Met};
use super::reason::{RuntimeStep, StartReason, Unmet, UnmetDependency};
use super::record::{States, TaskRecord};
use super::task_network::TaskNetwork;
use crate::blocking::blocking;
use crate::container::machine::{self, Machine};
use crate::container::{files, image_volumes, names, spec, storage, users};
use crate::containerd::{Mounts, NewContainer, TaskState};
use crate::images::{Image, ImageConfig};
use crate::modes::links::{self, Link};
use crate::modes::{NetworkPlace, PlaceFault};
use crate::namespaces::HeldNamespace;
use crate::{Fault, SpecFault, Step, clock, log_driver};

/// Maximum wait for the server to send the interface.
const ENI_LIMIT: Duration = Duration::from_secs(180);
/// Maximum retries of a launch whose containers vanish before their programs start.
const VANISHED_MAX: u32 = 5;

/// A launch that did not reach RUNNING.
#[derive(Debug)]
pub(super) enum LaunchFault {
    /// It was asked to end.
    Cancelled,
    /// A step failed that may succeed when it is tried again.
    Interrupted(Fault),
    /// A step of the whole task failed.
    Failed {
        /// Why.
        reason: StartReason,
    },
    /// A container cannot run.
    Container(Failure),
}

impl LaunchFault {
    /// Something that all containers of the task need cannot be made.
    pub(super) fn task(fault: Fault) -> Self {
        match fault.is_transient() {
            true => Self::Interrupted(fault),
            false => Self::Failed { reason: StartReason::Resources(fault) },
        }
    }

    /// An image cannot be had.
    fn pull(index: usize, fault: Fault) -> Self {
        Self::Container(Failure { index, reason: StartReason::Pull(fault), at: FailedAt::Pull })
    }

    /// A call of the runtime for a container failed, or was not answered.
    fn runtime(step: RuntimeStep, index: usize, fault: Fault) -> Self {
        match fault {
            Fault::ContainerdSilent { after, .. } => {
                let reason = StartReason::RuntimeTimeout { step, after };
                Self::Container(Failure { index, reason, at: FailedAt::Runtime })
            }
            other => Self::container(step, index, other),
        }
    }

    /// A container cannot be made or started.
    pub(super) fn container(step: RuntimeStep, index: usize, cause: Fault) -> Self {
        match cause.is_transient() {
            true => Self::Interrupted(cause),
            false => {
                let reason = StartReason::Runtime { step, cause };
                Self::Container(Failure { index, reason, at: FailedAt::Runtime })
            }
        }
    }
}

/// The containers a launch goes on without.
pub(super) struct Without(Mutex<BTreeSet<usize>>);

impl Without {
    /// Those given up already.
    pub fn of(record: &TaskRecord) -> Self {
        let containers = record.containers.iter().enumerate();
        Self(Mutex::new(containers.filter(|(_, one)| one.given_up.is_some()).map(|(index, _)| index).collect()))
    }

    pub fn has(&self, index: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&index)
    }

    pub fn add(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
    }
}

/// The images of a task's containers, in order; none for a container that is given up.
pub(super) struct TaskImages(pub Vec<Option<Arc<Image>>>);

impl TaskImages {
    /// Their configurations.
    pub fn configs(&self) -> Vec<&ImageConfig> {
        static NOTHING: LazyLock<ImageConfig> = LazyLock::new(ImageConfig::default);
        self.0.iter().map(|image| image.as_ref().map_or(&*NOTHING, |image| &image.config)).collect()
    }
}

/// A launch.
pub(super) struct TaskLaunch {
    pub host: Arc<NodeHost>,
    pub record: TaskRecord,
    pub without: Without,
    pub eni: watch::Receiver<Option<EniIntent>>,
    pub states: States,
    pub progress: mpsc::Sender<Event>,
    pub cancel: CancellationToken,
    /// An earlier node, or an interrupted launch, may have done part of the work.
    pub is_resumed: bool,
    /// Launches of this task that were interrupted.
    pub interruptions: u32,
}

impl TaskLaunch {
    pub async fn run(mut self) -> Result<(), LaunchFault> {
        let found = self.look().await?;
        let (network, images) = tokio::join!(self.network(), self.images());
        // If both failed, the failure of the pull is reported: the user can correct it.
        let images = match images {
            Err(fault @ (LaunchFault::Failed { .. } | LaunchFault::Container(_) | LaunchFault::Interrupted(_))) => {
                return Err(fault);
            }
            other => other,
        };
        let standing = Arc::new(network?);
        let images = images?;
        image_volumes::add(&mut self.record.intent, &images.configs());
        let start = std::time::Instant::now();
        self.files(standing.clone()).await?;
        self.fill_volumes(&images).await?;
        self.make_all(&found, &images, &standing).await?;
        tracing::debug!(task = %self.record.id, took_ms = start.elapsed().as_millis(), "containers made");
        self.start_all().await
    }

    /// Makes the containers that are not there and not given up.
    async fn make_all(&self, found: &[bool], images: &TaskImages, standing: &TaskNetwork) -> Result<(), LaunchFault> {
        let missing = images.0.iter().enumerate().filter(|(index, _)| !found[*index] && !self.without.has(*index));
        let makings = missing.filter_map(|(index, image)| Some((index, image.as_ref()?))).map(|(index, image)| {
            let links = self.link_variables(index, images, standing);
            async move { self.settle(self.make(index, image, &links, standing).await).await }.boxed()
        });
        let made = join_all(makings.collect::<Vec<_>>()).await;
        made.into_iter().try_for_each(|made| made.map(drop))
    }

    /// Starts each container when those it depends on are far enough.
    async fn start_all(&self) -> Result<(), LaunchFault> {
        let left = (0..self.record.containers.len()).filter(|index| !self.without.has(*index));
        let starts = left.map(|index| async move { self.settle(self.start_in_turn(index).await).await }.boxed());
        try_join_all(starts.collect::<Vec<_>>()).await.map(drop)
    }

    /// Finds the containers that exist already. A container that may have existed but is missing is recreated under a
    /// new id: a restarted containerd removes the remains of the old one at an unknown time.
    async fn look(&mut self) -> Result<Vec<bool>, LaunchFault> {
        let mut found = vec![false; self.record.containers.len()];
        for (index, is_found) in found.iter_mut().enumerate() {
            let container = &self.record.containers[index];
            *is_found = container.started_at.is_some();
            if !self.is_resumed || !container.may_exist || *is_found || self.without.has(index) {
                continue;
            }
            let cannot = |fault| LaunchFault::runtime(RuntimeStep::Inspect, index, fault);
            let state = self.host.containerd.task_state(&container.runtime_id).await.map_err(cannot);
            let Some(state) = self.settle(state).await? else { continue };
            *is_found = state != TaskState::Absent;
            if !*is_found {
                let runtime_id = self.record.fresh_runtime_id();
                self.tell(LaunchProgress::Renamed(index, runtime_id.clone())).await;
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
                Met::Never(why) => return Err(self.unmet(index, dependency, why)),
                Met::NotYet => {}
            }
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return Err(LaunchFault::Cancelled) },
                () = timeout => return Err(self.unmet(index, dependency, Unmet::TimedOut)),
                () = self.cancel.cancelled() => return Err(LaunchFault::Cancelled),
            }
        }
    }

    fn unmet(&self, index: usize, dependency: &Dependency, why: Unmet) -> LaunchFault {
        let waiting = self.record.containers[index].name.clone();
        let unmet = UnmetDependency { waiting, awaited: dependency.container.clone(), why };
        let reason = StartReason::Dependency(unmet);
        LaunchFault::Container(Failure { index, reason, at: FailedAt::Dependency })
    }

    fn go_on(&self) -> Result<(), LaunchFault> {
        if self.cancel.is_cancelled() { Err(LaunchFault::Cancelled) } else { Ok(()) }
    }

    pub(super) async fn tell(&self, progress: LaunchProgress) {
        self.progress.send(Event::Progress(progress)).await.ok();
    }

    async fn network(&self) -> Result<TaskNetwork, LaunchFault> {
        match self.record.intent.network_mode {
            NetworkMode::Awsvpc => self.together().await.map(|(held, eni)| TaskNetwork::Together(held, eni)),
            NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => {
                let (places, held) = tokio::join!(self.apart(), self.shared());
                Ok(TaskNetwork::Apart(places?, held?))
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
            LaunchFault::task(fault)
        })
    }

    fn shares_namespaces(&self) -> bool {
        self.record.intent.pid_mode == PidMode::Task || self.record.intent.ipc_mode == IpcMode::Task
    }

    /// A place for each container.
    async fn apart(&self) -> Result<Vec<NetworkPlace>, LaunchFault> {
        let places = loop {
            let taken = self.take_places().await.map_err(|fault| match fault {
                PlaceFault::PortTaken { container: index, .. } | PlaceFault::NoPort { container: index, .. } => {
                    LaunchFault::Container(Failure { index, reason: StartReason::Port(fault), at: FailedAt::Runtime })
                }
                PlaceFault::NoAddress(_) | PlaceFault::NoRange | PlaceFault::Fault(_) => {
                    LaunchFault::Failed { reason: StartReason::Places(fault) }
                }
            });
            match self.settle(taken).await {
                Ok(Some(places)) => break places,
                // The others are placed without the container whose port is taken.
                Ok(None) => {}
                Err(fault) => {
                    self.cancel.cancel();
                    return Err(fault);
                }
            }
        };
        self.tell(LaunchProgress::Placed(places.clone())).await;
        Ok(places)
    }

    /// Takes the places of the containers; one that is given up needs no ports.
    async fn take_places(&self) -> Result<Vec<NetworkPlace>, PlaceFault> {
        let mut task = self.record.intent.clone();
        for (index, container) in task.containers.iter_mut().enumerate() {
            if self.without.has(index) {
                container.ports.clear();
            }
        }
        self.host.places.take(&self.record.id, &task, &self.record.runtime_ids()).await
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
                self.tell(LaunchProgress::Attached).await;
                Ok((held, eni))
            }
            Err(fault) if fault.is_transient() => {
                self.cancel.cancel();
                Err(LaunchFault::Interrupted(fault))
            }
            Err(fault) => {
                let fault = Arc::new(fault);
                self.tell(LaunchProgress::NotAttached(fault.clone())).await;
                self.cancel.cancel();
                Err(LaunchFault::Failed { reason: StartReason::Interface(fault) })
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
                reason: StartReason::InterfaceTimeout,
            }),
        }
    }

    async fn namespace(&self) -> Result<HeldNamespace, Fault> {
        let is_wired = self.record.intent.launch_type == LaunchType::Fargate;
        let held = match &self.record.namespace {
            Some(held) => held.clone(),
            None => self.host.namespaces.take(&self.host.network, &self.record.id, is_wired).await?,
        };
        self.tell(LaunchProgress::Namespace(held.clone())).await;
        let labels = names::labels(&self.record.intent, crate::pause::NAME, &Default::default());
        let name = names::pause_name(&self.record.intent, &held.pause_id);
        let labels = names::runtime_labels(labels, &self.host.config.instance, &name);
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
                self.tell(LaunchProgress::Namespace(held.clone())).await;
            }
        }
        Ok(held)
    }

    async fn images(&self) -> Result<TaskImages, LaunchFault> {
        self.tell(LaunchProgress::PullStarted(clock::now())).await;
        let pulls = (0..self.record.containers.len()).map(|index| {
            let pull = async move {
                match self.without.has(index) {
                    true => Ok(None),
                    false => self.settle(self.image(index).await).await,
                }
            };
            pull.boxed()
        });
        let pulled = tokio::select! {
            pulled = join_all(pulls.collect::<Vec<_>>()) => pulled.into_iter().collect::<Result<_, _>>().map(TaskImages),
            () = self.cancel.cancelled() => return Err(LaunchFault::Cancelled),
        };
        self.tell(LaunchProgress::PullStopped(clock::now())).await;
        if pulled.is_err() {
            self.cancel.cancel();
        }
        pulled
    }

    async fn image(&self, index: usize) -> Result<Arc<Image>, LaunchFault> {
        let wanted = self.record.wanted(&self.record.containers[index].name);
        if let Some(fault) = crate::images::other_processor(self.record.intent.cpu_architecture.as_deref()) {
            return Err(LaunchFault::pull(index, fault.into()));
        }
        let image = self.host.images.ready(wanted.map(|wanted| wanted.image.as_str()).unwrap_or_default()).await;
        let image = image.map_err(|fault| match fault.is_transient() {
            true => LaunchFault::Interrupted(fault),
            false => LaunchFault::pull(index, fault),
        })?;
        self.host.config.pass(Step::ImageReady);
        self.tell(LaunchProgress::ImageReady(index, image.clone())).await;
        Ok(image)
    }

    async fn files(&self, standing: Arc<TaskNetwork>) -> Result<(), LaunchFault> {
        let (host, record) = (self.host.clone(), self.record.clone());
        let made = blocking("file writer", move || {
            standing.prepare(&host, &record)?;
            host.config.pass(Step::FilesMade);
            log_driver::make_dir(&host.config.log_dir(record.id.as_str()), &record.intent)?;
            host.make_task_cgroup(&record)?;
            host.config.pass(Step::CgroupMade);
            Ok(())
        });
        let confined = async {
            made.await?;
            self.host.namespaces.confine(&self.record.id).await
        };
        confined.await.map_err(LaunchFault::task)?;
        self.host.config.pass(Step::PauseConfined);
        Ok(())
    }

    /// The variables the links of a container give it. A container that is given up has no part in them.
    fn link_variables(&self, index: usize, images: &TaskImages, standing: &TaskNetwork) -> Vec<(String, String)> {
        let task = &self.record.intent;
        let configs = images.configs();
        let own_name = self.record.containers[index].docker_name();
        let links = task.containers[index].links.iter().filter_map(|link| {
            let at = task.containers.iter().position(|other| other.name == link.container)?;
            let (other, config) = (&task.containers[at], configs[at]);
            let of_image = config.exposed_ports.iter().flatten().map(|(port, _)| port.as_str());
            let region = &self.host.config.region;
            Some(Link {
                own_name,
                alias: &link.alias,
                address: standing.address(at)?,
                ports: links::exposed(&other.ports, of_image),
                environment: spec::configured_environment(task.launch_type, other, config, region, None),
            })
        });
        links.flat_map(|link| link.variables()).collect()
    }

    /// Makes a container, up to where its program would start.
    async fn make(
        &self,
        index: usize,
        image: &Image,
        links: &[(String, String)],
        standing: &TaskNetwork,
    ) -> Result<(), LaunchFault> {
        self.go_on()?;
        let cannot = |step| move |fault: Fault| LaunchFault::runtime(step, index, fault);
        let container = &self.record.containers[index];
        let id = container.runtime_id.as_str();
        self.tell(LaunchProgress::Creating(index)).await;
        let mounts = self.host.containerd.prepare_snapshot(id, &image.chain).await;
        let mounts = mounts.map_err(cannot(RuntimeStep::Create))?;
        self.host.config.pass(Step::SnapshotMade);
        let mounts = self.limited(id, mounts).map_err(cannot(RuntimeStep::Create))?;
        let pause = self.pause_process(standing).await.map_err(cannot(RuntimeStep::Create))?;
        let (spec, labels) = self
            .specification(index, image, links, standing, &mounts, pause)
            .map_err(|fault| LaunchFault::container(RuntimeStep::Create, index, fault))?;
        let new = NewContainer { id, image: &image.name, labels, spec: &spec, snapshot: Some(id) };
        self.host.containerd.create_container(new).await.map_err(cannot(RuntimeStep::Create))?;
        self.host.config.pass(Step::ContainerMade);
        let io = self.host.io(&self.record, &container.name);
        self.host.containerd.create_task(id, mounts, io).await.map_err(cannot(RuntimeStep::Start))?;
        self.host.config.pass(Step::ContainerTaskMade);
        self.tell(LaunchProgress::Created(index)).await;
        Ok(())
    }

    /// Moves the container's writes into the task's own storage, if that has a limit.
    fn limited(&self, id: &str, mounts: Mounts) -> Result<Mounts, Fault> {
        match self.record.intent.ephemeral_storage_gib {
            Some(_) => storage::move_writes(&self.host.config.task_dir(self.record.id.as_str()), id, mounts),
            None => Ok(mounts),
        }
    }

    /// Process of the pause container, when its namespaces are shared.
    async fn pause_process(&self, standing: &TaskNetwork) -> Result<Option<u32>, Fault> {
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
        links: &[(String, String)],
        standing: &TaskNetwork,
        mounts: &Mounts,
        pause: Option<u32>,
    ) -> Result<(oci_spec::runtime::Spec, std::collections::HashMap<String, String>), Fault> {
        let record = &self.record;
        let container = record.wanted(&record.containers[index].name).ok_or(SpecFault::NoContainer)?;
        let stand = standing.of(&self.host, record, index).ok_or(SpecFault::NoPlace)?;
        let written = container.user.as_deref().or(image.config.user.as_deref()).unwrap_or_default();
        let layers: Vec<&Path> =
            mounts.iter().flat_map(|mount| users::layers(&mount.r#type, &mount.source, &mount.options)).collect();
        let file = |name| users::read_in_layers(&layers, name);
        let user = users::resolve(written, &file("etc/passwd"), &file("etc/group"))?;
        let config = &self.host.config;
        let task_dir = config.task_dir(record.id.as_str());
        let volumes = files::volumes(&task_dir, &config.shared_volumes_dir(), &record.intent)?;
        let devices = devices(container)?;
        let spec = spec::build(&spec::SpecInput {
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
            link_variables: links,
            task_dir: &task_dir,
            files: &stand.files,
            netns: &stand.netns,
            cgroup: &self.host.container_cgroup(&record.id, &record.containers[index].runtime_id),
            group: &stand.group,
            runtime: config.oci_runtime.as_deref(),
            logs_refused_calls: config.logs_refused_calls,
            region: &config.region,
            endpoint_of_all: self.host.endpoints.borrow().filter(|_| !config.no_endpoint_variable),
        })?;
        let labels = names::labels(&record.intent, &container.name, &container.labels);
        Ok((spec, names::runtime_labels(labels, &config.instance, record.containers[index].docker_name())))
    }

    async fn start(&self, index: usize) -> Result<(), LaunchFault> {
        let container = &self.record.containers[index];
        // Started by an earlier launch. The actor looks up its state, and may have its exit already.
        if container.started_at.is_some() {
            return Ok(());
        }
        let id = container.runtime_id.as_str();
        let cannot = |fault: Fault| match fault.is_absent() && self.interruptions < VANISHED_MAX {
            true => LaunchFault::Interrupted(fault),
            false => LaunchFault::runtime(RuntimeStep::Start, index, fault),
        };
        // From here on the end of its process is the end of its program.
        self.tell(LaunchProgress::Starting(index)).await;
        if self.is_resumed {
            match self.host.containerd.task_state(id).await.map_err(cannot)? {
                // Absent: the start says so.
                TaskState::Created | TaskState::Absent => {}
                TaskState::Running(pid) => {
                    self.tell(LaunchProgress::Started(index, pid)).await;
                    return Ok(());
                }
                TaskState::Exited(exit) => {
                    self.tell(LaunchProgress::Started(index, 0)).await;
                    self.progress.send(Event::Exited(id.to_owned(), exit)).await.ok();
                    return Ok(());
                }
            }
        }
        let pid = self.host.containerd.start_task(id).await.map_err(cannot)?;
        self.host.config.pass(Step::ContainerStarted);
        self.tell(LaunchProgress::Started(index, pid)).await;
        // The exit of an essential container ends the launch; the actor has the exit and cancels the launch.
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
        let LaunchFault::Container(Failure { reason, .. }) = LaunchFault::runtime(RuntimeStep::Start, 0, silent) else {
            panic!("it failed");
        };
        assert_eq!(
            reason.to_string(),
            "DockerTimeoutError: Could not transition to started; timed out after waiting 4m0s"
        );
        let other = LaunchFault::runtime(RuntimeStep::Create, 0, Fault::Setting("x".to_owned()));
        assert!(
            matches!(other, LaunchFault::Container(Failure { reason, .. }) if reason.to_string() == "CannotCreateContainerError: x")
        );
    }
}
