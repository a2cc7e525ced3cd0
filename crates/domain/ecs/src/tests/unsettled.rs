// SPDX-License-Identifier: Apache-2.0
//! The indexes of unsettled records, compared with walks over all records, through any sequence of writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_state::ecs::{Cluster, ClusterName, Host, RecordKey, Task, TaskDefinition, TaskDefinitionKey};
use berth_state::{Draft, Snapshot};
use berth_types::{HostId, TaskId, TimestampMs};
use proptest::prelude::*;
use serde_json::json;

use super::{World, ec2_definition, hello, merged, run_request};
use crate::{Ages, STOPPED_TASKS_KEPT_MS, expire, register_waiting_hosts};

/// Fails unless each index has what a walk over all records finds.
pub(super) fn check_indexes(snap: &Snapshot) {
    let (records, index) = (snap.ecs(), snap.ecs().index());
    let is_active = |name: &ClusterName| records.clusters.get(name).is_some_and(|cluster| cluster.deleted_at.is_none());
    let waits = |host: &&Arc<Host>| host.connected && host.registered_at.is_none() && is_active(&host.cluster);
    let waiting: BTreeSet<&HostId> = records.hosts.values().filter(waits).map(|host| &host.id).collect();
    assert_eq!(index.waiting_hosts.ready().collect::<BTreeSet<_>>(), waiting);
    assert_eq!(index.waiting_hosts.ready().count(), waiting.len());
    assert_eq!(index.waiting_hosts.has_ready(), !waiting.is_empty());

    let stopped = records.tasks.values().filter_map(|task| Some((task.times.stopped_at?, task.id.clone())));
    assert_eq!(index.stopped_tasks.iter().cloned().collect::<BTreeSet<_>>(), stopped.collect());

    let deleted = |definition: &Arc<TaskDefinition>| Some((definition.delete_requested_at?, definition.key.clone()));
    let deleted: BTreeSet<_> = records.task_definitions.values().filter_map(deleted).collect();
    assert_eq!(index.deleted_definitions.by_time().iter().cloned().collect::<BTreeSet<_>>(), deleted);
    let is_used = |key: &TaskDefinitionKey| records.tasks.values().any(|task| task.definition == *key);
    let unused: BTreeSet<_> = deleted.into_iter().filter(|(_, key)| !is_used(key)).collect();
    assert_eq!(index.deleted_definitions.unused().iter().cloned().collect::<BTreeSet<_>>(), unused);
}

/// One write; numbers choose among few records, so that writes meet.
#[derive(Clone, Debug)]
enum Step {
    Cluster {
        which: u8,
        is_deleted: bool,
    },
    ForgetCluster(u8),
    Host {
        which: u8,
        cluster: u8,
        connected: bool,
        is_registered: bool,
    },
    ForgetHost(u8),
    Definition {
        which: u8,
        deleted_at: Option<u8>,
    },
    ForgetDefinition(u8),
    Task {
        which: u8,
        definition: u8,
        stopped_at: Option<u8>,
    },
    ForgetTask(u8),
    /// Hosts that wait are registered, and time passes.
    Reconcile {
        minutes: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let few = 0u8..4;
    prop_oneof![
        2 => (few.clone(), any::<bool>()).prop_map(|(which, is_deleted)| Step::Cluster { which, is_deleted }),
        1 => few.clone().prop_map(Step::ForgetCluster),
        3 => (few.clone(), few.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(which, cluster, connected, is_registered)| Step::Host { which, cluster, connected, is_registered }),
        1 => few.clone().prop_map(Step::ForgetHost),
        2 => (few.clone(), prop::option::of(0u8..3)).prop_map(|(which, deleted_at)| Step::Definition { which, deleted_at }),
        1 => few.clone().prop_map(Step::ForgetDefinition),
        3 => (few.clone(), few.clone(), prop::option::of(0u8..3))
            .prop_map(|(which, definition, stopped_at)| Step::Task { which, definition, stopped_at }),
        1 => few.prop_map(Step::ForgetTask),
        2 => (0u8..50).prop_map(|minutes| Step::Reconcile { minutes }),
    ]
}

/// Records to copy, in a world that has one of each kind.
struct Templates {
    world: World,
    cluster: Arc<Cluster>,
    task: Arc<Task>,
    host: Arc<Host>,
    definition: Arc<TaskDefinition>,
}

impl Templates {
    fn new() -> Self {
        let mut world = World::with_host();
        world.register();
        world.call("RegisterTaskDefinition", merged(ec2_definition(), json!({"family": "web"}))).unwrap();
        world.call("RunTask", run_request()).unwrap();
        let records = world.snap.ecs();
        let cluster = records.clusters.values().next().unwrap().clone();
        let task = records.tasks.values().next().unwrap().clone();
        let host = records.hosts[&hello(1).host].clone();
        let definition = records.task_definitions.values().next().unwrap().clone();
        Self { world, cluster, task, host, definition }
    }

    /// Writes one step.
    fn write(&self, draft: &mut Draft, step: &Step) {
        let cluster = |number: u8| ClusterName(["default", "a", "b", "c"][usize::from(number)].to_owned());
        let host = |number: u8| HostId::from_bits(number.into());
        let task = |number: u8| TaskId::from_bits(number.into());
        let definition =
            |number: u8| TaskDefinitionKey { revision: u32::from(number) + 1, ..self.definition.key.clone() };
        let at = |minutes: u8| TimestampMs(i64::from(minutes) * 60_000);
        match *step {
            Step::Cluster { which, is_deleted } => {
                let deleted_at = is_deleted.then_some(at(0));
                draft.put(Cluster { name: cluster(which), deleted_at, ..(*self.cluster).clone() });
            }
            Step::ForgetCluster(which) => draft.delete(RecordKey::Cluster(cluster(which))),
            Step::Host { which, cluster: of, connected, is_registered } => {
                let registered_at = is_registered.then_some(at(0));
                let (id, cluster) = (host(which), cluster(of));
                draft.put(Host { id, cluster, connected, registered_at, ..(*self.host).clone() });
            }
            Step::ForgetHost(which) => draft.delete(RecordKey::Host(host(which))),
            Step::Definition { which, deleted_at } => {
                let (key, delete_requested_at) = (definition(which), deleted_at.map(at));
                draft.put(TaskDefinition { key, delete_requested_at, ..(*self.definition).clone() });
            }
            Step::ForgetDefinition(which) => draft.delete(RecordKey::TaskDefinition(definition(which))),
            Step::Task { which, definition: of, stopped_at } => {
                let mut changed = Task { id: task(which), definition: definition(of), ..(*self.task).clone() };
                changed.times.stopped_at = stopped_at.map(at);
                draft.put(changed);
            }
            Step::ForgetTask(which) => draft.delete(RecordKey::Task(task(which))),
            Step::Reconcile { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn the_indexes_of_unsettled_records_have_what_a_walk_over_all_records_finds(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut templates = Templates::new();
        let (mut ages, mut steady_ms) = (Ages::new(STOPPED_TASKS_KEPT_MS), 0);
        for step in &steps {
            let mut draft = Draft::of(&templates.world.snap);
            templates.write(&mut draft, step);
            let change = draft.change(());
            templates.world.apply(change);
            check_indexes(&templates.world.snap);
            let Step::Reconcile { minutes } = step else { continue };
            steady_ms += u64::from(*minutes) * 60_000;
            let env = templates.world.env();
            let change = register_waiting_hosts(&templates.world.snap, &env);
            templates.world.apply(change);
            prop_assert!(!templates.world.snap.ecs().index().waiting_hosts.has_ready());
            let expired = ages.look(&templates.world.snap, steady_ms);
            let change = expire(&templates.world.snap, &expired);
            prop_assert_eq!(change.writes.is_empty(), expired.is_empty());
            templates.world.apply(change);
            check_indexes(&templates.world.snap);
            // Nothing stays due but definitions whose last task was removed just now.
            let expired = ages.look(&templates.world.snap, steady_ms);
            let change = expire(&templates.world.snap, &expired);
            templates.world.apply(change);
            prop_assert!(ages.look(&templates.world.snap, steady_ms).is_empty());
            prop_assert!(ages.next_ms().is_none_or(|next_ms| next_ms > steady_ms));
        }
        // In the end nothing is left of what has ended.
        for _ in 0..2 {
            steady_ms += STOPPED_TASKS_KEPT_MS + 1;
            for _ in 0..2 {
                let expired = ages.look(&templates.world.snap, steady_ms);
                let change = expire(&templates.world.snap, &expired);
                templates.world.apply(change);
            }
        }
        let index = templates.world.snap.ecs().index();
        prop_assert!(index.stopped_tasks.is_empty() && index.deleted_definitions.unused().is_empty());
        prop_assert_eq!(ages.next_ms(), None);
    }
}
