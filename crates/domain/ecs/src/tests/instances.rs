// SPDX-License-Identifier: Apache-2.0
//! What users decide about container instances.

use berth_types::TimestampMs;
use berth_types::report::RuntimeReport;
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, hello, merged, run_request};
use crate::observe_runtime;

fn instance(number: u32) -> String {
    format!("{number:032x}")
}

fn ec2() -> Value {
    merged(run_request(), json!({"launchType": "EC2"}))
}

/// The status of all container instances that are listed.
fn statuses(world: &mut World, request: Value) -> String {
    let listed = world.call("ListContainerInstances", request).unwrap();
    let arns = listed["containerInstanceArns"].as_array().unwrap().clone();
    if arns.is_empty() {
        return String::new();
    }
    let answer = world.call("DescribeContainerInstances", json!({"containerInstances": arns})).unwrap();
    let shown = answer["containerInstances"].as_array().unwrap().iter();
    let shown = shown.map(|it| format!("{} {} {}", it["ec2InstanceId"], it["status"], it["pendingTasksCount"]));
    shown.collect::<Vec<_>>().join(", ")
}

/// As on AWS, health is shown and decides nothing: a task goes to an impaired host all the same.
#[test]
fn the_health_of_an_instance_is_that_of_its_runtime_while_it_is_connected() {
    let mut world = World::with_host();
    let host = hello(1).host;
    let health = |world: &mut World| {
        let request = json!({"containerInstances": [instance(1)], "include": ["CONTAINER_INSTANCE_HEALTH"]});
        let answer = world.call("DescribeContainerInstances", request).unwrap();
        let health = &answer["containerInstances"][0]["healthStatus"];
        let check = &health["details"][0];
        format!("{} {} {} {}", health["overallStatus"], check["type"], check["status"], check["lastStatusChange"])
    };
    let mut found = vec![health(&mut world)];
    for healthy in [true, false] {
        let (env, since) = (world.env(), TimestampMs(1_700_000_000_000));
        let change = observe_runtime(&world.snap, &host, RuntimeReport { healthy, since }, &env);
        world.apply(change);
        found.push(health(&mut world));
    }
    world.call("RegisterTaskDefinition", ec2_definition()).unwrap();
    assert_eq!(world.call("RunTask", ec2()).unwrap()["failures"], json!([]));
    world.disconnect(&host);
    found.push(health(&mut world));
    let answer = world.call("DescribeContainerInstances", json!({"containerInstances": [instance(1)]})).unwrap();
    assert_eq!(answer["containerInstances"][0].get("healthStatus"), None);
    expect![[r#"
        "INSUFFICIENT_DATA" null null null
        "OK" "CONTAINER_RUNTIME" "OK" -67225600000
        "IMPAIRED" "CONTAINER_RUNTIME" "IMPAIRED" -67225600000
        "INSUFFICIENT_DATA" "CONTAINER_RUNTIME" "INSUFFICIENT_DATA" -67225600000"#]]
    .assert_eq(&found.join("\n"));
}

#[test]
fn a_draining_instance_keeps_its_tasks_and_gets_no_new_ones() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    world.call("RegisterTaskDefinition", ec2_definition()).unwrap();
    world.call("RunTask", merged(ec2(), json!({"count": 2}))).unwrap();
    let set = |world: &mut World, instances: Value, status: &str| {
        let answer =
            world.call("UpdateContainerInstancesState", json!({"containerInstances": instances, "status": status}));
        answer.map_or_else(
            |words| words,
            |answer| format!("{} {}", answer["containerInstances"].as_array().unwrap().len(), answer["failures"]),
        )
    };
    let mut found = String::new();
    found.push_str(&format!("{}\n", set(&mut world, json!([instance(1), instance(9)]), "DRAINING")));
    world.call("RunTask", merged(ec2(), json!({"count": 2}))).unwrap();
    for status in
        [json!({}), json!({"status": "ACTIVE"}), json!({"status": "DRAINING"}), json!({"status": "REGISTERING"})]
    {
        found.push_str(&format!("{status}: {}\n", statuses(&mut world, status.clone())));
    }
    // A caller that names the instance may still start tasks on it.
    let named = merged(run_request(), json!({"containerInstances": [instance(1)]}));
    let named = json!({"containerInstances": named["containerInstances"], "taskDefinition": named["taskDefinition"],
        "networkConfiguration": named["networkConfiguration"]});
    let started = world.call("StartTask", named).unwrap();
    found.push_str(&format!("started {}\n", started["tasks"].as_array().unwrap().len()));
    world.connect(&hello(1));
    found.push_str(&format!("{}\n", set(&mut world, json!([instance(2)]), "DRAINING")));
    found.push_str(&format!("{}\n", world.call("RunTask", ec2()).unwrap_err()));
    found.push_str(&format!("{}\n", set(&mut world, json!([instance(1), instance(2)]), "ACTIVE")));
    found.push_str(&format!("{}\n", set(&mut world, json!([instance(1)]), "INACTIVE")));
    found.push_str(&format!("{}\n", set(&mut world, json!([]), "ACTIVE")));
    found.push_str(&statuses(&mut world, json!({})));
    expect![[r#"
        1 [{"arn":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000009","reason":"MISSING"}]
        {}: "i-00000000000000001" "DRAINING" 1, "i-00000000000000002" "ACTIVE" 3
        {"status":"ACTIVE"}: "i-00000000000000002" "ACTIVE" 3
        {"status":"DRAINING"}: "i-00000000000000001" "DRAINING" 1
        {"status":"REGISTERING"}: 
        started 1
        1 []
        InvalidParameterException: No Container Instances were found in your cluster.
        2 []
        InvalidParameterException: Container instance status should be one of [ACTIVE, DRAINING]
        InvalidParameterException: Container instances cannot be empty.
        "i-00000000000000001" "ACTIVE" 2, "i-00000000000000002" "ACTIVE" 3"#]].assert_eq(&found);
}

#[test]
fn a_caller_that_names_a_draining_instance_starts_tasks_on_it_even_if_it_is_the_only_one() {
    let mut world = World::with_host();
    world.call("RegisterTaskDefinition", ec2_definition()).unwrap();
    let drain = json!({"containerInstances": [instance(1)], "status": "DRAINING"});
    world.call("UpdateContainerInstancesState", drain).unwrap();
    let mut named = merged(run_request(), json!({"containerInstances": [instance(1), instance(9)]}));
    named.as_object_mut().unwrap().remove("launchType");
    let answer = world.call("StartTask", named).unwrap();
    assert_eq!(answer["tasks"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["failures"][0]["reason"], "MISSING");
}

#[test]
fn a_deregistered_instance_is_inactive_until_its_node_says_hello() {
    let mut world = World::with_host();
    world.call("RegisterTaskDefinition", ec2_definition()).unwrap();
    world.call("RunTask", ec2()).unwrap();
    let mut found = String::new();
    let deregister = |world: &mut World, request: Value| {
        let answer = world.call("DeregisterContainerInstance", request);
        answer.map_or_else(|words| words, |answer| answer["containerInstance"]["status"].to_string())
    };
    found.push_str(&format!("{}\n", deregister(&mut world, json!({}))));
    found.push_str(&format!("{}\n", deregister(&mut world, json!({"containerInstance": instance(9)}))));
    found.push_str(&format!("{}\n", deregister(&mut world, json!({"containerInstance": instance(1)}))));
    let forced = json!({"containerInstance": instance(1), "force": true});
    found.push_str(&format!("{}\n", deregister(&mut world, forced.clone())));
    found.push_str(&format!("{}\n", deregister(&mut world, forced)));
    let task = world.snap.ecs().tasks.values().next().unwrap();
    found.push_str(&format!("{:?} {:?}\n", task.desired, task.stop));
    found.push_str(&format!("listed: {}\n", statuses(&mut world, json!({}))));
    let described = world.call("DescribeContainerInstances", json!({"containerInstances": [instance(1)]})).unwrap();
    found.push_str(&format!("{}\n", described["containerInstances"][0]["status"]));
    found.push_str(&format!("{}\n", world.call("RunTask", ec2()).unwrap_err()));
    let update = json!({"containerInstances": [instance(1)], "status": "ACTIVE"});
    found.push_str(&format!("{}\n", world.call("UpdateContainerInstancesState", update).unwrap()["failures"]));
    world.connect(&hello(1));
    found.push_str(&format!("after hello: {}", statuses(&mut world, json!({}))));
    expect![[r#"
        InvalidParameterException: Container instance can not be blank.
        InvalidParameterException: Referenced container instance 00000000000000000000000000000009 not found.
        InvalidParameterException: Found running tasks on the instance.
        "INACTIVE"
        InvalidParameterException: Referenced container instance 00000000000000000000000000000001 not found.
        Stopped Some(TaskStop { code: "UserInitiated", reason: "Container instance deregistration forced by user" })
        listed: 
        "INACTIVE"
        InvalidParameterException: No Container Instances were found in your cluster.
        [{"arn":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001","reason":"INACTIVE"}]
        after hello: "i-00000000000000001" "ACTIVE" 0"#]].assert_eq(&found);
}

#[test]
fn attributes_are_given_listed_and_taken_away() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    let mut found = String::new();
    let attribute = |name: &str, value: &str, target: u32| json!({"name": name, "value": value, "targetId": instance(target), "targetType": "container-instance"});
    let many: Vec<Value> = (0..11).map(|n| attribute(&format!("a{n}"), "", 1)).collect();
    let mut note = |answer: Result<Value, String>| {
        found.push_str(&format!("{}\n", answer.map_or_else(|words| words, |answer| answer.to_string())));
    };
    for attributes in [
        json!([attribute("stack", "production", 1), attribute("bare", "", 2)]),
        json!([attribute("stack", "test", 2)]),
        json!([]),
        json!(many),
        json!([attribute("stack", "x", 9)]),
        json!([attribute("sta ck", "x", 1)]),
        json!([attribute("stack", " x", 1)]),
        json!([attribute("ecs.cpu-architecture", "x", 1)]),
        json!([{"name": "stack", "value": "x"}]),
        json!([{"name": "stack", "targetId": instance(1), "targetType": "task"}]),
    ] {
        note(world.call("PutAttributes", json!({"attributes": attributes})));
    }
    let ten: Vec<Value> = many[..10].to_vec();
    note(world.call("PutAttributes", json!({"attributes": ten})));
    world.connect(&hello(1));
    for filter in [
        json!({"attributeName": "stack"}),
        json!({"attributeName": "stack", "attributeValue": "test"}),
        json!({"attributeName": "ecs.availability-zone", "maxResults": 1}),
        json!({"attributeValue": "test"}),
        json!({"targetType": "service"}),
    ] {
        note(world.call("ListAttributes", merged(json!({"targetType": "container-instance"}), filter)));
    }
    note(world.call("DeleteAttributes", json!({"attributes": [attribute("stack", "test", 1)]})));
    note(world.call("DeleteAttributes", json!({"attributes": [attribute("stack", "", 1), attribute("bare", "", 2)]})));
    expect![[r#"
        {"attributes":[{"name":"stack","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001","value":"production"},{"name":"bare","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000002"}]}
        {"attributes":[{"name":"stack","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000002","value":"test"}]}
        InvalidParameterException: Attributes cannot be empty.
        InvalidParameterException: attributes can have at most 10 items.
        TargetNotFoundException: The specified target '00000000000000000000000000000009' was not found.
        InvalidParameterException: Invalid attribute name 'sta ck'.
        InvalidParameterException: Invalid attribute value ' x'.
        InvalidParameterException: The attribute 'ecs.cpu-architecture' is set by the container instance itself.
        InvalidParameterException: targetId must be specified.
        InvalidParameterException: 'task' is not a valid value for targetType.
        AttributeLimitExceededException: You can apply up to 10 custom attributes for each resource.
        {"attributes":[{"name":"stack","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001","value":"production"},{"name":"stack","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000002","value":"test"}]}
        {"attributes":[{"name":"stack","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000002","value":"test"}]}
        {"attributes":[{"name":"ecs.availability-zone","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001","value":"us-west-2a"}],"nextToken":"qKCOWEYeMQxMaXN0QXR0cmlidXRlc3wwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMSBlY3MuYXZhaWxhYmlsaXR5LXpvbmU"}
        InvalidParameterException: attributeName must be specified when attributeValue is.
        InvalidParameterException: 'service' is not a valid value for targetType.
        {"attributes":[]}
        {"attributes":[{"name":"stack","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000001","value":"production"},{"name":"bare","targetId":"arn:aws:ecs:us-west-2:111122223333:container-instance/default/00000000000000000000000000000002"}]}
    "#]].assert_eq(&found);
}
