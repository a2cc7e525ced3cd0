// SPDX-License-Identifier: Apache-2.0
//! Following containerd: its events go to the tasks they concern. A containerd that ends is started again; one that does
//! not answer is ended first.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::{Engine, heartbeat};
use crate::backoff::Backoff;
use crate::containerd::Ended;
use crate::{Fault, clock};

/// Pauses between tries to subscribe to containerd's events.
const RESUBSCRIBE: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) };

impl Engine {
    /// Hands out containerd's events until shutdown. `subscribed` is notified when the first subscription works.
    pub async fn follow_runtime(
        self: Arc<Self>,
        subscribed: oneshot::Sender<()>,
        shutdown: CancellationToken,
    ) -> Result<(), Fault> {
        let host = self.host.clone();
        let mut subscribed = Some(subscribed);
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            if let Some(private) = &host.private
                && let Err(fault) = private.ensure().await
            {
                tracing::error!(%fault, "containerd");
            }
            match host.containerd.events().await {
                Ok(events) => {
                    failures = 0;
                    host.reports.runtime(true, clock::now());
                    if let Some(subscribed) = subscribed.take() {
                        subscribed.send(()).ok();
                    }
                    // Events between two subscriptions are lost, so the present state is looked up.
                    for (_, sender) in self.senders() {
                        sender.send(Event::LookAgain).await.ok();
                    }
                    self.hand_out_all(events, &shutdown).await;
                }
                Err(fault) => tracing::warn!(%fault, "containerd"),
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
            host.reports.runtime(false, clock::now());
            tokio::select! {
                () = tokio::time::sleep(RESUBSCRIBE.after(failures)) => {}
                () = shutdown.cancelled() => {}
            }
            failures = failures.saturating_add(1);
        }
        Ok(())
    }

    /// Returns when there are no more events, or containerd does not answer; then one of our own is ended, so that it is
    /// replaced as at a start.
    async fn hand_out_all(&self, mut events: impl Stream<Item = Ended> + Unpin, shutdown: &CancellationToken) {
        let socket = self.host.config.containerd_socket();
        let mut lost = std::pin::pin!(heartbeat::lost(&socket, self.host.config.patience.heartbeat));
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.hand_out(event).await,
                    None => return tracing::warn!("containerd closed its event stream"),
                },
                fault = &mut lost => {
                    tracing::error!(%fault, "containerd is stuck");
                    let Some(private) = &self.host.private else { return };
                    if let Err(fault) = private.end().await {
                        tracing::error!(%fault, "containerd is not replaced");
                    }
                    return;
                }
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn hand_out(&self, Ended { runtime_id, exit }: Ended) {
        match self.routes.of(&runtime_id) {
            Some(to) => drop(to.send(Event::Exited(runtime_id, exit)).await),
            None => self.host.namespaces.pause_ended(&runtime_id),
        }
    }
}
