//! The life of one task as callers see it, and everything else that is described and listed.

use berth_types::report::{EniState, StopCause, TaskStage};
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, hello, merged, run_request};
use crate::ecs::{
    create_cluster, delete_cluster, describe_clusters, describe_container_instances, describe_tasks, expire,
    list_clusters, list_container_instances, list_tags_for_resource, list_tasks, run_task, stop_task, tag_resource,
    untag_resource,
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
    expect![[r#""#]].assert_eq(&serde_json::to_string_pretty(&running["tasks"][0]).unwrap());
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
    expect![[r#""#]].assert_eq(&found);
    assert_eq!((world.snap.enis.len(), world.snap.group_sets.len()), (0, 0));
    world.now.0 += super::super::STOPPED_TASKS_KEPT_MS;
    for kept in [1, 0] {
        let env = world.env();
        let change = expire(&world.snap, &env);
        world.apply(change);
        assert_eq!(world.snap.tasks.len(), kept);
        world.now.0 += 1;
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
    expect![[r#""#]].assert_eq(&found);
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
    let eni = known.network.eni.as_ref().unwrap().id.clone();
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
        let shown = answer.map_or_else(|words| words, |answer| answer["taskArns"].as_array().unwrap().len().to_string());
        found += &format!("{request}: {shown}\n");
    }
    let missing = json!({"tasks": [tasks[0].as_str(), "0".repeat(32)], "cluster": "other"});
    found += &world.read(describe_tasks, missing).unwrap().to_string();
    for request in [json!({}), json!({"tasks": ["x"]}), json!({"tasks": [tasks[0].as_str()], "include": ["X"]})] {
        found += &format!("\n{request}: {}", world.read(describe_tasks, request.clone()).unwrap_err());
    }
    found += &format!("\n{}", world.write(stop_task, json!({"task": "0".repeat(32)})).unwrap_err());
    expect![[r#""#]].assert_eq(&found);
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
        json!({"capacityProviders": ["FARGATE"]}),
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
    expect![[r#""#]].assert_eq(&found);
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
    expect![[r#""#]].assert_eq(&serde_json::to_string_pretty(&answer).unwrap());
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
    expect![[r#""#]].assert_eq(&found);
}
