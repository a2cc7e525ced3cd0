// SPDX-License-Identifier: Apache-2.0
//! Reconcilers over a store in memory, in paused time: tokio moves its clock to the next timer when all tasks wait.
#![allow(clippy::unwrap_used)]

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_state::{Draft, Refusal};
use berth_types::report::TaskStage;
use berth_types::{FaultPoints, TimestampMs};
use berth_world::{World, ec2_definition, merged};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::commit::fake_store::FakeStore;
use crate::commit::{load, start};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long stopped tasks are kept here; deleted definitions are kept for an hour.
const TASKS_KEPT: Duration = Duration::from_secs(10 * 60);
/// More than a timer's rounding.
const SOON: Duration = Duration::from_millis(10);

/// A store whose records are those of this world.
fn store_of(world: &World) -> FakeStore {
    let store = FakeStore::default();
    store.records.lock().unwrap().1 =
        world.snap.records().map(|record| crate::commit::stored(&record).unwrap()).collect();
    store
}

/// A world with a deleted definition that no task uses.
fn world_with_a_deleted_definition() -> World {
    let mut world = World::with_host();
    world.call("RegisterTaskDefinition", merged(ec2_definition(), json!({"family": "old"}))).unwrap();
    world.call("DeregisterTaskDefinition", json!({"taskDefinition": "old:1"})).unwrap();
    world.call("DeleteTaskDefinitions", json!({"taskDefinitions": ["old:1"]})).unwrap();
    world
}

/// The world with a task that has stopped.
fn stop_a_task(world: &mut World) {
    let definition = merged(ec2_definition(), json!({"family": "web", "networkMode": "none"}));
    world.call("RegisterTaskDefinition", definition).unwrap();
    world.call("RunTask", json!({"taskDefinition": "web"})).unwrap();
    let task = world.snap.ecs().tasks.keys().next().unwrap().clone();
    world.stage(&task, TaskStage::Stopped, None);
    assert_eq!(world.snap.ecs().index().stopped_tasks.len(), 1);
}

/// Reconcilers that run, and the number of times they were woken.
struct Running {
    store: FakeStore,
    committer: Committer,
    published: Published,
    revisions: watch::Receiver<u64>,
    polls: Arc<AtomicUsize>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    began: Instant,
}

impl Running {
    fn on(world: &World) -> Self {
        let store = store_of(world);
        let published = Published::new(load(&store).unwrap());
        let (committer, _) = start(Box::new(store.clone()), published.clone(), FaultPoints::default()).unwrap();
        let locality = Locality { region: "us-west-2".to_owned(), account: "111122223333".to_owned() };
        let reconcilers = Reconcilers {
            published: published.clone(),
            committer: committer.clone(),
            locality,
            stopped_tasks_kept: TASKS_KEPT,
        };
        let (stop, polls) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (run, counted) = (reconcilers.run(stop.clone()), polls.clone());
        let task = tokio::spawn(async move {
            let mut run = pin!(run);
            std::future::poll_fn(|context| {
                counted.fetch_add(1, Ordering::Relaxed);
                run.as_mut().poll(context)
            })
            .await;
        });
        let revisions = published.revisions();
        Self { store, committer, published, revisions, polls, stop, task, began: Instant::now() }
    }

    /// Commits while the clock stands: it does not move while a blocking task runs.
    async fn commit(&self, rule: impl Rule<()>) -> Result<(), CommitFault> {
        let (committer, handle) = (self.committer.clone(), tokio::runtime::Handle::current());
        let committed =
            tokio::task::spawn_blocking(move || handle.block_on(committer.commit("test", Env::fixed(), rule)));
        committed.await.unwrap()
    }

    /// Waits for the next publication; returns the time since the start.
    async fn published_after(&mut self) -> Duration {
        self.revisions.changed().await.unwrap();
        self.began.elapsed()
    }

    /// Stopped tasks and deleted definitions.
    fn left(&self) -> (usize, usize) {
        let snapshot = self.published.snapshot();
        let index = snapshot.ecs().index();
        (index.stopped_tasks.len(), index.deleted_definitions.by_time().len())
    }

    /// Fails if the reconcilers do anything for a day.
    async fn is_quiet(&self) {
        // The loop has answered everything that was queued before.
        self.commit(|_: &Snapshot, _: &Env| Ok(Change::none(()))).await.unwrap();
        tokio::time::sleep(SOON).await;
        let count = || (self.polls.load(Ordering::Relaxed), self.store.batches.load(Ordering::Relaxed));
        let before = count();
        tokio::time::sleep(DAY).await;
        assert_eq!(count(), before);
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn is_soon_after(found: Duration, deadline: Duration) -> bool {
    found > deadline && found < deadline + SOON
}

#[tokio::test(start_paused = true)]
async fn one_timer_sleeps_until_the_earliest_deadline() {
    let mut world = world_with_a_deleted_definition();
    stop_a_task(&mut world);
    let mut running = Running::on(&world);
    assert_eq!(running.left(), (1, 1));
    let after = running.published_after().await;
    assert!(is_soon_after(after, TASKS_KEPT), "{after:?}");
    assert_eq!(running.left(), (0, 1));
    let after = running.published_after().await;
    assert!(is_soon_after(after, 60 * MINUTE), "{after:?}");
    assert_eq!(running.left(), (0, 0));
    running.is_quiet().await;
    let polls = running.polls.load(Ordering::Relaxed);
    assert!(polls < 30, "{polls} wake-ups for two deadlines");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_publication_may_bring_an_earlier_deadline() {
    let mut world = world_with_a_deleted_definition();
    let mut running = Running::on(&world);
    tokio::time::sleep(20 * MINUTE).await;
    let before = world.snap.clone();
    stop_a_task(&mut world);
    let news: Vec<_> = world.snap.records().filter(|record| !before.contains(&record.key())).collect();
    let rule = move |_: &Snapshot, _: &Env| {
        Ok(Change { writes: news.iter().cloned().map(berth_state::Write::Put).collect(), reply: () })
    };
    running.commit(rule).await.unwrap();
    running.published_after().await;
    assert_eq!(running.left(), (1, 1));
    let after = running.published_after().await;
    assert!(is_soon_after(after, 20 * MINUTE + TASKS_KEPT), "{after:?}");
    assert_eq!(running.left(), (0, 1));
    let after = running.published_after().await;
    assert!(is_soon_after(after, 60 * MINUTE), "{after:?}");
    running.is_quiet().await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_is_tried_again_each_second_only_while_it_fails() {
    let mut world = World::with_host();
    stop_a_task(&mut world);
    let mut running = Running::on(&world);
    running.store.fails.store(true, Ordering::Relaxed);
    let mut trials = running.store.trials.subscribe();
    let mut failing = running.committer.stats().failing();
    trials.changed().await.unwrap();
    let first = running.began.elapsed();
    assert!(is_soon_after(first, TASKS_KEPT), "{first:?}");
    while running.began.elapsed() < first + 10 * PAUSE {
        trials.changed().await.unwrap();
    }
    let last = running.began.elapsed();
    assert!(last < first + 10 * PAUSE + SOON, "{last:?}");
    // The first removal, and each second a removal and a trial; the last of them may be under way.
    let count = *trials.borrow_and_update();
    assert!((20..=21).contains(&count), "{count}");
    assert_eq!(running.left(), (1, 0));
    running.store.fails.store(false, Ordering::Relaxed);
    while running.left() != (0, 0) {
        running.published_after().await;
    }
    while *failing.borrow_and_update() {
        failing.changed().await.unwrap();
    }
    running.is_quiet().await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_hosts_are_registered_when_their_cluster_comes() {
    let mut world = World::with_cluster();
    let mut waiting = berth_world::hello(1);
    waiting.cluster = "later".to_owned();
    world.connect(&waiting);
    let mut running = Running::on(&world);
    running.is_quiet().await;
    let create = |snap: &Snapshot, _: &Env| -> Result<Change<()>, Refusal> {
        let mut draft = Draft::of(snap);
        let cluster = snap.ecs().clusters.values().next().unwrap();
        let name = berth_state::ecs::ClusterName("later".to_owned());
        draft.put(berth_state::ecs::Cluster { name, created_at: TimestampMs(0), ..(**cluster).clone() });
        Ok(draft.change(()))
    };
    running.commit(create).await.unwrap();
    while running.published.snapshot().ecs().hosts[&waiting.host].registered_at.is_none() {
        running.published_after().await;
    }
    running.is_quiet().await;
    running.end().await;
}
