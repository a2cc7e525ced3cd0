// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use berth_shapes::ecs::ErrorCode;
use berth_state::Draft;
use berth_state::ecs::{Cluster, ClusterName, ContainerInsights};
use berth_store::EmbeddedStore;
use berth_types::TimestampMs;

use super::fake_store::FakeStore;
use super::*;

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: ClusterName(name.to_owned()),
        created_at: TimestampMs(0),
        deleted_at: None,
        container_insights: ContainerInsights::Disabled,
        capacity_providers: Vec::new(),
        default_strategy: Vec::new(),
        tags: std::collections::BTreeMap::new(),
    }
}

/// Creates a cluster and returns how many existed before.
fn create(name: &str) -> impl Rule<usize> + use<> {
    let name = name.to_owned();
    move |snap: &Snapshot, _: &Env| {
        if snap.ecs().clusters.contains_key(&ClusterName(name.clone())) {
            return Err(Refusal::new(ErrorCode::ClientException, "exists"));
        }
        let mut draft = Draft::of(snap);
        draft.put(cluster(&name));
        let before = snap.ecs().clusters.len();
        Ok(draft.change(before))
    }
}

fn loop_on(store: &FakeStore) -> (Committer, Published) {
    let published = Published::new(load(store).unwrap());
    let (committer, _) = start(Box::new(store.clone()), published.clone(), FaultPoints::default()).unwrap();
    (committer, published)
}

fn env() -> Env {
    Env::fixed()
}

#[tokio::test]
async fn rules_that_queue_up_share_one_durable_write_and_see_each_other() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    let gate = store.gate.lock().await;
    let first = committer.send("test", env(), create("first")).await.unwrap();
    let mut others = Vec::new();
    for n in 0..50 {
        others.push(committer.send("test", env(), create(&format!("c{n}"))).await.unwrap());
    }
    drop(gate);
    assert_eq!(first.await.unwrap(), Ok(0));
    let mut counts = Vec::new();
    for answer in others {
        counts.push(answer.await.unwrap().unwrap());
    }
    assert_eq!(counts, (1..=50).collect::<Vec<_>>(), "each rule sees the ones before it");
    // The first rule may have been taken alone or together with some others, but not in more than two groups.
    assert!(store.batches.load(Ordering::Relaxed) <= 2);
    assert_eq!(published.snapshot().ecs().clusters.len(), 51);
    assert_eq!(published.snapshot().revision, store.load().unwrap().0);
}

#[tokio::test]
async fn a_refused_rule_disturbs_no_other_and_costs_no_write() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    committer.commit("test", env(), create("a")).await.unwrap();
    let gate = store.gate.lock().await;
    let good = committer.send("test", env(), create("b")).await.unwrap();
    let bad = committer.send("test", env(), create("a")).await.unwrap();
    let also_good = committer.send("test", env(), create("c")).await.unwrap();
    drop(gate);
    assert_eq!(good.await.unwrap(), Ok(1));
    assert!(matches!(bad.await.unwrap(), Err(CommitFault::Refused(_))));
    assert_eq!(also_good.await.unwrap(), Ok(2));
    let batches = store.batches.load(Ordering::Relaxed);
    assert!(committer.commit("test", env(), create("a")).await.is_err());
    assert_eq!(store.batches.load(Ordering::Relaxed), batches);
    assert_eq!(published.snapshot().ecs().clusters.len(), 3);
}

#[tokio::test]
async fn when_the_store_fails_the_whole_group_fails_and_nothing_changed() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    committer.commit("test", env(), create("a")).await.unwrap();
    store.fails.store(true, Ordering::Relaxed);
    assert_eq!(committer.commit("test", env(), create("b")).await, Err(CommitFault::Store));
    assert!(committer.stats().is_failing());
    assert_eq!(published.snapshot().ecs().clusters.len(), 1);
    store.fails.store(false, Ordering::Relaxed);
    assert_eq!(committer.commit("test", env(), create("b")).await, Ok(1), "as if the failed change had never been");
    assert!(!committer.stats().is_failing());
}

/// Changes an existing cluster.
fn rename(name: &str) -> impl Rule<()> + use<> {
    let mut changed = cluster(name);
    changed.container_insights = ContainerInsights::Enabled;
    move |snap: &Snapshot, _: &Env| {
        let mut draft = Draft::of(snap);
        draft.put(changed);
        Ok(draft.change(()))
    }
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_added_but_news_and_what_is_there_can_change() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    committer.commit("test", env(), create("a")).await.unwrap();
    store.is_full.store(true, Ordering::Relaxed);
    assert_eq!(committer.commit("test", env(), create("b")).await, Err(CommitFault::Full));
    assert_eq!(committer.commit("test", env(), rename("a")).await, Ok(()));
    assert_eq!(committer.send("test", env(), create("news")).await.unwrap().await.unwrap(), Ok(1));
    assert!(committer.stats().is_failing());
    let batches = store.batches.load(Ordering::Relaxed);
    let nothing = |_: &Snapshot, _: &Env| Ok(Change::none(()));
    committer.commit("test", env(), nothing).await.unwrap();
    assert_eq!(store.batches.load(Ordering::Relaxed), batches);

    store.is_full.store(false, Ordering::Relaxed);
    committer.commit("test", env(), nothing).await.unwrap();
    assert_eq!(store.batches.load(Ordering::Relaxed), batches + 1, "a write shows that the store works");
    assert!(!committer.stats().is_failing());
    assert_eq!(committer.commit("test", env(), create("b")).await, Ok(2));
    assert_eq!(published.snapshot().revision, store.load().unwrap().0);
}

/// The log lines of this thread's commit loop.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_in_a_rule_is_logged_with_the_rule_and_its_input() {
    named::name_panics();
    let lines = Lines::default();
    let sink = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
    let panicking = |_: &Snapshot, _: &Env| -> Result<Change<()>, Refusal> { panic!("out of numbers") };
    let named = Named::with_input("CreateVpc", || "{CidrBlock: \"10.0.0.0/16\"}".to_owned());
    let (mut command, _answer) = Pending::queued(named, env(), panicking, Urgency::CanWait);
    let decide = std::panic::AssertUnwindSafe(|| command.decide(&Snapshot::default(), false));
    tracing::subscriber::with_default(subscriber, || std::panic::catch_unwind(decide).map(drop)).unwrap_err();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for part in ["CreateVpc", "10.0.0.0/16", "out of numbers"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_write_that_succeeded_although_it_was_said_to_fail_is_not_lost() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    store.lies.store(true, Ordering::Relaxed);
    assert_eq!(committer.commit("test", env(), create("a")).await, Err(CommitFault::Store));
    store.lies.store(false, Ordering::Relaxed);
    assert_eq!(committer.commit("test", env(), create("b")).await, Ok(1));
    assert_eq!(published.snapshot().ecs().clusters.len(), 2);
    assert_eq!(published.snapshot().revision, 2);
}

#[tokio::test]
async fn a_full_queue_turns_callers_away_but_waits_for_news_of_hosts() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    let gate = store.gate.lock().await;
    let mut answers = Vec::new();
    // One group blocks in the store; then the queue fills.
    for n in 0..QUEUE_MAX + GROUP_MAX {
        let name = format!("c{n}");
        let sent =
            tokio::time::timeout(std::time::Duration::from_millis(200), committer.send("test", env(), create(&name)));
        match sent.await {
            Ok(answer) => answers.push(answer.unwrap()),
            Err(_) => break,
        }
    }
    assert_eq!(committer.commit("test", env(), create("late")).await, Err(CommitFault::Overloaded));
    drop(gate);
    let accepted = answers.len();
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(published.snapshot().ecs().clusters.len(), accepted);
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    for round in 0..3 {
        let store = EmbeddedStore::open(&path).unwrap();
        let published = Published::new(load(&store).unwrap());
        assert_eq!(published.snapshot().ecs().clusters.len(), round);
        let (committer, ended) = start(Box::new(store), published, FaultPoints::default()).unwrap();
        committer.commit("test", env(), create(&format!("c{round}"))).await.unwrap();
        drop(committer);
        ended.await.unwrap();
    }
}
