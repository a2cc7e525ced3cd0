//! The life of one task as callers see it, and everything else that is described and listed.

use berth_types::report::{EniState, StopCause, TaskStage};
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, hello, merged, run_request};
use crate::ecs::{
    create_cluster, delete_cluster, describe_clusters, describe_container_instances, describe_tasks, expire,
    get_task_protection, list_clusters, list_container_instances, list_tags_for_resource, list_tasks, run_task,
    stop_task, tag_resource, untag_resource, update_task_protection,
};

fn line(world: &mut World, task: &str) -> String {
    let answer = world.read(describe_tasks, json!({"tasks": [task]})).unwrap();
    let task = &answer["tasks"][0];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!(
        "{} desired {} attachment {} container {} version {} stop {} / {}\n",
        text(&task["lastStatus"]),
        text(&task["desiredStatus"]),
        text(&task["attachments"][0]["status"]),
        text(&task["containers"][0]["lastStatus"]),
        task["version"],
        text(&task["stopCode"]),
        text(&task["stoppedReason"]),
    )
}

#[test]
fn a_task_lives_and_is_stopped_by_its_user() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    let mut found = line(&mut world, task.as_str());
    world.eni(&task, EniState::Attached);
    found += &line(&mut world, task.as_str());
    world.stage(&task, TaskStage::Pending, None);
    world.stage(&task, TaskStage::Running, None);
    found += &line(&mut world, task.as_str());
    let running = world.read(describe_tasks, json!({"tasks": [task.as_str()]})).unwrap();
    expect![[r#"
        {
          "attachments": [
            {
              "details": [
                {
                  "name": "subnetId",
                  "value": "subnet-a"
                },
                {
                  "name": "networkInterfaceId",
                  "value": "eni-cb7f1e3836bfaff0f"
                },
                {
                  "name": "macAddress",
                  "value": "02:96:bf:7e:8c:02"
                },
                {
                  "name": "privateDnsName",
                  "value": "ip-10-0-0-4.us-west-2.compute.internal"
                },
                {
                  "name": "privateIPv4Address",
                  "value": "10.0.0.4"
                }
              ],
              "id": "aa1f89f8-3a29-4ba7-9a36-db76b0c9a8cf",
              "status": "ATTACHED",
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
          "connectivity": "CONNECTED",
          "connectivityAt": 0,
          "containers": [
            {
              "containerArn": "arn:aws:ecs:us-west-2:111122223333:container/default/eeab027755e2294d2d1ec32f9e72e0ab/9a453ba4-cc86-4cb7-a8c9-e33bfc1fb812",
              "cpu": "0",
              "healthStatus": "UNKNOWN",
              "image": "nginx",
              "lastStatus": "RUNNING",
              "name": "nginx",
              "networkBindings": [],
              "networkInterfaces": [
                {
                  "attachmentId": "aa1f89f8-3a29-4ba7-9a36-db76b0c9a8cf",
                  "privateIpv4Address": "10.0.0.4"
                }
              ],
              "runtimeId": "nginx-runtime",
              "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/default/eeab027755e2294d2d1ec32f9e72e0ab"
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
          "lastStatus": "RUNNING",
          "launchType": "FARGATE",
          "memory": "512",
          "overrides": {
            "containerOverrides": [
              {
                "name": "nginx"
              }
            ],
            "inferenceAcceleratorOverrides": []
          },
          "platformFamily": "Linux",
          "platformVersion": "1.4.0",
          "startedAt": 0,
          "tags": [],
          "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/default/eeab027755e2294d2d1ec32f9e72e0ab",
          "taskDefinitionArn": "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1",
          "version": 4
        }"#]].assert_eq(&serde_json::to_string_pretty(&running["tasks"][0]).unwrap());
    world.write(stop_task, json!({"task": task.as_str(), "reason": "enough"})).unwrap();
    found += &line(&mut world, task.as_str());
    world.write(stop_task, json!({"task": task.as_str(), "reason": "again"})).unwrap();
    found += &line(&mut world, task.as_str());
    world.stage(&task, TaskStage::Stopping, None);
    found += &line(&mut world, task.as_str());
    world.stage(&task, TaskStage::Running, None);
    found += &line(&mut world, task.as_str());
    world.stage(&task, TaskStage::Stopped, None);
    found += &line(&mut world, task.as_str());
    assert_eq!(world.snap.enis.len(), 1);
    world.eni(&task, EniState::Gone);
    found += &line(&mut world, task.as_str());
    expect![[r#"
        PROVISIONING desired RUNNING attachment ATTACHING container PENDING version 1 stop - / -
        PENDING desired RUNNING attachment ATTACHED container PENDING version 2 stop - / -
        RUNNING desired RUNNING attachment ATTACHED container RUNNING version 4 stop - / -
        DEACTIVATING desired STOPPED attachment ATTACHED container RUNNING version 5 stop UserInitiated / enough
        DEACTIVATING desired STOPPED attachment ATTACHED container RUNNING version 5 stop UserInitiated / enough
        STOPPING desired STOPPED attachment ATTACHED container RUNNING version 6 stop UserInitiated / enough
        STOPPING desired STOPPED attachment ATTACHED container RUNNING version 6 stop UserInitiated / enough
        DEPROVISIONING desired STOPPED attachment DETACHING container STOPPED version 7 stop UserInitiated / enough
        STOPPED desired STOPPED attachment DELETED container STOPPED version 8 stop UserInitiated / enough
    "#]]
    .assert_eq(&found);
    assert_eq!((world.snap.enis.len(), world.snap.group_sets.len()), (0, 0));
    let stopped_at = world.now.0;
    // An hour as on AWS, and a day where the server is told so.
    for kept_ms in [super::super::STOPPED_TASKS_KEPT_MS, 24 * 60 * 60 * 1000] {
        for (after_ms, left) in [(kept_ms, 1), (kept_ms + 1, 0)] {
            world.now.0 = stopped_at + after_ms;
            let (env, mut snap) = (world.env(), world.snap.clone());
            expire(&snap, kept_ms, &env).writes.iter().for_each(|write| snap.apply(write));
            assert_eq!(snap.tasks.len(), left, "{kept_ms} ms kept, {after_ms} ms later");
        }
    }
}

#[test]
fn tasks_end_for_the_reason_their_host_gives() {
    let mut found = String::new();
    let exited = StopCause::EssentialContainerExited { container: "nginx".to_owned() };
    let failed = StopCause::FailedToStart { reason: "CannotPullContainerError: no such image".to_owned() };
    for (stage, cause) in [(TaskStage::Running, exited), (TaskStage::Pending, failed)] {
        let mut world = World::with_host();
        let task = world.run(json!({}))[0].clone();
        // The interface's report comes late: the task waits for it.
        world.stage(&task, stage, None);
        found += &line(&mut world, task.as_str());
        world.eni(&task, EniState::Attached);
        found += &line(&mut world, task.as_str());
        world.stage(&task, TaskStage::Stopping, Some(cause.clone()));
        world.write(stop_task, json!({"task": task.as_str()})).unwrap();
        found += &line(&mut world, task.as_str());
        world.stage(&task, TaskStage::Stopped, Some(cause));
        world.eni(&task, EniState::Gone);
        found += &line(&mut world, task.as_str());
    }
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    world.eni(&task, EniState::Failed("the link could not be created".to_owned()));
    found += &line(&mut world, task.as_str());
    world.stage(&task, TaskStage::Stopped, None);
    world.eni(&task, EniState::Gone);
    found += &line(&mut world, task.as_str());
    expect![[r#"
        PROVISIONING desired RUNNING attachment ATTACHING container RUNNING version 2 stop - / -
        RUNNING desired RUNNING attachment ATTACHED container RUNNING version 4 stop - / -
        STOPPING desired STOPPED attachment ATTACHED container RUNNING version 6 stop EssentialContainerExited / Essential container in task exited
        STOPPED desired STOPPED attachment DELETED container STOPPED version 8 stop EssentialContainerExited / Essential container in task exited
        PROVISIONING desired RUNNING attachment ATTACHING container PENDING version 2 stop - / -
        PENDING desired RUNNING attachment ATTACHED container PENDING version 3 stop - / -
        STOPPING desired STOPPED attachment ATTACHED container RUNNING version 5 stop TaskFailedToStart / CannotPullContainerError: no such image
        STOPPED desired STOPPED attachment DELETED container STOPPED version 7 stop TaskFailedToStart / CannotPullContainerError: no such image
        DEACTIVATING desired STOPPED attachment FAILED container PENDING version 2 stop TaskFailedToStart / ResourceInitializationError: unable to set up the network interface eni-cb7f1e3836bfaff0f: the link could not be created
        STOPPED desired STOPPED attachment DELETED container STOPPED version 4 stop TaskFailedToStart / ResourceInitializationError: unable to set up the network interface eni-cb7f1e3836bfaff0f: the link could not be created
    "#]].assert_eq(&found);
    assert_eq!(world.snap.enis.len(), 0);
}

#[test]
fn reports_of_other_hosts_change_nothing() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    world.connect(&hello(2));
    let known = world.snap.tasks[&task].clone();
    let env = world.env();
    let report = super::report(&known, TaskStage::Stopped, None);
    let other = hello(2).host;
    assert!(super::super::observe_task(&world.snap, &other, &report, &env).writes.is_empty());
    let eni = known.eni().unwrap().id.clone();
    let report = berth_types::report::EniReport { eni, state: EniState::Gone };
    assert!(super::super::observe_eni(&world.snap, &other, &report, &env).writes.is_empty());
}

#[test]
fn tasks_are_listed_by_what_they_are_to_be() {
    let mut world = World::with_host();
    let tasks = world.run(json!({"count": 3, "startedBy": "me"}));
    world.write(stop_task, json!({"task": tasks[0].as_str()})).unwrap();
    world.write(create_cluster, json!({"clusterName": "other"})).unwrap();
    let mut found = String::new();
    for request in [
        json!({}),
        json!({"desiredStatus": "RUNNING"}),
        json!({"desiredStatus": "STOPPED"}),
        json!({"desiredStatus": "PENDING"}),
        json!({"launchType": "EC2"}),
        json!({"family": "nginx"}),
        json!({"family": "other"}),
        json!({"startedBy": "me"}),
        json!({"startedBy": "you"}),
        json!({"containerInstance": hello(1).host.as_str()}),
        json!({"cluster": "other"}),
        json!({"cluster": "nosuch"}),
        json!({"serviceName": "x"}),
        json!({"maxResults": 1}),
        json!({"maxResults": 101}),
        json!({"nextToken": "x"}),
    ] {
        let answer = world.read(list_tasks, request.clone());
        let shown =
            answer.map_or_else(|words| words, |answer| answer["taskArns"].as_array().unwrap().len().to_string());
        found += &format!("{request}: {shown}\n");
    }
    let missing = json!({"tasks": [tasks[0].as_str(), "0".repeat(32)], "cluster": "other"});
    found += &world.read(describe_tasks, missing).unwrap().to_string();
    for request in [json!({}), json!({"tasks": ["x"]}), json!({"tasks": [tasks[0].as_str()], "include": ["X"]})] {
        found += &format!("\n{request}: {}", world.read(describe_tasks, request.clone()).unwrap_err());
    }
    found += &format!("\n{}", world.write(stop_task, json!({"task": "0".repeat(32)})).unwrap_err());
    expect![[r#"
        {}: 2
        {"desiredStatus":"RUNNING"}: 2
        {"desiredStatus":"STOPPED"}: 1
        {"desiredStatus":"PENDING"}: 0
        {"launchType":"EC2"}: 0
        {"family":"nginx"}: 2
        {"family":"other"}: 0
        {"startedBy":"me"}: 2
        {"startedBy":"you"}: 0
        {"containerInstance":"00000000000000000000000000000001"}: 0
        {"cluster":"other"}: 0
        {"cluster":"nosuch"}: ClusterNotFoundException: Cluster not found.
        {"serviceName":"x"}: ServiceNotFoundException: Service not found.
        {"maxResults":1}: 1
        {"maxResults":101}: InvalidParameterException: maxResults must be between 1 and 100.
        {"nextToken":"x"}: InvalidParameterException: Invalid token
        {"failures":[{"arn":"arn:aws:ecs:us-west-2:111122223333:task/other/eeab027755e2294d2d1ec32f9e72e0ab","reason":"MISSING"},{"arn":"arn:aws:ecs:us-west-2:111122223333:task/other/00000000000000000000000000000000","reason":"MISSING"}],"tasks":[]}
        {}: InvalidParameterException: Tasks cannot be empty.
        {"tasks":["x"]}: InvalidParameterException: taskId length should be one of [32,36]
        {"include":["X"],"tasks":["eeab027755e2294d2d1ec32f9e72e0ab"]}: InvalidParameterException: Invalid include value 'X'.
        InvalidParameterException: The referenced task was not found."#]].assert_eq(&found);
}

#[test]
fn clusters_are_made_once_and_deleted_when_empty() {
    let mut world = World::with_host();
    let mut found = String::new();
    let mut note = |answer: Result<Value, String>| {
        found += &answer.map_or_else(|words| words, |answer| answer.to_string());
        found += "\n";
    };
    let request = json!({"clusterName": "demo", "tags": [{"key": "a", "value": "b"}],
        "settings": [{"name": "containerInsights", "value": "enabled"}]});
    note(world.write(create_cluster, request));
    note(world.write(create_cluster, json!({"clusterName": "demo"})));
    for refused in [
        json!({"clusterName": "a b"}),
        json!({"capacityProviders": ["mine"]}),
        json!({"serviceConnectDefaults": {"namespace": "x"}}),
        json!({"settings": [{"name": "containerInsights", "value": "maybe"}]}),
        json!({"settings": [{"name": "other", "value": "x"}]}),
    ] {
        note(world.write(create_cluster, refused));
    }
    note(world.read(describe_clusters, json!({"clusters": ["demo", "nosuch"], "include": ["TAGS", "SETTINGS"]})));
    note(world.write(delete_cluster, json!({"cluster": "demo"})));
    note(world.read(list_clusters, json!({})));
    note(world.write(delete_cluster, json!({"cluster": "nosuch"})));
    note(world.write(delete_cluster, json!({})));
    world.run(json!({}));
    let env = world.env();
    let change = super::super::host_disconnected(&world.snap, &hello(1).host, &env);
    world.apply(change);
    note(world.write(delete_cluster, json!({})));
    expect![[r#"
        {"cluster":{"activeServicesCount":0,"capacityProviders":[],"clusterArn":"arn:aws:ecs:us-west-2:111122223333:cluster/demo","clusterName":"demo","defaultCapacityProviderStrategy":[],"pendingTasksCount":0,"registeredContainerInstancesCount":0,"runningTasksCount":0,"settings":[{"name":"containerInsights","value":"enabled"}],"statistics":[],"status":"ACTIVE","tags":[{"key":"a","value":"b"}]}}
        {"cluster":{"activeServicesCount":0,"capacityProviders":[],"clusterArn":"arn:aws:ecs:us-west-2:111122223333:cluster/demo","clusterName":"demo","defaultCapacityProviderStrategy":[],"pendingTasksCount":0,"registeredContainerInstancesCount":0,"runningTasksCount":0,"settings":[{"name":"containerInsights","value":"enabled"}],"statistics":[],"status":"ACTIVE","tags":[{"key":"a","value":"b"}]}}
        InvalidParameterException: Invalid cluster name. A name has up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens.
        InvalidParameterException: The specified capacity provider was not found. Specify a valid name or ARN and try again.
        InvalidParameterException: serviceConnectDefaults is not supported by this endpoint yet.
        InvalidParameterException: Invalid value 'maybe' for the cluster setting containerInsights.
        InvalidParameterException: Invalid cluster setting 'other'.
        {"clusters":[{"activeServicesCount":0,"capacityProviders":[],"clusterArn":"arn:aws:ecs:us-west-2:111122223333:cluster/demo","clusterName":"demo","defaultCapacityProviderStrategy":[],"pendingTasksCount":0,"registeredContainerInstancesCount":0,"runningTasksCount":0,"settings":[{"name":"containerInsights","value":"enabled"}],"statistics":[],"status":"ACTIVE","tags":[{"key":"a","value":"b"}]}],"failures":[{"arn":"arn:aws:ecs:us-west-2:111122223333:cluster/nosuch","reason":"MISSING"}]}
        {"cluster":{"activeServicesCount":0,"capacityProviders":[],"clusterArn":"arn:aws:ecs:us-west-2:111122223333:cluster/demo","clusterName":"demo","defaultCapacityProviderStrategy":[],"pendingTasksCount":0,"registeredContainerInstancesCount":0,"runningTasksCount":0,"settings":[],"statistics":[],"status":"INACTIVE","tags":[]}}
        {"clusterArns":["arn:aws:ecs:us-west-2:111122223333:cluster/default"]}
        ClusterNotFoundException: Cluster not found.
        ClusterContainsContainerInstancesException: The Cluster cannot be deleted while Container Instances are active or draining.
        ClusterContainsTasksException: The Cluster cannot be deleted while Tasks are active.
    "#]].assert_eq(&found);
}

#[test]
fn statistics_count_by_launch_type() {
    let mut world = World::with_host();
    world.run(json!({"count": 2}));
    world.write(super::super::register_task_definition, super::ec2_definition()).unwrap();
    world.write(run_task, merged(run_request(), json!({"launchType": "EC2"}))).unwrap();
    let answer = world.read(describe_clusters, json!({"include": ["STATISTICS"]})).unwrap();
    let cluster = &answer["clusters"][0];
    let counted: Vec<String> = cluster["statistics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair["value"] != "0")
        .map(|pair| format!("{} {}", pair["name"], pair["value"]))
        .collect();
    assert_eq!(counted, [r#""pendingEC2TasksCount" "1""#, r#""pendingFargateTasksCount" "2""#]);
    assert_eq!((&cluster["pendingTasksCount"], &cluster["registeredContainerInstancesCount"]), (&json!(3), &json!(1)));
}

#[test]
fn a_container_instance_tells_what_is_left() {
    let mut world = World::with_host();
    world.write(super::super::register_task_definition, super::ec2_definition()).unwrap();
    world.write(run_task, merged(run_request(), json!({"launchType": "EC2"}))).unwrap();
    let listed = world.read(list_container_instances, json!({})).unwrap();
    let arn = listed["containerInstanceArns"][0].clone();
    let answer = world
        .read(describe_container_instances, json!({"containerInstances": [arn, "f".repeat(32)], "include": ["TAGS"]}))
        .unwrap();
    expect![[r#"
        {
          "containerInstances": [
            {
              "agentConnected": true,
              "attachments": [],
              "attributes": [
                {
                  "name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"
                },
                {
                  "name": "com.amazonaws.ecs.capability.docker-remote-api.1.19"
                },
                {
                  "name": "com.amazonaws.ecs.capability.ecr-auth"
                },
                {
                  "name": "com.amazonaws.ecs.capability.logging-driver.awslogs"
                },
                {
                  "name": "com.amazonaws.ecs.capability.logging-driver.json-file"
                },
                {
                  "name": "com.amazonaws.ecs.capability.logging-driver.none"
                },
                {
                  "name": "ecs.availability-zone",
                  "value": "us-west-2a"
                },
                {
                  "name": "ecs.capability.container-ordering"
                },
                {
                  "name": "ecs.capability.execution-role-awslogs"
                },
                {
                  "name": "ecs.capability.execution-role-ecr-pull"
                },
                {
                  "name": "ecs.capability.task-cpu-mem-limit"
                },
                {
                  "name": "ecs.capability.task-eni"
                },
                {
                  "name": "ecs.cpu-architecture",
                  "value": "x86_64"
                }
              ],
              "containerInstanceArn": "arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001",
              "ec2InstanceId": "i-00000000000000001",
              "pendingTasksCount": 1,
              "registeredAt": 0,
              "registeredResources": [
                {
                  "doubleValue": 0.0,
                  "integerValue": 2048,
                  "longValue": 0,
                  "name": "CPU",
                  "type": "INTEGER"
                },
                {
                  "doubleValue": 0.0,
                  "integerValue": 2048,
                  "longValue": 0,
                  "name": "MEMORY",
                  "type": "INTEGER"
                },
                {
                  "doubleValue": 0.0,
                  "integerValue": 0,
                  "longValue": 0,
                  "name": "PORTS",
                  "stringSetValue": [
                    "22",
                    "2376",
                    "2375",
                    "51678",
                    "51679",
                    "51680"
                  ],
                  "type": "STRINGSET"
                },
                {
                  "doubleValue": 0.0,
                  "integerValue": 0,
                  "longValue": 0,
                  "name": "PORTS_UDP",
                  "stringSetValue": [],
                  "type": "STRINGSET"
                }
              ],
              "remainingResources": [
                {
                  "doubleValue": 0.0,
                  "integerValue": 1948,
                  "longValue": 0,
                  "name": "CPU",
                  "type": "INTEGER"
                },
                {
                  "doubleValue": 0.0,
                  "integerValue": 1536,
                  "longValue": 0,
                  "name": "MEMORY",
                  "type": "INTEGER"
                },
                {
                  "doubleValue": 0.0,
                  "integerValue": 0,
                  "longValue": 0,
                  "name": "PORTS",
                  "stringSetValue": [
                    "22",
                    "2376",
                    "2375",
                    "51678",
                    "51679",
                    "51680"
                  ],
                  "type": "STRINGSET"
                },
                {
                  "doubleValue": 0.0,
                  "integerValue": 0,
                  "longValue": 0,
                  "name": "PORTS_UDP",
                  "stringSetValue": [],
                  "type": "STRINGSET"
                }
              ],
              "runningTasksCount": 0,
              "status": "ACTIVE",
              "tags": [],
              "version": 1,
              "versionInfo": {
                "agentVersion": "0.1.0",
                "dockerVersion": "containerd: 1.6.20"
              }
            }
          ],
          "failures": [
            {
              "arn": "arn:aws:ecs:us-west-2:111122223333:container-instance/default/ffffffffffffffffffffffffffffffff",
              "reason": "MISSING"
            }
          ]
        }"#]].assert_eq(&serde_json::to_string_pretty(&answer).unwrap());
}

#[test]
fn tags_are_put_read_and_taken_away() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    let mut found = String::new();
    for resource in [
        "cluster/default".to_owned(),
        format!("task/default/{task}"),
        "task-definition/nginx:1".to_owned(),
        format!("container-instance/default/{}", hello(1).host),
        "cluster/nosuch".to_owned(),
        "service/default/x".to_owned(),
    ] {
        let arn = format!("arn:aws:ecs:us-west-2:111122223333:{resource}");
        let tags = json!([{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]);
        match world.write(tag_resource, json!({"resourceArn": arn, "tags": tags})) {
            Ok(_) => {
                world.write(untag_resource, json!({"resourceArn": arn, "tagKeys": ["a"]})).unwrap();
                found += &format!("{}\n", world.read(list_tags_for_resource, json!({"resourceArn": arn})).unwrap());
            }
            Err(words) => found += &format!("{words}\n"),
        }
    }
    expect![[r#"
        {"tags":[{"key":"b","value":"2"}]}
        {"tags":[{"key":"b","value":"2"}]}
        {"tags":[{"key":"b","value":"2"}]}
        {"tags":[{"key":"b","value":"2"}]}
        ClusterNotFoundException: Cluster not found.
        InvalidParameterException: The specified ARN is not valid. Specify the ARN of an ECS resource and try again.
    "#]]
    .assert_eq(&found);
}

#[test]
fn a_task_without_a_service_cannot_be_protected() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].to_string();
    let mut found = String::new();
    let mut note = |answer: Result<Value, String>| {
        found.push_str(&format!("{}\n", answer.map_or_else(|words| words, |answer| answer.to_string())));
    };
    let both = json!({"cluster": "default", "tasks": [task, "f".repeat(32)]});
    note(world.read(get_task_protection, both.clone()));
    note(world.read(get_task_protection, json!({"cluster": "default"})));
    note(world.write(update_task_protection, merged(both.clone(), json!({"protectionEnabled": true}))));
    note(world.write(update_task_protection, both.clone()));
    let minutes = json!({"protectionEnabled": true, "expiresInMinutes": 2881});
    note(world.write(update_task_protection, merged(both, minutes)));
    note(world.write(update_task_protection, json!({"cluster": "default", "protectionEnabled": true})));
    expect![[r#"
        {"failures":[{"arn":"arn:aws:ecs:us-west-2:111122223333:task/default/eeab027755e2294d2d1ec32f9e72e0ab","detail":"The task is not part of an Amazon ECS service.","reason":"TASK_NOT_VALID"},{"arn":"arn:aws:ecs:us-west-2:111122223333:task/default/ffffffffffffffffffffffffffffffff","reason":"MISSING"}],"protectedTasks":[]}
        {"failures":[],"protectedTasks":[]}
        {"failures":[{"arn":"arn:aws:ecs:us-west-2:111122223333:task/default/eeab027755e2294d2d1ec32f9e72e0ab","detail":"The task is not part of an Amazon ECS service.","reason":"TASK_NOT_VALID"},{"arn":"arn:aws:ecs:us-west-2:111122223333:task/default/ffffffffffffffffffffffffffffffff","reason":"MISSING"}],"protectedTasks":[]}
        InvalidParameterException: protectionEnabled must be specified.
        InvalidParameterException: expiresInMinutes must be between 1 and 2880.
        InvalidParameterException: Tasks cannot be empty.
    "#]].assert_eq(&found);
}
