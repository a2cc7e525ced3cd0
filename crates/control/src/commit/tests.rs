#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use berth_domain::Draft;
use berth_domain::ecs::record::{Cluster, ClusterName};
use berth_shapes::ecs::ErrorCode;
use berth_store::EmbeddedStore;
use berth_types::TimestampMs;

use super::*;

/// A store in memory that counts batches, can be held up and can be told to fail.
#[derive(Clone, Default)]
struct FakeStore {
    records: Arc<Mutex<(u64, Vec<StoredRecord>)>>,
    batches: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    /// Stores, and then says that it failed.
    lies: Arc<AtomicBool>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Store for FakeStore {
    fn load(&self) -> Result<(u64, Vec<StoredRecord>), StoreFault> {
        Ok(self.records.lock().unwrap().clone())
    }

    fn commit(&mut self, batch: &[Op], expected: u64) -> Result<u64, StoreFault> {
        let _gate = self.gate.blocking_lock();
        let failed = || StoreFault::Reach { path: "fake".into(), cause: std::io::Error::other("no space left") };
        if self.fails.load(Ordering::Relaxed) {
            return Err(failed());
        }
        let mut held = self.records.lock().unwrap();
        if held.0 != expected {
            return Err(StoreFault::Moved { expected, found: held.0 });
        }
        held.0 += 1;
        held.1.extend(batch.iter().filter_map(|op| match op {
            Op::Put(record) => Some(record.clone()),
            Op::Delete { .. } => None,
        }));
        self.batches.fetch_add(1, Ordering::Relaxed);
        if self.lies.load(Ordering::Relaxed) { Err(failed()) } else { Ok(held.0) }
    }
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: ClusterName(name.to_owned()),
        created_at: TimestampMs(0),
        deleted_at: None,
        container_insights: "disabled".to_owned(),
        capacity_providers: Vec::new(),
        default_strategy: Vec::new(),
        tags: std::collections::BTreeMap::new(),
    }
}

/// Creates a cluster and answers how many there were before.
fn create(name: &str) -> impl Rule<usize> + use<> {
    let name = name.to_owned();
    move |snap: &Snapshot, _: &Env| {
        if snap.clusters.contains_key(&ClusterName(name.clone())) {
            return Err(Refusal::new(ErrorCode::ClientException, "exists"));
        }
        let mut draft = Draft::of(snap);
        draft.put(cluster(&name));
        let before = snap.clusters.len();
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
    let first = committer.send(env(), create("first")).await.unwrap();
    let mut others = Vec::new();
    for n in 0..50 {
        others.push(committer.send(env(), create(&format!("c{n}"))).await.unwrap());
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
    assert_eq!(published.snapshot().clusters.len(), 51);
    assert_eq!(published.snapshot().revision, store.load().unwrap().0);
}

#[tokio::test]
async fn a_refused_rule_disturbs_no_other_and_costs_no_write() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    committer.commit(env(), create("a")).await.unwrap();
    let gate = store.gate.lock().await;
    let good = committer.send(env(), create("b")).await.unwrap();
    let bad = committer.send(env(), create("a")).await.unwrap();
    let also_good = committer.send(env(), create("c")).await.unwrap();
    drop(gate);
    assert_eq!(good.await.unwrap(), Ok(1));
    assert!(matches!(bad.await.unwrap(), Err(CommitFault::Refused(_))));
    assert_eq!(also_good.await.unwrap(), Ok(2));
    let batches = store.batches.load(Ordering::Relaxed);
    assert!(committer.commit(env(), create("a")).await.is_err());
    assert_eq!(store.batches.load(Ordering::Relaxed), batches);
    assert_eq!(published.snapshot().clusters.len(), 3);
}

#[tokio::test]
async fn when_the_store_fails_the_whole_group_fails_and_nothing_changed() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    committer.commit(env(), create("a")).await.unwrap();
    store.fails.store(true, Ordering::Relaxed);
    assert_eq!(committer.commit(env(), create("b")).await, Err(CommitFault::Store));
    assert!(committer.stats().is_failing.load(Ordering::Relaxed));
    assert_eq!(published.snapshot().clusters.len(), 1);
    store.fails.store(false, Ordering::Relaxed);
    assert_eq!(committer.commit(env(), create("b")).await, Ok(1), "as if the failed change had never been");
    assert!(!committer.stats().is_failing.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_write_that_succeeded_although_it_was_said_to_fail_is_not_lost() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    store.lies.store(true, Ordering::Relaxed);
    assert_eq!(committer.commit(env(), create("a")).await, Err(CommitFault::Store));
    store.lies.store(false, Ordering::Relaxed);
    assert_eq!(committer.commit(env(), create("b")).await, Ok(1));
    assert_eq!(published.snapshot().clusters.len(), 2);
    assert_eq!(published.snapshot().revision, 2);
}

#[tokio::test]
async fn a_full_queue_turns_callers_away_but_waits_for_news_of_hosts() {
    let store = FakeStore::default();
    let (committer, published) = loop_on(&store);
    let gate = store.gate.lock().await;
    let mut answers = Vec::new();
    // One group is held up in the store; then the queue fills.
    for n in 0..QUEUE_MAX + GROUP_MAX {
        let name = format!("c{n}");
        let sent = tokio::time::timeout(std::time::Duration::from_millis(200), committer.send(env(), create(&name)));
        match sent.await {
            Ok(answer) => answers.push(answer.unwrap()),
            Err(_) => break,
        }
    }
    assert_eq!(committer.commit(env(), create("late")).await, Err(CommitFault::Overloaded));
    drop(gate);
    let accepted = answers.len();
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(published.snapshot().clusters.len(), accepted);
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    for round in 0..3 {
        let store = EmbeddedStore::open(&path).unwrap();
        let published = Published::new(load(&store).unwrap());
        assert_eq!(published.snapshot().clusters.len(), round);
        let (committer, ended) = start(Box::new(store), published, FaultPoints::default()).unwrap();
        committer.commit(env(), create(&format!("c{round}"))).await.unwrap();
        drop(committer);
        ended.await.unwrap();
    }
}
