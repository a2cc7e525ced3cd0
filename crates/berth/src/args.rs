// SPDX-License-Identifier: Apache-2.0
//! The command line: commands, options, environment variables and their help texts.
//!
//! This module only parses; the commands are in `command/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use berth_control::Transport;
use berth_node::{ImageLimits, Uplink};
use berth_types::Ipv4Cidr;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::server_names;

/// Amazon ECS with task networking, on your own Linux hosts.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    max_term_width = 110,
    after_help = "\
Start here:
  berth up                       run everything on this machine (root)
  eval \"$(berth env)\"            point the aws CLI, boto3, Terraform at it
  aws ecs create-cluster         ... and use them as with AWS
  berth down                     stop everything and clean up

`berth COMMAND --help` explains a command with examples."
)]
pub struct Berth {
    /// Data, sockets and names of this installation.
    #[command(flatten)]
    pub installation: InstallationArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Selects an installation on this machine.
#[derive(Clone, Debug, Args)]
pub struct InstallationArgs {
    /// Folder of persistent data: records, images, logs, the administrator's key
    #[arg(long, global = true, env = "BERTH_DATA", default_value = "/var/lib/berth", value_name = "DIR")]
    pub data: PathBuf,
    /// Folder of sockets and namespaces, removed by a reboot
    #[arg(long, global = true, env = "BERTH_RUN", default_value = "/run/berth", value_name = "DIR")]
    pub run: PathBuf,
    /// Name of the installation; several may run side by side, each in a network namespace of its own
    #[arg(long, global = true, env = "BERTH_INSTANCE", default_value = "berth", value_name = "NAME")]
    pub instance: String,
}

/// The command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine: server and node, restarted when they die
    #[command(after_help = UP_HELP)]
    Up(UpArgs),
    /// Run the server only: the AWS API and the records
    #[command(after_help = SERVER_HELP)]
    Server(ServerArgs),
    /// Run the node only: containers and packets of this host
    #[command(after_help = NODE_HELP)]
    Node(NodeArgs),
    /// Answer at the regional endpoints of this host; the node starts it
    #[command(hide = true)]
    Edge(EdgeArgs),
    /// Stop tasks and processes and remove everything they created in the kernel
    #[command(after_help = DOWN_HELP)]
    Down(DownArgs),
    /// Print the environment that points AWS tools at Berth
    #[command(after_help = ENV_HELP)]
    Env(EnvArgs),
    /// Show the running processes, server and hosts
    #[command(after_help = STATUS_HELP)]
    Status(ShowArgs),
    /// Report missing requirements of this machine, with remedies
    #[command(after_help = DOCTOR_HELP)]
    Doctor(ShowArgs),
    /// Run a command from a new network interface inside a VPC
    #[command(after_help = SHELL_HELP)]
    Shell(ShellArgs),
    /// Report why a packet arrives or does not: each gate with the rule that decides
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Show the output of a task's containers
    #[command(after_help = LOGS_HELP)]
    Logs(LogsArgs),
    /// Container images on this machine's hosts
    #[command(subcommand, after_help = IMAGE_HELP)]
    Image(ImageCommand),
    /// Network interfaces on this machine's hosts
    #[command(subcommand)]
    Eni(EniCommand),
    /// Show or set the limit of an interface or a NAT gateway
    Rate(RateArgs),
    /// Hosts of the installation
    #[command(subcommand)]
    Host(HostCommand),
}

/// Options of the server.
#[derive(Clone, Debug, Args)]
pub struct ServerOptions {
    /// Address of the AWS API
    #[arg(long, env = "BERTH_LISTEN", default_value = "127.0.0.1:4566", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Serve HTTPS, with a certificate of the installation's own authority (DATA/ca/certificate.pem)
    #[arg(long, env = "BERTH_TLS", conflicts_with = "insecure_listen")]
    pub tls: bool,
    /// Another name or address by which clients call the server, for its certificate; may be given several times
    #[arg(long, env = "BERTH_TLS_NAME", requires = "tls", value_delimiter = ',', value_name = "NAME",
        value_parser = server_names::name)]
    pub tls_name: Vec<String>,
    /// Serve plain HTTP on an address other machines reach; they can read every answer unless something in front of the
    /// server encrypts
    #[arg(long, env = "BERTH_INSECURE_LISTEN")]
    pub insecure_listen: bool,
    /// Address of /_berth/health and /_berth/metrics, on loopback; by default 127.0.0.1 and the port after --listen's
    #[arg(long, env = "BERTH_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<SocketAddr>,
    /// Region of the API
    #[arg(long, env = "BERTH_REGION", default_value = "us-west-2")]
    pub region: String,
    /// Account of the API: 12 digits
    #[arg(long, env = "BERTH_ACCOUNT", default_value = "123456789012", value_parser = account)]
    pub account: String,
    /// Pool of public addresses, such as 198.18.0.0/20 (the default of the first start); another one only while none of
    /// its addresses is in use
    #[arg(long, env = "BERTH_PUBLIC_POOL", value_name = "CIDR")]
    pub public_pool: Option<Ipv4Cidr>,
    /// Quota of EC2 networking, such as elastic-ips=50 (AWS begins with 5); may be given several times. Names: vpcs,
    /// internet-gateways, elastic-ips, nat-gateways-per-zone, cidrs-per-vpc, subnets-per-vpc, route-tables-per-vpc,
    /// routes-per-route-table, network-acls-per-vpc, network-acl-entries, peerings-per-vpc, security-groups,
    /// rules-per-security-group, security-groups-per-interface
    #[arg(long, env = "BERTH_QUOTA", value_delimiter = ',', value_name = "NAME=NUMBER", value_parser = quota)]
    pub quota: Vec<(String, u32)>,
    /// Tasks of launch type EC2 may have assignPublicIp ENABLED, and get a public address as those of Fargate do; AWS
    /// refuses that
    #[arg(long, env = "BERTH_EC2_TASK_PUBLIC_IP")]
    pub ec2_task_public_ip: bool,
    /// Accept any access key without verifying its signature, e.g. test/test; everyone who reaches the port is root
    #[arg(long, env = "BERTH_TRUST_ANY_KEY")]
    pub trust_any_key: bool,
    /// Time for which stopped tasks can be described
    #[arg(long, env = "BERTH_KEEP_STOPPED_TASKS", default_value_t = 60, value_name = "MINUTES")]
    pub keep_stopped_tasks: u32,
    /// Rate limits of operations: off, aws (the rates AWS documents), or GROUP=BURST/PER_SECOND on top of either, such
    /// as ecs-cluster-modify=20/1; may be given several times. Calls above a limit get AWS's errors
    #[arg(long, env = "BERTH_THROTTLE", value_delimiter = ',', default_value = "off", value_name = "RATE")]
    pub throttle: Vec<String>,
}

/// Options of the node.
#[derive(Clone, Debug, Args)]
pub struct NodeOptions {
    /// ECS cluster this host joins as a container instance, as soon as the cluster exists
    #[arg(long, env = "BERTH_CLUSTER", default_value = "default", value_name = "NAME")]
    pub cluster: String,
    /// Use another address for the images of a registry; may be given several times. A registry on this machine is used
    /// only if it is named here: 127.0.0.1:5000=http://127.0.0.1:5000
    #[arg(long, env = "BERTH_MIRROR", value_delimiter = ',', value_name = "REGISTRY=URL")]
    pub mirror: Vec<String>,
    /// When images are pulled: default (always; the cached one is used when that fails), always, once, or prefer-cached
    /// (and never cleaned up)
    #[arg(long, env = "BERTH_IMAGE_PULL_BEHAVIOR", default_value = "default", value_name = "WHEN")]
    pub image_pull_behavior: String,
    /// Minutes between two clean-ups of images
    #[arg(long, env = "BERTH_IMAGE_CLEANUP_INTERVAL", default_value_t = 30, value_name = "MINUTES")]
    pub image_cleanup_interval: u64,
    /// Images used within this time are not cleaned up
    #[arg(long, env = "BERTH_IMAGE_MINIMUM_CLEANUP_AGE", default_value_t = 60, value_name = "MINUTES")]
    pub image_minimum_cleanup_age: u64,
    /// Maximum number of images removed in one clean-up
    #[arg(long, env = "BERTH_NUM_IMAGES_DELETE_PER_CYCLE", default_value_t = 5, value_name = "COUNT")]
    pub num_images_delete_per_cycle: usize,
    /// Limits of one image.
    #[command(flatten)]
    pub image_limits: ImageLimitOptions,
    /// Hours after which the logs of a stopped task are removed
    #[arg(long, env = "BERTH_STOPPED_LOGS_MAX_AGE", default_value_t = 168, value_name = "HOURS")]
    pub stopped_logs_max_age: u32,
    /// Maximum size of the logs of all stopped tasks; the oldest are removed first
    #[arg(long, env = "BERTH_STOPPED_LOGS_MAX_SIZE", default_value_t = 1024, value_name = "MIB")]
    pub stopped_logs_max_size: u32,
    /// New tasks are placed here only while this part of the data folder's file system is free
    #[arg(long, env = "BERTH_FREE_SPACE_MIN", default_value_t = 10, value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=99))]
    pub free_space_min: u8,
    /// Socket of a running containerd; by default Berth starts one of its own
    #[arg(long, env = "BERTH_CONTAINERD", value_name = "SOCKET")]
    pub containerd: Option<PathBuf>,
    /// OCI runtime, crun or runc; by default crun, unless only runc is installed
    #[arg(long, env = "BERTH_OCI_RUNTIME", value_name = "NAME", value_parser = berth_shim::PROGRAMS)]
    pub oci_runtime: Option<String>,
    /// CPU units this host offers to tasks (1024 for each core); measured by default
    #[arg(long, env = "BERTH_CPU", value_name = "UNITS")]
    pub cpu: Option<u32>,
    /// Memory this host offers to tasks; measured by default
    #[arg(long, env = "BERTH_MEMORY", value_name = "MIB")]
    pub memory: Option<u32>,
    /// Maximum number of task interfaces on this host
    #[arg(long, env = "BERTH_ENIS", value_name = "COUNT")]
    pub enis: Option<u32>,
    /// Folder with the plugins ecs-eni, ecs-bridge and ecs-ipam; by default links to berth-cni, which is in the folder
    /// of this program
    #[arg(long, env = "BERTH_CNI", value_name = "DIR")]
    pub cni: Option<PathBuf>,
    /// Number of namespaces kept ready for Fargate tasks; half as many are kept for the EC2 launch type
    #[arg(long, env = "BERTH_PREPARED_NAMESPACES", default_value_t = 8, value_name = "COUNT")]
    pub prepared_namespaces: usize,
    /// Maximum number of processes and threads of a task, or none for no limit
    #[arg(long, env = "BERTH_TASK_PIDS_LIMIT", default_value_t = berth_node::TASK_PIDS.to_string(), value_name = "COUNT")]
    pub task_pids_limit: String,
    /// Log refused system calls of containers to the kernel's log (`dmesg`, lines with type=1326): shows why a program
    /// fails with "Operation not permitted"
    #[arg(long, env = "BERTH_LOG_REFUSED_CALLS")]
    pub log_refused_calls: bool,
    /// Tasks of launch type EC2 cannot reach the instance metadata address 169.254.169.254; those of Fargate never can
    #[arg(long, env = "BERTH_BLOCK_IMDS")]
    pub block_imds: bool,
    /// Containers have no variable AWS_ENDPOINT_URL, which leads AWS's tools to this installation
    #[arg(long, env = "BERTH_NO_ENDPOINT_VARIABLE")]
    pub no_endpoint_variable: bool,
    /// Packets of tasks may leave the machine, with an address of the machine, by this device, or by every one that leads
    /// outside if none is named. Without this option tasks reach the machine and the namespaces it routes to
    #[arg(long, env = "BERTH_UPLINK", value_name = "DEVICE", num_args = 0..=1, default_missing_value = ANY_DEVICE)]
    pub uplink: Option<String>,
    /// Subnet of the host's primary interface, in the host's zone (with several hosts, one for each zone); by default the
    /// zone's default subnet. `berth host attach` moves it later
    #[arg(long, env = "BERTH_INSTANCE_SUBNET", value_delimiter = ',', value_name = "SUBNET-ID")]
    pub instance_subnet: Vec<String>,
    /// Security groups of the host's primary interface; by default the default group of its VPC
    #[arg(long, env = "BERTH_INSTANCE_SECURITY_GROUPS", value_delimiter = ',', value_name = "SG-ID")]
    pub instance_security_groups: Vec<String>,
    /// The host has no primary interface: nothing of it is reached from a VPC
    #[arg(long, env = "BERTH_NO_INSTANCE_INTERFACE",
        conflicts_with_all = ["instance_subnet", "instance_security_groups"])]
    pub no_instance_interface: bool,
}

/// `--uplink` without a device.
const ANY_DEVICE: &str = "*";

impl NodeOptions {
    /// The uplink in the form the node takes.
    pub fn uplink(&self) -> Option<Uplink> {
        self.uplink.as_deref().map(|device| match device {
            ANY_DEVICE => Uplink::Any,
            device => Uplink::Device(device.to_owned()),
        })
    }
}

/// Limits of one image.
#[derive(Clone, Debug, Args)]
pub struct ImageLimitOptions {
    /// Maximum number of layers
    #[arg(long, env = "BERTH_IMAGE_LAYERS_MAX", default_value_t = 127, value_name = "COUNT")]
    pub image_layers_max: usize,
    /// Maximum size of the fetched layers
    #[arg(long, env = "BERTH_IMAGE_GIB_MAX", default_value_t = 20, value_name = "GIB")]
    pub image_gib_max: u32,
    /// Maximum size of the unpacked files
    #[arg(long, env = "BERTH_IMAGE_UNPACKED_GIB_MAX", default_value_t = 50, value_name = "GIB")]
    pub image_unpacked_gib_max: u32,
}

impl ImageLimitOptions {
    /// The limits in the form the node takes.
    pub fn limits(&self) -> ImageLimits {
        let bytes = |gib: u32| u64::from(gib) << 30;
        ImageLimits {
            layers: self.image_layers_max,
            fetched_bytes: bytes(self.image_gib_max),
            unpacked_bytes: bytes(self.image_unpacked_gib_max),
        }
    }
}

/// Maximum number of simulated hosts; a larger number is probably a mistake.
const HOSTS_MAX: u32 = 64;

/// `berth up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The server's options.
    #[command(flatten)]
    pub server: ServerOptions,
    /// The node's options.
    #[command(flatten)]
    pub node: NodeOptions,
    /// Number of hosts: more than one are simulated, each a node with its own network namespace, folders and
    /// containerd; tasks of one VPC on different hosts do not reach each other yet, except at public addresses
    #[arg(long, env = "BERTH_HOSTS", default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(HOSTS_MAX)))]
    pub hosts: u32,
    /// Return when everything is ready, and keep running in the background
    #[arg(long)]
    pub detach: bool,
}

/// `berth server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Its options.
    #[command(flatten)]
    pub server: ServerOptions,
}

/// `berth node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Its options.
    #[command(flatten)]
    pub node: NodeOptions,
    /// Region shown to tasks
    #[arg(long, env = "BERTH_REGION", default_value = "us-west-2")]
    pub region: String,
    /// The server's Unix socket; by default the one in the run folder
    #[arg(long, env = "BERTH_SERVER_SOCKET", value_name = "SOCKET")]
    pub server_socket: Option<PathBuf>,
    /// Network namespace used as the host's; by default the one this program is started in. Images are always pulled
    /// from the latter
    #[arg(long, value_name = "FILE")]
    pub netns: Option<PathBuf>,
    /// Availability zone of this host; by default the region's first
    #[arg(long, env = "BERTH_AVAILABILITY_ZONE", value_name = "ZONE")]
    pub availability_zone: Option<String>,
}

/// `berth down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Also remove the data folder: records, images, logs, keys
    #[arg(long)]
    pub purge: bool,
}

/// `berth env`.
#[derive(Debug, Args)]
pub struct EnvArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = EnvFormat::Shell)]
    pub output: EnvFormat,
}

/// Output format of `berth env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EnvFormat {
    /// `export` lines for a shell.
    Shell,
    /// One JSON object.
    Json,
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The option for the output format.
#[derive(Clone, Copy, Debug, Args)]
pub struct ShowArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// Selects one of several hosts of this machine.
#[derive(Clone, Debug, Args)]
pub struct OnHost {
    /// Only this host of `berth up --hosts`, by number or container instance id
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}

/// `berth shell`.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// Host for the interface, by number or container instance id; the one with most free capacity when absent
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Subnet of the interface; a default subnet when absent
    #[arg(long, value_name = "SUBNET-ID")]
    pub subnet: Option<String>,
    /// Security groups of the interface; the VPC's default group when absent
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "SG-ID")]
    pub security_groups: Vec<String>,
    /// Command and its arguments; an interactive shell when absent
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `berth rate`.
#[derive(Debug, Args)]
pub struct RateArgs {
    /// A NAT gateway (nat-...), an interface (eni-...), an instance (i-...), or a task; without it every limit is listed
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The limit, such as 100mbit or 10gbit, or none; without it the present one is shown. An interface has it for packets
    /// it sends and for those it receives, a NAT gateway for both directions together
    #[arg(value_name = "RATE", requires = "target")]
    pub rate: Option<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// `berth edge`.
#[derive(Debug, Args)]
pub struct EdgeArgs {
    /// Socket at which the server takes relayed connections
    #[arg(long, value_name = "FILE")]
    pub server_socket: PathBuf,
}

/// `berth explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Sender: a task (id or ARN), an interface (eni-...), an instance (i-...), an address, `internet`, or
    /// `internet@ADDRESS` for a certain address outside
    #[arg(value_name = "A")]
    pub from: String,
    /// Receiver, named in the same ways, and its port; for ICMP a type or TYPE/CODE, an echo request when absent
    #[arg(value_name = "B:PORT")]
    pub to: String,
    /// IP protocol; -1 tests a protocol that no rule names, which only rules for all protocols admit
    #[arg(long, value_enum, default_value_t = IpProtocol::Tcp, allow_negative_numbers = true)]
    pub protocol: IpProtocol,
    /// VPC of the addresses; when absent that of the other end, otherwise the default VPC
    #[arg(long, value_name = "VPC-ID")]
    pub vpc: Option<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// Protocol of a packet, named as in rules of security groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IpProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
    /// A protocol that no rule names.
    #[value(name = "-1")]
    All,
}

impl IpProtocol {
    /// The word of the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::All => "-1",
        }
    }

    /// Its number.
    pub fn number(self) -> Option<u8> {
        match self {
            Self::Tcp => Some(6),
            Self::Udp => Some(17),
            Self::Icmp => Some(1),
            Self::All => None,
        }
    }
}

/// `berth logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Task id, ARN, or the beginning of an id
    pub task: String,
    /// Only this container
    #[arg(long, short, value_name = "NAME")]
    pub container: Option<String>,
    /// Continue with new output
    #[arg(long, short)]
    pub follow: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// `berth image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Load images from an OCI archive or a docker archive
    Load(LoadArgs),
    /// List the images on this machine's hosts
    Ls {
        /// Where.
        #[command(flatten)]
        on: OnHost,
        /// Output format
        #[command(flatten)]
        show: ShowArgs,
    },
}

/// `berth image load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Archive made by `docker save`, `skopeo copy ... oci-archive:FILE` or similar
    pub file: PathBuf,
    /// Name of the image when the archive holds one image and no name
    #[arg(long)]
    pub name: Option<String>,
    /// Folder for the files of the archive while they are loaded; by default tmp/ in the data folder
    #[arg(long, value_name = "DIR")]
    pub tmp: Option<PathBuf>,
    /// Limits for an image and for the files of the archive.
    #[command(flatten)]
    pub limits: ImageLimitOptions,
    /// Where; on every host when absent.
    #[command(flatten)]
    pub on: OnHost,
}

/// `berth host`.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Move the primary interface of a host to another subnet or other security groups
    #[command(after_help = HOST_ATTACH_HELP)]
    Attach(HostAttachArgs),
}

/// `berth host attach`.
#[derive(Debug, Args)]
pub struct HostAttachArgs {
    /// The host, by number or container instance id; may be left out where there is one
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Subnet of the interface, in the host's zone
    #[arg(long, value_name = "SUBNET-ID")]
    pub subnet: String,
    /// Security groups of the interface; the default group of the VPC when absent
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "SG-ID")]
    pub security_groups: Vec<String>,
}

/// `berth eni`.
#[derive(Debug, Subcommand)]
pub enum EniCommand {
    /// Packets and bytes of each interface, and drops with their reasons
    #[command(after_help = ENI_STATS_HELP)]
    Stats {
        /// Only this interface
        eni: Option<String>,
        /// Where.
        #[command(flatten)]
        on: OnHost,
        /// Output format
        #[command(flatten)]
        show: ShowArgs,
    },
}

impl ServerOptions {
    /// Address of the instance's own pages.
    pub fn admin_listen(&self) -> SocketAddr {
        let port = match self.listen.port() {
            0 => 0,
            port => port.checked_add(1).unwrap_or(port - 1),
        };
        self.admin_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Protection of the AWS API in transit.
    pub fn transport(&self) -> Transport {
        match (self.tls, self.insecure_listen) {
            (true, _) => Transport::Tls(server_names::of(self.listen.ip(), &self.tls_name)),
            (false, true) => Transport::PlainAnywhere,
            (false, false) => Transport::Plain,
        }
    }
}

fn quota(text: &str) -> Result<(String, u32), String> {
    let parsed = text.split_once('=').and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
    parsed.ok_or_else(|| "a quota is NAME=NUMBER".into())
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an account is 12 digits".into())
    }
}

const UP_HELP: &str = "\
Examples:
  berth up                                     stay in the foreground; Ctrl-C stops server and node, tasks continue
  berth up --detach                            return when ready
  berth up --cluster web                       the host joins the cluster `web` (create it with aws ecs create-cluster)
  berth up --mirror docker.io=http://127.0.0.1:5000
                                               pull Docker Hub's images from a mirror
  berth up --uplink                            tasks with a way to the internet gateway reach what this machine reaches
  berth up --hosts 3                           three simulated hosts, to see placement, draining and the loss of a host
  berth up --tls --listen 0.0.0.0:4566         HTTPS for other machines; give them DATA/ca/certificate.pem
  berth up --throttle aws,ecs-cluster-resource-modify=10/2
                                               AWS's rates, and a lower one for RunTask and related operations

Simulated hosts run the same programs as real ones. Each is a container instance of the cluster, in the region's zones
a, b, c in turn, and has the capacity of --cpu, --memory and --enis, or its share of this machine. It has its own
images: `berth image load` loads into all; pulls are made from the namespace `berth up` is called in. A pair of
devices connects each host with that namespace, which routes every public address to the host that holds it: there,
`curl` reaches a task at its public address, and tasks of different hosts reach each other. --uplink leads on from there.
A packet to the private address of a task on another host is dropped (other_host). The hosts' own namespaces have no
route to the outside: ports of tasks in network mode bridge or host are reached at the host's primary interface, and with
`nsenter --net=RUN/hosts/N/network`. The NAT gateways of a VPC are on one host, and Fargate tasks of subnets that route
to them are placed there. A later start with a smaller N keeps the surplus hosts; `berth down` removes them, and their
container instances stay in the cluster until they are deregistered.

The first start creates a default VPC with a subnet in three zones and an administrator's access key, which only root
can read (DATA/credentials). A second `berth up` on the same data continues where the first ended.";

const SERVER_HELP: &str = "\
Serves the AWS API on --listen and nodes on RUN/server.sock. `berth up` runs it for you; the systemd unit
berth-server.service does the same. Health and metrics are on --admin-listen, which `berth status` shows.";

const NODE_HELP: &str = "\
Runs tasks on this host for the server at RUN/server.sock. Needs root. The network namespace it is started in is used
as the host's, or the one named with --netns. Tasks and their packets continue when this process ends; `berth down`,
called in that namespace, ends them.";

const DOWN_HELP: &str = "\
Stops every task of this machine's hosts, then nodes, server and containerd, and removes interfaces, namespaces, cgroups
and pinned maps, also those of hosts of an earlier `berth up --hosts`. Records, images and logs stay in the data folder
unless --purge is given.";

const ENV_HELP: &str = "\
Examples:
  eval \"$(berth env)\"                   for this shell
  berth env --output json | jq .         for other programs

With `berth up --tls` it names the authority's certificate, DATA/ca/certificate.pem, in AWS_CA_BUNDLE. Only its owner can
read the data folder: other users and machines need a copy.";

const STATUS_HELP: &str = "\
Exit code 0 when the server answers and a host is connected (of simulated hosts: all that are up), 1 otherwise.";

const DOCTOR_HELP: &str = "\
Checks privileges, kernel features, programs and addresses Berth needs. Exit code 0 when nothing is missing; a
warning does not count.";

const SHELL_HELP: &str = "\
Examples:
  berth shell -- curl -s http://172.31.0.4/
  berth shell --subnet subnet-0a1b --security-groups sg-0c2d -- ping -c1 10.0.0.7
  berth shell                              an interactive shell
  berth shell --host 2 -- ping -c1 172.31.0.7
                                           from the second host of `berth up --hosts`

The command sees `lo` and one interface with an address of the subnet; security groups apply to it like to any other.
The interface is removed when the command ends. The exit code is the command's.";

const EXPLAIN_HELP: &str = "\
Examples:
  berth explain 172.31.0.4 172.31.0.9:5432
  berth explain $TASK_ARN eni-0123456789abcdef0:53 --protocol udp
  berth explain 10.0.0.4 10.0.0.9 --protocol icmp --vpc vpc-0a1b
  berth explain $TASK_ARN 198.51.100.10:443    through the route table and a gateway to the world

Evaluates each gate of the data path for the first packet of a connection: from the records, and from the maps in the
kernel; a warning shows where they differ. Exit code 0 when the packet arrives, 1 when it is dropped (with the reason as
in `berth eni stats`), 2 when there is no answer. Run it on the machine of the sender's host.";

const LOGS_HELP: &str = "\
Examples:
  berth logs 9f3c                          a task whose id begins with 9f3c
  berth logs $TASK_ARN -c web -f           one container, with new output";

const IMAGE_HELP: &str = "\
Examples:
  berth image load nginx.tar
  berth image ls";

const HOST_ATTACH_HELP: &str = "\
Examples:
  berth host attach --subnet subnet-0a1b --security-groups sg-0c2d
  berth host attach --host 2 --subnet subnet-0e3f

Ports that containers of network mode bridge or host publish are reached at the interface's address, under its groups.
Connections to its old address end.";

const ENI_STATS_HELP: &str = "\
Example:
  berth eni stats eni-0123456789abcdef0

A packet refused by the receiver's security groups is counted at the receiver, any other at the sender. Ports of the
host's bridges follow, each with its leased address: packets of containers to the metadata endpoint, and drops on the
way.";
