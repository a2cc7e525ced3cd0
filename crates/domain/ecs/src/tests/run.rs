// SPDX-License-Identifier: Apache-2.0
//! RunTask.

use berth_state::ecs::TaskStatus;
use berth_state::{Record, Write};
use berth_types::report::{EniState, TaskStage};
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, fargate_definition, hello, merged, run_request, table};

fn awsvpc(patch: Value) -> Value {
    json!({"networkConfiguration": {"awsvpcConfiguration": patch}})
}

#[test]
fn what_cannot_be_run() {
    let mut world = World::with_host();
    world.register();
    world.register();
    world.call("DeregisterTaskDefinition", json!({"taskDefinition": "nginx:1"})).unwrap();
    for request in [
        merged(fargate_definition(), json!({"family": "role", "taskRoleArn": "app"})),
        merged(ec2_definition(), json!({"family": "bridge", "networkMode": "bridge"})),
        merged(ec2_definition(), json!({"family": "sizeless"})),
        merged(ec2_definition(), json!({"family": "odd", "cpu": "256", "memory": "800"})),
    ] {
        world.call("RegisterTaskDefinition", request).unwrap();
    }
    world.call("CreateCluster", json!({"clusterName": "gone"})).unwrap();
    world.call("DeleteCluster", json!({"cluster": "gone"})).unwrap();
    world.call("CreateCluster", json!({"clusterName": "empty"})).unwrap();
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
        ("public IP on EC2", merged(awsvpc(json!({"assignPublicIp": "ENABLED"})), json!({"launchType": "EC2"}))),
        ("public IP on Fargate", awsvpc(json!({"assignPublicIp": "ENABLED"}))),
        ("EC2 not compatible", json!({"taskDefinition": "bridge"})),
        ("bridge with network", json!({"taskDefinition": "bridge", "launchType": "EC2"})),
        ("bridge", json!({"taskDefinition": "bridge", "launchType": "EC2", "networkConfiguration": null})),
        ("no size", json!({"taskDefinition": "sizeless"})),
        ("odd size", json!({"taskDefinition": "odd"})),
        ("launch type", json!({"launchType": "LAMBDA"})),
        ("launch type and strategy", json!({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]})),
        ("strategy", json!({"launchType": null, "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]})),
        ("no instances", json!({"cluster": "empty", "launchType": "EC2"})),
        ("unknown container", overrides(json!({"name": "x"}))),
        ("override files", overrides(json!({"name": "nginx", "environmentFiles": [{"type": "s3", "value": "x"}]}))),
        ("override too long", overrides(json!({"name": "nginx", "command": ["x".repeat(9000)]}))),
        ("override size", json!({"overrides": {"memory": "800"}})),
        ("override storage", json!({"overrides": {"ephemeralStorage": {"sizeInGiB": 21}}})),
        ("override storage 20", json!({"overrides": {"ephemeralStorage": {"sizeInGiB": 20}}})),
        ("override storage on EC2", json!({"launchType": "EC2", "overrides": {"ephemeralStorage": {"sizeInGiB": 21}}})),
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
        ("started by", json!({"startedBy": "a b: ü".repeat(18)})),
        ("started by too long", json!({"startedBy": "ü".repeat(129)})),
        ("exec", json!({"enableExecuteCommand": true})),
        ("token", json!({"clientToken": "x".repeat(65)})),
    ];
    let found = table(&cases, |patch| world.call("RunTask", merged(run_request(), patch)));
    expect![[r#"
        as it is: ok
        unknown cluster: ClusterNotFoundException: Cluster not found.
        deleted cluster: ClusterNotFoundException: The referenced cluster was inactive.
        unknown definition: ClientException: TaskDefinition not found.
        inactive definition: ClientException: TaskDefinition is inactive
        count 0: InvalidParameterException: Tasks count must be between 1 and 10
        count 11: InvalidParameterException: Tasks count must be between 1 and 10
        no network: InvalidParameterException: Network Configuration must be provided when networkMode 'awsvpc' is specified.
        no subnets: InvalidParameterException: subnets can not be empty.
        17 subnets: InvalidParameterException: subnets can have at most 16 items.
        6 groups: InvalidParameterException: securityGroups can have at most 5 items.
        unknown subnet: InvalidParameterException: Error retrieving subnet information for [subnet-x]: The subnet ID 'subnet-x' does not exist (ErrorCode: InvalidSubnetID.NotFound)
        unknown group: InvalidParameterException: Error retrieving security group information for [sg-x]: The security group 'sg-x' does not exist (ErrorCode: InvalidGroup.NotFound)
        group elsewhere: InvalidParameterException: Security group sg-far does not appear to belong to the same VPC as the input subnets.
        two VPCs: InvalidParameterException: subnets must be from the same VPC
        public IP on EC2: InvalidParameterException: Assign public IP is not supported for this launch type.
        public IP on Fargate: ok
        EC2 not compatible: InvalidParameterException: Task definition does not support launch_type FARGATE.
        bridge with network: InvalidParameterException: Network Configuration is not valid for the given networkMode of this task definition.
        bridge: ok
        no size: ClientException: Fargate requires that 'cpu' be defined at the task level.
        odd size: InvalidParameterException: Task definition does not support launch_type FARGATE.
        launch type: InvalidParameterException: 'LAMBDA' is not a valid value for launchType.
        launch type and strategy: InvalidParameterException: Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.
        strategy: InvalidParameterException: The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster. Associate the capacity provider with the cluster and try again.
        no instances: InvalidParameterException: No Container Instances were found in your cluster.
        unknown container: InvalidParameterException: Override for container named x is not a container in the TaskDefinition.
        override files: InvalidParameterException: overrides.containerOverrides[0].environmentFiles is not supported by this endpoint yet.
        override too long: InvalidParameterException: Container Overrides length must be at most 8192
        override size: ClientException: No Fargate configuration exists for given values: 256 CPU, 800 memory. See the Amazon ECS documentation for the valid values.
        override storage: ok
        override storage 20: ClientException: EphemeralStorage size should be at least 21
        override storage on EC2: ClientException: Tasks using the EC2 launch type do not support EphemeralStorage
        override role: ClientException: ECS was unable to assume the role 'arn:aws:iam::111122223333:role/x' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.
        role: ClientException: ECS was unable to assume the role 'arn:aws:iam::111122223333:role/app' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.
        platform on EC2: InvalidParameterException: The platform version must be null when specifying an EC2 launch type.
        platform: PlatformUnknownException: The specified platform does not exist.
        platform latest: ok
        constraints: InvalidParameterException: Placement constraints are not supported with FARGATE launch type.
        strategies: InvalidParameterException: Placement strategies are not supported with FARGATE launch type.
        constraints on EC2: ok
        propagate: InvalidParameterException: propagateTags SERVICE is not valid for a task without a service.
        group: InvalidParameterException: Invalid namespace for group.
        started by: ok
        started by too long: InvalidParameterException: startedBy can have up to 128 characters.
        exec: InvalidParameterException: enableExecuteCommand is not supported by this endpoint yet.
        token: InvalidParameterException: clientToken must have up to 64 ASCII characters in the range of 33-126.
    "#]].assert_eq(&found);
}

#[test]
fn run_task_answers_before_the_interface_is_told() {
    let mut world = World::with_host();
    world.register();
    let patch = json!({"overrides": {"containerOverrides": [{"name": "nginx", "environment": [{"name": "A", "value": "1"}]}]},
        "startedBy": "me", "enableECSManagedTags": true, "tags": [{"key": "k", "value": "v"}]});
    let answer = world.call("RunTask", merged(run_request(), patch)).unwrap();
    expect![[r#"
        {
          "failures": [],
          "tasks": [
            {
              "attachments": [
                {
                  "details": [
                    {
                      "name": "subnetId",
                      "value": "subnet-a"
                    }
                  ],
                  "id": "9a223ea5-1431-4296-975b-708f359c1438",
                  "status": "PRECREATED",
                  "type": "ElasticNetworkInterface"
                }
              ],
              "attributes": [
                {
                  "name": "ecs.cpu-architecture",
                  "value": "x86_64"
                }
              ],
              "availabilityZone": "us-west-2a",
              "clusterArn": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
              "containers": [
                {
                  "containerArn": "arn:aws:ecs:us-west-2:111122223333:container/default/c622de6a6fe7817a5a7986694e19a6df/eeab0277-55e2-494d-ad1e-c32f9e72e0ab",
                  "cpu": "0",
                  "healthStatus": "UNKNOWN",
                  "image": "nginx",
                  "lastStatus": "PENDING",
                  "name": "nginx",
                  "networkBindings": [],
                  "networkInterfaces": [],
                  "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/default/c622de6a6fe7817a5a7986694e19a6df"
                }
              ],
              "cpu": "256",
              "createdAt": 0,
              "desiredStatus": "RUNNING",
              "enableExecuteCommand": false,
              "ephemeralStorage": {
                "sizeInGiB": 20
              },
              "fargateEphemeralStorage": {
                "sizeInGiB": 20
              },
              "group": "family:nginx",
              "healthStatus": "UNKNOWN",
              "lastStatus": "PROVISIONING",
              "launchType": "FARGATE",
              "memory": "512",
              "overrides": {
                "containerOverrides": [
                  {
                    "environment": [
                      {
                        "name": "A",
                        "value": "1"
                      }
                    ],
                    "name": "nginx"
                  }
                ],
                "inferenceAcceleratorOverrides": []
              },
              "platformFamily": "Linux",
              "platformVersion": "1.4.0",
              "startedBy": "me",
              "tags": [
                {
                  "key": "aws:ecs:clusterName",
                  "value": "default"
                },
                {
                  "key": "k",
                  "value": "v"
                }
              ],
              "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/default/c622de6a6fe7817a5a7986694e19a6df",
              "taskDefinitionArn": "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1",
              "version": 1
            }
          ]
        }"#]].assert_eq(&serde_json::to_string_pretty(&answer).unwrap());
}

#[test]
fn the_same_token_gives_the_same_tasks() {
    let mut world = World::with_host();
    let first = world.run(json!({"clientToken": "t", "count": 2}));
    let again = merged(run_request(), json!({"clientToken": "t", "count": 2}));
    let answer = world.call("RunTask", again).unwrap();
    let ids: Vec<&str> = answer["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["taskArn"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    let mut wanted: Vec<&str> = first.iter().map(|id| id.as_str()).collect();
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
    assert_eq!(world.snap.ecs().tasks.len(), 2);
    let other = merged(run_request(), json!({"clientToken": "t", "count": 1}));
    let other = world.decide("RunTask", &other, &world.env()).unwrap_err();
    assert_eq!(other.code.code(), "ConflictException");
    assert_eq!(other.resource_ids.len(), 2, "{other}");
}

#[test]
fn a_token_whose_digest_another_version_made_matches_every_request() {
    let mut world = World::with_host();
    let [task] = &world.run(json!({"clientToken": "t"}))[..] else { panic!("one task") };
    let mut stored = serde_json::to_value(&*world.snap.ecs().tasks[task]).unwrap();
    stored["client_token"] = json!(["t", "00112233aabbccdd"]);
    let record = Record::decode("task", task.as_str(), 1, stored.to_string().as_bytes()).unwrap();
    world.snap.apply(&Write::Put(record));
    let other = merged(run_request(), json!({"clientToken": "t", "startedBy": "another"}));
    let answer = world.call("RunTask", other).unwrap();
    assert_eq!(answer["tasks"][0]["taskArn"].as_str().unwrap().rsplit('/').next(), Some(task.as_str()));
    assert_eq!(world.snap.ecs().tasks.len(), 1);
}

#[test]
fn a_token_belongs_to_its_cluster() {
    let mut world = World::with_host();
    world.run(json!({"clientToken": "t"}));
    world.call("CreateCluster", json!({"clusterName": "other"})).unwrap();
    let elsewhere = merged(run_request(), json!({"clientToken": "t", "cluster": "other"}));
    assert_eq!(world.call("RunTask", elsewhere).unwrap()["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(world.snap.ecs().tasks.len(), 2);
}

#[test]
fn a_token_ends_after_a_day_or_an_hour_after_its_task() {
    const MINUTE_MS: i64 = 60 * 1000;
    let ask = |world: &mut World| {
        let before = world.snap.ecs().tasks.len();
        world.run(json!({"clientToken": "t"}));
        world.snap.ecs().tasks.len() - before
    };
    let mut running = World::with_host();
    let began = running.now.0;
    let mut stopped = World::with_host();
    let task = stopped.run(json!({"clientToken": "t"}))[0].clone();
    stopped.call("StopTask", json!({"task": task.as_str()})).unwrap();
    stopped.stage(&task, TaskStage::Stopped, None);
    stopped.eni(&task, EniState::Gone);
    assert_eq!(stopped.status(&task), TaskStatus::Stopped);
    assert_eq!(ask(&mut running), 1);
    let mut found = String::new();
    for minutes in [1, 59, 61, 24 * 60 - 1, 24 * 60] {
        let mut started = Vec::new();
        for world in [&mut running, &mut stopped] {
            let mut then = world.clone();
            then.skip_calls(1000);
            then.now.0 = began + minutes * MINUTE_MS;
            started.push(ask(&mut then));
        }
        found += &format!("after {minutes} minutes: running {} stopped {}\n", started[0], started[1]);
    }
    expect![[r#"
        after 1 minutes: running 0 stopped 0
        after 59 minutes: running 0 stopped 0
        after 61 minutes: running 0 stopped 1
        after 1439 minutes: running 0 stopped 1
        after 1440 minutes: running 1 stopped 1
    "#]]
    .assert_eq(&found);
}

#[test]
fn ec2_tasks_fill_an_instance_until_it_lacks_something() {
    let place = |definition: Value, subnets: Value, change: &dyn Fn(&mut World)| {
        let mut world = World::with_host();
        world.call("RegisterTaskDefinition", merged(ec2_definition(), definition)).unwrap();
        change(&mut world);
        let request = merged(run_request(), merged(json!({"launchType": "EC2", "count": 10}), awsvpc(subnets)));
        let answer = world.call("RunTask", request).unwrap();
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
            world.disconnect(&hello(1).host);
        }),
        place(here(), here(), &|world| {
            let mut hello = hello(1);
            hello.attributes.remove("ecs.capability.task-eni");
            world.connect(&hello);
        }),
    ]
    .concat();
    expect![[r#"
        3 tasks, 7 failures "RESOURCE:ENI" null
        2 tasks, 8 failures "RESOURCE:MEMORY" null
        0 tasks, 10 failures "ATTRIBUTE" "the container instance does not have the attribute com.amazonaws.ecs.capability.docker-remote-api.1.21"
        1 tasks, 9 failures "RESOURCE:CPU" null
        1 tasks, 9 failures "RESOURCE:MEMORY" null
        0 tasks, 10 failures "LOCATION" "the container instance is in us-west-2a"
        0 tasks, 10 failures "AGENT" null
        0 tasks, 10 failures "ATTRIBUTE" "the container instance does not have the attribute ecs.capability.task-eni"
    "#]].assert_eq(&found);
}

#[test]
fn start_task_takes_the_instances_it_is_given() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    world.call("RegisterTaskDefinition", ec2_definition()).unwrap();
    let mut found = String::new();
    let instance = |number: u32| format!("{number:032x}");
    let start = |patch: Value| {
        let request = json!({"taskDefinition": "nginx", "networkConfiguration":
            {"awsvpcConfiguration": {"subnets": ["subnet-a"], "securityGroups": ["sg-web"]}}});
        merged(request, patch)
    };
    let many: Vec<String> = (0..11).map(instance).collect();
    for asked in [
        json!({"containerInstances": [instance(1), instance(2), instance(9), instance(1)]}),
        json!({"containerInstances": [instance(1), instance(1)], "startedBy": "me", "group": "g"}),
        json!({"containerInstances": []}),
        json!({"containerInstances": many}),
        json!({"containerInstances": ["i"]}),
        json!({"containerInstances": [instance(1)], "networkConfiguration": null}),
        json!({"containerInstances": [instance(2)], "taskDefinition": "nginx:9"}),
        json!({"containerInstances": [instance(2)], "cluster": "other"}),
        json!({"containerInstances": [instance(2)],
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-b"]}}}),
    ] {
        let answer = world.call("StartTask", start(asked));
        let short = answer.map_or_else(
            |words| words,
            |answer| {
                let tasks = answer["tasks"].as_array().unwrap().iter();
                let tasks = tasks
                    .map(|task| format!("{} {} {}", task["containerInstanceArn"], task["launchType"], task["group"]));
                format!("{:#?} {}", tasks.collect::<Vec<_>>(), answer["failures"])
            },
        );
        found.push_str(&format!("{short}\n"));
    }
    expect![[r#"
        [
            "\"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001\" \"EC2\" \"family:nginx\"",
            "\"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000002\" \"EC2\" \"family:nginx\"",
            "\"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001\" \"EC2\" \"family:nginx\"",
        ] [{"arn":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000009","reason":"MISSING"}]
        [
            "\"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001\" \"EC2\" \"g\"",
        ] [{"arn":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001","reason":"RESOURCE:ENI"}]
        InvalidParameterException: Container instances cannot be empty.
        InvalidParameterException: containerInstances can have at most 10 items.
        InvalidParameterException: containerInstanceId length should be one of [32,36]
        InvalidParameterException: Network Configuration must be provided when networkMode 'awsvpc' is specified.
        ClientException: TaskDefinition not found.
        ClusterNotFoundException: Cluster not found.
        [] [{"arn":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000002","detail":"the container instance is in us-west-2a","reason":"LOCATION"}]
    "#]].assert_eq(&found);
}

#[test]
fn fargate_needs_a_host_but_no_instance() {
    let mut world = World::with_cluster();
    world.register();
    let answer = world.call("RunTask", run_request()).unwrap();
    expect![[r#"{"failures":[{"detail":"Capacity is unavailable at this time. Please try again later or in a different availability zone","reason":"RESOURCE:FARGATE"}],"tasks":[]}"#]].assert_eq(&answer.to_string());
    let mut elsewhere = hello(1);
    elsewhere.cluster = "other".to_owned();
    world.connect(&elsewhere);
    assert_eq!(world.run(json!({})).len(), 1);
    // 2048 MiB hold four tasks of 512 MiB.
    let answer = world.call("RunTask", merged(run_request(), json!({"count": 10}))).unwrap();
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
        tasks.iter().map(|task| world.snap.ecs().tasks[task].eni().unwrap().address.to_string()).collect();
    assert_eq!(places, ["10.0.0.4", "10.0.1.4", "10.0.0.5", "10.0.1.5"]);
}

#[test]
fn a_full_subnet_stops_the_task_with_the_words_of_aws() {
    let mut world = World::with_cluster();
    let mut big = hello(1);
    big.capacity.memory_mib = 1 << 20;
    world.connect(&big);
    let tiny = awsvpc(json!({"subnets": ["subnet-tiny"]}));
    world.run(merged(tiny.clone(), json!({"count": 10})));
    let last = world.run(merged(tiny, json!({"count": 2})));
    assert_eq!(world.status(&last[0]), TaskStatus::Provisioning);
    assert_eq!(world.status(&last[1]), TaskStatus::Stopped);
    let answer = world.call("DescribeTasks", json!({"tasks": [last[1].as_str()]})).unwrap();
    let task = &answer["tasks"][0];
    expect![[r#"
        "TaskFailedToStart"
        "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment disabled in subnet 'subnet-tiny': InsufficientFreeAddressesInSubnet"
        "DELETED""#]]
        .assert_eq(&format!("{}\n{}\n{}", task["stopCode"], task["stoppedReason"], task["attachments"][0]["status"]));
    assert_eq!(task["attachments"][0]["details"], json!([{"name": "subnetId", "value": "subnet-tiny"}]));
    assert_eq!(world.snap.vpc().enis.len(), 11);
}

#[test]
fn tags_come_from_the_definition_the_request_and_aws() {
    let mut world = World::with_host();
    let tags = json!([{"key": "a", "value": "definition"}, {"key": "b", "value": "definition"}]);
    world.call("RegisterTaskDefinition", merged(fargate_definition(), json!({"tags": tags}))).unwrap();
    let patch = json!({"propagateTags": "TASK_DEFINITION", "enableECSManagedTags": true,
        "tags": [{"key": "b", "value": "request"}]});
    world.call("RunTask", merged(run_request(), patch)).unwrap();
    let task = world.snap.ecs().tasks.values().next().unwrap();
    expect![[r#"{"a": "definition", "aws:ecs:clusterName": "default", "b": "request"}"#]]
        .assert_eq(&format!("{:?}", task.tags));
}
