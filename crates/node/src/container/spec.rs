// SPDX-License-Identifier: Apache-2.0
//! The specification of a container for crun or runc: Docker's defaults, the image's words, the task definition's changes.
//! Capabilities, system calls, masked paths and cgroups limit the container.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use berth_shim::{GROUP, PAUSE, RUNTIME};
use berth_types::intent::{ContainerIntent, LaunchType, TaskIntent};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBuilder, LinuxCapabilities, LinuxCpuBuilder, LinuxResourcesBuilder, Mount, ProcessBuilder, Root, RootBuilder,
    Spec, SpecBuilder, UserBuilder, get_default_maskedpaths,
};

use super::linux;
use super::machine::{DOCKER_PROFILE, HostDevice, Machine};
use super::seccomp::{self, Profile};
use super::users::Identity;
use crate::SpecFault;
use crate::images::ImageConfig;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the init program is inside a container: on a memory file system, so that the image stays as it is.
const INIT: &str = "/dev/init";

/// All that decides a container's specification.
pub(crate) struct SpecInput<'a> {
    pub task: &'a TaskIntent,
    pub container: &'a ContainerIntent,
    pub image: &'a ImageConfig,
    pub user: &'a Identity,
    /// Its host name.
    pub hostname: &'a str,
    /// Variables its links give it.
    pub link_variables: &'a [(String, String)],
    /// Folder with what the containers of the task share.
    pub task_dir: &'a Path,
    /// Where each volume of the task is, by name.
    pub volumes: &'a [(String, PathBuf)],
    /// The init program.
    pub init: &'a Path,
    /// Devices beside those of every container.
    pub devices: &'a [HostDevice],
    pub machine: &'a Machine,
    /// Process of the pause container, whose namespaces a container may share.
    pub pause: Option<u32>,
    /// Folder with its `hosts`, `hostname` and `resolv.conf`.
    pub files: &'a Path,
    /// File of its network namespace.
    pub netns: &'a Path,
    /// Its cgroup, e.g. `/berth/main/TASK/CONTAINER`.
    pub cgroup: &'a str,
    /// Containers with the same are kept by one shim: the id of the task's pause container, or its own.
    pub group: &'a str,
    /// What runs it; the shim's choice when absent.
    pub runtime: Option<&'a str>,
    /// System calls that are refused are written to the kernel's log.
    pub logs_refused_calls: bool,
    pub region: &'a str,
    /// The regional endpoint of every service, if a variable names it.
    pub endpoint_of_all: Option<Ipv4Addr>,
}

/// The specification of an application's container.
pub(crate) fn build(wanted: &SpecInput<'_>) -> Result<Spec, SpecFault> {
    let arguments = arguments(wanted.container, wanted.image).ok_or(SpecFault::NoCommand)?;
    if let Some(path) = mounted_twice(wanted.container) {
        return Err(SpecFault::MountedTwice(path.to_owned()));
    }
    check_memory_file_systems(wanted.container)?;
    Ok(application(wanted, arguments)?)
}

fn application(wanted: &SpecInput<'_>, arguments: Vec<String>) -> Result<Spec, OciSpecError> {
    let (task, container) = (wanted.task, wanted.container);
    let user = UserBuilder::default()
        .uid(wanted.user.uid)
        .gid(wanted.user.gid)
        .additional_gids([&[wanted.user.gid], wanted.user.groups.as_slice()].concat())
        .build()?;
    let cwd = container.working_directory.clone().or_else(|| wanted.image.working_dir.clone());
    let capabilities = linux::capabilities(container, wanted.machine)?;
    let profile = profile(container, &capabilities);
    let mut process = ProcessBuilder::default()
        .terminal(container.pseudo_terminal)
        .user(user)
        .args(with_init(container, arguments))
        .env(environment(wanted))
        .cwd(cwd.filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| "/".to_owned()))
        .capabilities(capabilities)
        .no_new_privileges(container.no_new_privileges)
        .build()?;
    // Where nothing is asked for the node's limits are inherited: raising them needs a right it may not have.
    process.set_rlimits(linux::rlimits(task, container, wanted.machine)?);
    let has_profile = wanted.machine.has_docker_profile && !container.privileged;
    process.set_apparmor_profile(has_profile.then(|| DOCKER_PROFILE.to_owned()));
    let resources = LinuxResourcesBuilder::default()
        .devices(linux::device_rules(container.privileged, wanted.devices)?)
        .cpu(LinuxCpuBuilder::default().shares(shares(container)).build()?)
        .memory(linux::memory(task, container, wanted.machine)?)
        .build()?;
    let mut linux = LinuxBuilder::default()
        .namespaces(linux::namespaces(task, wanted.netns, wanted.pause, wanted.machine)?)
        .cgroups_path(wanted.cgroup)
        .resources(resources)
        .devices(linux::device_nodes(wanted.devices)?)
        .sysctl(linux::system_controls(container))
        .build()?;
    linux.set_seccomp(profile.as_ref().map(|profile| profile.written(wanted.logs_refused_calls)).transpose()?);
    let is_covered = !container.privileged;
    linux.set_masked_paths(is_covered.then(get_default_maskedpaths));
    linux.set_readonly_paths(is_covered.then(|| linux::read_only_paths(task)));
    SpecBuilder::default()
        .version("1.0.2")
        .root(root(PathBuf::from("rootfs"), container.readonly_root_filesystem)?)
        .process(process)
        .hostname(wanted.hostname)
        .mounts(mounts(wanted)?)
        .annotations(annotations(wanted, profile.as_ref()))
        .linux(linux)
        .build()
}

/// The system calls a container may make; none for one that may make all.
fn profile(container: &ContainerIntent, capabilities: &LinuxCapabilities) -> Option<Profile> {
    let held = |capability| capabilities.effective().as_ref().is_some_and(|held| held.contains(&capability));
    (!container.privileged && !container.seccomp_unconfined).then(|| Profile::of(held))
}

fn annotations(wanted: &SpecInput<'_>, profile: Option<&Profile>) -> HashMap<String, String> {
    let runtime = wanted.runtime.map(|runtime| (RUNTIME, runtime.to_owned()));
    let program = profile.map(|profile| (seccomp::PROGRAM, seccomp::annotation(profile)));
    let all = [(GROUP, wanted.group.to_owned())].into_iter().chain(runtime).chain(program);
    all.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Where a container asks for something to be mounted. Compared as paths: `/data/` is `/data`.
pub(crate) fn mounted_paths(container: &ContainerIntent) -> impl Iterator<Item = &Path> {
    let tmpfs = container.linux.tmpfs.iter().flatten().map(|tmpfs| &tmpfs.container_path);
    tmpfs.chain(container.mounts.iter().map(|mount| &mount.path)).map(Path::new)
}

/// A path at which two things are to be mounted; of two, the later one would hide the other.
fn mounted_twice(container: &ContainerIntent) -> Option<&Path> {
    let mut seen = BTreeSet::new();
    mounted_paths(container).find(|path| !seen.insert(*path))
}

/// Refuses memory file systems that a definition registered today cannot have.
fn check_memory_file_systems(container: &ContainerIntent) -> Result<(), SpecFault> {
    for tmpfs in container.linux.tmpfs.iter().flatten() {
        if tmpfs.covers_system() {
            return Err(SpecFault::MemoryOverSystem(tmpfs.container_path.clone()));
        }
        if let Some(option) = tmpfs.unfit_option() {
            let path = tmpfs.container_path.clone();
            return Err(SpecFault::MemoryOption { option: option.to_owned(), path });
        }
    }
    Ok(())
}

/// The command line with the init program before it, if the container needs that program. A container's input has no
/// writer here, and a terminal stays open by itself: the init program keeps an input open by holding its other end.
fn with_init(container: &ContainerIntent, arguments: Vec<String>) -> Vec<String> {
    let stays = container.linux.init_process_enabled == Some(true);
    let holds = container.interactive && !container.pseudo_terminal;
    let flags = [(stays, "-s"), (holds, "-i")].into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag);
    let flags: Vec<&str> = flags.collect();
    match flags.is_empty() {
        true => arguments,
        false => [INIT].into_iter().chain(flags).chain(["--"]).map(str::to_owned).chain(arguments).collect(),
    }
}

/// The specification of a pause container in the namespace file `netns`, which the shim makes itself.
pub(crate) fn pause(id: &str, rootfs: &Path, netns: &Path) -> Result<Spec, SpecFault> {
    let build = || -> Result<Spec, OciSpecError> {
        let user = UserBuilder::default().uid(crate::pause::USER).gid(crate::pause::USER).build()?;
        let mut process = ProcessBuilder::default()
            .terminal(false)
            .user(user)
            .args(vec![crate::pause::COMMAND.to_owned()])
            .env(Vec::new())
            .cwd("/")
            .capabilities(linux::capability_set([].into_iter())?)
            .no_new_privileges(true)
            .build()?;
        process.set_rlimits(None);
        let mut linux = LinuxBuilder::default().namespaces(linux::own_namespaces(netns)?).build()?;
        linux.set_resources(None);
        linux.set_masked_paths(None);
        linux.set_readonly_paths(None);
        SpecBuilder::default()
            .version("1.0.2")
            .root(root(rootfs.to_owned(), true)?)
            .process(process)
            .mounts(Vec::new())
            .annotations(HashMap::from([(GROUP.to_owned(), id.to_owned()), (PAUSE.to_owned(), String::new())]))
            .linux(linux)
            .build()
    };
    Ok(build()?)
}

/// The command line: as with `docker run --entrypoint`, a new entry point drops the image's command.
pub(crate) fn arguments(container: &ContainerIntent, image: &ImageConfig) -> Option<Vec<String>> {
    let given = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    let own_entry = given(&container.entry_point);
    let command = given(&container.command).or_else(|| match own_entry {
        Some(_) => None,
        None => given(&image.cmd),
    });
    let entry = own_entry.or_else(|| given(&image.entrypoint)).unwrap_or_default();
    Some([entry, command.unwrap_or_default()].concat()).filter(|words| !words.is_empty())
}

/// Variables in the order in which they are first set; a later value replaces an earlier one.
#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
    /// An image may name a million variables, so none is searched for in the list.
    places: HashMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(place) => value.clone_into(&mut self.list[*place].1),
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn set_unless_there(&mut self, name: &str, value: &str) {
        if !self.places.contains_key(name) {
            self.set(name, value);
        }
    }
}

/// The environment: links, image, then what ECS adds, then the task definition. Later entries replace earlier ones.
pub(crate) fn environment(wanted: &SpecInput<'_>) -> Vec<String> {
    let mut variables = Variables::default();
    let (name, value) = PATH.split_once('=').unwrap_or((PATH, ""));
    variables.set(name, value);
    variables.set("HOSTNAME", wanted.hostname);
    let configured = configured_environment(
        wanted.task.launch_type,
        wanted.container,
        wanted.image,
        wanted.region,
        wanted.endpoint_of_all,
    );
    for (name, value) in wanted.link_variables.iter().chain(&configured) {
        variables.set(name, value);
    }
    variables.set_unless_there("HOME", wanted.user.home.as_deref().unwrap_or("/"));
    if wanted.container.pseudo_terminal {
        variables.set_unless_there("TERM", "xterm");
    }
    variables.list.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The variables a container is configured with: its image's, then what ECS adds, then the task definition's. AWS's own
/// names do not lead to Berth, so that the endpoint is in a variable.
pub(crate) fn configured_environment(
    launch_type: LaunchType,
    container: &ContainerIntent,
    image: &ImageConfig,
    region: &str,
    endpoint_of_all: Option<Ipv4Addr>,
) -> Vec<(String, String)> {
    let endpoint = |version: &str| format!("http://169.254.170.2/{version}/{}", container.endpoint_id);
    let execution = match launch_type {
        LaunchType::Fargate => "AWS_ECS_FARGATE",
        LaunchType::Ec2 => "AWS_ECS_EC2",
    };
    let mut variables = Variables::default();
    for entry in image.env.iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        variables.set(name, value);
    }
    let added = [
        ("ECS_CONTAINER_METADATA_URI", endpoint("v3")),
        ("ECS_CONTAINER_METADATA_URI_V4", endpoint("v4")),
        ("AWS_EXECUTION_ENV", execution.to_owned()),
        ("AWS_REGION", region.to_owned()),
        ("AWS_DEFAULT_REGION", region.to_owned()),
    ];
    for (name, value) in &added {
        variables.set(name, value);
    }
    if let Some(address) = endpoint_of_all {
        variables.set("AWS_ENDPOINT_URL", &format!("http://{address}"));
    }
    for (name, value) in &container.environment {
        variables.set(name, value);
    }
    variables.list
}

/// CPU weight of a container: the kernel takes no less than 2.
pub(crate) fn shares(container: &ContainerIntent) -> u64 {
    u64::from(container.cpu_units.max(2))
}

fn root(path: PathBuf, read_only: bool) -> Result<Root, OciSpecError> {
    RootBuilder::default().path(path).readonly(read_only).build()
}

/// In the order they are made: what is mounted later lies on top.
fn mounts(wanted: &SpecInput<'_>) -> Result<Vec<Mount>, OciSpecError> {
    let container = wanted.container;
    let bind = |path: &str, source: &Path, access: &str| {
        linux::mount(path, "bind", &source.display().to_string(), &["rbind", "rprivate", access])
    };
    let is_any_privileged = wanted.task.containers.iter().any(|container| container.privileged);
    let mut mounts = linux::system_mounts(container.privileged, is_any_privileged)?;
    let shm = super::files::shm_dir(wanted.task_dir);
    mounts.extend(linux::shared_memory(wanted.task.ipc_mode, container.linux.shared_memory_mib, &shm)?);
    let access = if container.readonly_root_filesystem { "ro" } else { "rw" };
    for file in ["hosts", "hostname", "resolv.conf"] {
        mounts.push(bind(&format!("/etc/{file}"), &wanted.files.join(file), access)?);
    }
    if with_init(container, Vec::new()).len() > 1 {
        mounts.push(bind(INIT, wanted.init, "ro")?);
    }
    let mut own = Vec::new();
    for tmpfs in container.linux.tmpfs.iter().flatten() {
        own.push(linux::tmpfs(tmpfs)?);
    }
    for volume in &container.mounts {
        let found = wanted.volumes.iter().find(|(name, _)| *name == volume.volume);
        let source = found.map(|(_, path)| path.clone()).unwrap_or_default();
        own.push(bind(&volume.path, &source, if volume.read_only { "ro" } else { "rw" })?);
    }
    // A mount inside another one comes after it.
    own.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(own);
    Ok(mounts)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use berth_types::EniId;
    use berth_types::intent::{Desired, DnsIntent, MountIntent};
    use berth_types::mode::NetworkMode;
    use expect_test::expect;

    pub(crate) fn task() -> TaskIntent {
        TaskIntent {
            arn: "arn:aws:ecs:us-west-2:123456789012:task/default/0123".to_owned(),
            cluster_arn: "arn:aws:ecs:us-west-2:123456789012:cluster/default".to_owned(),
            family: "web".to_owned(),
            revision: 3,
            launch_type: LaunchType::Fargate,
            availability_zone: "us-west-2a".to_owned(),
            desired: Desired::Running,
            network_mode: NetworkMode::Awsvpc,
            eni: Some(EniId::from_bits(1)),
            hostname: Some("ip-10-0-0-35.us-west-2.compute.internal".to_owned()),
            dns: DnsIntent::default(),
            cpu_units: Some(256),
            memory_mib: Some(512),
            ephemeral_storage_gib: None,
            volumes: Vec::new(),
            pid_mode: Default::default(),
            ipc_mode: Default::default(),
            cpu_architecture: None,
            containers: vec![container()],
        }
    }

    pub(crate) fn container() -> ContainerIntent {
        ContainerIntent {
            name: "app".to_owned(),
            endpoint_id: "u-1".to_owned(),
            image: "nginx".to_owned(),
            essential: true,
            stop_timeout_s: 30,
            ..ContainerIntent::default()
        }
    }

    fn spec(change: impl FnOnce(&mut ContainerIntent), image: &ImageConfig) -> Result<Spec, SpecFault> {
        let (task, mut container) = (task(), container());
        change(&mut container);
        let volumes = [("scratch".to_owned(), PathBuf::from("/d/volumes/scratch"))];
        build(&SpecInput {
            volumes: &volumes,
            init: Path::new("/init"),
            devices: &[],
            machine: &super::super::machine::tests::MACHINE,
            pause: Some(7),
            task: &task,
            container: &container,
            image,
            user: &Identity::default(),
            hostname: "h",
            link_variables: &[],
            task_dir: Path::new("/d"),
            files: Path::new("/d"),
            netns: Path::new("/n"),
            cgroup: "/berth/main/t/c",
            group: "pause",
            runtime: None,
            logs_refused_calls: false,
            region: "us-west-2",
            endpoint_of_all: Some(Ipv4Addr::new(198, 18, 15, 193)),
        })
    }

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn an_entry_point_drops_the_command_of_the_image() {
        let image = ImageConfig { entrypoint: words("/start"), cmd: words("web"), ..ImageConfig::default() };
        let line = |entry: &str, command: &str| {
            let given = |text: &str| words(text).filter(|words| !words.is_empty());
            let container = ContainerIntent { entry_point: given(entry), command: given(command), ..container() };
            arguments(&container, &image).unwrap().join(" ")
        };
        assert_eq!(line("", ""), "/start web");
        assert_eq!(line("", "api"), "/start api");
        assert_eq!(line("sh -c", ""), "sh -c");
        assert_eq!(line("sh -c", "env"), "sh -c env");
        assert_eq!(arguments(&container(), &ImageConfig::default()), None);
    }

    /// A configuration has room for hundreds of thousands; a search for each among all before would take minutes.
    #[test]
    fn an_image_may_name_very_many_variables() {
        let env = Some((0..200_000).map(|number| format!("V{number}=x")).collect());
        let image = ImageConfig { env, cmd: words("x"), ..ImageConfig::default() };
        let spec = spec(|_| {}, &image).unwrap();
        let env = spec.process().as_ref().unwrap().env().clone().unwrap();
        assert!(env.len() > 200_000 && env.contains(&"V199999=x".to_owned()));
    }

    #[test]
    fn the_task_definition_has_the_last_word_in_the_environment() {
        let image = ImageConfig { env: words("A=image B=image"), cmd: words("x"), ..ImageConfig::default() };
        let change = |container: &mut ContainerIntent| {
            container.environment = vec![("B".into(), "task".into()), ("AWS_REGION".into(), "mine".into())];
        };
        let spec = spec(change, &image).unwrap();
        let env = spec.process().as_ref().unwrap().env().clone().unwrap().join("\n");
        expect![[r#"
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
            HOSTNAME=h
            A=image
            B=task
            ECS_CONTAINER_METADATA_URI=http://169.254.170.2/v3/u-1
            ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/u-1
            AWS_EXECUTION_ENV=AWS_ECS_FARGATE
            AWS_REGION=mine
            AWS_DEFAULT_REGION=us-west-2
            AWS_ENDPOINT_URL=http://198.18.15.193
            HOME=/"#]]
        .assert_eq(&env);
    }

    #[test]
    fn two_things_at_one_path_are_refused() {
        let image = ImageConfig { cmd: words("web"), ..ImageConfig::default() };
        let mount = |path: &str| MountIntent { volume: "scratch".to_owned(), path: path.to_owned(), read_only: false };
        let built = |paths: &[&str]| {
            spec(|container| container.mounts = paths.iter().map(|path| mount(path)).collect(), &image)
        };
        assert_eq!(built(&["/data", "/data/"]).unwrap_err().to_string(), "Duplicate mount point: /data/");
        assert!(built(&["/data", "/data/inner"]).is_ok());
    }

    #[test]
    fn limits_volumes_and_the_namespace_are_in_the_specification() {
        let image = ImageConfig { cmd: words("x"), ..ImageConfig::default() };
        let change = |container: &mut ContainerIntent| {
            container.memory_mib = Some(64);
            container.readonly_root_filesystem = true;
            let (volume, path) = ("scratch".to_owned(), "/data".to_owned());
            container.mounts = vec![berth_types::intent::MountIntent { volume, path, read_only: true }];
        };
        let spec = serde_json::to_value(spec(change, &image).unwrap()).unwrap();
        assert_eq!(spec["linux"]["resources"]["memory"]["limit"], 64 << 20);
        assert_eq!(spec["linux"]["resources"]["cpu"]["shares"], 2);
        assert_eq!(spec["linux"]["cgroupsPath"], "/berth/main/t/c");
        assert_eq!(spec["root"]["readonly"], true);
        assert_eq!(spec["process"]["rlimits"][0]["hard"], 65_535);
        assert_eq!(spec["process"]["oomScoreAdj"], serde_json::Value::Null);
        let mounts = spec["mounts"].as_array().unwrap();
        let volume = mounts.iter().find(|mount| mount["destination"] == "/data").unwrap();
        assert_eq!(volume["source"], "/d/volumes/scratch");
        assert_eq!(volume["options"], serde_json::json!(["rbind", "rprivate", "ro"]));
        let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.contains(&serde_json::json!({"type": "network", "path": "/n"})));
    }

    #[test]
    fn a_privileged_container_is_not_covered() {
        let image = ImageConfig { cmd: words("x"), ..ImageConfig::default() };
        let paths = |privileged| {
            let spec = spec(|container| container.privileged = privileged, &image).unwrap();
            spec.linux().as_ref().unwrap().masked_paths().clone().unwrap_or_default().len()
        };
        assert!(paths(false) > 0);
        assert_eq!(paths(true), 0);
    }

    #[test]
    fn the_init_program_is_there_for_those_who_ask() {
        let image = ImageConfig { cmd: words("serve"), ..ImageConfig::default() };
        let line = |change: fn(&mut ContainerIntent)| {
            let spec = spec(change, &image).unwrap();
            let is_mounted = spec.mounts().clone().unwrap().iter().any(|mount| mount.destination() == Path::new(INIT));
            (spec.process().as_ref().unwrap().args().clone().unwrap().join(" "), is_mounted)
        };
        assert_eq!(line(|_| {}), ("serve".to_owned(), false));
        let asked = line(|container| container.linux.init_process_enabled = Some(true));
        assert_eq!(asked, ("/dev/init -s -- serve".to_owned(), true));
        assert_eq!(line(|container| container.interactive = true).0, "/dev/init -i -- serve");
        let terminal = line(|container| (container.interactive, container.pseudo_terminal) = (true, true));
        assert_eq!(terminal, ("serve".to_owned(), false));
    }

    #[test]
    fn a_container_without_command_is_refused() {
        let refused = spec(|_| {}, &ImageConfig::default()).unwrap_err().to_string();
        assert_eq!(refused, "no command specified: neither the image nor the task definition has one");
    }
}
