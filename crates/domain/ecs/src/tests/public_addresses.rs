// SPDX-License-Identifier: Apache-2.0
//! Public addresses of tasks.

use berth_state::Draft;
use berth_state::vpc::{Quotas, Settings, World as Outside};
use berth_types::TaskId;
use berth_types::report::{EniState, TaskStage};
use expect_test::expect;
use serde_json::json;

use super::{World, merged, run_request};

fn public(answer: &str) -> serde_json::Value {
    json!({"networkConfiguration": {"awsvpcConfiguration": {"assignPublicIp": answer}}})
}

fn run(world: &mut World, answer: &str) -> TaskId {
    world.run(public(answer)).remove(0)
}

fn public_address(world: &World, task: &TaskId) -> Option<String> {
    let eni = &world.snap.ecs().tasks[task].eni()?.id;
    world.snap.vpc().enis[eni].public_address.map(|address| address.to_string())
}

#[test]
fn a_task_has_a_public_address_as_long_as_its_interface_if_it_asks_for_one() {
    let mut world = World::with_host();
    world.register();
    let (with, without) = (run(&mut world, "ENABLED"), run(&mut world, "DISABLED"));
    assert_eq!(public_address(&world, &with).as_deref(), Some("198.18.0.2"));
    assert_eq!(public_address(&world, &without), None);
    let shown = world.transcript(
        "DescribeNetworkInterfaces filter:association.ip-owner-id=amazon | Association PublicIp IpOwnerId PublicDnsName",
    );
    expect![[r#"
        DescribeNetworkInterfaces filter:association.ip-owner-id=amazon | Association PublicIp IpOwnerId PublicDnsName
          NetworkInterfaces=[{Association={IpOwnerId=amazon PublicDnsName=ec2-198-18-0-2.us-west-2.compute.amazonaws.com PublicIp=198.18.0.2} PrivateIpAddresses=[{Association={IpOwnerId=amazon PublicDnsName=ec2-198-18-0-2.us-west-2.compute.amazonaws.com PublicIp=198.18.0.2}}]}]
    "#]].assert_eq(&shown);
    world.eni(&with, EniState::Attached);
    world.stage(&with, TaskStage::Running, None);
    world.call("StopTask", json!({"task": with.as_str()})).unwrap();
    world.stage(&with, TaskStage::Stopped, None);
    let next = run(&mut world, "ENABLED");
    // The host may still have the interface.
    assert_eq!(public_address(&world, &next).as_deref(), Some("198.18.0.3"));
    world.eni(&with, EniState::Gone);
    let last = run(&mut world, "ENABLED");
    assert_eq!(public_address(&world, &last).as_deref(), Some("198.18.0.2"));
}

#[test]
fn an_exhausted_pool_stops_the_task_with_the_words_of_aws() {
    let mut world = World::with_host();
    world.register();
    let mut draft = Draft::of(&world.snap);
    draft.put(Outside { pool: "192.0.2.0/25".parse().unwrap(), created_at: world.now });
    draft.put(Quotas { values: [("elastic-ips".to_owned(), 100)].into() });
    world.apply(draft.change(()));
    for _ in 0..61 {
        world.call("AllocateAddress", json!({})).unwrap();
    }
    let task = run(&mut world, "ENABLED");
    let answer = world.call("DescribeTasks", json!({"tasks": [task.as_str()]})).unwrap();
    expect![[r#""STOPPED" "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled in subnet 'subnet-a': InsufficientAddressCapacity""#]].assert_eq(&format!("{} {}", answer["tasks"][0]["lastStatus"], answer["tasks"][0]["stoppedReason"]));
    assert!(world.snap.vpc().enis.is_empty());
}

#[test]
fn a_task_of_launch_type_ec2_has_a_public_address_where_the_operator_admits_it() {
    let mut world = World::with_host();
    world.register();
    let ec2 = |answer: &str| {
        let mut asked = public(answer);
        asked["launchType"] = json!("EC2");
        asked
    };
    let refused = world.call("RunTask", merged(run_request(), ec2("ENABLED"))).unwrap_err().to_string();
    assert!(refused.contains("Assign public IP is not supported for this launch type"), "{refused}");
    let change = berth_vpc::set_settings(&world.snap, &Settings { ec2_task_public_ip: true });
    world.apply(change);
    let task = world.run(ec2("ENABLED")).remove(0);
    assert_eq!(public_address(&world, &task).as_deref(), Some("198.18.0.2"));
}
