//! What a host is asked to hold.
#![allow(clippy::unwrap_used)]

use berth_types::report::{EniState, TaskStage};
use expect_test::expect;
use serde_json::json;

use super::host;
use crate::ecs::tests::{World, fargate_definition, hello, merged, run_request};
use crate::ecs::{register_task_definition, run_task, stop_task};

#[test]
fn a_task_is_wanted_with_its_overrides_and_its_network() {
    let mut world = World::with_host();
    let definition = merged(fargate_definition(), json!({"volumes": [{"name": "v"}], "containerDefinitions": {"0": {
        "environment": [{"name": "A", "value": "defined"}, {"name": "B", "value": "defined"}], "command": ["defined"],
        "mountPoints": [{"sourceVolume": "v", "containerPath": "/v", "readOnly": true}], "user": "1:1"}}}));
    world.write(register_task_definition, definition).unwrap();
    let patch = json!({"overrides": {"containerOverrides": [{"name": "nginx", "command": ["given"], "cpu": 10,
        "environment": [{"name": "A", "value": "given"}]}]}});
    world.write(run_task, merged(run_request(), patch)).unwrap();
    let env = world.env();
    let intent = host(&world.snap, &hello(1).host, &env);
    expect![[r#""#]].assert_eq(&serde_json::to_string_pretty(&intent).unwrap());
}

#[test]
fn an_interface_is_wanted_until_no_container_is_left() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    let task = world.run(json!({}))[0].clone();
    let on = world.snap.tasks[&task].host.clone().unwrap();
    let shape = |world: &mut World| {
        let env = world.env();
        let intent = host(&world.snap, &on, &env);
        (intent.vpcs.len(), intent.endpoints.len(), intent.enis.len(), intent.tasks.len())
    };
    assert_eq!(shape(&mut world), (1, 1, 1, 1));
    world.eni(&task, EniState::Attached);
    world.stage(&task, TaskStage::Running, None);
    world.write(stop_task, json!({"task": task.as_str()})).unwrap();
    assert_eq!(shape(&mut world), (1, 1, 1, 1));
    world.stage(&task, TaskStage::Stopped, None);
    assert_eq!(shape(&mut world), (0, 0, 0, 0));
}

#[test]
fn a_host_knows_the_interfaces_of_its_vpcs_on_other_hosts() {
    let mut world = World::with_host();
    world.connect(&hello(2));
    world.run(json!({"count": 2}));
    let far = json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-far"], "securityGroups": []}}});
    world.run(far);
    let env = world.env();
    let intents = [1, 2].map(|number| host(&world.snap, &hello(number).host, &env));
    // The third task went to one of the hosts and brought its VPC with it; the first two are one on each host.
    let counts = intents.map(|intent| (intent.vpcs.len(), intent.endpoints.len(), intent.enis.len()));
    assert_eq!(counts, [(2, 3, 2), (1, 2, 1)]);
}
