// SPDX-License-Identifier: Apache-2.0
//! Hosts that come, go and wait.

use std::sync::Arc;

use berth_state::ecs::TaskStatus;
use berth_state::vpc::{Eni, EniOwner};
use berth_types::instance::InstanceInterface;
use berth_types::link::Hello;
use berth_types::report::{EniReport, EniState, FreeSpace, TaskStage};
use berth_types::{SecurityGroupId, SubnetId};
use serde_json::json;

use super::{World, ec2_definition, hello, merged, report, run_request};
use crate::{host_connected, observe_free_space, register_waiting_hosts};

#[test]
fn the_first_host_brings_the_cluster_default_and_a_later_one_does_not_bring_it_back() {
    let mut world = World::with_cluster();
    world.snap = berth_state::Snapshot::default();
    let status = |world: &mut World| {
        let answer = world.call("DescribeClusters", json!({"clusters": ["default"]})).unwrap();
        answer["clusters"].as_array().unwrap().first().map(|cluster| cluster["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(status(&mut world), None);
    world.connect(&hello(1));
    assert_eq!(status(&mut world).as_deref(), Some("ACTIVE"));
    world.disconnect(&hello(1).host);
    world.call("DeleteCluster", json!({"cluster": "default"})).unwrap();
    world.connect(&hello(2));
    assert_eq!(status(&mut world).as_deref(), Some("INACTIVE"));
}

#[test]
fn a_host_waits_for_its_cluster() {
    let mut world = World::with_cluster();
    let mut waiting = hello(1);
    waiting.cluster = "later".to_owned();
    world.connect(&waiting);
    assert_eq!(world.snap.ecs().hosts[&waiting.host].registered_at, None);
    let env = world.env();
    assert!(register_waiting_hosts(&world.snap, &env).writes.is_empty());
    world.call("CreateCluster", json!({"clusterName": "later"})).unwrap();
    let change = register_waiting_hosts(&world.snap, &env);
    world.apply(change);
    assert_eq!(world.snap.ecs().hosts[&waiting.host].registered_at, Some(env.now));
    assert!(register_waiting_hosts(&world.snap, &env).writes.is_empty());
}

#[test]
fn a_deleted_cluster_loses_hosts_that_are_away() {
    let mut world = World::with_host();
    assert!(world.call("DeleteCluster", json!({})).is_err());
    world.disconnect(&hello(1).host);
    world.call("DeleteCluster", json!({})).unwrap();
    assert_eq!(world.snap.ecs().hosts[&hello(1).host].registered_at, None);
}

#[test]
fn a_host_short_of_space_gets_no_new_tasks_and_keeps_those_it_has() {
    let mut world = World::with_host();
    let before = world.run(json!({}))[0].clone();
    let definition = merged(ec2_definition(), json!({"family": "on-ec2"}));
    world.call("RegisterTaskDefinition", definition).unwrap();
    let on_ec2 = merged(run_request(), json!({"launchType": "EC2", "taskDefinition": "on-ec2"}));
    let space = |world: &mut World, free_percent| {
        let change = observe_free_space(&world.snap, &hello(1).host, FreeSpace { free_percent, wanted_percent: 10 });
        world.apply(change);
    };
    space(&mut world, 9);
    let reasons = |world: &mut World, request| {
        let answer = world.call("RunTask", request).unwrap();
        let failures = answer["failures"].as_array().unwrap().iter();
        failures.map(|failure| failure["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&mut world, run_request()), ["RESOURCE:FARGATE"]);
    assert_eq!(reasons(&mut world, on_ec2.clone()), ["RESOURCE:DISK"]);
    assert_eq!(world.status(&before), TaskStatus::Provisioning);
    // It comes back while it is short.
    let mut again = hello(1);
    again.tasks = Vec::new();
    world.connect(&again);
    assert_eq!(reasons(&mut world, run_request()), ["RESOURCE:FARGATE"]);
    space(&mut world, 10);
    assert!(reasons(&mut world, run_request()).is_empty());
    assert!(reasons(&mut world, on_ec2).is_empty());
}

#[test]
fn a_host_keeps_its_cluster_while_it_runs_tasks() {
    let mut world = World::with_host();
    world.run(json!({}));
    let mut moving = hello(1);
    moving.cluster = "other".to_owned();
    let env = world.env();
    assert!(host_connected(&world.snap, &moving, &env).is_err());
    let mut other_protocol = hello(2);
    other_protocol.protocol += 1;
    assert!(host_connected(&world.snap, &other_protocol, &env).is_err());
}

#[test]
fn a_host_that_forgot_a_task_it_ran_does_not_run_it_again() {
    let mut world = World::with_host();
    let (ran, fresh) = (world.run(json!({}))[0].clone(), world.run(json!({}))[0].clone());
    world.eni(&ran, EniState::Attached);
    world.stage(&ran, TaskStage::Running, None);
    assert_eq!(world.status(&ran), TaskStatus::Running);
    world.connect(&hello(1));
    assert_eq!(world.status(&ran), TaskStatus::Stopped);
    let stopped = &world.snap.ecs().tasks[&ran];
    assert_eq!(stopped.stop.as_ref().unwrap().reason, "Essential container in task exited");
    assert!(stopped.containers[0].reason.as_ref().unwrap().starts_with("ContainerVanishedError: "));
    assert_eq!(world.status(&fresh), TaskStatus::Provisioning, "what never began is begun now");
    assert_eq!(world.snap.vpc().enis.len(), 1);
}

#[test]
fn a_host_that_lost_everything_and_cannot_plug_an_interface_anew_ends_its_task() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    world.eni(&task, EniState::Attached);
    assert_eq!(world.status(&task), TaskStatus::Pending);
    world.eni(&task, EniState::Failed("no link".to_owned()));
    assert_eq!(world.status(&task), TaskStatus::Deactivating);
    assert!(world.snap.ecs().tasks[&task].stop.as_ref().unwrap().reason.ends_with(": no link"));
    world.stage(&task, TaskStage::Stopped, None);
    world.eni(&task, EniState::Gone);
    assert_eq!(world.status(&task), TaskStatus::Stopped);
}

#[test]
fn hello_makes_up_for_lost_reports() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    let known = world.snap.ecs().tasks[&task].clone();
    let eni = known.eni().unwrap().id.clone();
    let mut back = hello(1);
    back.enis = vec![EniReport { eni, state: EniState::Attached }];
    back.tasks = vec![report(&known, TaskStage::Running, None)];
    world.connect(&back);
    assert_eq!(world.status(&task), TaskStatus::Running);
    back.tasks = vec![report(&known, TaskStage::Stopped, None)];
    world.connect(&back);
    assert_eq!(world.status(&task), TaskStatus::Deprovisioning);
    back.tasks.clear();
    back.enis.clear();
    world.connect(&back);
    assert_eq!(world.status(&task), TaskStatus::Stopped);
    assert!(world.snap.vpc().enis.is_empty());
}

/// The greeting of host 1 with these wishes for its primary interface.
fn wishing(subnet: Option<&SubnetId>, groups: &[&SecurityGroupId]) -> Hello {
    let security_groups = groups.iter().map(|group| (*group).clone()).collect();
    Hello {
        instance_interface: Some(InstanceInterface { subnets: subnet.cloned().into_iter().collect(), security_groups }),
        ..hello(1)
    }
}

fn primary(world: &World) -> Option<Arc<Eni>> {
    berth_vpc::instance_interface::present(&world.snap, &hello(1).host)
}

fn told_of_primary(world: &mut World, state: EniState) {
    let (eni, env) = (primary(world).or_else(|| leaving(world)).unwrap().id.clone(), world.env());
    let change = crate::observe_eni(&world.snap, &hello(1).host, &EniReport { eni, state }, &env);
    world.apply(change);
}

/// The primary interface that is being removed.
fn leaving(world: &World) -> Option<Arc<Eni>> {
    let mut enis = world.snap.vpc().enis.values();
    enis.find(|eni| eni.owner == EniOwner::Instance(hello(1).host) && eni.wanted_attachment().is_none()).cloned()
}

/// A world with the default VPC, and the subnets of the first zone and of the second.
fn default_network() -> (World, SubnetId, SubnetId) {
    let mut world = World::with_cluster();
    let env = world.env();
    let change = berth_vpc::ensure_default_network(&world.snap, &env);
    world.apply(change);
    let in_zone = |world: &World, zone: &str| {
        let mut subnets = world.snap.vpc().subnets.values();
        subnets.find(|subnet| subnet.default_for_az && subnet.availability_zone.ends_with(zone)).unwrap().id.clone()
    };
    let (first, second) = (in_zone(&world, "a"), in_zone(&world, "b"));
    (world, first, second)
}

#[test]
fn a_host_has_a_primary_interface_in_the_default_subnet_of_its_zone() {
    let (mut world, first, _) = default_network();
    world.connect(&hello(1));
    assert_eq!(primary(&world), None, "it asks for none");
    world.connect(&wishing(None, &[]));
    let eni = primary(&world).unwrap();
    assert_eq!((&eni.subnet, eni.attachment.as_ref().unwrap().device_index), (&first, 0));
    let attributes = &world.snap.ecs().hosts[&hello(1).host].attributes;
    let named = |name: &str| attributes[name].clone().unwrap();
    assert_eq!((named("ecs.subnet-id"), named("ecs.vpc-id")), (first.to_string(), eni.vpc.to_string()));
    told_of_primary(&mut world, EniState::Attached);
    let answer = world.call("DescribeNetworkInterfaces", json!({})).unwrap();
    let attachment = &answer["NetworkInterfaces"][0]["Attachment"];
    assert_eq!((&attachment["DeviceIndex"], &attachment["Status"]), (&json!(0), &json!("attached")));
    let detach = json!({"AttachmentId": eni.attachment.as_ref().unwrap().id.to_string()});
    let refused = world.call("DetachNetworkInterface", detach).unwrap_err();
    assert!(refused.contains("The network interface at device index 0 cannot be detached."), "{refused}");
    // Tasks of the host have the interfaces that they had without it.
    world.connect(&Hello {
        enis: vec![EniReport { eni: eni.id.clone(), state: EniState::Attached }],
        ..wishing(None, &[])
    });
    assert_eq!(primary(&world).unwrap().id, eni.id);
}

#[test]
fn the_primary_interface_moves_when_wishes_change_or_users_ask() {
    let (mut world, first, second) = default_network();
    world.connect(&wishing(None, &[]));
    told_of_primary(&mut world, EniState::Attached);
    let vpc = primary(&world).unwrap().vpc.clone();
    world.call("CreateSubnet", json!({"VpcId": vpc.to_string(), "CidrBlock": "172.31.255.0/24"})).unwrap();
    let other = world.snap.vpc().subnets.values().find(|subnet| !subnet.default_for_az).unwrap().id.clone();
    let move_to = |world: &mut World, subnet: &SubnetId| {
        let wishes = InstanceInterface { subnets: vec![subnet.clone()], security_groups: Vec::new() };
        let env = world.env();
        crate::move_host(&world.snap, &hello(1).host, &wishes, &env).map(|change| world.apply(change))
    };
    move_to(&mut world, &other).unwrap();
    assert_eq!(primary(&world).unwrap().subnet, other);
    assert_eq!(leaving(&world).unwrap().subnet, first, "until the host has removed it");
    // The host comes back with the same wishes: it stays where users moved it.
    let gone = leaving(&world).unwrap().id.clone();
    world.connect(&wishing(None, &[]));
    assert!(!world.snap.vpc().enis.contains_key(&gone), "the host does not name it any more");
    assert_eq!(primary(&world).unwrap().subnet, other);
    world.connect(&wishing(Some(&first), &[]));
    assert_eq!(primary(&world).unwrap().subnet, first);
    let refused = move_to(&mut world, &second).unwrap_err().to_string();
    assert!(refused.contains("The primary interface of a host is in its own zone."), "{refused}");
    world.connect(&hello(1));
    assert_eq!(primary(&world), None);
    assert!(move_to(&mut world, &first).is_err(), "the host wants none");
}

#[test]
fn groups_of_the_primary_interface_are_those_named_last() {
    let (mut world, first, _) = default_network();
    let vpc = world.snap.vpc().subnets[&first].vpc.clone();
    let mut group = |name: &str| -> SecurityGroupId {
        let asked = json!({"GroupName": name, "Description": name, "VpcId": vpc.to_string()});
        world.call("CreateSecurityGroup", asked).unwrap();
        world.snap.vpc().security_groups.values().find(|group| group.name == name).unwrap().id.clone()
    };
    let (one, two) = (group("one"), group("two"));
    world.connect(&wishing(None, &[&one]));
    assert_eq!(primary(&world).unwrap().groups, std::slice::from_ref(&one));
    let eni = primary(&world).unwrap().id.to_string();
    let groups = json!({"NetworkInterfaceId": eni, "Groups": [two.to_string()]});
    world.call("ModifyNetworkInterfaceAttribute", groups).unwrap();
    world.connect(&wishing(None, &[&one]));
    assert_eq!(primary(&world).unwrap().groups, std::slice::from_ref(&two), "the wishes are the same");
    world.connect(&wishing(None, &[&one, &two]));
    assert_eq!(primary(&world).unwrap().groups, [one, two]);
}
