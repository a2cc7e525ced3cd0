// SPDX-License-Identifier: Apache-2.0
//! RegisterTaskDefinition and its relatives.

use berth_state::ecs::RecordKey;
use berth_state::{Change, Write};
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, fargate_definition, merged, run_request, table};
use crate::{Ages, STOPPED_TASKS_KEPT_MS, expire};

fn cases(base: Value, cases: &[(&str, Value)]) -> String {
    let mut world = World::with_cluster();
    table(cases, |patch| world.call("RegisterTaskDefinition", merged(base.clone(), patch)))
}

/// A change to the only container.
fn container(patch: Value) -> Value {
    json!({"containerDefinitions": {"0": patch}})
}

#[test]
fn what_no_definition_can_be() {
    let found = cases(
        ec2_definition(),
        &[
            ("as it is", json!({})),
            ("no family", json!({"family": null})),
            ("bad family", json!({"family": "a b"})),
            ("no containers", json!({"containerDefinitions": []})),
            ("eleven containers", json!({"containerDefinitions": (0..11).map(|_| json!({})).collect::<Vec<_>>()})),
            ("mode", json!({"networkMode": "vlan"})),
            ("compatibility", json!({"requiresCompatibilities": ["LAMBDA"]})),
            ("external", json!({"requiresCompatibilities": ["EXTERNAL"]})),
            ("cpu", json!({"cpu": "64"})),
            ("memory", json!({"memory": "1 TB"})),
            ("role", json!({"taskRoleArn": "arn:aws:s3:::x"})),
            ("empty tags", json!({"tags": []})),
            ("reserved tag", json!({"tags": [{"key": "aws:x", "value": ""}]})),
            ("accelerators", json!({"inferenceAccelerators": [{"deviceName": "x"}]})),
            ("ephemeral 20", json!({"ephemeralStorage": {"sizeInGiB": 20}})),
            ("ephemeral 201", json!({"ephemeralStorage": {"sizeInGiB": 201}})),
            ("ephemeral 100", json!({"ephemeralStorage": {"sizeInGiB": 100}})),
            ("pid", json!({"pidMode": "host"})),
            ("ipc", json!({"ipcMode": "host"})),
            ("fault injection", json!({"enableFaultInjection": true})),
            ("isolation", json!({"trustedExecutionConfiguration": {"isolationMode": "SHARED"}})),
            ("windows", json!({"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}})),
            ("constraint", json!({"placementConstraints": [{"type": "memberOf", "expression": "x"}]})),
            ("proxy", json!({"proxyConfiguration": {"containerName": "nginx"}})),
            ("proxy in bridge", json!({"networkMode": "bridge", "proxyConfiguration": {"containerName": "nginx"}})),
            ("volume path", json!({"volumes": [{"name": "x", "host": {"sourcePath": "/"}}]})),
            ("efs", json!({"volumes": [{"name": "x", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]})),
            ("two volumes", json!({"volumes": [{"name": "x"}, {"name": "x"}]})),
            ("too long", container(json!({"command": ["x".repeat(70_000)]}))),
        ],
    );
    expect![[r#"
        as it is: ok
        no family: ClientException: Family should not be null or empty.
        bad family: ClientException: Family contains invalid characters.
        no containers: ClientException: Container list cannot be empty.
        eleven containers: ClientException: Too many containers.
        mode: ClientException: 'vlan' is not a valid value for networkMode.
        compatibility: ClientException: 'LAMBDA' is not a valid value for requiresCompatibilities.
        external: ClientException: requiresCompatibilities EXTERNAL is not supported by this endpoint yet.
        cpu: ClientException: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        memory: ClientException: Invalid 'memory' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        role: ClientException: Role is not valid
        empty tags: ClientException: Tags can not be empty.
        reserved tag: InvalidParameterException: aws: prefixed tag key names are not allowed for external use.
        accelerators: ClientException: Unsupported field 'inferenceAccelerators'
        ephemeral 20: ClientException: EphemeralStorage size should be at least 21
        ephemeral 201: ClientException: EphemeralStorage size should be at most 200
        ephemeral 100: ClientException: Tasks using the EC2 launch type do not support EphemeralStorage
        pid: ok
        ipc: ok
        fault injection: ClientException: enableFaultInjection is not supported by this endpoint yet.
        isolation: ClientException: trustedExecutionConfiguration is not supported by this endpoint yet.
        windows: ClientException: runtimePlatform.operatingSystemFamily WINDOWS_SERVER_2022_CORE is not supported by this endpoint yet.
        constraint: ClientException: Invalid expression: 'x' is no subject.
        proxy: ClientException: Ingress port not found
        proxy in bridge: ClientException: APPMESH proxy configuration is only supported in networkMode=awsvpc
        volume path: ok
        efs: ClientException: volumes[0].efsVolumeConfiguration is not supported by this endpoint yet.
        two volumes: ClientException: Volume names must be unique within a task definition: 'x'
        too long: ClientException: Actual length: '71002'. Max allowed length is '65536' bytes.
    "#]].assert_eq(&found);
}

#[test]
fn what_no_container_can_be() {
    let two = |second: Value| {
        let first = ec2_definition()["containerDefinitions"][0].clone();
        json!({"containerDefinitions": [first.clone(), merged(first, merged(json!({"name": "two"}), second))]})
    };
    let ports = |ports: Value| container(json!({"portMappings": ports}));
    let found = cases(
        ec2_definition(),
        &[
            ("no name", container(json!({"name": ""}))),
            ("bad name", container(json!({"name": "a b"}))),
            ("no image", container(json!({"image": null}))),
            ("same name", two(json!({"name": "nginx"}))),
            ("two", two(json!({}))),
            ("not essential", container(json!({"essential": false}))),
            ("no memory", container(json!({"memory": null}))),
            ("memory 5", container(json!({"memory": 5}))),
            ("reservation over memory", container(json!({"memoryReservation": 513}))),
            ("memory over task", json!({"memory": "256"})),
            ("cpu over task", merged(two(json!({})), json!({"cpu": "128"}))),
            ("cpu equals task", container(json!({"cpu": 128}))),
            ("negative cpu", container(json!({"cpu": -1}))),
            ("links", container(json!({"links": ["db"]}))),
            ("hostname", container(json!({"hostname": "x"}))),
            ("extra hosts", container(json!({"extraHosts": [{"hostname": "x", "ipAddress": "10.0.0.1"}]}))),
            ("dns servers", container(json!({"dnsServers": ["10.0.0.2"]}))),
            ("dns search", container(json!({"dnsSearchDomains": ["x"]}))),
            ("no networking", container(json!({"disableNetworking": true}))),
            ("host port 8080", ports(json!([{"containerPort": 80, "hostPort": 8080}]))),
            ("host port equal", ports(json!([{"containerPort": 80, "hostPort": 80}]))),
            ("port 0", ports(json!([{"containerPort": 0}]))),
            ("port 65536", ports(json!([{"containerPort": 65536}]))),
            ("no port", ports(json!([{}]))),
            ("tcp and udp", ports(json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "udp"}]))),
            ("port twice", ports(json!([{"containerPort": 80}, {"containerPort": 80, "hostPort": 80}]))),
            (
                "port in two containers",
                merged(
                    two(json!({"portMappings": [{"containerPort": 80}]})),
                    container(json!({"portMappings": [{"containerPort": 80}]})),
                ),
            ),
            ("protocol", ports(json!([{"containerPort": 80, "protocol": "sctp"}]))),
            ("port name", ports(json!([{"containerPort": 80, "name": "Web"}]))),
            (
                "port name twice",
                ports(json!([{"containerPort": 80, "name": "web"}, {"containerPort": 81, "name": "web"}])),
            ),
            ("port range", ports(json!([{"containerPortRange": "80-90"}]))),
            ("port in range", ports(json!([{"containerPortRange": "80-90"}, {"containerPort": 85}]))),
            ("port and range", ports(json!([{"containerPort": 80, "containerPortRange": "80-90"}]))),
            ("unknown volume", container(json!({"mountPoints": [{"sourceVolume": "x", "containerPath": "/x"}]}))),
            ("secret", container(json!({"secrets": [{"name": "x", "valueFrom": "y"}]}))),
            (
                "secret with role",
                merged(
                    json!({"executionRoleArn": "exec"}),
                    container(json!({"secrets": [{"name": "x", "valueFrom": "y"}]})),
                ),
            ),
            ("health check", container(json!({"healthCheck": {"command": ["CMD", "true"]}}))),
            ("depends on", container(json!({"dependsOn": [{"containerName": "x", "condition": "START"}]}))),
            ("linux parameters", container(json!({"linuxParameters": {"initProcessEnabled": true}}))),
            ("ulimits", container(json!({"ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 1}]}))),
            ("privileged", container(json!({"privileged": true}))),
            ("interactive", container(json!({"interactive": true}))),
            ("not interactive", container(json!({"interactive": false, "privileged": false, "ulimits": []}))),
            ("log driver", container(json!({"logConfiguration": {"logDriver": "paper"}}))),
            ("firelens", container(json!({"logConfiguration": {"logDriver": "awsfirelens"}}))),
            ("awslogs", container(json!({"logConfiguration": {"logDriver": "awslogs"}}))),
            (
                "awslogs option",
                container(json!({"logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "g", "awslogs-region": "r", "awslogs-endpoint": "e"}}})),
            ),
        ],
    );
    expect![[r#"
        no name: ClientException: Container.name should not be null or empty.
        bad name: ClientException: Container name 'a b' is invalid. Up to 255 letters (uppercase and lowercase), numbers, hyphens, and underscores are allowed.
        no image: ClientException: Container.image should not be null or empty.
        same name: ClientException: Container names must be unique within a task definition
        two: ok
        not essential: ClientException: Task definition doesn't have any essential container
        no memory: ClientException: Invalid setting for container 'nginx'. At least one of 'memory' or 'memoryReservation' must be specified.
        memory 5: ClientException: Invalid setting for container 'nginx'. The 'memory' setting must be at least 6 MiB.
        reservation over memory: ClientException: Invalid setting for container 'nginx'. 'memory' must be greater than or equal to 'memoryReservation'.
        memory over task: ClientException: The 'memory' setting for container 'nginx' is greater than for the task.
        cpu over task: ClientException: The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value
        cpu equals task: ok
        negative cpu: ClientException: Invalid setting for container 'nginx'. 'cpu' must not be negative.
        links: ClientException: Links are not supported when networkMode=awsvpc.
        hostname: ClientException: hostname is not supported on container when networkMode=awsvpc
        extra hosts: ClientException: Extra hosts are not supported on container when networkMode=awsvpc
        dns servers: ClientException: DNS servers are not supported on container when networkMode=awsvpc
        dns search: ClientException: DNS search domains are not supported on container when networkMode=awsvpc
        no networking: ClientException: Disable Networking is not supported on container when networkMode=awsvpc
        host port 8080: ClientException: When networkMode=awsvpc, the host ports and container ports in port mappings must match.
        host port equal: ok
        port 0: ClientException: containerDefinitions[0].portMappings[0].containerPort must be between 1 and 65535.
        port 65536: ClientException: containerDefinitions[0].portMappings[0].containerPort must be between 1 and 65535.
        no port: ClientException: containerDefinitions[0].portMappings[0].containerPort must be between 1 and 65535.
        tcp and udp: ok
        port twice: ClientException: container port is used multiple times in task
        port in two containers: ClientException: container port is used multiple times in task
        protocol: ClientException: 'sctp' is not a valid value for containerDefinitions[0].portMappings[0].protocol.
        port name: ClientException: containerDefinitions[0].portMappings[0].name must have between 1 and 64 lowercase letters, numbers, underscores and hyphens and must not start with a hyphen.
        port name twice: ClientException: port mapping name is already used
        port range: ok
        port in range: ClientException: container port is used multiple times in task
        port and range: ClientException: cannot specify both single port and port range
        unknown volume: ClientException: Unknown volume 'x'.
        secret: ClientException: When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.
        secret with role: ClientException: containerDefinitions[0].secrets is not supported by this endpoint yet.
        health check: ok
        depends on: ClientException: Cannot depend on container + 'x' because it does not exist
        linux parameters: ok
        ulimits: ok
        privileged: ok
        interactive: ok
        not interactive: ok
        log driver: ClientException: paper is not a valid log driver. Must be one of [awsfirelens, awslogs, fluentd, gelf, journald, json-file, none, splunk, syslog]
        firelens: ClientException: When awsfirelens log driver is specified in log configuration, a firelens configuration object must be specified
        awslogs: ClientException: Log driver awslogs requires options: awslogs-group, awslogs-region
        awslogs option: ClientException: Log driver awslogs disallows options: awslogs-endpoint
    "#]].assert_eq(&found);
}

#[test]
fn other_network_modes_have_their_own_rules() {
    let container = |patch: Value| json!({"0": patch});
    let found = cases(
        merged(ec2_definition(), json!({"networkMode": null})),
        &[
            ("link to itself", json!({"containerDefinitions": container(json!({"links": ["nginx:web"]}))})),
            (
                "links",
                json!({"containerDefinitions": [{"name": "nginx", "image": "nginx", "memory": 64, "links": ["db:data"]},
                    {"name": "db", "image": "db", "memory": 64}]}),
            ),
            (
                "link with a bad alias",
                json!({"containerDefinitions": [{"name": "nginx", "image": "nginx", "memory": 64, "links": ["db:a b"]},
                    {"name": "db", "image": "db", "memory": 64}]}),
            ),
            ("unknown link", json!({"containerDefinitions": container(json!({"links": ["db:db"]}))})),
            (
                "links in a circle",
                json!({"containerDefinitions": [{"name": "nginx", "image": "nginx", "memory": 64, "links": ["db"]},
                    {"name": "db", "image": "db", "memory": 64, "links": ["nginx:web"]}]}),
            ),
            (
                "a link to who waits",
                json!({"containerDefinitions": [{"name": "nginx", "image": "nginx", "memory": 64, "links": ["db"]},
                    {"name": "db", "image": "db", "memory": 64,
                        "dependsOn": [{"containerName": "nginx", "condition": "START"}]}]}),
            ),
            (
                "names",
                json!({"containerDefinitions": container(json!({"hostname": "web-1.example", "disableNetworking": true,
                    "extraHosts": [{"hostname": "db", "ipAddress": "fd00::1"}], "dnsServers": ["10.0.0.2", "::1"],
                    "dnsSearchDomains": ["example.com", "."]}))}),
            ),
            ("host name", json!({"containerDefinitions": container(json!({"hostname": "a b"}))})),
            ("long host name", json!({"containerDefinitions": container(json!({"hostname": "a".repeat(64)}))})),
            (
                "extra host",
                json!({"containerDefinitions": container(json!({"extraHosts": [
                    {"hostname": "a\nb", "ipAddress": "10.0.0.1"}]}))}),
            ),
            (
                "address of an extra host",
                json!({"containerDefinitions": container(json!({"extraHosts": [
                    {"hostname": "a", "ipAddress": "10.0.0"}]}))}),
            ),
            ("name server", json!({"containerDefinitions": container(json!({"dnsServers": ["ns1"]}))})),
            ("domain", json!({"containerDefinitions": container(json!({"dnsSearchDomains": ["a b"]}))})),
            (
                "host port twice",
                json!({"containerDefinitions": container(json!({"portMappings": [
                    {"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]}))}),
            ),
            (
                "dynamic twice",
                json!({"containerDefinitions": container(json!({"portMappings": [
                    {"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]}))}),
            ),
            (
                "one port through two of the host",
                json!({"containerDefinitions": container(json!({"portMappings": [
                    {"containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "hostPort": 8081}]}))}),
            ),
            (
                "range",
                json!({"containerDefinitions": container(json!({"portMappings": [{"containerPortRange": "80-90"}]}))}),
            ),
            (
                "range and host port",
                json!({"containerDefinitions": container(json!({"portMappings": [
                    {"containerPortRange": "80-90", "hostPort": 80}]}))}),
            ),
            (
                "range of host",
                json!({"networkMode": "host",
                    "containerDefinitions": container(json!({"portMappings": [{"containerPortRange": "80-90"}]}))}),
            ),
            (
                "range backwards",
                json!({"containerDefinitions": container(json!({"portMappings": [{"containerPortRange": "90-80"}]}))}),
            ),
            (
                "range of words",
                json!({"containerDefinitions": container(json!({"portMappings": [{"containerPortRange": "a-b"}]}))}),
            ),
            (
                "host mismatch",
                json!({"networkMode": "host",
                    "containerDefinitions": container(json!({"portMappings": [{"containerPort": 80, "hostPort": 81}]}))}),
            ),
            (
                "none with ports",
                json!({"networkMode": "none",
                    "containerDefinitions": container(json!({"portMappings": [{"containerPort": 80}]}))}),
            ),
            (
                "none with links",
                json!({"networkMode": "none", "containerDefinitions": container(json!({"links": ["x"]}))}),
            ),
        ],
    );
    expect![[r#"
        link to itself: ClientException: Invalid 'links' setting. Unknown container: 'nginx'
        links: ok
        link with a bad alias: ClientException: Invalid 'links' setting. Invalid alias: 'a b'
        unknown link: ClientException: Invalid 'links' setting. Unknown container: 'db'
        links in a circle: ClientException: Container links should not have a cycle
        a link to who waits: ClientException: Container dependsOn contains a cycle
        names: ok
        host name: ClientException: Invalid 'hostname' setting for container. 'a b' is not a host name of up to 63 characters.
        long host name: ClientException: Invalid 'hostname' setting for container. 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is not a host name of up to 63 characters.
        extra host: ClientException: Invalid 'extraHosts' setting for container. 'a
        b' is not a host name.
        address of an extra host: ClientException: Invalid 'extraHosts' setting for container. '10.0.0' is not an IP address.
        name server: ClientException: Invalid 'dnsServers' setting for container. 'ns1' is not an IP address.
        domain: ClientException: Invalid 'dnsSearchDomains' setting for container. 'a b' is not a domain.
        host port twice: ClientException: host port is used multiple times in task
        dynamic twice: ok
        one port through two of the host: ok
        range: ok
        range and host port: ClientException: Invalid 'containerPortRange' setting '80-90'. A host port cannot be specified with a port range.
        range of host: ClientException: Invalid 'containerPortRange' setting '80-90'. Port ranges are not supported when networkMode=host.
        range backwards: ClientException: Invalid 'containerPortRange' setting '90-80'. The first port must be less than the last port.
        range of words: ClientException: Invalid 'containerPortRange' setting 'a-b'. It must be two port numbers between 1 and 65535 with a hyphen between them.
        host mismatch: ClientException: When networkMode=host, the host ports and container ports in port mappings must match.
        none with ports: ClientException: Port mappings are not supported when networkMode=none.
        none with links: ClientException: Links are not supported when networkMode=none.
    "#]].assert_eq(&found);
}

#[test]
fn what_fargate_does_not_have() {
    let role = json!({"executionRoleArn": "arn:aws:iam::111122223333:role/exec"});
    let awslogs = |options: Value| {
        let group = json!({"awslogs-group": "g", "awslogs-region": "us-west-2"});
        container(json!({"logConfiguration": {"logDriver": "awslogs", "options": merged(group, options)}}))
    };
    let ecr = container(json!({"image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/app:1"}));
    let found = cases(
        fargate_definition(),
        &[
            ("as it is", json!({})),
            ("no mode", json!({"networkMode": null})),
            ("host", json!({"networkMode": "host"})),
            ("none", json!({"networkMode": "none"})),
            ("no cpu", json!({"cpu": null})),
            ("no memory", json!({"memory": null})),
            ("ec2 too", json!({"requiresCompatibilities": ["EC2", "FARGATE"]})),
            ("awslogs without role", awslogs(json!({"awslogs-stream-prefix": "ecs"}))),
            ("awslogs without prefix", merged(role.clone(), awslogs(json!({})))),
            ("awslogs", merged(role.clone(), awslogs(json!({"awslogs-stream-prefix": "ecs"})))),
            ("ecr without role", ecr.clone()),
            ("ecr", merged(role, ecr)),
            ("json-file", container(json!({"logConfiguration": {"logDriver": "json-file"}}))),
            ("privileged", container(json!({"privileged": true}))),
            ("constraint", json!({"placementConstraints": [{"type": "memberOf", "expression": "x"}]})),
            ("ipc", json!({"ipcMode": "task"})),
            ("pid host", json!({"pidMode": "host"})),
            ("pid task", json!({"pidMode": "task"})),
            ("source path", json!({"volumes": [{"name": "x", "host": {"sourcePath": "/x"}}]})),
            ("docker volume", json!({"volumes": [{"name": "x", "dockerVolumeConfiguration": {"scope": "task"}}]})),
            ("devices", container(json!({"linuxParameters": {"devices": [{"hostPath": "/dev/kvm"}]}}))),
            ("shared memory", container(json!({"linuxParameters": {"sharedMemorySize": 64}}))),
            ("capability", container(json!({"linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}}))),
            ("security options", container(json!({"dockerSecurityOptions": ["no-new-privileges"]}))),
            ("gpu", container(json!({"resourceRequirements": [{"type": "GPU", "value": "1"}]}))),
            ("stop timeout 120", container(json!({"stopTimeout": 120}))),
            ("stop timeout 121", container(json!({"stopTimeout": 121}))),
            ("ephemeral", json!({"ephemeralStorage": {"sizeInGiB": 100}})),
            ("container memory", container(json!({"memory": 600}))),
            (
                "reserved sum",
                json!({"containerDefinitions": [
                {"name": "a", "image": "a", "memory": 300}, {"name": "b", "image": "b", "memory": 300}]}),
            ),
        ],
    );
    expect![[r#"
        as it is: ok
        no mode: ClientException: Fargate only supports network mode ‘awsvpc’.
        host: ClientException: Fargate only supports network mode ‘awsvpc’.
        none: ClientException: Fargate only supports network mode ‘awsvpc’.
        no cpu: ClientException: Fargate requires that 'cpu' be defined at the task level.
        no memory: ClientException: Fargate requires that 'memory' be defined at the task level.
        ec2 too: ok
        awslogs without role: ClientException: Fargate requires task definition to have execution role ARN to support log driver awslogs.
        awslogs without prefix: ClientException: Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs.
        awslogs: ok
        ecr without role: ClientException: Fargate requires task definition to have execution role ARN to support ECR images.
        ecr: ok
        json-file: ClientException: json-file is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]
        privileged: ClientException: Fargate requires that the 'privileged' setting be 'false'
        constraint: ClientException: Invalid expression: 'x' is no subject.
        ipc: ClientException: Fargate compatible task definitions do not support ipcMode
        pid host: ClientException: Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'.
        pid task: ok
        source path: ClientException: Fargate compatible task definitions do not support sourcePath
        docker volume: ClientException: Fargate compatible task definitions do not support dockerVolumeConfiguration
        devices: ClientException: Fargate compatible task definitions do not support devices
        shared memory: ClientException: Fargate compatible task definitions do not support sharedMemorySize
        capability: ClientException: NET_ADMIN is not allowed on Fargate.
        security options: ClientException: Fargate compatible task definitions do not support dockerSecurityOptions
        gpu: ClientException: Tasks using the Fargate launch type do not support GPU resource requirements
        stop timeout 120: ok
        stop timeout 121: ClientException: Tasks using the Fargate launch type must have a container stop timeout of less than 120 seconds.
        ephemeral: ok
        container memory: ClientException: The 'memory' setting for container 'nginx' is greater than for the task.
        reserved sum: ClientException: The sum of all container 'memory' values cannot be greater than the task-level 'memory' value
    "#]].assert_eq(&found);
}

#[test]
fn a_definition_is_answered_as_it_was_given_with_defaults_filled_in() {
    let mut world = World::with_cluster();
    let request = json!({
        "family": "app", "networkMode": "awsvpc", "cpu": ".5 vCPU", "memory": "1 GB", "taskRoleArn": "app",
        "executionRoleArn": "arn:aws:iam::111122223333:role/exec", "volumes": [{"name": "scratch"}],
        "runtimePlatform": {"cpuArchitecture": "X86_64"}, "tags": [{"key": "team", "value": "web"}],
        "containerDefinitions": [{
            "name": "app", "image": "app:1", "memoryReservation": 256, "portMappings": [{"containerPort": 3000}],
            "environment": [{"name": "B", "value": ""}, {"name": "A", "value": "1"}], "command": ["run"],
            "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/scratch"}], "stopTimeout": 5,
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": "r"}},
        }],
    });
    let registered = world.call("RegisterTaskDefinition", request).unwrap();
    let described =
        world.call("DescribeTaskDefinition", json!({"taskDefinition": "app", "include": ["TAGS"]})).unwrap();
    assert_eq!(registered, described);
    expect![[r#"
        {
          "tags": [
            {
              "key": "team",
              "value": "web"
            }
          ],
          "taskDefinition": {
            "compatibilities": [
              "EC2"
            ],
            "containerDefinitions": [
              {
                "command": [
                  "run"
                ],
                "cpu": 0,
                "environment": [
                  {
                    "name": "B",
                    "value": ""
                  },
                  {
                    "name": "A",
                    "value": "1"
                  }
                ],
                "essential": true,
                "image": "app:1",
                "logConfiguration": {
                  "logDriver": "awslogs",
                  "options": {
                    "awslogs-group": "g",
                    "awslogs-region": "r"
                  }
                },
                "memoryReservation": 256,
                "mountPoints": [
                  {
                    "containerPath": "/scratch",
                    "sourceVolume": "scratch"
                  }
                ],
                "name": "app",
                "portMappings": [
                  {
                    "containerPort": 3000,
                    "hostPort": 3000,
                    "protocol": "tcp"
                  }
                ],
                "stopTimeout": 5,
                "systemControls": [],
                "volumesFrom": []
              }
            ],
            "cpu": "512",
            "executionRoleArn": "arn:aws:iam::111122223333:role/exec",
            "family": "app",
            "memory": "1024",
            "networkMode": "awsvpc",
            "placementConstraints": [],
            "registeredAt": 0,
            "registeredBy": "arn:aws:iam::111122223333:root",
            "requiresAttributes": [
              {
                "name": "com.amazonaws.ecs.capability.logging-driver.awslogs"
              },
              {
                "name": "ecs.capability.execution-role-awslogs"
              },
              {
                "name": "com.amazonaws.ecs.capability.docker-remote-api.1.21"
              },
              {
                "name": "com.amazonaws.ecs.capability.task-iam-role"
              },
              {
                "name": "ecs.capability.task-cpu-mem-limit"
              },
              {
                "name": "ecs.capability.container-ordering"
              },
              {
                "name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"
              },
              {
                "name": "ecs.capability.task-eni"
              }
            ],
            "revision": 1,
            "runtimePlatform": {
              "cpuArchitecture": "X86_64"
            },
            "status": "ACTIVE",
            "taskDefinitionArn": "arn:aws:ecs:us-west-2:111122223333:task-definition/app:1",
            "taskRoleArn": "arn:aws:iam::111122223333:role/app",
            "volumes": [
              {
                "host": {},
                "name": "scratch"
              }
            ]
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&described).unwrap());
}

#[test]
fn compatibilities_and_attributes_follow_from_the_definition() {
    let mut world = World::with_cluster();
    let mut found = String::new();
    for (name, request) in [
        ("bridge", merged(ec2_definition(), json!({"networkMode": null}))),
        ("awsvpc without size", ec2_definition()),
        ("awsvpc with a size of Fargate", merged(ec2_definition(), json!({"cpu": "256", "memory": "512"}))),
        ("awsvpc with another size", merged(ec2_definition(), json!({"cpu": "256", "memory": "800"}))),
        ("fargate", fargate_definition()),
        ("long stop", merged(ec2_definition(), container(json!({"stopTimeout": 300})))),
    ] {
        let answer = world.call("RegisterTaskDefinition", request).unwrap();
        let definition = &answer["taskDefinition"];
        let attributes: Vec<&str> = definition["requiresAttributes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|attribute| attribute["name"].as_str().unwrap())
            .collect();
        found.push_str(&format!("{name}: {} {attributes:?}\n", definition["compatibilities"]));
    }
    expect![[r#"
        bridge: ["EXTERNAL","EC2"] []
        awsvpc without size: ["EC2","FARGATE"] ["com.amazonaws.ecs.capability.docker-remote-api.1.18", "ecs.capability.task-eni"]
        awsvpc with a size of Fargate: ["EC2","FARGATE"] ["ecs.capability.task-cpu-mem-limit", "com.amazonaws.ecs.capability.docker-remote-api.1.18", "ecs.capability.task-eni"]
        awsvpc with another size: ["EC2"] ["ecs.capability.task-cpu-mem-limit", "com.amazonaws.ecs.capability.docker-remote-api.1.18", "ecs.capability.task-eni"]
        fargate: ["EC2","FARGATE"] ["com.amazonaws.ecs.capability.docker-remote-api.1.18", "ecs.capability.task-eni"]
        long stop: ["EC2"] ["ecs.capability.container-ordering", "com.amazonaws.ecs.capability.docker-remote-api.1.18", "ecs.capability.task-eni"]
    "#]].assert_eq(&found);
}

#[test]
fn revisions_are_never_given_twice() {
    let mut world = World::with_cluster();
    let mut found = String::new();
    let mut note = |what: &str, answer: Result<Value, String>| {
        let shown = answer.map_or_else(
            |words| words,
            |answer| {
                let definition = &answer["taskDefinition"];
                format!("{} {}", definition["taskDefinitionArn"], definition["status"])
            },
        );
        found.push_str(&format!("{what}: {shown}\n"));
    };
    note("first", world.call("RegisterTaskDefinition", ec2_definition()));
    note("second", world.call("RegisterTaskDefinition", ec2_definition()));
    note("deregister 2", world.call("DeregisterTaskDefinition", json!({"taskDefinition": "nginx:2"})));
    note("deregister 2 again", world.call("DeregisterTaskDefinition", json!({"taskDefinition": "nginx:2"})));
    note("latest", world.call("DescribeTaskDefinition", json!({"taskDefinition": "nginx"})));
    note("third", world.call("RegisterTaskDefinition", ec2_definition()));
    note("by revision", world.call("DescribeTaskDefinition", json!({"taskDefinition": "nginx:2"})));
    let arn = "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1";
    note("by ARN", world.call("DescribeTaskDefinition", json!({"taskDefinition": arn})));
    note("unknown", world.call("DescribeTaskDefinition", json!({"taskDefinition": "nginx:9"})));
    note("no revision", world.call("DeregisterTaskDefinition", json!({"taskDefinition": "nginx"})));
    let elsewhere = "arn:aws:ecs:us-west-2:999999999999:task-definition/nginx:1";
    note("other account", world.call("DescribeTaskDefinition", json!({"taskDefinition": elsewhere})));
    expect![[r#"
        first: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1" "ACTIVE"
        second: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:2" "ACTIVE"
        deregister 2: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:2" "INACTIVE"
        deregister 2 again: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:2" "INACTIVE"
        latest: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1" "ACTIVE"
        third: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:3" "ACTIVE"
        by revision: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:2" "INACTIVE"
        by ARN: "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1" "ACTIVE"
        unknown: ClientException: Unable to describe task definition.
        no revision: ClientException: Revision is missing.
        other account: InvalidParameterException: Identifier is for 999999999999. Your accountId is 111122223333
    "#]]
    .assert_eq(&found);
}

#[test]
fn a_deleted_definition_stays_until_nothing_refers_to_it() {
    let mut world = World::with_host();
    let mut found = String::new();
    for family in ["nginx", "nginx", "other"] {
        world.call("RegisterTaskDefinition", merged(fargate_definition(), json!({"family": family}))).unwrap();
    }
    world.call("RunTask", merged(run_request(), json!({"taskDefinition": "nginx:1"}))).unwrap();
    for name in ["nginx:1", "nginx:2"] {
        world.call("DeregisterTaskDefinition", json!({"taskDefinition": name})).unwrap();
    }
    let many: Vec<String> = (1..12).map(|n| format!("nginx:{n}")).collect();
    for asked in [json!([]), json!(many), json!(["nginx:1", "nginx:2", "other:1", "nginx:9", "nginx", "nginx:x"])] {
        let answer = world.call("DeleteTaskDefinitions", json!({"taskDefinitions": asked}));
        let short = answer.map_or_else(
            |words| words,
            |answer| {
                let shown = answer["taskDefinitions"].as_array().unwrap().iter();
                let shown: Vec<String> = shown
                    .map(|it| format!("{} {} {}", it["revision"], it["status"], it["deleteRequestedAt"]))
                    .collect();
                format!("{shown:?} {:#}", answer["failures"])
            },
        );
        found.push_str(&format!("{short}\n"));
    }
    for status in ["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"] {
        let answer = world.call("ListTaskDefinitions", json!({"status": status})).unwrap();
        found.push_str(&format!("{status}: {}\n", answer["taskDefinitionArns"]));
    }
    let refused = world.call("RunTask", merged(run_request(), json!({"taskDefinition": "nginx:1"}))).unwrap_err();
    found.push_str(&format!("{refused}\n"));
    let mut ages = Ages::new(STOPPED_TASKS_KEPT_MS);
    let mut steady_ms = 0;
    let mut left = |world: &mut World, passed_ms: u64| {
        steady_ms += passed_ms;
        let over = ages.look(&world.snap, steady_ms);
        let change = expire(&world.snap, &over);
        world.apply(change);
        let families = world.call("ListTaskDefinitionFamilies", json!({})).unwrap();
        let keys: Vec<String> = world.snap.ecs().task_definitions.keys().map(ToString::to_string).collect();
        found.push_str(&format!("left: {keys:?} {}\n", families["families"]));
    };
    left(&mut world, 0);
    left(&mut world, STOPPED_TASKS_KEPT_MS + 1);
    let task = world.snap.ecs().tasks.values().next().unwrap().clone();
    world.apply(Change { writes: vec![Write::Delete(RecordKey::Task(task.id.clone()).into())], reply: () });
    left(&mut world, 0);
    let again = merged(fargate_definition(), json!({"family": "nginx"}));
    let again = world.call("RegisterTaskDefinition", again).unwrap();
    found.push_str(&format!("revision {}", again["taskDefinition"]["revision"]));
    expect![[r#"
        InvalidParameterException: TaskDefinition references list cannot be empty.
        InvalidParameterException: Size of TaskDefinition references list cannot exceed 10
        ["1 \"DELETE_IN_PROGRESS\" 0", "2 \"DELETE_IN_PROGRESS\" 0"] [
          {
            "arn": "arn:aws:ecs:us-west-2:111122223333:task-definition/other:1",
            "reason": "The specified task definition is still in ACTIVE status. Please deregister the target and try again."
          },
          {
            "arn": "nginx:9",
            "reason": "The specified task definition does not exist. Specify a valid account, family, revision and try again."
          },
          {
            "arn": "nginx",
            "reason": "The specified task definition identifier is invalid. Specify a valid name or ARN and try again."
          },
          {
            "arn": "nginx:x",
            "reason": "The specified task definition identifier is invalid. Specify a valid name or ARN and try again."
          }
        ]
        ACTIVE: ["arn:aws:ecs:us-west-2:111122223333:task-definition/other:1"]
        INACTIVE: []
        DELETE_IN_PROGRESS: ["arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1","arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:2"]
        ClientException: TaskDefinition is inactive
        left: ["nginx:1", "nginx:2", "other:1"] ["nginx","other"]
        left: ["nginx:1", "other:1"] ["nginx","other"]
        left: ["other:1"] ["other"]
        revision 3"#]].assert_eq(&found);
}

#[test]
fn definitions_and_families_are_listed_in_order_and_by_pages() {
    let mut world = World::with_cluster();
    for family in ["b", "a", "a-b", "a"] {
        world.call("RegisterTaskDefinition", merged(ec2_definition(), json!({"family": family}))).unwrap();
    }
    for _ in 0..9 {
        world.call("RegisterTaskDefinition", merged(ec2_definition(), json!({"family": "a"}))).unwrap();
    }
    world.call("DeregisterTaskDefinition", json!({"taskDefinition": "b:1"})).unwrap();
    let mut found = String::new();
    let mut list = |request: Value| {
        let answer = world.call("ListTaskDefinitions", request).unwrap();
        let arns = answer["taskDefinitionArns"].as_array().unwrap().clone();
        let names = arns.iter().map(|arn| arn.as_str().unwrap().rsplit('/').next().unwrap().to_owned());
        found.push_str(&format!("{:?}\n", names.collect::<Vec<_>>()));
        answer["nextToken"].clone()
    };
    let token = list(json!({"maxResults": 10}));
    list(json!({"maxResults": 10, "nextToken": token}));
    list(json!({"sort": "DESC", "maxResults": 3}));
    list(json!({"familyPrefix": "a-b"}));
    list(json!({"status": "INACTIVE"}));
    for request in [json!({}), json!({"status": "ACTIVE"}), json!({"status": "INACTIVE"}), json!({"familyPrefix": "a"})]
    {
        found.push_str(&format!("{}\n", world.call("ListTaskDefinitionFamilies", request).unwrap()["families"]));
    }
    let wrong = world.call("ListTaskDefinitions", json!({"nextToken": "x"})).unwrap_err();
    found.push_str(&wrong);
    expect![[r#"
        ["a:1", "a:2", "a:3", "a:4", "a:5", "a:6", "a:7", "a:8", "a:9", "a:10"]
        ["a:11", "a-b:1"]
        ["a-b:1", "a:11", "a:10"]
        ["a-b:1"]
        ["b:1"]
        ["a","a-b","b"]
        ["a","a-b"]
        ["b"]
        ["a","a-b"]
        InvalidParameterException: Invalid token"#]]
    .assert_eq(&found);
}
