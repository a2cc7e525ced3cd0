//! The specification of a container for runc: Docker's defaults, the image's words, the task definition's changes.
//!
//! There is no seccomp profile: Docker's is not part of the OCI specification, and a wrong one breaks programs in
//! ways nobody can see. Capabilities, masked paths and cgroups limit the container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use berth_types::intent::{ContainerIntent, LaunchType, TaskIntent};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capability, Linux, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemoryBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxResources, LinuxResourcesBuilder, Mount, MountBuilder, ProcessBuilder, Root, RootBuilder,
    Spec, SpecBuilder, UserBuilder, get_default_maskedpaths, get_default_readonly_paths,
};

use super::users::Identity;
use crate::images::ImageConfig;

/// containerd's shim keeps containers with the same group in one process: one shim for each task.
const GROUP: &str = "io.containerd.runc.v2.group";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's set.
const CAPABILITIES: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// All that decides a container's specification.
pub(crate) struct Wanted<'a> {
    pub task: &'a TaskIntent,
    pub container: &'a ContainerIntent,
    pub image: &'a ImageConfig,
    pub user: &'a Identity,
    /// Its host name.
    pub hostname: &'a str,
    /// Folder with the task's volumes.
    pub task_dir: &'a Path,
    /// Folder with its `hosts`, `hostname` and `resolv.conf`.
    pub files: &'a Path,
    /// File of its network namespace.
    pub netns: &'a Path,
    /// Its cgroup, e.g. `/berth/main/TASK/CONTAINER`.
    pub cgroup: &'a str,
    /// Containers with the same are kept by one shim: the id of the task's pause container, or its own.
    pub group: &'a str,
    pub region: &'a str,
}

/// The specification of an application's container.
pub(crate) fn build(wanted: &Wanted<'_>) -> Result<Spec, String> {
    let arguments = arguments(wanted.container, wanted.image)
        .ok_or_else(|| "no command specified: neither the image nor the task definition has one".to_owned())?;
    application(wanted, arguments).map_err(|cause| cause.to_string())
}

fn application(wanted: &Wanted<'_>, arguments: Vec<String>) -> Result<Spec, OciSpecError> {
    let container = wanted.container;
    let user = UserBuilder::default()
        .uid(wanted.user.uid)
        .gid(wanted.user.gid)
        .additional_gids([&[wanted.user.gid], wanted.user.groups.as_slice()].concat())
        .build()?;
    let cwd = container.working_directory.clone().or_else(|| wanted.image.working_dir.clone());
    let process = ProcessBuilder::default()
        .terminal(container.pseudo_terminal)
        .user(user)
        .args(arguments)
        .env(environment(wanted))
        .cwd(cwd.filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| "/".to_owned()))
        .capabilities(capabilities(&CAPABILITIES)?)
        .no_new_privileges(false)
        .build()?;
    let mut process = process;
    // Raising a limit needs CAP_SYS_RESOURCE, which a container host may not give us: the node's limits are inherited.
    process.set_rlimits(None);
    let mut mounts = system_mounts()?;
    mounts.extend(task_mounts(wanted)?);
    let resources = LinuxResourcesBuilder::default()
        .devices(devices()?)
        .cpu(LinuxCpuBuilder::default().shares(shares(container)).build()?)
        .memory(memory(container)?)
        .build()?;
    SpecBuilder::default()
        .version("1.0.2")
        .root(root(PathBuf::from("rootfs"), container.readonly_root_filesystem)?)
        .process(process)
        .hostname(wanted.hostname)
        .mounts(mounts)
        .annotations(HashMap::from([(GROUP.to_owned(), wanted.group.to_owned())]))
        .linux(linux(wanted.netns, wanted.cgroup, resources)?)
        .build()
}

/// The specification of a pause container in the namespace file `netns`.
pub(crate) fn pause(id: &str, rootfs: &Path, netns: &Path, cgroup: &str) -> Result<Spec, String> {
    let build = || {
        let mut process = ProcessBuilder::default()
            .terminal(false)
            .args(vec![crate::pause::COMMAND.to_owned()])
            .env(vec![PATH.to_owned()])
            .cwd("/")
            .capabilities(capabilities(&[])?)
            .no_new_privileges(true)
            .build()?;
        process.set_rlimits(None);
        let resources = LinuxResourcesBuilder::default()
            .devices(devices()?)
            .cpu(LinuxCpuBuilder::default().shares(2u64).build()?)
            .build()?;
        SpecBuilder::default()
            .version("1.0.2")
            .root(root(rootfs.to_owned(), true)?)
            .process(process)
            .mounts(system_mounts()?)
            .annotations(HashMap::from([(GROUP.to_owned(), id.to_owned())]))
            .linux(linux(netns, cgroup, resources)?)
            .build()
    };
    build().map_err(|cause: OciSpecError| cause.to_string())
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

/// The environment: image, then what ECS adds, then the task definition. Later entries replace earlier ones.
pub(crate) fn environment(wanted: &Wanted<'_>) -> Vec<String> {
    let endpoint = |version: &str| format!("http://169.254.170.2/{version}/{}", wanted.container.endpoint_id);
    let execution = match wanted.task.launch_type {
        LaunchType::Fargate => "AWS_ECS_FARGATE",
        LaunchType::Ec2 => "AWS_ECS_EC2",
    };
    let mut merged: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match merged.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value.to_owned(),
        None => merged.push((name.to_owned(), value.to_owned())),
    };
    let (name, value) = PATH.split_once('=').unwrap_or((PATH, ""));
    set(name, value);
    set("HOSTNAME", wanted.hostname);
    for entry in wanted.image.env.iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        set(name, value);
    }
    let added = [
        ("ECS_CONTAINER_METADATA_URI", endpoint("v3")),
        ("ECS_CONTAINER_METADATA_URI_V4", endpoint("v4")),
        ("AWS_EXECUTION_ENV", execution.to_owned()),
        ("AWS_REGION", wanted.region.to_owned()),
        ("AWS_DEFAULT_REGION", wanted.region.to_owned()),
    ];
    for (name, value) in &added {
        set(name, value);
    }
    for (name, value) in &wanted.container.environment {
        set(name, value);
    }
    if !merged.iter().any(|(name, _)| name == "HOME") {
        let home = wanted.user.home.clone().unwrap_or_else(|| "/".to_owned());
        merged.push(("HOME".to_owned(), home));
    }
    if wanted.container.pseudo_terminal && !merged.iter().any(|(name, _)| name == "TERM") {
        merged.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    merged.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// CPU weight of a container: the kernel takes no less than 2.
pub(crate) fn shares(container: &ContainerIntent) -> u64 {
    u64::from(container.cpu_units.max(2))
}

fn memory(container: &ContainerIntent) -> Result<oci_spec::runtime::LinuxMemory, OciSpecError> {
    let bytes = |mib: u32| i64::from(mib) << 20;
    let mut memory = LinuxMemoryBuilder::default();
    if let Some(limit) = container.memory_mib {
        memory = memory.limit(bytes(limit));
    }
    if let Some(reservation) = container.memory_reservation_mib {
        memory = memory.reservation(bytes(reservation));
    }
    memory.build()
}

fn root(path: PathBuf, read_only: bool) -> Result<Root, OciSpecError> {
    RootBuilder::default().path(path).readonly(read_only).build()
}

fn linux(netns: &Path, cgroup: &str, resources: LinuxResources) -> Result<Linux, OciSpecError> {
    LinuxBuilder::default()
        .namespaces(namespaces(netns)?)
        .cgroups_path(cgroup)
        .resources(resources)
        .masked_paths(get_default_maskedpaths())
        .readonly_paths(get_default_readonly_paths())
        .build()
}

fn namespaces(netns: &Path) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let own = [LinuxNamespaceType::Pid, LinuxNamespaceType::Ipc, LinuxNamespaceType::Uts, LinuxNamespaceType::Mount];
    let own = own.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build());
    let network = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).path(netns).build();
    own.chain([network]).collect()
}

fn capabilities(set: &[Capability]) -> Result<LinuxCapabilities, OciSpecError> {
    let set: oci_spec::runtime::Capabilities = set.iter().copied().collect();
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(oci_spec::runtime::Capabilities::new())
        .ambient(oci_spec::runtime::Capabilities::new())
        .build()
}

/// Devices a container may use: none of the host's, but the harmless ones every Linux program expects.
fn devices() -> Result<Vec<LinuxDeviceCgroup>, OciSpecError> {
    let rule = |allow: bool, kind: LinuxDeviceType, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).access(access);
        if let Some(major) = major {
            rule = rule.major(major);
        }
        if let Some(minor) = minor {
            rule = rule.minor(minor);
        }
        rule.build()
    };
    let mut rules = vec![
        rule(false, LinuxDeviceType::A, None, None, "rwm")?,
        rule(true, LinuxDeviceType::C, None, None, "m")?,
        rule(true, LinuxDeviceType::B, None, None, "m")?,
    ];
    // null, zero, full, random, urandom, tty, console, ptmx, and the terminals of devpts.
    let harmless = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
    for (major, minor) in harmless {
        rules.push(rule(true, LinuxDeviceType::C, Some(major), Some(minor), "rwm")?);
    }
    rules.push(rule(true, LinuxDeviceType::C, Some(136), None, "rwm")?);
    Ok(rules)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
        .build()
}

fn system_mounts() -> Result<Vec<Mount>, OciSpecError> {
    Ok(vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"])?,
    ])
}

fn task_mounts(wanted: &Wanted<'_>) -> Result<Vec<Mount>, OciSpecError> {
    let mut mounts = Vec::new();
    for file in ["hosts", "hostname", "resolv.conf"] {
        let source = wanted.files.join(file);
        mounts.push(mount(&format!("/etc/{file}"), "bind", &source.display().to_string(), &["rbind", "rprivate"])?);
    }
    for volume in &wanted.container.mounts {
        let source = super::files::volume_dir(wanted.task_dir, &volume.volume);
        let access = if volume.read_only { "ro" } else { "rw" };
        mounts.push(mount(&volume.path, "bind", &source.display().to_string(), &["rbind", "rprivate", access])?);
    }
    Ok(mounts)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use berth_types::EniId;
    use berth_types::intent::{Desired, DnsIntent};
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
            volumes: Vec::new(),
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

    fn spec(change: impl FnOnce(&mut ContainerIntent), image: &ImageConfig) -> Result<Spec, String> {
        let (task, mut container) = (task(), container());
        change(&mut container);
        build(&Wanted {
            task: &task,
            container: &container,
            image,
            user: &Identity::default(),
            hostname: "h",
            task_dir: Path::new("/d"),
            files: Path::new("/d"),
            netns: Path::new("/n"),
            cgroup: "/berth/main/t/c",
            group: "pause",
            region: "us-west-2",
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
            HOME=/"#]]
        .assert_eq(&env);
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
        assert_eq!(spec["process"]["rlimits"], serde_json::Value::Null);
        assert_eq!(spec["process"]["oomScoreAdj"], serde_json::Value::Null);
        let mounts = spec["mounts"].as_array().unwrap();
        let volume = mounts.iter().find(|mount| mount["destination"] == "/data").unwrap();
        assert_eq!(volume["source"], "/d/volumes/scratch");
        assert_eq!(volume["options"], serde_json::json!(["rbind", "rprivate", "ro"]));
        let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.contains(&serde_json::json!({"type": "network", "path": "/n"})));
    }

    #[test]
    fn a_container_without_command_is_refused() {
        let refused = spec(|_| {}, &ImageConfig::default()).unwrap_err();
        assert_eq!(refused, "no command specified: neither the image nor the task definition has one");
    }
}
