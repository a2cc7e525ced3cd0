// SPDX-License-Identifier: Apache-2.0
//! Metadata documents of tasks and containers, versions 3 and 4. Pure.

use berth_types::intent::{ContainerIntent, Desired, LaunchType};
use berth_types::mode::{NetworkMode, Protocol};
use berth_types::report::{ContainerStatus, TaskStage};
use serde_json::{Map, Value, json};

use crate::container::{files, names};
use crate::engine::health::Health;
use crate::engine::record::{ContainerRecord, TaskRecord};

/// Version of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V4,
}

/// The document of one container.
pub(super) fn container(task: &TaskRecord, endpoint_id: &str, version: Version) -> Option<Value> {
    let wanted = task.intent.containers.iter().find(|container| container.endpoint_id == endpoint_id)?;
    let record = task.containers.iter().find(|container| container.name == wanted.name)?;
    Some(document(task, wanted, record, version))
}

/// The document of a task with all its containers.
pub(super) fn task(task: &TaskRecord, version: Version) -> Value {
    let mut containers: Vec<Value> = Vec::new();
    for record in &task.containers {
        if let Some(wanted) = task.wanted(&record.name) {
            containers.push(document(task, wanted, record, version));
        }
    }
    containers.extend(pause(task, version));
    let intent = &task.intent;
    let cluster = match intent.launch_type {
        LaunchType::Fargate => intent.cluster_arn.clone(),
        LaunchType::Ec2 => intent.cluster_arn.rsplit('/').next().unwrap_or_default().to_owned(),
    };
    let mut text = Map::new();
    let mut set = |key: &str, value: Value| drop(text.insert(key.to_owned(), value));
    set("Cluster", json!(cluster));
    set("TaskARN", json!(intent.arn));
    set("Family", json!(intent.family));
    set("Revision", json!(intent.revision.to_string()));
    set("DesiredStatus", json!(desired(task)));
    set("KnownStatus", json!(stage(task.stage)));
    let mut limits = Map::new();
    if let Some(units) = intent.cpu_units {
        limits.insert("CPU".to_owned(), json!(f64::from(units) / 1024.0));
    }
    if let Some(mib) = intent.memory_mib {
        limits.insert("Memory".to_owned(), json!(mib));
    }
    if !limits.is_empty() {
        set("Limits", Value::Object(limits));
    }
    set_times(&mut set, task);
    set("AvailabilityZone", json!(intent.availability_zone));
    if version == Version::V4 {
        set("LaunchType", json!(intent.launch_type.as_str()));
        if intent.launch_type == LaunchType::Ec2
            && let Some(vpc) = task.eni.as_ref().and_then(|eni| eni.vpc.as_ref())
        {
            set("VPCID", json!(vpc));
        }
    }
    set("Containers", Value::Array(containers));
    Value::Object(text)
}

fn set_times(set: &mut impl FnMut(&str, Value), task: &TaskRecord) {
    let times = [
        ("PullStartedAt", task.pull_started_at),
        ("PullStoppedAt", task.pull_stopped_at),
        ("ExecutionStoppedAt", task.execution_stopped_at),
    ];
    for (key, at) in times {
        if let Some(at) = at {
            set(key, json!(at.rfc3339()));
        }
    }
}

fn document(task: &TaskRecord, wanted: &ContainerIntent, record: &ContainerRecord, version: Version) -> Value {
    let mut text = Map::new();
    let mut set = |key: &str, value: Value| drop(text.insert(key.to_owned(), value));
    set("DockerId", json!(record.runtime_id));
    set("Name", json!(wanted.name));
    set("DockerName", json!(record.docker_name()));
    set("Image", json!(wanted.image));
    set("ImageID", json!(record.image_id.as_deref().unwrap_or_default()));
    if !wanted.ports.is_empty() {
        set("Ports", json!(ports(task, wanted, record)));
    }
    set("Labels", json!(names::labels(&task.intent, &wanted.name, &wanted.labels)));
    set("DesiredStatus", json!(desired(task)));
    set("KnownStatus", json!(status(record, task.stage)));
    if let Some(code) = record.exit_code() {
        set("ExitCode", json!(code));
    }
    let memory = wanted.memory_mib.or(task.intent.memory_mib);
    let mut limits = Map::from_iter([("CPU".to_owned(), json!(wanted.cpu_units.max(2)))]);
    limits.extend(memory.map(|mib| ("Memory".to_owned(), json!(mib))));
    set("Limits", Value::Object(limits));
    let times = [
        ("CreatedAt", record.created_at),
        ("StartedAt", record.started_at),
        ("FinishedAt", record.exit.map(|exit| exit.at)),
    ];
    for (key, at) in times {
        if let Some(at) = at {
            set(key, json!(at.rfc3339()));
        }
    }
    set("Type", json!("NORMAL"));
    if let Some(health) = &record.health {
        set("Health", self::health(health));
    }
    if !wanted.mounts.is_empty() {
        let volume =
            |mount: &berth_types::intent::MountIntent| json!({"Source": mount.volume, "Destination": mount.path});
        set("Volumes", wanted.mounts.iter().map(volume).collect());
    }
    if version == Version::V4 {
        set("LogDriver", json!(wanted.log.driver));
        if !wanted.log.options.is_empty() {
            set("LogOptions", json!(wanted.log.options));
        }
        set("ContainerARN", json!(wanted.arn));
        if wanted.restart_policy.is_some() {
            set("RestartCount", json!(record.restart_count));
        }
        if task.intent.launch_type == LaunchType::Fargate {
            set("Snapshotter", json!(crate::containerd::SNAPSHOTTER));
        }
    }
    set("Networks", networks(task, Some(record), version));
    Value::Object(text)
}

fn health(health: &Health) -> Value {
    let mut text = json!({"status": health.status.as_str(), "statusSince": health.since.rfc3339()});
    if let Some(code) = health.exit_code {
        text["exitCode"] = json!(code);
        text["output"] = json!(health.output);
    }
    text
}

/// Ports of the host where they lead to the container, else the container's own.
fn ports(task: &TaskRecord, wanted: &ContainerIntent, record: &ContainerRecord) -> Vec<Value> {
    let one = |inside: u16, protocol: Protocol, outside: u16| json!({"ContainerPort": inside, "Protocol": protocol, "HostPort": outside});
    match task.intent.network_mode {
        NetworkMode::Bridge => {
            let bindings = record.bindings.iter().flat_map(|binding| {
                (binding.container_port..).zip(binding.host_ports()).map(|(inside, outside)| {
                    let mut port = one(inside, outside.protocol, outside.port);
                    port["HostIp"] = json!(binding.bind_ip);
                    port
                })
            });
            bindings.collect()
        }
        NetworkMode::Awsvpc | NetworkMode::Host | NetworkMode::None => {
            let ports = wanted.ports.iter().flat_map(|port| {
                let last = port.last_container_port.unwrap_or(port.container_port);
                (port.container_port..=last).map(|number| one(number, port.protocol, number))
            });
            ports.collect()
        }
    }
}

/// The pause container, as the ECS agent lists it: one that holds the network, or one that holds only what else the
/// containers share.
fn pause(task: &TaskRecord, version: Version) -> Option<Value> {
    let held = task.namespace.as_ref()?;
    let kind = match task.intent.network_mode {
        NetworkMode::Awsvpc => "CNI_PAUSE",
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => "NAMESPACE_PAUSE",
    };
    Some(json!({
        "DockerId": held.pause_id,
        "Name": crate::pause::NAME,
        "DockerName": names::pause_name(&task.intent, &held.pause_id),
        "Image": crate::pause::IMAGE,
        "ImageID": "",
        "Labels": names::labels(&task.intent, crate::pause::NAME, &Default::default()),
        "DesiredStatus": "RESOURCES_PROVISIONED",
        "KnownStatus": "RESOURCES_PROVISIONED",
        "Limits": {"CPU": 2, "Memory": 0},
        "Type": kind,
        "Networks": networks(task, None, version),
    }))
}

/// The network of a container; of the pause container where none is given.
fn networks(task: &TaskRecord, container: Option<&ContainerRecord>, version: Version) -> Value {
    let mode = task.intent.network_mode;
    if mode != NetworkMode::Awsvpc {
        let addresses: Vec<_> = container.and_then(|container| container.address).into_iter().collect();
        return json!([{"NetworkMode": mode, "IPv4Addresses": addresses}]);
    }
    let Some(eni) = &task.eni else { return json!([]) };
    let mut network = Map::new();
    let mut set = |key: &str, value: Value| drop(network.insert(key.to_owned(), value));
    set("NetworkMode", json!("awsvpc"));
    set("IPv4Addresses", json!([eni.address]));
    if version == Version::V4 {
        set("AttachmentIndex", json!(0));
        set("MACAddress", json!(eni.mac));
        set("IPv4SubnetCIDRBlock", json!(eni.subnet_cidr));
        if !task.intent.dns.servers.is_empty() {
            set("DomainNameServers", json!(task.intent.dns.servers));
        }
        if !task.intent.dns.search.is_empty() {
            set("DomainNameSearchList", json!(task.intent.dns.search));
        }
        set("PrivateDNSName", json!(files::hostname(&task.intent, eni.address)));
        let gateway = format!("{}/{}", eni.subnet_cidr.gateway(), eni.subnet_cidr.prefix());
        set("SubnetGatewayIpv4Address", json!(gateway));
    }
    json!([network])
}

fn desired(task: &TaskRecord) -> &'static str {
    match (task.intent.desired, &task.stop) {
        (Desired::Running, None) => "RUNNING",
        (Desired::Stopped, _) | (Desired::Running, Some(_)) => "STOPPED",
    }
}

fn stage(stage: TaskStage) -> &'static str {
    match stage {
        TaskStage::Provisioning => "NONE",
        TaskStage::Pending => "CREATED",
        // The task keeps its status until every container has stopped.
        TaskStage::Running | TaskStage::Stopping => "RUNNING",
        TaskStage::Stopped => "STOPPED",
    }
}

fn status(record: &ContainerRecord, stage: TaskStage) -> &'static str {
    match (record.status(stage), record.image_digest.is_some(), record.created_at.is_some()) {
        (ContainerStatus::Stopped, _, _) => "STOPPED",
        (ContainerStatus::Running, _, _) => "RUNNING",
        (ContainerStatus::Pending, _, true) => "CREATED",
        (ContainerStatus::Pending, true, false) => "PULLED",
        (ContainerStatus::Pending, false, false) => "NONE",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::namespaces::HeldNamespace;
    use berth_types::TimestampMs;
    use berth_types::intent::{EniIntent, Plug};
    use berth_types::{GroupSetId, MacAddress, SubnetId, TaskId, Vni, VpcId};
    use expect_test::expect;

    fn record() -> TaskRecord {
        let intent = crate::container::spec::tests::task();
        let id = TaskId::from_bits(7);
        let eni = EniIntent {
            vni: Vni(1),
            vpc: Some(VpcId::from_bits(7)),
            subnet: SubnetId::from_bits(1),
            subnet_cidr: "10.0.0.0/24".parse().unwrap(),
            vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            address: "10.0.0.35".parse().unwrap(),
            group_set: GroupSetId(1),
            source_dest_check: true,
            mtu: 9001,
            plug: Plug::InPlace(id.clone()),
            rate: None,
        };
        let mut record = TaskRecord::accept(id, intent, Some(eni));
        record.stage = TaskStage::Running;
        record.pull_started_at = Some(TimestampMs(0));
        record.containers[0].runtime_id = "ecs-web-3-app-00".to_owned();
        record.containers[0].created_at = Some(TimestampMs(1000));
        record.containers[0].started_at = Some(TimestampMs(2000));
        let bridge_address = Some("169.254.172.2".parse().unwrap());
        let (name, pause_id) = ("n".to_owned(), "ecs-internalecspause-00".to_owned());
        record.namespace = Some(HeldNamespace { name, pause_id, bridge_address });
        record
    }

    #[test]
    fn a_container_document_of_version_4() {
        let document = container(&record(), "u-1", Version::V4).unwrap();
        expect![[r#"
            {
              "ContainerARN": "",
              "CreatedAt": "1970-01-01T00:00:01.000Z",
              "DesiredStatus": "RUNNING",
              "DockerId": "ecs-web-3-app-00",
              "DockerName": "app",
              "Image": "nginx",
              "ImageID": "",
              "KnownStatus": "RUNNING",
              "Labels": {
                "com.amazonaws.ecs.cluster": "arn:aws:ecs:us-west-2:123456789012:cluster/default",
                "com.amazonaws.ecs.container-name": "app",
                "com.amazonaws.ecs.task-arn": "arn:aws:ecs:us-west-2:123456789012:task/default/0123",
                "com.amazonaws.ecs.task-definition-family": "web",
                "com.amazonaws.ecs.task-definition-version": "3"
              },
              "Limits": {
                "CPU": 2,
                "Memory": 512
              },
              "LogDriver": "json-file",
              "Name": "app",
              "Networks": [
                {
                  "AttachmentIndex": 0,
                  "IPv4Addresses": [
                    "10.0.0.35"
                  ],
                  "IPv4SubnetCIDRBlock": "10.0.0.0/24",
                  "MACAddress": "02:00:00:00:00:01",
                  "NetworkMode": "awsvpc",
                  "PrivateDNSName": "ip-10-0-0-35.us-west-2.compute.internal",
                  "SubnetGatewayIpv4Address": "10.0.0.1/24"
                }
              ],
              "Snapshotter": "overlayfs",
              "StartedAt": "1970-01-01T00:00:02.000Z",
              "Type": "NORMAL"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&document).unwrap());
    }

    #[test]
    fn a_task_document_lists_the_pause_container() {
        let document = task(&record(), Version::V4);
        let kinds: Vec<&str> =
            document["Containers"].as_array().unwrap().iter().map(|c| c["Type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["NORMAL", "CNI_PAUSE"]);
        assert_eq!(document["Limits"], json!({"CPU": 0.25, "Memory": 512}));
        assert_eq!(document["KnownStatus"], "RUNNING");
        assert_eq!(document["LaunchType"], "FARGATE");
        assert_eq!(super::task(&record(), Version::V3)["LaunchType"], Value::Null);
        assert_eq!(document["VPCID"], Value::Null);
        let mut ec2 = record();
        ec2.intent.launch_type = LaunchType::Ec2;
        assert_eq!(task(&ec2, Version::V4)["VPCID"], "vpc-00000000000000007");
    }

    #[test]
    fn an_unknown_container_has_no_document() {
        assert_eq!(container(&record(), "u-2", Version::V4), None);
    }
}
