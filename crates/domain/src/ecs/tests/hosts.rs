//! Hosts that come, go and wait.

use berth_types::report::{EniReport, EniState, TaskStage};
use serde_json::json;

use super::{World, hello, report};
use crate::ecs::record::TaskStatus;
use crate::ecs::{create_cluster, delete_cluster, host_connected, host_disconnected, register_waiting_hosts};

#[test]
fn a_host_waits_for_its_cluster() {
    let mut world = World::new();
    let mut waiting = hello(1);
    waiting.cluster = "later".to_owned();
    world.connect(&waiting);
    assert_eq!(world.snap.hosts[&waiting.host].registered_at, None);
    let env = world.env();
    assert!(register_waiting_hosts(&world.snap, &env).writes.is_empty());
    world.write(create_cluster, json!({"clusterName": "later"})).unwrap();
    let change = register_waiting_hosts(&world.snap, &env);
    world.apply(change);
    assert_eq!(world.snap.hosts[&waiting.host].registered_at, Some(env.now));
    assert!(register_waiting_hosts(&world.snap, &env).writes.is_empty());
}

#[test]
fn a_deleted_cluster_loses_hosts_that_are_away() {
    let mut world = World::with_host();
    assert!(world.write(delete_cluster, json!({})).is_err());
    let env = world.env();
    let change = host_disconnected(&world.snap, &hello(1).host, &env);
    world.apply(change);
    world.write(delete_cluster, json!({})).unwrap();
    assert_eq!(world.snap.hosts[&hello(1).host].registered_at, None);
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
    let stopped = &world.snap.tasks[&ran];
    assert_eq!(stopped.stop.as_ref().unwrap().reason, "Essential container in task exited");
    assert!(stopped.containers[0].reason.as_ref().unwrap().starts_with("ContainerVanishedError: "));
    assert_eq!(world.status(&fresh), TaskStatus::Provisioning, "what never began is begun now");
    assert_eq!(world.snap.enis.len(), 1);
}

#[test]
fn a_host_that_lost_everything_and_cannot_plug_an_interface_anew_ends_its_task() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    world.eni(&task, EniState::Attached);
    assert_eq!(world.status(&task), TaskStatus::Pending);
    world.eni(&task, EniState::Failed("no link".to_owned()));
    assert_eq!(world.status(&task), TaskStatus::Deactivating);
    assert!(world.snap.tasks[&task].stop.as_ref().unwrap().reason.ends_with(": no link"));
    world.stage(&task, TaskStage::Stopped, None);
    world.eni(&task, EniState::Gone);
    assert_eq!(world.status(&task), TaskStatus::Stopped);
}

#[test]
fn hello_makes_up_for_lost_reports() {
    let mut world = World::with_host();
    let task = world.run(json!({}))[0].clone();
    let known = world.snap.tasks[&task].clone();
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
    assert!(world.snap.enis.is_empty());
}
