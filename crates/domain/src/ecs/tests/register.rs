//! RegisterTaskDefinition and its relatives.

use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, fargate_definition, merged, table};
use crate::ecs::{
    deregister_task_definition, describe_task_definition, list_task_definition_families, list_task_definitions,
    register_task_definition,
};

fn cases(base: Value, cases: &[(&str, Value)]) -> String {
    let mut world = World::new();
    table(cases, |patch| world.write(register_task_definition, merged(base.clone(), patch)))
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
    expect![[r#""#]].assert_eq(&found);
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
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn other_network_modes_have_their_own_rules() {
    let container = |patch: Value| json!({"0": patch});
    let found = cases(
        merged(ec2_definition(), json!({"networkMode": null})),
        &[
            ("links", json!({"containerDefinitions": container(json!({"links": ["nginx:web"]}))})),
            ("unknown link", json!({"containerDefinitions": container(json!({"links": ["db:db"]}))})),
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
                "host mismatch",
                json!({"networkMode": "host",
                    "containerDefinitions": container(json!({"portMappings": [{"containerPort": 80, "hostPort": 81}]}))}),
            ),
            (
                "none with ports",
                json!({"networkMode": "none",
                    "containerDefinitions": container(json!({"portMappings": [{"containerPort": 80}]}))}),
            ),
            ("none with links", json!({"networkMode": "none", "containerDefinitions": container(json!({"links": ["x"]}))})),
        ],
    );
    expect![[r#""#]].assert_eq(&found);
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
            ("reserved sum", json!({"containerDefinitions": [
                {"name": "a", "image": "a", "memory": 300}, {"name": "b", "image": "b", "memory": 300}]})),
        ],
    );
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn a_definition_is_answered_as_it_was_given_with_defaults_filled_in() {
    let mut world = World::new();
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
    let registered = world.write(register_task_definition, request).unwrap();
    let described =
        world.read(describe_task_definition, json!({"taskDefinition": "app", "include": ["TAGS"]})).unwrap();
    assert_eq!(registered, described);
    expect![[r#""#]].assert_eq(&serde_json::to_string_pretty(&described).unwrap());
}

#[test]
fn compatibilities_and_attributes_follow_from_the_definition() {
    let mut world = World::new();
    let mut found = String::new();
    for (name, request) in [
        ("bridge", merged(ec2_definition(), json!({"networkMode": null}))),
        ("awsvpc without size", ec2_definition()),
        ("awsvpc with a size of Fargate", merged(ec2_definition(), json!({"cpu": "256", "memory": "512"}))),
        ("awsvpc with another size", merged(ec2_definition(), json!({"cpu": "256", "memory": "800"}))),
        ("fargate", fargate_definition()),
        ("long stop", merged(ec2_definition(), container(json!({"stopTimeout": 300})))),
    ] {
        let answer = world.write(register_task_definition, request).unwrap();
        let definition = &answer["taskDefinition"];
        let attributes: Vec<&str> = definition["requiresAttributes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|attribute| attribute["name"].as_str().unwrap())
            .collect();
        found.push_str(&format!("{name}: {} {attributes:?}\n", definition["compatibilities"]));
    }
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn revisions_are_never_given_twice() {
    let mut world = World::new();
    let mut found = String::new();
    let mut note = |what: &str, answer: Result<Value, String>| {
        let shown = answer.map_or_else(|words| words, |answer| {
            let definition = &answer["taskDefinition"];
            format!("{} {}", definition["taskDefinitionArn"], definition["status"])
        });
        found.push_str(&format!("{what}: {shown}\n"));
    };
    note("first", world.write(register_task_definition, ec2_definition()));
    note("second", world.write(register_task_definition, ec2_definition()));
    note("deregister 2", world.write(deregister_task_definition, json!({"taskDefinition": "nginx:2"})));
    note("deregister 2 again", world.write(deregister_task_definition, json!({"taskDefinition": "nginx:2"})));
    note("latest", world.read(describe_task_definition, json!({"taskDefinition": "nginx"})));
    note("third", world.write(register_task_definition, ec2_definition()));
    note("by revision", world.read(describe_task_definition, json!({"taskDefinition": "nginx:2"})));
    let arn = "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1";
    note("by ARN", world.read(describe_task_definition, json!({"taskDefinition": arn})));
    note("unknown", world.read(describe_task_definition, json!({"taskDefinition": "nginx:9"})));
    note("no revision", world.write(deregister_task_definition, json!({"taskDefinition": "nginx"})));
    let elsewhere = "arn:aws:ecs:us-west-2:999999999999:task-definition/nginx:1";
    note("other account", world.read(describe_task_definition, json!({"taskDefinition": elsewhere})));
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn definitions_and_families_are_listed_in_order_and_by_pages() {
    let mut world = World::new();
    for family in ["b", "a", "a-b", "a"] {
        world.write(register_task_definition, merged(ec2_definition(), json!({"family": family}))).unwrap();
    }
    for _ in 0..9 {
        world.write(register_task_definition, merged(ec2_definition(), json!({"family": "a"}))).unwrap();
    }
    world.write(deregister_task_definition, json!({"taskDefinition": "b:1"})).unwrap();
    let mut found = String::new();
    let mut list = |request: Value| {
        let answer = world.read(list_task_definitions, request).unwrap();
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
    for request in [json!({}), json!({"status": "ACTIVE"}), json!({"status": "INACTIVE"}), json!({"familyPrefix": "a"})] {
        found.push_str(&format!("{}\n", world.read(list_task_definition_families, request).unwrap()["families"]));
    }
    let wrong = world.read(list_task_definitions, json!({"nextToken": "x"})).unwrap_err();
    found.push_str(&wrong);
    expect![[r#""#]].assert_eq(&found);
}
