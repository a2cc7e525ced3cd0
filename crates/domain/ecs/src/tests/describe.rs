// SPDX-License-Identifier: Apache-2.0
//! The life of one task as callers see it, and everything else that is described and listed.

use berth_types::report::{EniState, TaskStage};
use expect_test::expect;
use serde_json::{Value, json};

use super::{RUN, World, check, hello, merged, run_request};
use crate::{Ages, expire};

/// The members of a task that change during its life.
const LOOK: &str = "DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason";

#[test]
fn a_task_lives_and_is_stopped_by_its_user() {
    let mut world = World::with_host();
    let started = world.transcript(&format!(
        "{RUN}
         {LOOK}
         task-1 interface ATTACHED
         {LOOK}
         task-1 reports PENDING
         task-1 reports RUNNING
         {LOOK}"
    ));
    expect![[r#"
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHING}] containers=[{lastStatus=PENDING}] desiredStatus=RUNNING lastStatus=PROVISIONING version=1}]
        task-1 interface ATTACHED
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=PENDING}] desiredStatus=RUNNING lastStatus=PENDING version=2}]
        task-1 reports PENDING
        task-1 reports RUNNING
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=RUNNING lastStatus=RUNNING version=4}]
    "#]].assert_eq(&started);
    let running = world.call("DescribeTasks", json!({"tasks": ["task-1"]})).unwrap();
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
                  "value": "eni-79a36db76b0c9a8cf"
                },
                {
                  "name": "macAddress",
                  "value": "02:34:cc:10:72:17"
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
              "id": "attachment-1",
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
              "containerArn": "arn:aws:ecs:us-west-2:111122223333:container/default/task-1/container-1",
              "cpu": "0",
              "healthStatus": "UNKNOWN",
              "image": "nginx",
              "lastStatus": "RUNNING",
              "name": "nginx",
              "networkBindings": [],
              "networkInterfaces": [
                {
                  "attachmentId": "attachment-1",
                  "privateIpv4Address": "10.0.0.4"
                }
              ],
              "runtimeId": "nginx-runtime",
              "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/default/task-1"
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
          "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/default/task-1",
          "taskDefinitionArn": "arn:aws:ecs:us-west-2:111122223333:task-definition/nginx:1",
          "version": 4
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&running["tasks"][0]).unwrap());
    let stopped = world.transcript(&format!(
        "!StopTask task=task-1 reason=enough
         {LOOK}
         !StopTask task=task-1 reason=again
         {LOOK}
         task-1 reports STOPPING
         {LOOK}
         task-1 reports RUNNING
         {LOOK}
         task-1 reports STOPPED
         {LOOK}"
    ));
    expect![[r#"
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=STOPPED lastStatus=DEACTIVATING stopCode=UserInitiated stoppedReason=enough version=5}]
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=STOPPED lastStatus=DEACTIVATING stopCode=UserInitiated stoppedReason=enough version=5}]
        task-1 reports STOPPING
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=STOPPED lastStatus=STOPPING stopCode=UserInitiated stoppedReason=enough version=6}]
        task-1 reports RUNNING
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=STOPPED lastStatus=STOPPING stopCode=UserInitiated stoppedReason=enough version=6}]
        task-1 reports STOPPED
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=DETACHING}] containers=[{lastStatus=STOPPED}] desiredStatus=STOPPED lastStatus=DEPROVISIONING stopCode=UserInitiated stoppedReason=enough version=7}]
    "#]].assert_eq(&stopped);
    assert_eq!(world.snap.vpc().enis.len(), 1);
    expect![[r#"
        task-1 interface GONE
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=DELETED}] containers=[{lastStatus=STOPPED}] desiredStatus=STOPPED lastStatus=STOPPED stopCode=UserInitiated stoppedReason=enough version=8}]
    "#]].assert_eq(&world.transcript(&format!("task-1 interface GONE\n{LOOK}")));
    assert_eq!((world.snap.vpc().enis.len(), world.snap.vpc().group_sets.len()), (0, 0));
    // An hour as on AWS, and a day where the server is told so; the wall clock is not asked.
    for kept_ms in [crate::STOPPED_TASKS_KEPT_MS, 24 * 60 * 60 * 1000] {
        let mut ages = Ages::new(kept_ms);
        world.now.0 += 365 * 24 * 60 * 60 * 1000;
        for (after_ms, left) in [(0, 1), (kept_ms, 1), (kept_ms + 1, 0)] {
            let (over, mut snap) = (ages.look(&world.snap, after_ms), world.snap.clone());
            expire(&snap, &over).writes.iter().for_each(|write| snap.apply(write));
            assert_eq!(snap.ecs().tasks.len(), left, "{kept_ms} ms kept, {after_ms} ms later");
        }
    }
}

#[test]
fn tasks_end_for_the_reason_their_host_gives() {
    // The interface's report comes late: the task waits for it.
    let reported = |stage: &str, cause: &str| {
        format!(
            "{RUN}
             task-1 reports {stage}
             {LOOK}
             task-1 interface ATTACHED
             {LOOK}
             task-1 reports STOPPING {cause}
             !StopTask task=task-1
             {LOOK}
             task-1 reports STOPPED {cause}
             task-1 interface GONE
             {LOOK}"
        )
    };
    check(
        &reported("RUNNING", "exited=nginx"),
        expect![[r#"
        task-1 reports RUNNING
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHING}] containers=[{lastStatus=RUNNING}] desiredStatus=RUNNING lastStatus=PROVISIONING version=2}]
        task-1 interface ATTACHED
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=RUNNING lastStatus=RUNNING version=4}]
        task-1 reports STOPPING exited=nginx
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=STOPPED lastStatus=STOPPING stopCode=EssentialContainerExited stoppedReason="Essential container in task exited" version=6}]
        task-1 reports STOPPED exited=nginx
        task-1 interface GONE
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=DELETED}] containers=[{lastStatus=STOPPED}] desiredStatus=STOPPED lastStatus=STOPPED stopCode=EssentialContainerExited stoppedReason="Essential container in task exited" version=8}]
    "#]],
    );
    check(
        &reported("PENDING", r#"failed="CannotPullContainerError: no such image""#),
        expect![[r#"
        task-1 reports PENDING
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHING}] containers=[{lastStatus=PENDING}] desiredStatus=RUNNING lastStatus=PROVISIONING version=2}]
        task-1 interface ATTACHED
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=PENDING}] desiredStatus=RUNNING lastStatus=PENDING version=3}]
        task-1 reports STOPPING failed="CannotPullContainerError: no such image"
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=ATTACHED}] containers=[{lastStatus=RUNNING}] desiredStatus=STOPPED lastStatus=STOPPING stopCode=TaskFailedToStart stoppedReason="CannotPullContainerError: no such image" version=5}]
        task-1 reports STOPPED failed="CannotPullContainerError: no such image"
        task-1 interface GONE
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=DELETED}] containers=[{lastStatus=STOPPED}] desiredStatus=STOPPED lastStatus=STOPPED stopCode=TaskFailedToStart stoppedReason="CannotPullContainerError: no such image" version=7}]
    "#]],
    );
    let mut world = World::with_host();
    let found = world.transcript(&format!(
        r#"{RUN}
           task-1 interface failed="the link could not be created"
           {LOOK}
           task-1 reports STOPPED
           task-1 interface GONE
           {LOOK}"#
    ));
    expect![[r#"
        task-1 interface failed="the link could not be created"
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=FAILED}] containers=[{lastStatus=PENDING}] desiredStatus=STOPPED lastStatus=DEACTIVATING stopCode=TaskFailedToStart stoppedReason="ResourceInitializationError: unable to set up the network interface eni-1: the link could not be created" version=2}]
        task-1 reports STOPPED
        task-1 interface GONE
        DescribeTasks tasks.1=task-1 | desiredStatus status lastStatus version stopCode stoppedReason
          tasks=[{attachments=[{status=DELETED}] containers=[{lastStatus=STOPPED}] desiredStatus=STOPPED lastStatus=STOPPED stopCode=TaskFailedToStart stoppedReason="ResourceInitializationError: unable to set up the network interface eni-1: the link could not be created" version=4}]
    "#]].assert_eq(&found);
    assert_eq!(world.snap.vpc().enis.len(), 0);
}

#[test]
fn reports_of_other_hosts_change_nothing() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    world.connect(&hello(2));
    let known = world.snap.ecs().tasks[&task].clone();
    let env = world.env();
    let report = super::report(&known, TaskStage::Stopped, None);
    let other = hello(2).host;
    assert!(crate::observe_task(&world.snap, &other, &report, &env).writes.is_empty());
    let eni = known.eni().unwrap().id.clone();
    let report = berth_types::report::EniReport { eni, state: EniState::Gone };
    assert!(crate::observe_eni(&world.snap, &other, &report, &env).writes.is_empty());
}

#[test]
fn tasks_are_listed_by_what_they_are_to_be() {
    check(
        &format!(
            "{RUN} count=3 startedBy=me
             !StopTask task=task-1
             !CreateCluster clusterName=other
             ListTasks
             ListTasks desiredStatus=RUNNING
             ListTasks desiredStatus=STOPPED
             ListTasks desiredStatus=PENDING
             ListTasks launchType=EC2
             ListTasks family=nginx
             ListTasks family=other
             ListTasks startedBy=me
             ListTasks startedBy=you
             ListTasks startedBy=me launchType=FARGATE
             ListTasks startedBy=me desiredStatus=STOPPED
             ListTasks containerInstance=host-1
             ListTasks cluster=other
             ListTasks cluster=nosuch
             ListTasks serviceName=x
             ListTasks maxResults=1 | taskArns
             ListTasks maxResults=101
             ListTasks nextToken=x
             DescribeTasks tasks.1=task-1 tasks.2=00000000000000000000000000000000 cluster=other
             DescribeTasks
             DescribeTasks tasks.1=x
             DescribeTasks tasks.1=task-1 include.1=X
             StopTask task=00000000000000000000000000000000"
        ),
        expect![[r#"
            ListTasks
              taskArns=[arn:aws:ecs:us-west-2:111122223333:task/default/task-3, arn:aws:ecs:us-west-2:111122223333:task/default/task-2]
            ListTasks desiredStatus=RUNNING
              taskArns=[arn:aws:ecs:us-west-2:111122223333:task/default/task-3, arn:aws:ecs:us-west-2:111122223333:task/default/task-2]
            ListTasks desiredStatus=STOPPED
              taskArns=[arn:aws:ecs:us-west-2:111122223333:task/default/task-1]
            ListTasks desiredStatus=PENDING
              nothing
            ListTasks launchType=EC2
              nothing
            ListTasks family=nginx
              taskArns=[arn:aws:ecs:us-west-2:111122223333:task/default/task-3, arn:aws:ecs:us-west-2:111122223333:task/default/task-2]
            ListTasks family=other
              nothing
            ListTasks startedBy=me
              taskArns=[arn:aws:ecs:us-west-2:111122223333:task/default/task-3, arn:aws:ecs:us-west-2:111122223333:task/default/task-2]
            ListTasks startedBy=you
              nothing
            ListTasks startedBy=me launchType=FARGATE
              refused InvalidParameterException: startedBy can only be combined with desiredStatus.
            ListTasks startedBy=me desiredStatus=STOPPED
              taskArns=[arn:aws:ecs:us-west-2:111122223333:task/default/task-1]
            ListTasks containerInstance=host-1
              nothing
            ListTasks cluster=other
              nothing
            ListTasks cluster=nosuch
              refused ClusterNotFoundException: Cluster not found.
            ListTasks serviceName=x
              refused ServiceNotFoundException: Service not found.
            ListTasks maxResults=1 | taskArns
              taskArns=[arn:aws:ecs:us-west-2:111122223333:task/default/task-3]
            ListTasks maxResults=101
              refused InvalidParameterException: maxResults must be between 1 and 100.
            ListTasks nextToken=x
              refused InvalidParameterException: Invalid token
            DescribeTasks tasks.1=task-1 tasks.2=00000000000000000000000000000000 cluster=other
              failures=[{arn=arn:aws:ecs:us-west-2:111122223333:task/other/task-1 reason=MISSING}, {arn=arn:aws:ecs:us-west-2:111122223333:task/other/task-4 reason=MISSING}]
            DescribeTasks
              refused InvalidParameterException: Tasks cannot be empty.
            DescribeTasks tasks.1=x
              refused InvalidParameterException: taskId length should be one of [32,36]
            DescribeTasks tasks.1=task-1 include.1=X
              refused InvalidParameterException: Invalid include value 'X'.
            StopTask task=00000000000000000000000000000000
              refused InvalidParameterException: The referenced task was not found.
        "#]],
    );
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
    note(world.call("CreateCluster", request));
    note(world.call("CreateCluster", json!({"clusterName": "demo"})));
    for refused in [
        json!({"clusterName": "a b"}),
        json!({"capacityProviders": ["mine"]}),
        json!({"serviceConnectDefaults": {"namespace": "x"}}),
        json!({"settings": [{"name": "containerInsights", "value": "maybe"}]}),
        json!({"settings": [{"name": "other", "value": "x"}]}),
    ] {
        note(world.call("CreateCluster", refused));
    }
    note(world.call("DescribeClusters", json!({"clusters": ["demo", "nosuch"], "include": ["TAGS", "SETTINGS"]})));
    note(world.call("DeleteCluster", json!({"cluster": "demo"})));
    note(world.call("ListClusters", json!({})));
    note(world.call("DeleteCluster", json!({"cluster": "nosuch"})));
    note(world.call("DeleteCluster", json!({})));
    world.run(json!({}));
    world.disconnect(&hello(1).host);
    note(world.call("DeleteCluster", json!({})));
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
    world.call("RegisterTaskDefinition", super::ec2_definition()).unwrap();
    world.call("RunTask", merged(run_request(), json!({"launchType": "EC2"}))).unwrap();
    let answer = world.call("DescribeClusters", json!({"include": ["STATISTICS"]})).unwrap();
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
    world.call("RegisterTaskDefinition", super::ec2_definition()).unwrap();
    world.call("RunTask", merged(run_request(), json!({"launchType": "EC2"}))).unwrap();
    let listed = world.call("ListContainerInstances", json!({})).unwrap();
    let arn = listed["containerInstanceArns"][0].clone();
    let answer = world
        .call("DescribeContainerInstances", json!({"containerInstances": [arn, "f".repeat(32)], "include": ["TAGS"]}))
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
        match world.call("TagResource", json!({"resourceArn": arn, "tags": tags})) {
            Ok(_) => {
                world.call("UntagResource", json!({"resourceArn": arn, "tagKeys": ["a"]})).unwrap();
                found += &format!("{}\n", world.call("ListTagsForResource", json!({"resourceArn": arn})).unwrap());
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
    let both = "cluster=default tasks.1=task-1 tasks.2=ffffffffffffffffffffffffffffffff";
    check(
        &format!(
            "{RUN}
             GetTaskProtection {both}
             GetTaskProtection cluster=default
             UpdateTaskProtection {both} protectionEnabled=true
             UpdateTaskProtection {both}
             UpdateTaskProtection {both} protectionEnabled=true expiresInMinutes=2881
             UpdateTaskProtection cluster=default protectionEnabled=true"
        ),
        expect![[r#"
            GetTaskProtection cluster=default tasks.1=task-1 tasks.2=ffffffffffffffffffffffffffffffff
              failures=[{arn=arn:aws:ecs:us-west-2:111122223333:task/default/task-1 detail="The task is not part of an Amazon ECS service." reason=TASK_NOT_VALID}, {arn=arn:aws:ecs:us-west-2:111122223333:task/default/task-2 reason=MISSING}]
            GetTaskProtection cluster=default
              nothing
            UpdateTaskProtection cluster=default tasks.1=task-1 tasks.2=ffffffffffffffffffffffffffffffff protectionEnabled=true
              failures=[{arn=arn:aws:ecs:us-west-2:111122223333:task/default/task-1 detail="The task is not part of an Amazon ECS service." reason=TASK_NOT_VALID}, {arn=arn:aws:ecs:us-west-2:111122223333:task/default/task-2 reason=MISSING}]
            UpdateTaskProtection cluster=default tasks.1=task-1 tasks.2=ffffffffffffffffffffffffffffffff
              refused InvalidParameterException: protectionEnabled must be specified.
            UpdateTaskProtection cluster=default tasks.1=task-1 tasks.2=ffffffffffffffffffffffffffffffff protectionEnabled=true expiresInMinutes=2881
              refused InvalidParameterException: expiresInMinutes must be between 1 and 2880.
            UpdateTaskProtection cluster=default protectionEnabled=true
              refused InvalidParameterException: Tasks cannot be empty.
        "#]],
    );
}
