// SPDX-License-Identifier: Apache-2.0
//! A machine for one test: a network namespace, a data folder, a private containerd, a node, and a server made of a
//! socket. Everything is taken away at the end, and what is left is told.

#![allow(dead_code, clippy::unwrap_used)]

pub mod containerd;
pub mod image;
pub mod registry;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_node::{ImageSettings, Loading, LogSettings, NodeConfig, Patience};
use berth_types::container::{IpcMode, PidMode};
use berth_types::intent::{
    ContainerIntent, Desired, DnsIntent, EndpointIntent, EniIntent, GroupSetIntent, HostIntent, LaunchType, Plug,
    SubnetIntent, TaskIntent, VpcIntent,
};
use berth_types::link::{Capacity, Hello, ToNode, ToServer};
use berth_types::mode::NetworkMode;
use berth_types::report::{ContainerReport, EniState, FreeSpace, RuntimeReport, TaskReport, TaskStage};
use berth_types::{EniId, FaultPoints, GroupSetId, HostId, MacAddress, SecurityGroupId, SubnetId, TaskId, Vni, VpcId};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

/// Image every test can run.
pub const IMAGE: &str = "busybox:test";
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `work` on threads that have a network namespace of their own, as root.
pub fn in_own_network<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    assert!(nix::unistd::geteuid().is_root(), "the kernel suite needs root");
    tracing_subscriber::fmt().with_env_filter("warn,berth_node=debug").with_test_writer().try_init().ok();
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        loopback_up();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(work());
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits for a fact of the machine that nothing announces.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn loopback_up() {
    let mut link = berth_fabric::kernel::Netlink::open().unwrap();
    let lo = link.link_by_name("lo").unwrap().unwrap();
    link.set_up(lo.index).unwrap();
}

/// Gives this network namespace another address.
pub fn add_to_loopback(address: Ipv4Addr) {
    let mut link = berth_fabric::kernel::Netlink::open().unwrap();
    let lo = link.link_by_name("lo").unwrap().unwrap();
    link.add_address(lo.index, ipnet::IpNet::from(std::net::IpAddr::from(address))).unwrap();
}

/// A node on threads of its own, as if it were a process.
struct RunningNode {
    runtime: tokio::runtime::Runtime,
    ended: JoinHandle<Result<(), berth_node::Fault>>,
}

/// The machine.
pub struct Lab {
    pub config: NodeConfig,
    pub server: Server,
    pub hello: Option<Hello>,
    node: Option<RunningNode>,
    dir: tempfile::TempDir,
    next: u32,
    is_ended: bool,
}

/// A test that failed leaves nothing behind either.
impl Drop for Lab {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        let (node, config) = (self.node.take(), self.config.clone());
        let cleaner = std::thread::spawn(move || {
            if let Some(node) = node {
                node.runtime.shutdown_timeout(LIMIT);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(berth_node::teardown(config))
        });
        eprintln!("cleaned up after the failure: {:?}", cleaner.join());
    }
}

impl Lab {
    pub async fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("berth-node-").tempdir().unwrap();
        link_plugins(dir.path());
        let config = config_in(dir.path(), &format!("test-{name}-{}", std::process::id()));
        let server = Server::listen(&config.server_socket);
        Self { config, server, hello: None, node: None, dir, next: 1, is_ended: false }
    }

    /// Starts the node, waits for its hello, and gives it the image.
    pub async fn start(&mut self) {
        self.start_node().await;
        self.load(IMAGE, &serde_json::json!({})).await;
    }

    /// Gives the node the image under another name, with members added to what it says about running it.
    pub async fn load(&self, name: &str, more: &serde_json::Value) {
        let layout = self.dir.path().join(format!("layout-{}", name.replace([':', '/'], "-")));
        image::layout_with(&layout, more);
        let socket = berth_node::containerd_socket(&self.config.run_dir);
        let limits = self.config.images.limits.clone();
        let loading = Loading { archive: &layout, name: Some(name), temporary: self.dir.path(), limits };
        berth_node::load(&socket, &loading).await.unwrap();
    }

    pub async fn start_node(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut ended = runtime.spawn(berth_node::run(self.config.clone(), CancellationToken::new()));
        let hello = tokio::select! {
            hello = self.server.accept() => hello,
            ended = &mut ended => panic!("the node ended: {ended:?}"),
        };
        self.hello = Some(hello);
        self.node = Some(RunningNode { runtime, ended });
        self.server.send_intent().await;
    }

    /// Waits until a node that is a process of its own says hello, and tells it what is wanted.
    pub async fn meet_node(&mut self) {
        self.hello = Some(self.server.accept().await);
        self.server.send_intent().await;
    }

    /// Folder of this machine.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Ends the node as SIGKILL would: its tasks are dropped where they are.
    pub async fn drop_node(&mut self) {
        let node = self.node.take().unwrap();
        assert!(!node.ended.is_finished(), "the node ended by itself: {:?}", node.ended.await);
        tokio::task::spawn_blocking(move || node.runtime.shutdown_timeout(LIMIT)).await.unwrap();
        self.server.connection = None;
    }

    /// An intent entry for a task with one container that runs a shell command.
    pub fn task(&mut self, command: &str) -> TaskIntent {
        let n = self.next;
        self.next += 1;
        TaskIntent {
            arn: format!("arn:aws:ecs:us-west-2:123456789012:task/default/{n:032x}"),
            cluster_arn: "arn:aws:ecs:us-west-2:123456789012:cluster/default".to_owned(),
            family: "test".to_owned(),
            revision: 1,
            launch_type: LaunchType::Fargate,
            availability_zone: "us-west-2a".to_owned(),
            desired: Desired::Running,
            network_mode: NetworkMode::Awsvpc,
            eni: Some(EniId::from_bits(u128::from(n))),
            hostname: Some(format!("ip-10-0-0-{}.us-west-2.compute.internal", 10 + n)),
            dns: DnsIntent {
                servers: vec![Ipv4Addr::new(10, 0, 0, 2)],
                search: vec!["us-west-2.compute.internal".into()],
            },
            cpu_units: Some(256),
            memory_mib: Some(512),
            ephemeral_storage_gib: None,
            volumes: Vec::new(),
            pid_mode: PidMode::Private,
            ipc_mode: IpcMode::Private,
            cpu_architecture: None,
            containers: vec![container("app", command)],
        }
    }

    /// Puts a task and its interface into the intent.
    pub async fn run(&mut self, task: TaskIntent) -> TaskId {
        let id = TaskId::parse(task.arn.rsplit('/').next().unwrap()).unwrap();
        let plug = match task.launch_type {
            LaunchType::Fargate => Plug::InPlace(id.clone()),
            LaunchType::Ec2 => Plug::HostFirst(id.clone()),
        };
        if let Some(eni) = &task.eni {
            self.plug(eni, plug);
        }
        self.server.intent.tasks.insert(id.clone(), task);
        self.server.send_intent().await;
        id
    }

    pub fn plug(&mut self, eni: &EniId, plug: Plug) -> EniIntent {
        let host = self.hello.as_ref().unwrap().host.clone();
        let n = u8::from_str_radix(&eni.as_str()[eni.as_str().len() - 2..], 16).unwrap();
        let intent = &mut self.server.intent;
        add_vpc(intent);
        let wanted = EniIntent {
            vni: Vni(1),
            vpc: Some(VpcId::from_bits(1)),
            subnet: SubnetId::from_bits(1),
            subnet_cidr: "10.0.0.0/24".parse().unwrap(),
            vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
            mac: MacAddress([2, 0, n, 0, 0, n]),
            address: Ipv4Addr::new(10, 0, 0, 10 + n),
            group_set: GroupSetId(1),
            source_dest_check: true,
            mtu: 9001,
            plug,
            rate: None,
        };
        let endpoint =
            EndpointIntent { vni: Vni(1), address: wanted.address, mac: wanted.mac, group_set: wanted.group_set, host };
        intent.endpoints.insert(eni.clone(), endpoint);
        intent.enis.insert(eni.clone(), wanted.clone());
        wanted
    }

    pub async fn stop(&mut self, id: &TaskId) {
        self.server.intent.tasks.get_mut(id).unwrap().desired = Desired::Stopped;
        self.server.send_intent().await;
    }

    /// Detaches the interface of a stopped task, waits until it is gone, and forgets the task.
    pub async fn forget(&mut self, id: &TaskId) {
        if let Some(eni) = self.server.intent.tasks[id].eni.clone() {
            self.server.intent.enis.remove(&eni);
            self.server.intent.endpoints.remove(&eni);
            self.server.send_intent().await;
            self.server.eni(&eni, |state| *state == EniState::Gone).await;
        }
        self.server.intent.tasks.remove(id);
        self.server.send_intent().await;
    }

    pub fn log(&self, id: &TaskId, container: &str) -> String {
        let path = self.config.data_dir.join("node/logs").join(id.as_str()).join(format!("{container}.log"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["log"].as_str().unwrap().to_owned()
        };
        text.lines().map(line).collect()
    }

    /// Waits until a container has written `wanted`.
    pub async fn written(&self, id: &TaskId, container: &str, wanted: &str) -> String {
        let (dir, until) = (self.config.data_dir.join("node/logs").join(id.as_str()), Instant::now() + LIMIT);
        loop {
            let log = self.log(id, container);
            if log.contains(wanted) {
                return log;
            }
            assert!(Instant::now() < until, "{} never got {wanted:?}: {log}", dir.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Path of a cgroup of the instance in one hierarchy, or the unified one.
    pub fn cgroup(&self, controller: &str) -> PathBuf {
        let base = Path::new("/sys/fs/cgroup");
        let base = if base.join(controller).exists() { base.join(controller) } else { base.to_owned() };
        base.join("berth").join(&self.config.instance)
    }

    /// Takes everything away and proves that nothing is left on the machine.
    pub async fn end(mut self) {
        if self.node.is_some() {
            self.drop_node().await;
        }
        berth_node::teardown(self.config.clone()).await.unwrap();
        self.is_ended = true;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.dir.path().to_str().unwrap();
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(here)).collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        for controller in ["cpu", "memory", "pids"] {
            assert!(!self.cgroup(controller).exists(), "{} is left", self.cgroup(controller).display());
        }
        let links = berth_fabric::kernel::Netlink::open().unwrap().links().unwrap();
        let left: Vec<&str> = links.iter().map(|link| link.name.as_str()).filter(|name| *name != "lo").collect();
        assert!(left.is_empty(), "links are left: {left:?}");
        assert!(!Path::new("/sys/fs/bpf/berth").join(&self.config.instance).exists(), "pins are left");
        let left = [processes_with(here), pauses(self.folder())].concat();
        assert!(left.is_empty(), "processes are left: {left:?}");
    }
}

fn add_vpc(intent: &mut HostIntent) {
    let (subnet, group) = (SubnetId::from_bits(1), SecurityGroupId::from_bits(1));
    let cidr = "10.0.0.0/24".parse().unwrap();
    let vpc = VpcIntent {
        vpc: VpcId::from_bits(1),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        subnets: BTreeMap::from([(subnet, SubnetIntent { cidr, route_table: None, network_acl: None })]),
        internet_gateway: None,
    };
    intent.vpcs.insert(Vni(1), vpc);
    intent.group_sets.insert(GroupSetId(1), GroupSetIntent { vni: Vni(1), groups: vec![group.clone()] });
    intent.security_groups.entry(group).or_default();
}

pub fn container(name: &str, command: &str) -> ContainerIntent {
    ContainerIntent {
        name: name.to_owned(),
        arn: format!("arn:aws:ecs:us-west-2:123456789012:container/default/{name}"),
        endpoint_id: format!("endpoint-{name}"),
        image: IMAGE.to_owned(),
        command: Some(["/bin/sh", "-c", command].map(str::to_owned).to_vec()),
        essential: true,
        stop_timeout_s: 2,
        ..ContainerIntent::default()
    }
}

/// Process ids of the pause containers whose root is in a folder, in order.
pub fn pauses(folder: &Path) -> Vec<String> {
    // The root of a mount is a path inside its file system, which may begin below the folder of temporary files.
    let name = folder.file_name().unwrap().to_str().unwrap();
    let is_one = |pid: &String| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("cmdline") == "/pause\0" && read("mountinfo").contains(name)
    };
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut found: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_one).collect();
    found.sort_unstable();
    found
}

/// Command lines that name a folder.
fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(text)).collect()
}

/// The settings of the node in a folder.
pub fn config_in(dir: &Path, instance: &str) -> NodeConfig {
    NodeConfig {
        data_dir: dir.join("data"),
        run_dir: dir.join("run"),
        instance: instance.to_owned(),
        cluster: "default".to_owned(),
        server_socket: dir.join("server.sock"),
        containerd: None,
        mirrors: Vec::new(),
        images: ImageSettings::default(),
        logs: LogSettings::default(),
        free_space_min_percent: 10,
        cni_dir: dir.join("cni"),
        shim: PathBuf::from(env!("CARGO_BIN_EXE_berth-shim-under-test")),
        oci_runtime: None,
        capacity: Some(Capacity { cpu_units: 2048, memory_mib: 2048, enis: 100 }),
        prepared_namespaces: 1,
        task_pids_limit: Some(berth_node::TASK_PIDS),
        logs_refused_calls: false,
        patience: Patience::default(),
        region: "us-west-2".to_owned(),
        availability_zone: None,
        registries_on: None,
        outside: None,
        block_imds: false,
        uplink: None,
        instance_interface: None,
        edge: None,
        no_endpoint_variable: true,
        ready: None,
        fault_points: FaultPoints::default(),
    }
}

/// Links the names of the plugins to the executable beside the tests, if it is built.
fn link_plugins(dir: &Path) {
    let folder = dir.join("cni");
    std::fs::create_dir_all(&folder).unwrap();
    let target = Path::new(env!("CARGO_BIN_EXE_berth-shim-under-test")).parent().unwrap().join("berth-cni");
    for name in ["ecs-eni", "ecs-bridge", "ecs-ipam"] {
        std::os::unix::fs::symlink(&target, folder.join(name)).unwrap();
    }
}

/// The server's end of the link.
pub struct Server {
    listener: UnixListener,
    connection: Option<Framed<UnixStream, LengthDelimitedCodec>>,
    pub intent: HostIntent,
    generation: u64,
    pub tasks: BTreeMap<TaskId, TaskReport>,
    pub enis: BTreeMap<EniId, EniState>,
    programmed: u64,
    space: Option<FreeSpace>,
    /// What the node said last of its containerd.
    pub runtime: Option<RuntimeReport>,
}

impl Server {
    fn listen(socket: &Path) -> Self {
        Self {
            listener: UnixListener::bind(socket).unwrap(),
            connection: None,
            intent: HostIntent::default(),
            generation: 0,
            tasks: BTreeMap::new(),
            enis: BTreeMap::new(),
            programmed: 0,
            space: None,
            runtime: None,
        }
    }

    async fn accept(&mut self) -> Hello {
        let (stream, _) = self.listener.accept().await.unwrap();
        let codec = LengthDelimitedCodec::builder().max_frame_length(64 << 20).new_codec();
        let mut connection = Framed::new(stream, codec);
        let text = connection.next().await.unwrap().unwrap();
        let ToServer::Hello(hello) = serde_json::from_slice(&text).unwrap() else { panic!("a hello comes first") };
        self.runtime = hello.runtime;
        self.tasks.extend(hello.tasks.iter().map(|report| (report.task.clone(), report.clone())));
        self.enis.extend(hello.enis.iter().map(|report| (report.eni.clone(), report.state.clone())));
        // What a node does not name it does not hold.
        let is_held = |eni: &EniId| hello.enis.iter().any(|report| report.eni == *eni);
        for (eni, state) in self.enis.iter_mut().filter(|(eni, _)| !is_held(eni)) {
            if !self.intent.enis.contains_key(eni) {
                *state = EniState::Gone;
            }
        }
        self.connection = Some(connection);
        *hello
    }

    pub async fn send_intent(&mut self) {
        assert!(self.try_send_intent().await, "the node is gone");
    }

    /// False when the node is gone.
    pub async fn try_send_intent(&mut self) -> bool {
        self.generation += 1;
        let message = ToNode::Intent { generation: self.generation, intent: Box::new(self.intent.clone()) };
        let text = serde_json::to_vec(&message).unwrap();
        self.connection.as_mut().unwrap().send(bytes::Bytes::from(text)).await.is_ok()
    }

    /// Takes in the next report.
    pub async fn hear(&mut self) {
        assert!(self.try_hear().await, "the node is gone");
    }

    /// Takes in one report; false when the node is gone.
    async fn try_hear(&mut self) -> bool {
        let heard = tokio::time::timeout(LIMIT, self.connection.as_mut().unwrap().next()).await;
        let Some(Ok(text)) = heard.expect("the node is silent") else { return false };
        match serde_json::from_slice(&text).unwrap() {
            ToServer::Task(report) => drop(self.tasks.insert(report.task.clone(), *report)),
            ToServer::Eni(report) => drop(self.enis.insert(report.eni, report.state)),
            ToServer::FreeSpace(space) => self.space = Some(space),
            ToServer::Programmed { generation } => self.programmed = generation,
            // A gauge, sent when it changes.
            ToServer::FlowTable(_) => {}
            ToServer::Runtime(report) => self.runtime = Some(report),
            other => panic!("unexpected {other:?}"),
        }
        true
    }

    /// True once the data path is as the last intent says.
    pub fn is_programmed(&self) -> bool {
        self.programmed >= self.generation
    }

    /// Waits until the reports are as wanted; false when the node is gone before.
    pub async fn learns(&mut self, is_known: impl Fn(&Self) -> bool) -> bool {
        while !is_known(self) {
            if !self.try_hear().await {
                return false;
            }
        }
        true
    }

    /// The report of a task once it is as wanted.
    pub async fn task(&mut self, id: &TaskId, wanted: impl Fn(&TaskReport) -> bool) -> TaskReport {
        loop {
            if let Some(report) = self.tasks.get(id).filter(|report| wanted(report)) {
                return report.clone();
            }
            if let Some(report) = self.tasks.get(id).filter(|report| report.stage == TaskStage::Stopped) {
                panic!("the task ended: {report:?}");
            }
            self.hear().await;
        }
    }

    pub async fn reached(&mut self, id: &TaskId, stage: TaskStage) -> TaskReport {
        self.task(id, |report| report.stage == stage).await
    }

    pub async fn eni(&mut self, eni: &EniId, wanted: impl Fn(&EniState) -> bool) {
        while !self.enis.get(eni).is_some_and(&wanted) {
            self.hear().await;
        }
    }

    /// Waits until the host is short of space, or is not.
    pub async fn short_of_space(&mut self, is_short: bool) {
        while self.space.is_none_or(|space| space.is_short() != is_short) {
            self.hear().await;
        }
    }

    pub async fn programmed(&mut self) {
        while self.programmed < self.generation {
            self.hear().await;
        }
    }
}

/// The only container of a report.
pub fn only(report: &TaskReport) -> &ContainerReport {
    let [container] = &report.containers[..] else { panic!("one container: {report:?}") };
    container
}

/// A host id, for those who need one.
pub fn host() -> HostId {
    HostId::from_bits(1)
}
