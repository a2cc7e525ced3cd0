//! Reconcilers: rules that nobody asked for.
//!
//! A reconciler takes no hint about what changed. It is woken by every publication and by a timer (some rules wait for
//! time to pass), looks at the present snapshot and, when it finds something to do, commits. Failures are not retried
//! here: the next wake-up is the retry.

use std::sync::Arc;
use std::time::Duration;

use berth_domain::{Change, Env, Snapshot, ecs};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::clock::Place;
use crate::commit::{CommitFault, Committer};
use crate::publish::Published;

/// How long a rule that waits for time to pass may be late.
const TICK: Duration = Duration::from_secs(1);

type Rule = Arc<dyn Fn(&Snapshot, &Env) -> Change<()> + Send + Sync>;

struct Reconciler {
    name: &'static str,
    rule: Rule,
}

/// All of them, in the order in which they run.
fn reconcilers(stopped_tasks_kept: Duration) -> [Reconciler; 2] {
    let kept_ms = i64::try_from(stopped_tasks_kept.as_millis()).unwrap_or(i64::MAX);
    [
        Reconciler { name: "register-waiting-hosts", rule: Arc::new(ecs::register_waiting_hosts) },
        Reconciler { name: "expire", rule: Arc::new(move |snap, env| ecs::expire(snap, kept_ms, env)) },
    ]
}

/// Runs all reconcilers until `stop`.
pub(crate) async fn run(
    published: Published,
    committer: Committer,
    place: Place,
    stopped_tasks_kept: Duration,
    stop: CancellationToken,
) {
    let reconcilers = reconcilers(stopped_tasks_kept);
    let mut revisions = published.revisions();
    let mut timer = tokio::time::interval(TICK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let began = Instant::now();
        revisions.borrow_and_update();
        for reconciler in &reconcilers {
            reconcile(reconciler, &published, &committer, &place).await;
        }
        // At most half of a core, however fast the records move.
        let cost = began.elapsed();
        let woken = async {
            tokio::time::sleep(cost).await;
            tokio::select! {
                _ = timer.tick() => {}
                _ = revisions.changed() => {}
            }
        };
        tokio::select! {
            () = woken => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn reconcile(reconciler: &Reconciler, published: &Published, committer: &Committer, place: &Place) {
    let rule = reconciler.rule.clone();
    let has_work = !rule(&published.snapshot(), &place.service_env()).writes.is_empty();
    if !has_work {
        return;
    }
    let decided = move |snap: &Snapshot, env: &Env| Ok(rule(snap, env));
    match committer.commit(place.service_env(), decided).await {
        Ok(()) | Err(CommitFault::Stopped) => {}
        Err(fault) => tracing::warn!(reconciler = reconciler.name, %fault, "will be tried again"),
    }
}
