// SPDX-License-Identifier: Apache-2.0
//! Reconcilers: rules without a caller.
//!
//! A reconciler takes its work from an index of unsettled records, and does nothing while that index is empty. A
//! publication, the earliest deadline of a record, and a change of the store between working and failing wake it; there
//! is no other timer. While the store fails, and after a change that was not stored, it tries again each second.

use std::time::Duration;

use berth_ecs as ecs;
use berth_state::{Change, Draft, Env, Snapshot};
use berth_vpc as vpc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Locality;
use crate::commit::{CommitFault, Committer, Rule};
use crate::publish::Published;

/// Minimum time between two removals of expired records, and between two trials after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The reconcilers and their context.
pub(crate) struct Reconcilers {
    pub(crate) published: Published,
    pub(crate) committer: Committer,
    pub(crate) locality: Locality,
    pub(crate) stopped_tasks_kept: Duration,
}

/// Deadlines of records and of the next trial.
struct Agenda {
    /// Moment 0 of the steady clock. `Instant` is monotonic: a jump of the wall clock removes nothing.
    start: Instant,
    ages: ecs::Ages,
    vpc_ages: vpc::Ages,
    /// Expired records are removed no earlier than this.
    removal_from: Instant,
    /// Present while the store fails, and after a change that was not stored.
    trial_at: Option<Instant>,
}

impl Agenda {
    fn new(stopped_tasks_kept: Duration) -> Self {
        let start = Instant::now();
        let (ages, vpc_ages) = (ecs::Ages::new(milliseconds(stopped_tasks_kept)), vpc::Ages::default());
        Self { start, ages, vpc_ages, removal_from: start, trial_at: None }
    }

    /// The next moment at which there may be work although no record has changed.
    fn next(&self, has_expired: bool) -> Option<Instant> {
        let earliest = if has_expired {
            Some(self.removal_from)
        } else {
            let next = [self.ages.next_ms(), self.vpc_ages.next_ms()].into_iter().flatten().min();
            let next = next.and_then(|ms| self.start.checked_add(Duration::from_millis(ms)));
            next.map(|next| next.max(self.removal_from))
        };
        [earliest, self.trial_at].into_iter().flatten().min()
    }
}

impl Reconcilers {
    /// Runs all until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut agenda = Agenda::new(self.stopped_tasks_kept);
        let mut revisions = self.published.revisions();
        let mut failing = self.committer.stats().failing();
        loop {
            let began = Instant::now();
            revisions.borrow_and_update();
            failing.borrow_and_update();
            let next = self.pass(&mut agenda).await;
            // At most half of a core, however fast the records change.
            let cost = began.elapsed();
            let woken = async {
                tokio::time::sleep(cost).await;
                tokio::select! {
                    () = sleep_until(next) => {}
                    _ = revisions.changed() => {}
                    _ = failing.changed() => {}
                }
            };
            if stop.run_until_cancelled(woken).await.is_none() {
                return;
            }
        }
    }

    /// Does the present work; returns when there may be more although no record has changed.
    async fn pass(&self, agenda: &mut Agenda) -> Option<Instant> {
        let now = Instant::now();
        let snapshot = self.published.snapshot();
        let is_trial = agenda.trial_at.is_some_and(|at| at <= now);
        let mut is_stored = true;
        if snapshot.ecs().index().waiting_hosts.has_ready() {
            let rule = |snap: &Snapshot, env: &Env| Ok(ecs::register_waiting_hosts(snap, env));
            is_stored &= self.commit("register-waiting-hosts", rule).await;
        }
        if vpc::has_unsettled_nat_gateways(&snapshot) {
            let rule = |snap: &Snapshot, env: &Env| Ok(vpc::settle_nat_gateways(snap, env));
            is_stored &= self.commit("settle-nat-gateways", rule).await;
        }
        let expired = agenda.ages.look(&snapshot, milliseconds(now - agenda.start));
        let vpc_expired = agenda.vpc_ages.look(&snapshot, milliseconds(now - agenda.start));
        let has_expired = !(expired.is_empty() && vpc_expired.is_empty());
        if has_expired && agenda.removal_from <= now {
            let rule = move |snap: &Snapshot, env: &Env| {
                let mut draft = Draft::of(snap);
                draft.take(ecs::expire(snap, &expired));
                draft.take(vpc::expire(snap, &vpc_expired, env));
                Ok(draft.change(()))
            };
            is_stored &= self.commit("expire", rule).await;
            agenda.removal_from = now + PAUSE;
        }
        if is_trial && self.committer.stats().is_failing() {
            // After a failure the commit loop tests the store with the next group, even with one that changes nothing.
            self.commit("look-at-the-store-again", |_: &Snapshot, _: &Env| Ok(Change::none(()))).await;
        }
        let has_failed = !is_stored || self.committer.stats().is_failing();
        agenda.trial_at = match agenda.trial_at {
            Some(at) if has_failed && !is_trial => Some(at),
            Some(_) | None => has_failed.then(|| now + PAUSE),
        };
        agenda.next(has_expired)
    }

    /// True if the change was stored.
    async fn commit(&self, name: &'static str, rule: impl Rule<()>) -> bool {
        match self.committer.commit(name, self.locality.service_env(), rule).await {
            Ok(()) => return true,
            Err(CommitFault::Stopped) => {}
            // The commit loop has logged the cause once; this repeats each second.
            Err(fault @ (CommitFault::Full | CommitFault::Store)) => {
                tracing::debug!(reconciler = name, %fault, "will be tried again");
            }
            Err(fault) => tracing::warn!(reconciler = name, %fault, "will be tried again"),
        }
        false
    }
}

/// Never returns without a time.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
