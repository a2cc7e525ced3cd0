// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: a node dies at each step of its work, once for every step there is, and the next one takes it up. Needs
//! root.
//!
//! The node that dies is a process of its own: this executable, started again. It aborts at the step, so that kernel and
//! containerd keep what they had at that moment. The next node must bring the task to where the server wants it, run
//! its program once, and leave the machine as it was before the task.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_fabric::cni::ipam::Ipam;
use berth_fabric::explain::Programmed;
use berth_fabric::kernel::{Namespace, Netlink};
use berth_fabric::world;
use berth_node::{PullBehavior, Step, Uplink};
use berth_types::container::VolumeIntent;
use berth_types::intent::{
    Desired, LaunchType, MountIntent, Plug, PortIntent, PublicAddressIntent, Standalone, TaskIntent, WorldIntent,
};
use berth_types::mode::{NetworkMode, Protocol};
use berth_types::report::{EniState, TaskReport, TaskStage};
use berth_types::{EniId, FaultPoints, TaskId, Vni};
use lab::containerd::Containerd;
use lab::{IMAGE, Lab, Server, config_in, in_own_network, only};
use tokio_util::sync::CancellationToken;

/// Tells this executable that it is to be a node: folder, instance and step, each on a line.
const TO_BE_A_NODE: &str = "BERTH_TEST_NODE_TO_DIE";
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(30);
/// A program that tells when it begins, when it is asked to end, and how it ended.
const PROGRAM: &str = "trap 'echo end; exit 7' TERM; echo begin; while :; do sleep 0.02; done";

/// Name of the namespace of a seat.
const SEAT: &str = "seat-00000000bead";

/// The public address of an interface of a simulated host.
const PUBLIC: &str = "198.18.0.9";

/// Lives in which a node can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// A Fargate task.
    Fargate,
    /// A task of the EC2 launch type: the plugins connect it.
    Ec2,
    /// A task in network mode bridge, with a port of the host.
    Bridge,
    /// A seat of `berth shell`.
    Seat,
    /// The way to the world, with an uplink.
    World,
    /// The way to the world of a simulated host, with an uplink of its machine.
    Simulated,
}

/// The life in which a node dies at a step. Whoever adds a step says here who passes it.
fn life(step: Step) -> Life {
    match step {
        Step::TaskNoted
        | Step::NamespaceNoted
        | Step::NamespaceMade
        | Step::NamespaceWired
        | Step::NamespaceAddressNoted
        | Step::NamespaceTaken
        | Step::PauseLabelled
        | Step::InterfacePlugged
        | Step::InterfaceConfigured
        | Step::ImageReady
        | Step::FilesMade
        | Step::CgroupMade
        | Step::PauseConfined
        | Step::SnapshotMade
        | Step::ContainerMade
        | Step::ContainerTaskMade
        | Step::RunningNoted
        | Step::StopNoted
        | Step::ContainersEnded
        | Step::CgroupRemoved
        | Step::FilesRemoved
        | Step::StoppedNoted
        | Step::InterfaceUnplugged
        | Step::ReleasedNoted
        | Step::TaskForgotten => Life::Fargate,
        Step::PauseMade
        | Step::PauseTaskMade
        | Step::PauseStarted
        | Step::PluginsNoted
        | Step::InterfaceOnHost
        | Step::InterfaceMoved
        | Step::BridgeJoined
        | Step::PluginsAddressNoted
        | Step::VolumeGathered
        | Step::VolumeFilled
        | Step::ContainerStarted
        | Step::StopAsked
        | Step::PauseRemoved
        | Step::NamespaceRemoved
        | Step::NamespaceForgotten => Life::Ec2,
        Step::BridgeNoted
        | Step::PlaceNoted
        | Step::RulesApplied
        | Step::BridgeMade
        | Step::PlaceMade
        | Step::ExitNoted
        | Step::ContainerTaskRemoved
        | Step::ContainerRemoved
        | Step::SnapshotRemoved
        | Step::PlaceRemoved
        | Step::BridgeRemoved
        | Step::PlaceForgotten
        | Step::BridgeForgotten => Life::Bridge,
        Step::SeatNoted
        | Step::SeatMade
        | Step::SeatPlugged
        | Step::SeatOpenNoted
        | Step::SeatUnplugged
        | Step::SeatRemoved
        | Step::SeatForgotten => Life::Seat,
        Step::WallNoted
        | Step::WallMade
        | Step::UplinkNoted
        | Step::UplinkMade
        | Step::WallRemoved
        | Step::WallForgotten => Life::World,
        Step::OutsideMade | Step::OutsideLed | Step::OutsideClosed => Life::Simulated,
    }
}

#[test]
fn a_fargate_task_outlives_a_node_that_dies_at_any_step() {
    die_at_every_step_of(Life::Fargate);
}

#[test]
fn a_task_of_the_ec2_launch_type_outlives_a_node_that_dies_at_any_step() {
    die_at_every_step_of(Life::Ec2);
}

#[test]
fn a_task_on_the_bridge_outlives_a_node_that_dies_at_any_step() {
    die_at_every_step_of(Life::Bridge);
}

#[test]
fn a_seat_outlives_a_node_that_dies_at_any_step() {
    die_at_every_step_of(Life::Seat);
}

#[test]
fn the_way_to_the_world_outlives_a_node_that_dies_at_any_step() {
    die_at_every_step_of(Life::World);
}

#[test]
fn the_outside_of_a_simulated_host_outlives_a_node_that_dies_at_any_step() {
    die_at_every_step_of(Life::Simulated);
}

/// A containerd killed while it makes a container, or a snapshot, may leave folders and forget what they are of.
#[test]
fn what_a_killed_containerd_leaves_is_no_obstacle() {
    in_own_network(|| async {
        let mut lab = crash_lab("crash-bundle", false).await;
        lab.drop_node().await;
        // It died before the shim was called for the container, and after.
        for notes in [&["config.json"][..], &["config.json", "runtime"]] {
            let mut node = start_process(&lab, Step::ContainerMade);
            lab.meet_node().await;
            let subject = Subject::begin(&mut lab, Life::Fargate).await;
            assert!(is_abort(tokio::time::timeout(LIMIT, node.wait()).await.unwrap().unwrap()));
            let made = Containerd::of(&lab.config.run_dir).await.containers().await;
            // Its id has that of the task before a dash; the pause container's is of digits alone.
            let container = made.iter().find(|id| id.contains('-')).unwrap();
            let bundle = lab.config.run_dir.join("containerd/io.containerd.runtime.v2.task/berth").join(container);
            std::fs::create_dir(&bundle).unwrap();
            for note in notes {
                std::fs::write(bundle.join(note), "").unwrap();
            }
            let stray = make_stray_snapshot(&lab);
            lab.start_node().await;
            subject.finish(&mut lab).await;
            assert!(!bundle.exists());
            assert!(!stray.exists());
            lab.drop_node().await;
        }
        lab.end().await;
    });
}

/// A folder in the place of the snapshot that containerd makes next.
fn make_stray_snapshot(lab: &Lab) -> std::path::PathBuf {
    let all = lab.config.data_dir.join("containerd/io.containerd.snapshotter.v1.overlayfs/snapshots");
    let ids = std::fs::read_dir(&all).unwrap().map(|entry| entry.unwrap().file_name().to_str().unwrap().parse::<u64>());
    let stray = all.join((ids.map(Result::unwrap).max().unwrap() + 1).to_string()).join("stray");
    std::fs::create_dir_all(&stray).unwrap();
    stray
}

async fn crash_lab(name: &str, is_simulated: bool) -> Lab {
    let mut lab = Lab::new(name).await;
    if is_simulated {
        lab.config.outside = Some(Arc::new(Namespace::create(&machine_of(lab.folder())).unwrap()));
    }
    // Prepared namespaces would be a second hand at the same steps.
    lab.config.prepared_namespaces = 0;
    lab.config.images.pull = PullBehavior::PreferCached;
    lab.config.uplink = Some(Uplink::Any);
    lab.start().await;
    lab
}

fn die_at_every_step_of(of: Life) {
    if let Ok(settings) = std::env::var(TO_BE_A_NODE) {
        return be_a_node(&settings);
    }
    let steps = move || Step::ALL.iter().copied().filter(move |step| life(*step) == of);
    in_own_network(move || async move {
        let mut lab = crash_lab(&format!("crash-{of:?}").to_lowercase(), of == Life::Simulated).await;
        // One undisturbed life: what it leaves, such as the unpacked image, is not left by a death.
        Subject::begin(&mut lab, of).await.finish(&mut lab).await;
        let clean = machine(&lab).await;
        lab.drop_node().await;
        for step in steps() {
            let begun = Instant::now();
            die_at(&mut lab, of, step, &clean).await;
            println!("{step:?}: {} ms", begun.elapsed().as_millis());
        }
        Namespace::delete(&machine_of(lab.folder())).unwrap();
        lab.end().await;
    });
}

/// One life in which the node dies at a step and another one takes it up.
async fn die_at(lab: &mut Lab, of: Life, step: Step, clean: &BTreeSet<String>) {
    let mut node = start_process(lab, step);
    lab.meet_node().await;
    let mut subject = Subject::begin(lab, of).await;
    subject.live(lab).await;
    let died = tokio::time::timeout(LIMIT, node.wait()).await;
    let died = died.unwrap_or_else(|_| panic!("no life of {of:?} passes {step:?}")).unwrap();
    assert!(is_abort(died), "the node did not die at {step:?}, but ended with {died}");

    lab.start_node().await;
    subject.finish(lab).await;
    let until = Instant::now() + LIMIT;
    loop {
        let left: Vec<String> = machine(lab).await.symmetric_difference(clean).cloned().collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "after a death at {step:?} the machine differs: {left:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lab.drop_node().await;
}

fn is_abort(status: ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(nix::libc::SIGABRT)
}

/// File of the namespace of the machine that a simulated host is on.
fn machine_of(folder: &Path) -> std::path::PathBuf {
    folder.join("machine")
}

/// Starts this executable as a node that dies at the step.
fn start_process(lab: &Lab, step: Step) -> tokio::process::Child {
    let settings = format!("{}\n{}\n{step:?}", lab.folder().display(), lab.config.instance);
    tokio::process::Command::new(std::env::current_exe().unwrap())
        // Any of the tests: each looks first whether it is to be a node.
        .args(["--exact", "a_seat_outlives_a_node_that_dies_at_any_step", "--nocapture"])
        .env(TO_BE_A_NODE, settings)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn be_a_node(settings: &str) {
    tracing_subscriber::fmt().with_env_filter("warn,berth_node=debug").with_writer(std::io::stderr).init();
    let [folder, instance, step] = settings.lines().collect::<Vec<_>>()[..] else { panic!("{settings:?}") };
    let mut config = config_in(Path::new(folder), instance);
    config.prepared_namespaces = 0;
    config.images.pull = PullBehavior::PreferCached;
    config.uplink = Some(Uplink::Any);
    config.outside = Namespace::open(&machine_of(Path::new(folder))).ok().map(Arc::new);
    config.fault_points = FaultPoints::at(Step::named(step).unwrap(), 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    panic!("the node ended: {:?}", runtime.block_on(berth_node::run(config, CancellationToken::new())));
}

/// A task or a seat, and how far the server is with it.
enum Subject {
    Task(Box<Task>),
    Seat { eni: EniId, is_attached: bool, is_wanted: bool },
    World { is_wanted: bool },
}

struct Task {
    id: TaskId,
    is_stop_asked: bool,
    /// What was said first of its end.
    end: Option<TaskReport>,
}

impl Subject {
    async fn begin(lab: &mut Lab, of: Life) -> Self {
        let mut task = lab.task(PROGRAM);
        match of {
            Life::Fargate => task.ephemeral_storage_gib = Some(20),
            Life::Ec2 => with_a_volume_of_the_image(&mut task),
            Life::Bridge => to_the_bridge(&mut task),
            Life::Seat => {
                let eni = task.eni.unwrap();
                lab.plug(&eni, Plug::Standalone(Standalone::seat(SEAT.to_owned())));
                lab.server.send_intent().await;
                return Self::Seat { eni, is_attached: false, is_wanted: true };
            }
            Life::World | Life::Simulated => {
                if of == Life::Simulated {
                    let host = lab.hello.as_ref().unwrap().host.clone();
                    let (eni, address) = (EniId::from_bits(1), "10.0.0.9".parse().unwrap());
                    let owner = PublicAddressIntent { vni: Vni(1), eni, address, host };
                    lab.server.intent.public_addresses.insert(PUBLIC.parse().unwrap(), owner);
                }
                let intended = WorldIntent { host_address: "198.18.0.1".parse().unwrap(), endpoints: None };
                lab.server.intent.worlds.insert("198.18.0.0/20".parse().unwrap(), intended);
                lab.server.send_intent().await;
                return Self::World { is_wanted: true };
            }
        }
        let id = lab.run(task).await;
        Self::Task(Box::new(Task { id, is_stop_asked: false, end: None }))
    }

    /// Lives on, to the end if the node does not die.
    async fn live(&mut self, lab: &mut Lab) -> bool {
        match self {
            Self::Task(task) => task.live(lab).await,
            Self::World { is_wanted } => {
                if *is_wanted {
                    if !lab.server.learns(Server::is_programmed).await {
                        return false;
                    }
                    let device = world::host_device(&lab.config.instance);
                    let setting = format!("/proc/sys/net/ipv4/conf/{device}/forwarding");
                    assert_eq!(std::fs::read_to_string(setting).unwrap().trim(), "1", "it was told too early");
                    if let Some(outside) = &lab.config.outside {
                        let routes = outside.netlink().unwrap().routes().unwrap();
                        let leads = |address: &str| routes.iter().any(|route| route.dst.to_string() == address);
                        assert!(leads(&format!("{PUBLIC}/32")), "it was told too early: {routes:?}");
                    }
                    *is_wanted = false;
                    lab.server.intent.worlds.clear();
                }
                lab.server.try_send_intent().await && lab.server.learns(Server::is_programmed).await
            }
            Self::Seat { eni, is_attached, is_wanted } => {
                let is = |wanted: EniState| {
                    let eni = eni.clone();
                    move |server: &Server| server.enis.get(&eni) == Some(&wanted)
                };
                if *is_wanted {
                    if !lab.server.learns(is(EniState::Attached)).await {
                        return false;
                    }
                    let seat = Namespace::open(&lab.config.run_dir.join("netns").join(SEAT)).unwrap();
                    assert!(seat.netlink().unwrap().link_by_name("eth1").unwrap().is_some(), "it was told too early");
                    *is_attached = true;
                    *is_wanted = false;
                }
                unplug(lab, eni);
                lab.server.try_send_intent().await && lab.server.learns(is(EniState::Gone)).await
            }
        }
    }

    /// Lives to the end, and proves that it was a whole life.
    async fn finish(mut self, lab: &mut Lab) {
        assert!(self.live(lab).await, "the node is gone");
        match self {
            Self::Task(task) => task.prove(lab),
            Self::Seat { is_attached, .. } => assert!(is_attached),
            Self::World { is_wanted } => assert!(!is_wanted),
        }
    }
}

/// The program starts with the whole content of the image's folder, or not at all.
fn with_a_volume_of_the_image(task: &mut TaskIntent) {
    task.launch_type = LaunchType::Ec2;
    task.volumes = vec![VolumeIntent::empty("seed")];
    let app = &mut task.containers[0];
    app.mounts = vec![MountIntent { volume: "seed".to_owned(), path: "/seed".to_owned(), read_only: false }];
    let program = app.command.as_mut().and_then(|words| words.last_mut()).unwrap();
    *program = format!("[ \"$(ls /seed | tr '\\n' ' ')\" = 'added kept ' ] || exit 9; {program}");
}

fn to_the_bridge(task: &mut TaskIntent) {
    (task.network_mode, task.launch_type, task.eni, task.hostname) = (NetworkMode::Bridge, LaunchType::Ec2, None, None);
    task.dns = Default::default();
    task.containers[0].ports = vec![PortIntent {
        container_port: 80,
        last_container_port: None,
        host_port: Some(8080),
        protocol: Protocol::Tcp,
    }];
}

fn unplug(lab: &mut Lab, eni: &EniId) {
    lab.server.intent.enis.remove(eni);
    lab.server.intent.endpoints.remove(eni);
}

impl Task {
    async fn live(&mut self, lab: &mut Lab) -> bool {
        let is = |stage: TaskStage| {
            let id = self.id.clone();
            move |server: &Server| server.tasks.get(&id).is_some_and(|report| report.stage >= stage)
        };
        let Some(intent) = lab.server.intent.tasks.get(&self.id).cloned() else { return true };
        if !self.is_stop_asked {
            if !lab.server.learns(is(TaskStage::Running)).await {
                return false;
            }
            lab.written(&self.id, "app", "begin").await;
            self.is_stop_asked = true;
            lab.server.intent.tasks.get_mut(&self.id).unwrap().desired = Desired::Stopped;
        }
        if !(lab.server.try_send_intent().await && lab.server.learns(is(TaskStage::Stopped)).await) {
            return false;
        }
        let end = lab.server.tasks[&self.id].clone();
        assert_eq!(self.end.get_or_insert_with(|| end.clone()), &end, "the end is told once");
        if let Some(eni) = &intent.eni {
            unplug(lab, eni);
            let is_gone = |server: &Server| server.enis.get(eni) == Some(&EniState::Gone);
            if !(lab.server.try_send_intent().await && lab.server.learns(is_gone).await) {
                return false;
            }
        }
        lab.server.intent.tasks.remove(&self.id);
        lab.server.try_send_intent().await
    }

    /// Its program ran once, and its end was told as it was.
    fn prove(&self, lab: &Lab) {
        assert_eq!(lab.log(&self.id, "app"), "begin\nend\n");
        let end = self.end.as_ref().unwrap();
        assert_eq!((only(end).exit_code, &end.stop), (Some(7), &None), "{end:?}");
    }
}

/// What the instance has on the machine, beside the image.
async fn machine(lab: &Lab) -> BTreeSet<String> {
    let config = &lab.config;
    let containerd = Containerd::of(&config.run_dir).await;
    let mut found: Vec<(&str, Vec<String>)> = vec![
        ("container", containerd.containers().await),
        ("snapshot", containerd.snapshots().await),
        ("lease of containerd", containerd.leases().await),
        ("namespace", names_in(&config.run_dir.join("netns"))),
        ("folder of task", names_in(&config.data_dir.join("node/tasks"))),
        ("shim", names_in(&config.run_dir.join("containerd/io.containerd.runtime.v2.task/berth"))),
    ];
    let links = |mut link: Netlink| link.links().unwrap().into_iter().map(|link| link.name).collect();
    found.push(("link", links(Netlink::open().unwrap())));
    let fabric = Namespace::open(&config.run_dir.join("netns/fabric")).unwrap();
    found.push(("link of the fabric", links(fabric.netlink().unwrap())));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let paths = mounts.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned());
    let here = lab.folder().to_str().unwrap();
    found.push(("mount", paths.filter(|path| path.starts_with(here)).collect()));
    for controller in ["cpu", "memory", "pids"] {
        found.push(("cgroup", paths_below(&lab.cgroup(controller))));
    }
    let leases = Ipam::at(&config.run_dir.join("eni-ipam.db")).leases().unwrap();
    found.push(("address", leases.iter().map(|lease| format!("{lease:?}")).collect()));
    let tables = || std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout;
    found.push(("rules", vec![String::from_utf8(tables()).unwrap()]));
    let rules = Netlink::open().unwrap().rules().unwrap();
    found.push(("routing rule", rules.iter().map(ToString::to_string).collect()));
    if let Some(outside) = &config.outside {
        found.push(("link of the machine", links(outside.netlink().unwrap())));
        found.push(("rules of the machine", vec![String::from_utf8(outside.inside(tables).unwrap()).unwrap()]));
    }
    found.push(("pin", paths_below(&Path::new("/sys/fs/bpf/berth").join(&config.instance))));
    let programmed = Programmed::read(&config.instance, &config.run_dir).unwrap();
    found.push(("data path", vec![without_epoch(&format!("{programmed:?}"))]));
    let named =
        |(kind, names): (&'static str, Vec<String>)| names.into_iter().map(move |name| format!("{kind} {name}"));
    found.into_iter().flat_map(named).filter(|name| !name.contains(IMAGE)).collect()
}

/// The number of changes so far is not a thing that can be left behind.
fn without_epoch(maps: &str) -> String {
    let (before, after) = maps.split_once("epoch: ").unwrap();
    format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Everything below a folder.
fn paths_below(dir: &Path) -> Vec<String> {
    let paths = names_in(dir).into_iter().map(|name| dir.join(name));
    let with_below = paths.flat_map(|path| {
        let below = if path.is_dir() { paths_below(&path) } else { Vec::new() };
        below.into_iter().chain([path.display().to_string()])
    });
    with_below.collect()
}
