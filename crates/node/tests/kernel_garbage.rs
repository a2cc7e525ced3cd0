// SPDX-License-Identifier: Apache-2.0
//! A node that starts removes what is its own and in no record, one of each kind, and nothing that belongs to a task, to
//! another instance or to somebody else. Needs root.
#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_fabric::cni::ipam::{Ipam, LeaseRequest, Owner, Pool, Wanted};
use berth_fabric::kernel::netlink::VethPair;
use berth_fabric::kernel::{Namespace, Netlink};
use berth_types::MacAddress;
use berth_types::container::IpcMode;
use berth_types::report::{TaskReport, TaskStage};
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::snapshots::PrepareSnapshotRequest;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::{Container, CreateContainerRequest, CreateRequest};
use lab::containerd::Containerd;
use lab::{Lab, in_own_network};
use nix::mount::{MsFlags, mount};

const LOST_TASK: &str = "00000000000000000000000000000bad";
const PINS: &str = "/sys/fs/bpf/berth";
const MARK: &str = "00000000bad0";

/// The things of one kind: those that must go and those that must stay.
#[derive(Debug, Default)]
struct Kinds {
    lost: Vec<String>,
    others: Vec<String>,
}

impl Kinds {
    fn new(lost: &[&str], others: &[&str]) -> Self {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self { lost: own(lost), others: own(others) }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.lost.iter().chain(&self.others)
    }

    #[track_caller]
    fn check(&self, what: &str, is_there: impl Fn(&str) -> bool, after: bool) {
        for name in &self.lost {
            assert_eq!(is_there(name), !after, "{what} {name}, ours and nobody's");
        }
        for name in &self.others {
            assert!(is_there(name), "{what} {name}, which is not ours");
        }
    }
}

/// What the test makes on the machine.
struct Strangers {
    containerd: Containerd,
    instance: String,
    netns: PathBuf,
    tasks: PathBuf,
    cgroups: PathBuf,
    ipam: Ipam,
    in_containerd: Kinds,
    snapshots: Kinds,
    leases: Kinds,
    mounts: Kinds,
    task_cgroups: Kinds,
    other_cgroup: PathBuf,
    devices: Kinds,
    links: Kinds,
    tables: Kinds,
    pins: Kinds,
    namespaces: Kinds,
    addresses: Kinds,
}

/// Makes one of each kind that carries this label.
async fn make(containerd: &Containerd, container: &str, snapshot: &str, lease: &str, instance: Option<&str>) {
    let labels: HashMap<String, String> =
        instance.map(|instance| ("berth.instance".to_owned(), instance.to_owned())).into_iter().collect();
    let runtime =
        containerd_client::services::v1::container::Runtime { name: "io.containerd.runc.v2".to_owned(), options: None };
    let container = Container {
        id: container.to_owned(),
        labels: labels.clone(),
        runtime: Some(runtime),
        spec: Some(prost_types::Any { type_url: "x".to_owned(), value: b"{}".to_vec() }),
        ..Container::default()
    };
    let request = Containerd::request(CreateContainerRequest { container: Some(container) });
    ContainersClient::new(containerd.0.clone()).create(request).await.unwrap();
    let request = Containerd::request(CreateRequest { id: lease.to_owned(), labels: labels.clone() });
    LeasesClient::new(containerd.0.clone()).create(request).await.unwrap();
    let mut rooted = labels;
    rooted.insert("containerd.io/gc.root".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    let request = Containerd::request(PrepareSnapshotRequest {
        snapshotter: "overlayfs".to_owned(),
        key: snapshot.to_owned(),
        parent: String::new(),
        labels: rooted,
    });
    SnapshotsClient::new(containerd.0.clone()).prepare(request).await.unwrap();
}

impl Strangers {
    async fn make(lab: &Lab) -> Self {
        let (config, instance) = (&lab.config, lab.config.instance.clone());
        let other = format!("{instance}2");
        let strangers = Self {
            containerd: Containerd::of(&config.run_dir).await,
            netns: config.run_dir.join("netns"),
            tasks: config.data_dir.join("node/tasks"),
            cgroups: lab.cgroup("memory"),
            ipam: Ipam::at(&config.run_dir.join("eni-ipam.db")),
            in_containerd: Kinds::new(&["ecs-lost", "ecs-internalecspause-lost"], &["ecs-other", "somebodys"]),
            snapshots: Kinds::new(&["ecs-lost-s", "ecs-pause-s"], &["ecs-other-s", "somebodys-s"]),
            leases: Kinds::new(&["berth-pull-1", "berth-pull-2"], &["berth-pull-3", "somebodys-lease"]),
            mounts: Kinds::new(&[LOST_TASK], &["notes"]),
            task_cgroups: Kinds::new(&[LOST_TASK], &["notes"]),
            other_cgroup: lab.cgroup("memory").with_file_name(&other).join(LOST_TASK),
            devices: Kinds::new(&["e0000000000abcd"], &["e000000000abcd", "tap0"]),
            links: Kinds::new(&["berth-lost", "vb00000000bad0"], &["berth-other", "br-notes", "vb00000000bad1"]),
            tables: Kinds::new(&[&format!("berth-{instance}")], &[&format!("berth-{other}"), "notes"]),
            pins: Kinds::new(
                &[&format!("{instance}/{}/flows_of_old", layout(&instance))],
                &[&format!("{instance}/{}/flows", layout(&instance)), &format!("{other}/flows_of_old")],
            ),
            namespaces: Kinds::new(
                &[&format!("{instance}-{MARK}"), &format!("seat-{MARK}")],
                &[&format!("{other}-{MARK}"), "notes"],
            ),
            addresses: Kinds::new(&["ecs-lost"], &["somebodys"]),
            instance,
        };
        strangers.make_in_containerd(&other).await;
        strangers.make_on_host(&other);
        strangers
    }

    async fn make_in_containerd(&self, other: &str) {
        let whose = [Some(self.instance.as_str()), Some(&self.instance), Some(other), None];
        let names = self.in_containerd.all().zip(self.snapshots.all()).zip(self.leases.all());
        for (((container, snapshot), lease), instance) in names.zip(whose) {
            make(&self.containerd, container, snapshot, lease, instance).await;
        }
    }

    fn make_on_host(&self, other: &str) {
        for name in self.mounts.all() {
            let shm = self.tasks.join(name).join("shm");
            std::fs::create_dir_all(&shm).unwrap();
            mount(Some("shm"), &shm, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        }
        for name in self.task_cgroups.all() {
            std::fs::create_dir(self.cgroups.join(name)).unwrap();
        }
        std::fs::create_dir_all(&self.other_cgroup).unwrap();
        let mut fabric = self.fabric();
        for (name, peer) in self.devices.all().zip(["p0", "p1", "p2"]) {
            fabric.create_veth(&VethPair { name, peer_name: peer, ..VethPair::default() }).unwrap();
        }
        self.make_links(other);
        self.tables.all().for_each(|table| nft(&format!("add table inet {table}")));
        std::fs::create_dir(Path::new(PINS).join(other)).unwrap();
        for pin in self.pins.all().filter(|pin| pin.ends_with("flows_of_old")) {
            std::os::unix::fs::symlink("nowhere", Path::new(PINS).join(pin)).unwrap();
        }
        for name in self.namespaces.all() {
            Namespace::create(&self.netns.join(name)).unwrap();
        }
        let pool = Pool::new("169.254.172.0/22".parse().unwrap(), None).unwrap();
        for (container_id, if_name) in self.addresses.all().zip(["ecs-eth0", "eth7"]) {
            let owner = Owner { container_id: container_id.clone(), if_name: if_name.to_owned() };
            let wanted = vec![Wanted { pool, address: None::<IpAddr> }];
            let request = LeaseRequest { wanted, id: container_id.clone(), network: "ecs".to_owned(), owner };
            self.ipam.allocate(&request).unwrap();
        }
    }

    /// A bridge of each kind, and a port on that of ours and on that of another instance.
    fn make_links(&self, other: &str) {
        let mut host = Netlink::open().unwrap();
        let mut bridge = |name: &str, instance: Option<&str>, port: Option<(&str, &str)>| {
            let index = host.create_bridge(name, MacAddress([2, 0, 0, 0, 0, 9])).unwrap();
            if let Some(instance) = instance {
                host.set_alias(index, &format!("berth {instance}")).unwrap();
            }
            if let Some((name, peer_name)) = port {
                let bridge = Some(index);
                host.create_veth(&VethPair { name, bridge, peer_name, ..VethPair::default() }).unwrap();
            }
        };
        bridge("berth-lost", Some(&self.instance), Some(("vb00000000bad0", "p0")));
        bridge("berth-other", Some(other), Some(("vb00000000bad1", "p1")));
        bridge("br-notes", None, None);
    }

    fn fabric(&self) -> Netlink {
        Namespace::open(&self.netns.join("fabric")).unwrap().netlink().unwrap()
    }

    async fn check(&self, is_after: bool) {
        let has = |names: Vec<String>| move |name: &str| names.iter().any(|there| there == name);
        self.in_containerd.check("container", has(self.containerd.containers().await), is_after);
        self.snapshots.check("snapshot", has(self.containerd.snapshots().await), is_after);
        self.leases.check("lease of containerd", has(self.containerd.leases().await), is_after);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let shm = |name: &str| self.tasks.join(name).join("shm");
        self.mounts.check("mount", |name| mounts.contains(shm(name).to_str().unwrap()), is_after);
        self.mounts.check("folder", |name| self.tasks.join(name).exists(), is_after);
        self.task_cgroups.check("cgroup", |name| self.cgroups.join(name).exists(), is_after);
        assert!(self.other_cgroup.exists(), "the cgroup of another instance");
        let names = |mut link: Netlink| link.links().unwrap().into_iter().map(|link| link.name).collect();
        self.devices.check("device", has(names(self.fabric())), is_after);
        self.links.check("link", has(names(Netlink::open().unwrap())), is_after);
        let tables = nft_tables();
        self.tables.check("table", |name| tables.lines().any(|line| line == format!("table inet {name}")), is_after);
        let is_pinned = |pin: &str| Path::new(PINS).join(pin).symlink_metadata().is_ok();
        self.pins.check("pin", is_pinned, is_after);
        self.namespaces.check("namespace", |name| self.netns.join(name).exists(), is_after);
        let leases = self.ipam.leases().unwrap().into_iter().map(|lease| lease.owner.container_id).collect();
        self.addresses.check("address", has(leases), is_after);
    }

    /// What a teardown does not take, because it is not the instance's.
    fn remove_others(&self) {
        for name in &self.links.others {
            Netlink::open().unwrap().delete_link(name).unwrap();
        }
        self.tables.others.iter().for_each(|table| nft(&format!("delete table inet {table}")));
        std::fs::remove_dir_all(Path::new(PINS).join(format!("{}2", self.instance))).unwrap();
        std::fs::remove_dir(&self.other_cgroup).unwrap();
        std::fs::remove_dir(self.other_cgroup.parent().unwrap()).unwrap();
    }
}

/// The only layout of an instance's data path, beside the folder of its ports.
fn layout(instance: &str) -> String {
    let folders = std::fs::read_dir(Path::new(PINS).join(instance)).unwrap();
    let mut names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    names.find(|name| !name.starts_with("ports")).unwrap()
}

fn nft(command: &str) {
    assert!(Command::new("nft").arg(command).status().unwrap().success(), "{command}");
}

fn nft_tables() -> String {
    String::from_utf8(Command::new("nft").args(["list", "tables"]).output().unwrap().stdout).unwrap()
}

fn is_mounted(path: &Path) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(path.to_str().unwrap())
}

#[test]
fn a_node_that_starts_removes_what_is_its_own_and_nobodys_and_nothing_else() {
    in_own_network(|| async {
        let mut lab = Lab::new("garbage").await;
        lab.start().await;
        let mut task = lab.task("echo up; while :; do sleep 0.1; done");
        task.ipc_mode = IpcMode::Task;
        let id = lab.run(task).await;
        let report = lab.server.reached(&id, TaskStage::Running).await;
        let container = report.containers[0].runtime_id.clone().unwrap();
        let strangers = Strangers::make(&lab).await;
        strangers.check(false).await;
        let shm = strangers.tasks.join(id.as_str()).join("shm");
        assert!(is_mounted(&shm));

        lab.drop_node().await;
        lab.start_node().await;
        strangers.check(true).await;
        // The task has all it had, and is managed.
        assert!(strangers.containerd.containers().await.contains(&container));
        assert!(strangers.containerd.snapshots().await.contains(&container));
        assert!(is_mounted(&shm) && strangers.cgroups.join(id.as_str()).exists());
        lab.stop(&id).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(report.containers[0].exit_code, Some(137), "it ran until it was stopped");
        lab.forget(&id).await;
        strangers.remove_others();
        lab.end().await;
    });
}

#[test]
fn a_node_that_lost_its_journal_begins_again_with_a_clean_machine() {
    in_own_network(|| async {
        let mut lab = Lab::new("amnesia").await;
        lab.start().await;
        let task = lab.task("echo up; while :; do sleep 0.1; done");
        let id = lab.run(task).await;
        let report = lab.server.reached(&id, TaskStage::Running).await;
        let first = report.containers[0].runtime_id.clone().unwrap();
        lab.drop_node().await;
        std::fs::remove_file(lab.config.data_dir.join("node/journal.redb")).unwrap();

        // The server still wants the task: a new life of it must not meet the old one.
        lab.start_node().await;
        let containerd = Containerd::of(&lab.config.run_dir).await;
        assert!(!containerd.containers().await.contains(&first));
        let is_another = |report: &TaskReport| {
            let runtime_id = report.containers.first().and_then(|container| container.runtime_id.as_ref());
            report.stage == TaskStage::Running && runtime_id.is_some_and(|id| *id != first)
        };
        lab.server.task(&id, is_another).await;
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        lab.end().await;
    });
}
