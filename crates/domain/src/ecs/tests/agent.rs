//! Operations of the Amazon ECS agent.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::World;
use crate::ecs::{
    discover_poll_endpoint, register_container_instance, submit_attachment_state_changes,
    submit_container_state_change, submit_task_state_change,
};

#[test]
fn an_agent_that_is_not_ours_is_told_to_end_and_how_hosts_are_made() {
    let mut world = World::with_host();
    let refused = [
        world.read(register_container_instance, json!({"cluster": "default"})).unwrap_err(),
        world.read(discover_poll_endpoint, json!({"cluster": "default"})).unwrap_err(),
        world.read(submit_task_state_change, json!({"task": "t", "status": "RUNNING"})).unwrap_err(),
        world.read(submit_container_state_change, json!({"task": "t", "status": "RUNNING"})).unwrap_err(),
        world.read(submit_attachment_state_changes, json!({"attachments": []})).unwrap_err(),
    ];
    for words in refused {
        assert!(words.starts_with("ClientException: ") && words.contains("`berth up`"), "{words}");
    }
    assert_eq!(world.snap.hosts.len(), 1);
}
