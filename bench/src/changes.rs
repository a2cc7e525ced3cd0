// SPDX-License-Identifier: Apache-2.0
//! From the answer of a call that changes a rule, a route or a network ACL to the first packet that obeys, with many
//! interfaces on the host.
//!
//! The host sends echo requests to a task's public address all the time, each with an identifier of its own, so that each
//! is the first packet of its connection. The time of a change that opens is that of the first request with a reply, of
//! one that closes that of the first request without one after the last with one; 0 if that was before the answer.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use berth_shapes::Input;
use berth_shapes::ec2::{
    AuthorizeSecurityGroupIngressRequest, CreateNetworkAclEntryRequest, CreateRouteRequest, CreateSecurityGroupRequest,
    DeleteNetworkAclEntryRequest, DeleteRouteRequest, DescribeInternetGatewaysRequest, DescribeNetworkAclsRequest,
    DescribeNetworkInterfacesRequest, DescribeRouteTablesRequest, Filter, IpPermission, IpRange,
    RevokeSecurityGroupIngressRequest,
};
use berth_shapes::ecs::{AwsVpcConfiguration, DescribeTasksRequest, NetworkConfiguration, RunTaskRequest};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket};

use crate::client::{Client, Credentials};
use crate::scene::{self, Scene, texts};
use crate::table;

const EVERYWHERE: &str = "0.0.0.0/0";
/// Time between requests, the error of a figure. An identifier is used again after 32 s, when its flow is dead.
const INTERVAL: Duration = Duration::from_micros(500);
/// Time after an answer in which a change must take effect, and time for the last reply.
const WINDOW: Duration = Duration::from_millis(400);
const LAST_REPLY: Duration = Duration::from_millis(20);
/// Time in which another task must run.
const START_LIMIT: Duration = Duration::from_secs(60);
const DESCRIBE_MAX: usize = 100;
const IP_BYTES: usize = 20;

/// The Berth under test.
#[derive(clap::Args)]
pub struct Options {
    /// Address of its API.
    #[arg(long, default_value = "http://127.0.0.1:4566")]
    endpoint: String,
    /// Its data folder.
    #[arg(long, default_value = "/var/lib/berth")]
    data: PathBuf,
    /// Cluster of its host.
    #[arg(long, default_value = "default")]
    cluster: String,
    /// Image that contains a `sleep`.
    #[arg(long, default_value = "busybox:latest")]
    image: String,
    /// Number of tasks, each with an interface, beside the one that is asked.
    #[arg(long, default_value_t = 1000)]
    tasks: u32,
    /// Number of changes of each kind.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let credentials = Credentials::read(&options.data.join("credentials"))?;
    let mut client = Client::connect(&options.endpoint, &credentials)?;
    let scene = scene::prepare(&mut client, &options.cluster, &options.image)?;
    let mut started = Vec::new();
    for _ in 0..options.tasks.div_ceil(scene::RUN_MAX) {
        let request = RunTaskRequest {
            count: Some(scene::RUN_MAX as i32),
            ..scene::run_task(&options.cluster, &scene, "FARGATE")
        };
        started.extend(tasks_of(&client.json(&request)?)?);
    }
    await_running(&mut client, &options.cluster, started)?;
    let asked = Asked::start(&mut client, options, &scene)?;
    let mut rows = Vec::new();
    for (name, close, open) in asked.kinds() {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            times[0].push(asked.time(&mut client, &close, false)?);
            times[1].push(asked.time(&mut client, &open, true)?);
        }
        for (what, samples_ms) in ["closes", "opens"].into_iter().zip(&mut times) {
            let [p50, p99] = [0.5, 0.99].map(|share| format!("{:.1}", table::percentile(samples_ms, share)));
            rows.push(vec![format!("{name} {what}"), p50, p99]);
        }
    }
    table::print(&["change", "p50 ms", "p99 ms"], &rows);
    println!("\n{} interfaces; a request every {} us", options.tasks + 1, INTERVAL.as_micros());
    Ok(())
}

fn tasks_of(answer: &serde_json::Value) -> Result<Vec<String>> {
    let tasks = answer["tasks"].as_array().filter(|tasks| !tasks.is_empty());
    let tasks = tasks.with_context(|| format!("no task was started: {answer}"))?;
    Ok(tasks.iter().filter_map(|task| task["taskArn"].as_str().map(str::to_owned)).collect())
}

/// Repeats the request until every task runs. AWS has no call that waits.
fn await_running(client: &mut Client, cluster: &str, mut waiting: Vec<String>) -> Result<()> {
    let mut progress = Instant::now();
    while !waiting.is_empty() {
        ensure!(progress.elapsed() < START_LIMIT, "{} tasks do not run", waiting.len());
        let some = waiting.iter().take(DESCRIBE_MAX).cloned().collect();
        let request =
            DescribeTasksRequest { cluster: Some(cluster.to_owned()), tasks: Some(some), ..Default::default() };
        for task in client.json(&request)?["tasks"].as_array().into_iter().flatten() {
            ensure!(task["lastStatus"] != "STOPPED", "a task stopped: {}", task["stoppedReason"]);
            if task["lastStatus"] == "RUNNING" {
                waiting.retain(|arn| task["taskArn"].as_str() != Some(arn));
                progress = Instant::now();
            }
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

/// The task that is asked, and what decides about its packets.
struct Asked {
    address: Ipv4Addr,
    group: String,
    table: String,
    gateway: String,
    acl: String,
    /// The identifier of the next request.
    number: AtomicU16,
}

/// A call without its answer.
enum Change {
    Authorize(AuthorizeSecurityGroupIngressRequest),
    Revoke(RevokeSecurityGroupIngressRequest),
    CreateRoute(CreateRouteRequest),
    DeleteRoute(DeleteRouteRequest),
    CreateEntry(CreateNetworkAclEntryRequest),
    DeleteEntry(DeleteNetworkAclEntryRequest),
}

impl Change {
    fn call(&self, client: &mut Client) -> Result<()> {
        match self {
            Self::Authorize(request) => client.call(request),
            Self::Revoke(request) => client.call(request),
            Self::CreateRoute(request) => client.call(request),
            Self::DeleteRoute(request) => client.call(request),
            Self::CreateEntry(request) => client.call(request),
            Self::DeleteEntry(request) => client.call(request),
        }
        .map(drop)
    }
}

impl Asked {
    /// Starts the task with a public address and a group of its own.
    fn start(client: &mut Client, options: &Options, scene: &Scene) -> Result<Self> {
        let subnet = scene.subnets.first().context("no subnet")?.clone();
        let by_subnet = filters("subnet-id", &subnet);
        let describe = DescribeNetworkInterfacesRequest { filters: by_subnet.clone(), ..Default::default() };
        let vpc = first(client, &describe, "vpcId")?;
        let name = format!("bench-changes-{}", std::process::id());
        let request = CreateSecurityGroupRequest {
            group_name: Some(name.clone()),
            description: Some(name),
            vpc_id: Some(vpc.clone()),
            ..Default::default()
        };
        let group = first(client, &request, "groupId")?;
        let network = AwsVpcConfiguration {
            subnets: Some(vec![subnet.clone()]),
            security_groups: Some(vec![group.clone()]),
            assign_public_ip: Some("ENABLED".to_owned()),
        };
        let request = RunTaskRequest {
            network_configuration: Some(NetworkConfiguration { awsvpc_configuration: Some(network) }),
            ..scene::run_task(&options.cluster, scene, "FARGATE")
        };
        let tasks = tasks_of(&client.json(&request)?)?;
        await_running(client, &options.cluster, tasks)?;
        let describe = DescribeNetworkInterfacesRequest { filters: filters("group-id", &group), ..Default::default() };
        let address = first(client, &describe, "publicIp")?.parse().context("a public address that is none")?;
        let by_vpc = filters("vpc-id", &vpc);
        let table =
            first(client, &DescribeRouteTablesRequest { filters: by_vpc, ..Default::default() }, "routeTableId")?;
        let gateways =
            DescribeInternetGatewaysRequest { filters: filters("attachment.vpc-id", &vpc), ..Default::default() };
        let gateway = first(client, &gateways, "internetGatewayId")?;
        let by_subnet = filters("association.subnet-id", &subnet);
        let acl =
            first(client, &DescribeNetworkAclsRequest { filters: by_subnet, ..Default::default() }, "networkAclId")?;
        let asked = Self { address, group, table, gateway, acl, number: AtomicU16::new(0) };
        asked.kinds()[0].2.call(client)?;
        Ok(asked)
    }

    /// Names, with a call that closes and one that opens.
    fn kinds(&self) -> [(&'static str, Change, Change); 3] {
        let everyone = IpRange { cidr_ip: Some(EVERYWHERE.to_owned()), ..Default::default() };
        let permission = IpPermission {
            ip_protocol: Some("icmp".to_owned()),
            from_port: Some(-1),
            to_port: Some(-1),
            ip_ranges: Some(vec![everyone]),
            ..Default::default()
        };
        let (group_id, ip_permissions) = (Some(self.group.clone()), Some(vec![permission]));
        let rule = (
            Change::Revoke(RevokeSecurityGroupIngressRequest {
                group_id: group_id.clone(),
                ip_permissions: ip_permissions.clone(),
                ..Default::default()
            }),
            Change::Authorize(AuthorizeSecurityGroupIngressRequest { group_id, ip_permissions, ..Default::default() }),
        );
        let (route_table_id, destination) = (Some(self.table.clone()), Some(EVERYWHERE.to_owned()));
        let route = (
            Change::DeleteRoute(DeleteRouteRequest {
                route_table_id: route_table_id.clone(),
                destination_cidr_block: destination.clone(),
                ..Default::default()
            }),
            Change::CreateRoute(CreateRouteRequest {
                route_table_id,
                destination_cidr_block: destination,
                gateway_id: Some(self.gateway.clone()),
                ..Default::default()
            }),
        );
        let (network_acl_id, rule_number, egress) = (Some(self.acl.clone()), Some(50), Some(false));
        let entry = (
            Change::CreateEntry(CreateNetworkAclEntryRequest {
                network_acl_id: network_acl_id.clone(),
                rule_number,
                egress,
                protocol: Some("-1".to_owned()),
                rule_action: Some("deny".to_owned()),
                cidr_block: Some(EVERYWHERE.to_owned()),
                ..Default::default()
            }),
            Change::DeleteEntry(DeleteNetworkAclEntryRequest {
                network_acl_id,
                rule_number,
                egress,
                ..Default::default()
            }),
        );
        [("rule", rule.0, rule.1), ("route", route.0, route.1), ("network ACL", entry.0, entry.1)]
    }

    /// Milliseconds from the answer to the first packet that obeys.
    fn time(&self, client: &mut Client, change: &Change, opens: bool) -> Result<f64> {
        let is_over = AtomicBool::new(false);
        let (answered, requests) = std::thread::scope(|scope| -> Result<_> {
            let asking = scope.spawn(|| ask(self.address, &self.number, &is_over));
            std::thread::park_timeout(LAST_REPLY);
            let called = change.call(client);
            let answered = Instant::now();
            std::thread::park_timeout(WINDOW);
            is_over.store(true, Ordering::SeqCst);
            let requests = asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))??;
            called.map(|()| (answered, requests))
        })?;
        let obeys = match opens {
            true => requests.iter().find(|request| request.is_answered),
            false => {
                let last = requests.iter().rposition(|request| request.is_answered);
                requests.get(last.map_or(0, |last| last + 1))
            }
        };
        let obeys = obeys.with_context(|| format!("no effect within {} ms", WINDOW.as_millis()))?;
        Ok(obeys.sent.saturating_duration_since(answered).as_secs_f64() * 1e3)
    }
}

/// The content of the first element with this name in an answer.
fn first<I: Input>(client: &mut Client, input: &I, element: &str) -> Result<String> {
    let answer = String::from_utf8(client.call(input)?)?;
    let found = texts(&answer, element).next();
    found.with_context(|| format!("no {element} in {answer}"))
}

fn filters(name: &str, value: &str) -> Option<Vec<Filter>> {
    Some(vec![Filter { name: Some(name.to_owned()), values: Some(vec![value.to_owned()]) }])
}

/// An echo request.
struct Request {
    sent: Instant,
    is_answered: bool,
}

/// Sends echo requests until it is over, and waits for the last reply.
fn ask(to: Ipv4Addr, number: &AtomicU16, is_over: &AtomicBool) -> Result<Vec<Request>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let raw = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Icmp).context("open a raw socket")?;
    let [a, b, c, d] = to.octets();
    let to = SockaddrIn::new(a, b, c, d, 0);
    let (mut requests, first) = (Vec::new(), number.load(Ordering::SeqCst));
    let mut ends = None;
    while ends.is_none_or(|ends| Instant::now() < ends) {
        if ends.is_none() {
            let number = number.fetch_add(1, Ordering::SeqCst);
            requests.push(Request { sent: Instant::now(), is_answered: false });
            sendto(raw.as_raw_fd(), &echo(number), &to, MsgFlags::empty()).context("send an echo request")?;
        }
        let next = Instant::now() + INTERVAL;
        while Instant::now() < next {
            note_replies(&raw, first, &mut requests);
        }
        if ends.is_none() && is_over.load(Ordering::SeqCst) {
            ends = Some(Instant::now() + LAST_REPLY);
        }
    }
    Ok(requests)
}

/// An echo request with this identifier.
fn echo(number: u16) -> [u8; 8] {
    let [high, low] = number.to_be_bytes();
    let sum = 0x0800_u32 + u32::from(number);
    let [check_high, check_low] = (!((sum & 0xffff) as u16 + (sum >> 16) as u16)).to_be_bytes();
    [8, 0, check_high, check_low, high, low, 0, 0]
}

/// Requests have the identifiers from `first` on.
fn note_replies(raw: &OwnedFd, first: u16, requests: &mut [Request]) {
    let mut packet = [0; 128];
    while let Ok(bytes) = recv(raw.as_raw_fd(), &mut packet, MsgFlags::empty()) {
        let reply = &packet[..bytes];
        if bytes >= IP_BYTES + 8 && reply[IP_BYTES] == 0 {
            let number = u16::from_be_bytes([reply[IP_BYTES + 4], reply[IP_BYTES + 5]]);
            if let Some(request) = requests.get_mut(usize::from(number.wrapping_sub(first))) {
                request.is_answered = true;
            }
        }
    }
}
