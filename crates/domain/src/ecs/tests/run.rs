//! RunTask.

use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, fargate_definition, hello, merged, run_request, table};
use crate::ecs::record::TaskStatus;
use crate::ecs::{deregister_task_definition, describe_tasks, register_task_definition, run_task};

fn awsvpc(patch: Value) -> Value {
    json!({"networkConfiguration": {"awsvpcConfiguration": patch}})
}

#[test]
fn what_cannot_be_run() {
    let mut world = World::with_host();
    world.register();
    world.register();
    world.write(deregister_task_definition, json!({"taskDefinition": "nginx:1"})).unwrap();
    for request in [
        merged(fargate_definition(), json!({"family": "role", "taskRoleArn": "app"})),
        merged(ec2_definition(), json!({"family": "bridge", "networkMode": "bridge"})),
        merged(ec2_definition(), json!({"family": "sizeless"})),
        merged(ec2_definition(), json!({"family": "odd", "cpu": "256", "memory": "800"})),
    ] {
        world.write(register_task_definition, request).unwrap();
    }
    world.write(crate::ecs::create_cluster, json!({"clusterName": "gone"})).unwrap();
    world.write(crate::ecs::delete_cluster, json!({"cluster": "gone"})).unwrap();
    world.write(crate::ecs::create_cluster, json!({"clusterName": "empty"})).unwrap();
    let overrides = |container: Value| json!({"overrides": {"containerOverrides": [container]}});
    let cases = [
        ("as it is", json!({})),
        ("unknown cluster", json!({"cluster": "nosuch"})),
        ("deleted cluster", json!({"cluster": "gone"})),
        ("unknown definition", json!({"taskDefinition": "nosuch"})),
        ("inactive definition", json!({"taskDefinition": "nginx:1"})),
        ("count 0", json!({"count": 0})),
        ("count 11", json!({"count": 11})),
        ("no network", json!({"networkConfiguration": null})),
        ("no subnets", awsvpc(json!({"subnets": []}))),
        ("17 subnets", awsvpc(json!({"subnets": vec!["subnet-a"; 17]}))),
        ("6 groups", awsvpc(json!({"securityGroups": vec!["sg-web"; 6]}))),
        ("unknown subnet", awsvpc(json!({"subnets": ["subnet-x"]}))),
        ("unknown group", awsvpc(json!({"securityGroups": ["sg-x"]}))),
        ("group elsewhere", awsvpc(json!({"securityGroups": ["sg-far"]}))),
        ("two VPCs", awsvpc(json!({"subnets": ["subnet-a", "subnet-far"]}))),
        ("public IP on EC2", merged(awsvpc(json!({"assignPublicIp": "ENABLED"})), json!({"launchType": null}))),
        ("public IP on Fargate", awsvpc(json!({"assignPublicIp": "ENABLED"}))),
        ("EC2 not compatible", json!({"taskDefinition": "bridge"})),
        ("bridge with network", json!({"taskDefinition": "bridge", "launchType": "EC2"})),
        ("bridge", json!({"taskDefinition": "bridge", "launchType": "EC2", "networkConfiguration": null})),
        ("no size", json!({"taskDefinition": "sizeless"})),
        ("odd size", json!({"taskDefinition": "odd"})),
        ("launch type", json!({"launchType": "LAMBDA"})),
        (
            "launch type and strategy",
            json!({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}),
        ),
        ("strategy", json!({"launchType": null, "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]})),
        ("no instances", json!({"cluster": "empty", "launchType": "EC2"})),
        ("unknown container", overrides(json!({"name": "x"}))),
        ("override files", overrides(json!({"name": "nginx", "environmentFiles": [{"type": "s3", "value": "x"}]}))),
        ("override too long", overrides(json!({"name": "nginx", "command": ["x".repeat(9000)]}))),
        ("override size", json!({"overrides": {"memory": "800"}})),
        ("override role", json!({"overrides": {"taskRoleArn": "arn:aws:iam::111122223333:role/x"}})),
        ("role", json!({"taskDefinition": "role"})),
        ("platform on EC2", json!({"launchType": "EC2", "platformVersion": "LATEST"})),
        ("platform", json!({"platformVersion": "9.9.9"})),
        ("platform latest", json!({"platformVersion": "LATEST"})),
        ("constraints", json!({"placementConstraints": [{"type": "distinctInstance"}]})),
        ("strategies", json!({"placementStrategy": [{"type": "random"}]})),
        ("constraints on EC2", json!({"launchType": "EC2", "placementConstraints": [{"type": "distinctInstance"}]})),
        ("propagate", json!({"propagateTags": "SERVICE"})),
        ("group", json!({"group": "service:x"})),
        ("started by", json!({"startedBy": "a b"})),
        ("exec", json!({"enableExecuteCommand": true})),
        ("token", json!({"clientToken": "x".repeat(65)})),
    ];
    let found = table(&cases, |patch| world.write(run_task, merged(run_request(), patch)));
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn run_task_answers_before_the_interface_is_told() {
    let mut world = World::with_host();
    world.register();
    let patch = json!({"overrides": {"containerOverrides": [{"name": "nginx", "environment": [{"name": "A", "value": "1"}]}]},
        "startedBy": "me", "enableECSManagedTags": true, "tags": [{"key": "k", "value": "v"}]});
    let answer = world.write(run_task, merged(run_request(), patch)).unwrap();
    expect![[r#""#]].assert_eq(&serde_json::to_string_pretty(&answer).unwrap());
}

#[test]
fn the_same_token_gives_the_same_tasks() {
    let mut world = World::with_host();
    let first = world.run(json!({"clientToken": "t", "count": 2}));
    let again = merged(run_request(), json!({"clientToken": "t", "count": 2}));
    let answer = world.write(run_task, again).unwrap();
    let ids: Vec<&str> = answer["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["taskArn"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    let mut wanted: Vec<&str> = first.iter().map(|id| id.as_str()).collect();
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
    assert_eq!(world.snap.tasks.len(), 2);
    let other = world.write(run_task, merged(run_request(), json!({"clientToken": "t", "count": 1}))).unwrap_err();
    assert!(other.starts_with("ConflictException: "), "{other}");
}

#[test]
fn ec2_tasks_fill_an_instance_until_it_lacks_something() {
    let place = |definition: Value, subnets: Value, change: &dyn Fn(&mut World)| {
        let mut world = World::with_host();
        world.write(register_task_definition, merged(ec2_definition(), definition)).unwrap();
        change(&mut world);
        let request = merged(run_request(), merged(json!({"launchType": "EC2", "count": 10}), awsvpc(subnets)));
        let answer = world.write(run_task, request).unwrap();
        let failures = answer["failures"].as_array().unwrap();
        let first = failures.first().map_or(String::new(), |failure| {
            format!("{} {}", failure["reason"], failure.get("detail").unwrap_or(&Value::Null))
        });
        format!("{} tasks, {} failures {first}\n", answer["tasks"].as_array().unwrap().len(), failures.len())
    };
    let here = || json!({});
    let container = |patch: Value| json!({"containerDefinitions": {"0": patch}});
    let found = [
        place(container(json!({"memory": 100})), here(), &|_| {}),
        place(container(json!({"memory": 1000})), here(), &|_| {}),
        place(container(json!({"memory": 1000, "memoryReservation": 700})), here(), &|_| {}),
        place(container(json!({"memory": 100, "cpu": 1500})), here(), &|_| {}),
        place(json!({"memory": "2048"}), here(), &|_| {}),
        place(here(), json!({"subnets": ["subnet-b"]}), &|_| {}),
        place(here(), here(), &|world| {
            let env = world.env();
            let change = crate::ecs::host_disconnected(&world.snap, &hello(1).host, &env);
            world.apply(change);
        }),
        place(here(), here(), &|world| {
            let mut hello = hello(1);
            hello.attributes.remove("ecs.capability.task-eni");
            world.connect(&hello);
        }),
    ]
    .concat();
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn fargate_needs_a_host_but_no_instance() {
    let mut world = World::new();
    world.register();
    let answer = world.write(run_task, run_request()).unwrap();
    expect![[r#""#]].assert_eq(&answer.to_string());
    let mut elsewhere = hello(1);
    elsewhere.cluster = "other".to_owned();
    world.connect(&elsewhere);
    assert_eq!(world.run(json!({})).len(), 1);
    // 2048 MiB hold four tasks of 512 MiB.
    let answer = world.write(run_task, merged(run_request(), json!({"count": 10}))).unwrap();
    assert_eq!(answer["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(answer["failures"].as_array().unwrap().len(), 7);
}

#[test]
fn tasks_go_where_most_addresses_are_free() {
    let mut world = World::with_host();
    let mut big = hello(1);
    big.capacity.memory_mib = 1 << 20;
    world.connect(&big);
    let patch = awsvpc(json!({"subnets": ["subnet-tiny", "subnet-a", "subnet-b"]}));
    let tasks = world.run(merged(patch, json!({"count": 4})));
    let places: Vec<String> =
        tasks.iter().map(|task| world.snap.tasks[task].network.eni.as_ref().unwrap().address.to_string()).collect();
    assert_eq!(places, ["10.0.0.4", "10.0.1.4", "10.0.0.5", "10.0.1.5"]);
}

#[test]
fn a_full_subnet_stops_the_task_with_the_words_of_aws() {
    let mut world = World::new();
    let mut big = hello(1);
    big.capacity.memory_mib = 1 << 20;
    world.connect(&big);
    let tiny = awsvpc(json!({"subnets": ["subnet-tiny"]}));
    world.run(merged(tiny.clone(), json!({"count": 10})));
    let last = world.run(merged(tiny, json!({"count": 2})));
    assert_eq!(world.status(&last[0]), TaskStatus::Provisioning);
    assert_eq!(world.status(&last[1]), TaskStatus::Stopped);
    let answer = world.read(describe_tasks, json!({"tasks": [last[1].as_str()]})).unwrap();
    let task = &answer["tasks"][0];
    expect![[r#""#]]
        .assert_eq(&format!("{}\n{}\n{}", task["stopCode"], task["stoppedReason"], task["attachments"][0]["status"]));
    assert_eq!(task["attachments"][0]["details"], json!([{"name": "subnetId", "value": "subnet-tiny"}]));
    assert_eq!(world.snap.enis.len(), 11);
}

#[test]
fn tags_come_from_the_definition_the_request_and_aws() {
    let mut world = World::with_host();
    let tags = json!([{"key": "a", "value": "definition"}, {"key": "b", "value": "definition"}]);
    world.write(register_task_definition, merged(fargate_definition(), json!({"tags": tags}))).unwrap();
    let patch = json!({"propagateTags": "TASK_DEFINITION", "enableECSManagedTags": true,
        "tags": [{"key": "b", "value": "request"}]});
    world.write(run_task, merged(run_request(), patch)).unwrap();
    let task = world.snap.tasks.values().next().unwrap();
    expect![[r#""#]].assert_eq(&format!("{:?}", task.tags));
}
