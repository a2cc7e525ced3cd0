//! What the server wants of one host: complete, numbered, with no choice left to the node.
//!
//! `berth-domain` makes a `HostIntent` from the records (`plan::host`), the server pushes it, the node makes it true.
//! Acting on the same intent twice changes nothing. `diff` and `apply` move an intent over the link as a patch.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::container::{
    Dependency, ExtraHost, HealthCheck, IpcMode, LinuxParameters, LogIntent, PidMode, RestartPolicy, SystemControl,
    Ulimit, VolumeIntent, is_default,
};
use crate::mode::{ContainerLink, NetworkMode, Protocol};
use crate::{
    EniId, GroupSetId, HostId, Ipv4Cidr, MacAddress, SecurityGroupId, SecurityGroupRuleId, SubnetId, TaskId, Vni, VpcId,
};

/// Everything one host must hold. Entries that are absent must go away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostIntent {
    /// The VPCs that have an interface on this host.
    pub vpcs: BTreeMap<Vni, VpcIntent>,
    /// Every distinct set of groups used inside these VPCs, by number.
    pub group_sets: BTreeMap<GroupSetId, GroupSetIntent>,
    /// The rules of every security group of these VPCs.
    pub security_groups: BTreeMap<SecurityGroupId, SecurityGroupIntent>,
    /// Every attached interface of these VPCs, wherever it is plugged.
    pub endpoints: BTreeMap<EniId, EndpointIntent>,
    /// The interfaces to be plugged on this host.
    pub enis: BTreeMap<EniId, EniIntent>,
    /// The tasks of this host that are not over.
    pub tasks: BTreeMap<TaskId, TaskIntent>,
}

/// A VPC as the data path needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcIntent {
    /// Its id, for messages.
    pub vpc: VpcId,
    /// Destinations of the local route.
    pub cidrs: Vec<Ipv4Cidr>,
    /// Its subnets.
    pub subnets: BTreeMap<SubnetId, SubnetIntent>,
}

/// A subnet as the data path needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetIntent {
    /// Its range; the router answers at the first host address.
    pub cidr: Ipv4Cidr,
}

/// The groups behind a group-set number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupSetIntent {
    /// The VPC the groups belong to.
    pub vni: Vni,
    /// Sorted, without repetition.
    pub groups: Vec<SecurityGroupId>,
}

/// A security group: rules in both directions. Allow-only and without order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupIntent {
    /// The rules by id.
    pub rules: BTreeMap<SecurityGroupRuleId, RuleIntent>,
}

/// Which way a rule looks, seen from the interface that carries the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Packets to the interface.
    Ingress,
    /// Packets from the interface.
    Egress,
}

/// One rule of a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleIntent {
    /// Packets to or from the interface.
    pub direction: Direction,
    /// IP protocol number; `None` means all.
    pub protocol: Option<u8>,
    /// What of the protocol is admitted.
    pub ports: PortRange,
    /// The other end.
    pub peer: RulePeer,
}

/// Ports of TCP and UDP, type and code of ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRange {
    /// Everything.
    All,
    /// First and last port, both included (TCP, UDP).
    Ports(u16, u16),
    /// ICMP type, and code if not all codes.
    Icmp(u8, Option<u8>),
}

/// The other end of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulePeer {
    /// Any address in a range.
    Cidr(Ipv4Cidr),
    /// Any interface that carries the group.
    Group(SecurityGroupId),
}

/// An interface somewhere in the VPC, as every host of the VPC must know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointIntent {
    /// Its VPC.
    pub vni: Vni,
    /// Its private address.
    pub address: Ipv4Addr,
    /// Its hardware address, given in answers to ARP.
    pub mac: MacAddress,
    /// Who it is to rules that name groups.
    pub group_set: GroupSetId,
    /// The host it is plugged on.
    pub host: HostId,
}

/// An interface to be plugged on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EniIntent {
    /// Its VPC's number.
    pub vni: Vni,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Range of the subnet: gives prefix length and router.
    pub subnet_cidr: Ipv4Cidr,
    /// CIDRs of the VPC: reached with the full MTU through the router.
    pub vpc_cidrs: Vec<Ipv4Cidr>,
    /// Hardware address of the inner end.
    pub mac: MacAddress,
    /// Private address of the inner end.
    pub address: Ipv4Addr,
    /// Its set of security groups.
    pub group_set: GroupSetId,
    /// Drop packets that are not from or to its own address.
    pub source_dest_check: bool,
    /// MTU of the inner end (9001 as on AWS).
    pub mtu: u32,
    /// Where the inner end belongs.
    pub plug: Plug,
}

/// Where the inner end of an interface belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plug {
    /// Created inside the task's namespace as `eth1` (Fargate).
    InPlace(TaskId),
    /// Appears in the host's namespace first; the plugin `ecs-eni` moves it into the task as `eth0` (EC2 launch type).
    HostFirst(TaskId),
    /// A namespace of its own for `berth shell`, with this name under `<run>/netns/`.
    Seat(String),
}

/// Where a task's capacity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LaunchType {
    /// A container instance of the cluster.
    Ec2,
    /// Any host, in slices of fixed size.
    Fargate,
}

impl LaunchType {
    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Fargate => "FARGATE",
        }
    }
}

/// What a task should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Desired {
    /// Started and kept until an essential container exits.
    Running,
    /// Stopped: containers get SIGTERM, later SIGKILL.
    Stopped,
}

/// A task to run on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskIntent {
    /// Task ARN.
    pub arn: String,
    /// ARN of its cluster.
    pub cluster_arn: String,
    /// Family of its task definition.
    pub family: String,
    /// Revision of its task definition.
    pub revision: u32,
    /// Fargate or EC2.
    pub launch_type: LaunchType,
    /// Zone of its subnet.
    pub availability_zone: String,
    /// Run it or end it.
    pub desired: Desired,
    /// How its containers reach the network.
    #[serde(default)]
    pub network_mode: NetworkMode,
    /// Its interface, an entry of `HostIntent::enis` while attached; in network mode awsvpc only.
    #[serde(default)]
    pub eni: Option<EniId>,
    /// Host name inside the task: the interface's private DNS name, if it has one.
    pub hostname: Option<String>,
    /// Name servers and search domains for `/etc/resolv.conf`; outside of awsvpc the host's own hold where none is given.
    pub dns: DnsIntent,
    /// Hard limit of all containers together, CPU units (1024 = one core).
    pub cpu_units: Option<u32>,
    /// Hard limit of all containers together, MiB.
    pub memory_mib: Option<u32>,
    /// How much its containers may write, layers of images left out, GiB; what the host has when absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ephemeral_storage_gib: Option<u32>,
    /// What containers can mount.
    pub volumes: Vec<VolumeIntent>,
    /// Whose processes containers see.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid_mode: PidMode,
    /// Whose shared memory containers see.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipc_mode: IpcMode,
    /// Processor the images must be made for, as in the task definition: `X86_64`, `ARM64`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu_architecture: Option<String>,
    /// In the order of the task definition.
    pub containers: Vec<ContainerIntent>,
}

/// Contents of `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DnsIntent {
    /// `nameserver` lines.
    pub servers: Vec<Ipv4Addr>,
    /// `search` line.
    pub search: Vec<String>,
}

/// A container of a task, overrides already applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerIntent {
    /// Name in the task definition.
    pub name: String,
    /// `arn:aws:ecs:...:container/CLUSTER/TASK/UUID`.
    pub arn: String,
    /// Secret-free UUID naming the container at the metadata endpoint (`/v4/UUID`).
    pub endpoint_id: String,
    /// Image reference as the user wrote it.
    pub image: String,
    /// Replaces the image's entry point.
    pub entry_point: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Later entries win.
    pub environment: Vec<(String, String)>,
    /// The task ends when this container does.
    pub essential: bool,
    /// CPU weight in CPU units (Docker shares).
    pub cpu_units: u32,
    /// Hard memory limit.
    pub memory_mib: Option<u32>,
    /// Soft memory limit.
    pub memory_reservation_mib: Option<u32>,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_s: u32,
    /// Replaces the image's working directory.
    pub working_directory: Option<String>,
    /// Replaces the image's user: `user`, `user:group`, `uid`, `uid:gid`, ...
    pub user: Option<String>,
    /// The root file system is mounted read-only.
    pub readonly_root_filesystem: bool,
    /// A terminal is allocated for the container.
    pub pseudo_terminal: bool,
    /// Labels added to the container.
    pub labels: BTreeMap<String, String>,
    /// Volumes of the task mounted into the container; those the definitions of others name for it among them.
    pub mounts: Vec<MountIntent>,
    /// Containers whose mounts it has, too: what their images name as volumes comes to it on the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes_from: Vec<VolumesFrom>,
    /// Ports the definition names: published in network mode bridge, told of in every mode.
    pub ports: Vec<PortIntent>,
    /// Containers of the task it knows by name (network mode bridge).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<ContainerLink>,
    /// Name it gives itself; not in network mode awsvpc, nor are the next four.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hostname: Option<String>,
    /// Lines added to its `/etc/hosts`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra_hosts: Vec<ExtraHost>,
    /// Name servers it asks instead of those of its task or host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_servers: Vec<IpAddr>,
    /// Search domains it has instead of those of its task or host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_search_domains: Vec<String>,
    /// It has loopback only, whatever the mode of its task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disable_networking: bool,
    /// Capabilities, devices, memory file systems and the like.
    #[serde(default, skip_serializing_if = "is_default")]
    pub linux: LinuxParameters,
    /// Resource limits of its processes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ulimits: Vec<Ulimit>,
    /// It may do what the host may.
    #[serde(default, skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// Its standard input stays open, though nobody writes to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interactive: bool,
    /// Its programs gain nothing by set-user-id.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_new_privileges: bool,
    /// Kernel parameters; those of the network hold for the task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub system_controls: Vec<SystemControl>,
    /// Containers it waits for before it starts, and outlives in the end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depends_on: Vec<Dependency>,
    /// Seconds until it must have reached what others wait for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_timeout_s: Option<u32>,
    /// Tells whether it works.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health_check: Option<HealthCheck>,
    /// Whether it is started again in its place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart_policy: Option<RestartPolicy>,
    /// Where its output goes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log: LogIntent,
}

/// A container whose mounts another one has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Name of the container that has them first.
    pub container: String,
    /// Without write permission.
    pub read_only: bool,
}

/// A task volume seen in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountIntent {
    /// Name of the volume.
    pub volume: String,
    /// Path in the container.
    pub path: String,
    /// Without write permission.
    pub read_only: bool,
}

/// A port a container listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortIntent {
    /// Port number; of a range the first.
    pub container_port: u16,
    /// Last port of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_container_port: Option<u16>,
    /// Port of the host; the host chooses when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Protocol.
    pub protocol: Protocol,
}

/// Difference between two maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapPatch<K: Ord, V> {
    /// New and changed entries.
    #[serde(default = "BTreeMap::new")]
    pub put: BTreeMap<K, V>,
    /// Removed entries.
    #[serde(default = "Vec::new")]
    pub gone: Vec<K>,
}

impl<K: Ord + Clone, V: Clone + PartialEq> MapPatch<K, V> {
    fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let put = new.iter().filter(|(k, v)| old.get(k) != Some(v)).map(|(k, v)| (k.clone(), v.clone())).collect();
        let gone = old.keys().filter(|k| !new.contains_key(k)).cloned().collect();
        Self { put, gone }
    }

    fn apply(self, map: &mut BTreeMap<K, V>) {
        for key in &self.gone {
            map.remove(key);
        }
        map.extend(self.put);
    }

    fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

/// Moves a `HostIntent` from one generation to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntentPatch {
    /// The generation the patch starts from.
    pub from: u64,
    /// The generation it leads to.
    pub to: u64,
    vpcs: MapPatch<Vni, VpcIntent>,
    group_sets: MapPatch<GroupSetId, GroupSetIntent>,
    security_groups: MapPatch<SecurityGroupId, SecurityGroupIntent>,
    endpoints: MapPatch<EniId, EndpointIntent>,
    enis: MapPatch<EniId, EniIntent>,
    tasks: MapPatch<TaskId, TaskIntent>,
}

impl IntentPatch {
    /// True if the two generations want the same.
    pub fn is_empty(&self) -> bool {
        self.vpcs.is_empty()
            && self.group_sets.is_empty()
            && self.security_groups.is_empty()
            && self.endpoints.is_empty()
            && self.enis.is_empty()
            && self.tasks.is_empty()
    }
}

/// The patch that leads from `old` to `new`.
pub fn diff(from: u64, old: &HostIntent, to: u64, new: &HostIntent) -> IntentPatch {
    IntentPatch {
        from,
        to,
        vpcs: MapPatch::between(&old.vpcs, &new.vpcs),
        group_sets: MapPatch::between(&old.group_sets, &new.group_sets),
        security_groups: MapPatch::between(&old.security_groups, &new.security_groups),
        endpoints: MapPatch::between(&old.endpoints, &new.endpoints),
        enis: MapPatch::between(&old.enis, &new.enis),
        tasks: MapPatch::between(&old.tasks, &new.tasks),
    }
}

/// Applies a patch. The caller checks that `patch.from` is the generation it holds.
pub fn apply(intent: &mut HostIntent, patch: IntentPatch) {
    patch.vpcs.apply(&mut intent.vpcs);
    patch.group_sets.apply(&mut intent.group_sets);
    patch.security_groups.apply(&mut intent.security_groups);
    patch.endpoints.apply(&mut intent.endpoints);
    patch.enis.apply(&mut intent.enis);
    patch.tasks.apply(&mut intent.tasks);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn intent(subnets: &BTreeMap<u8, u8>) -> HostIntent {
        let vpc = |k: u8, v: u8| {
            let cidrs = vec![Ipv4Cidr::containing(Ipv4Addr::new(10, v, 0, 0), 16).unwrap()];
            (Vni(k.into()), VpcIntent { vpc: VpcId::from_bits(k.into()), cidrs, subnets: BTreeMap::new() })
        };
        HostIntent { vpcs: subnets.iter().map(|(k, v)| vpc(*k, *v)).collect(), ..HostIntent::default() }
    }

    #[test]
    fn a_task_written_before_there_were_other_modes_has_an_interface() {
        let text = r#"{"arn":"a","cluster_arn":"c","family":"f","revision":1,"launch_type":"FARGATE",
            "availability_zone":"z","desired":"RUNNING","eni":"eni-00000000000000001","hostname":null,
            "dns":{"servers":[],"search":[]},"cpu_units":null,"memory_mib":null,"volumes":[],"containers":[]}"#;
        let task: TaskIntent = serde_json::from_str(text).unwrap();
        assert_eq!((task.network_mode, task.eni), (NetworkMode::Awsvpc, Some(EniId::from_bits(1))));
        let port: PortIntent = serde_json::from_str(r#"{"container_port":80,"protocol":"tcp"}"#).unwrap();
        assert_eq!((port.host_port, port.protocol), (None, Protocol::Tcp));
    }

    proptest! {
        #[test]
        fn a_patch_leads_to_the_new_intent_over_the_wire(old: BTreeMap<u8, u8>, new: BTreeMap<u8, u8>) {
            let (mut held, wanted) = (intent(&old), intent(&new));
            let patch = diff(1, &held, 2, &wanted);
            prop_assert_eq!(patch.is_empty(), held == wanted);
            let text = serde_json::to_string(&patch).unwrap();
            apply(&mut held, serde_json::from_str(&text).unwrap());
            prop_assert_eq!(held, wanted);
        }
    }
}
