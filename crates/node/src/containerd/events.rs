// SPDX-License-Identifier: Apache-2.0
//! The event stream: containerd tells when a container's program ends.

use containerd_client::events::TaskExit;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use std::time::Duration;

use futures_util::{Stream, StreamExt};

use super::client::{CALL_LIMIT, Containerd, NAMESPACE, call};
use super::tasks::{self, Exit};
use crate::Fault;

/// The end of a container's first process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The container.
    pub runtime_id: String,
    /// How it ended.
    pub exit: Exit,
}

/// Topic of an event that only shows that the subscription works.
const GREETING_TOPIC: &str = "/berth/greeting";
/// Pause before an unheard greeting is published again.
const GREETING_PAUSE: Duration = Duration::from_millis(20);

impl Containerd {
    /// Events from now on. The stream ends when containerd does.
    ///
    /// containerd answers a subscription only together with its first event, so one is published until it is heard:
    /// when this returns, nothing that happens is missed.
    pub async fn events(&self) -> Result<impl Stream<Item = Ended> + Send + Unpin + 'static, Fault> {
        let filters =
            ["/tasks/exit", GREETING_TOPIC].map(|topic| format!(r#"topic=="{topic}",namespace=={NAMESPACE}"#));
        let request = self.request(SubscribeRequest { filters: filters.to_vec() });
        let mut client = EventsClient::new(self.channel.clone());
        let subscribing = call("Events.Subscribe", "tasks", CALL_LIMIT, client.subscribe(request));
        let stream = tokio::select! {
            stream = subscribing => stream?,
            fault = self.greet() => return Err(fault),
        };
        let events = stream.take_while(|event| std::future::ready(event.is_ok())).filter_map(|event| {
            let envelope = event.ok();
            std::future::ready(envelope.and_then(|e| e.event).and_then(|e| read(&e.type_url, &e.value)))
        });
        Ok(events)
    }

    /// Publishes greetings for as long as it is polled; returns only when that fails.
    async fn greet(&self) -> Fault {
        loop {
            let event = prost_types::Any { type_url: "google.protobuf.Empty".to_owned(), value: Vec::new() };
            let request = self.request(PublishRequest { topic: GREETING_TOPIC.to_owned(), event: Some(event) });
            let mut client = EventsClient::new(self.channel.clone());
            if let Err(fault) = call("Events.Publish", "greeting", CALL_LIMIT, client.publish(request)).await {
                return fault;
            }
            tokio::time::sleep(GREETING_PAUSE).await;
        }
    }
}

fn read(kind: &str, body: &[u8]) -> Option<Ended> {
    use prost::Message;
    (kind.rsplit('/').next()? == "containerd.events.TaskExit").then_some(())?;
    let event = TaskExit::decode(body).ok()?;
    // Processes started by exec have an id of their own.
    let is_first = event.id == event.container_id;
    let exit = tasks::exit(event.exit_status, event.exited_at);
    is_first.then_some(Ended { runtime_id: event.container_id, exit })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use prost::Message;

    #[test]
    fn only_the_first_process_counts() {
        let exit = |id: &str| TaskExit {
            container_id: "c".to_owned(),
            id: id.to_owned(),
            exit_status: 7,
            exited_at: Some(prost_types::Timestamp { seconds: 2, nanos: 5_000_000 }),
            ..TaskExit::default()
        };
        let seen = read("containerd.events.TaskExit", &exit("c").encode_to_vec());
        let exit_seen = Exit { code: 7, at: berth_types::TimestampMs(2005) };
        assert_eq!(seen, Some(Ended { runtime_id: "c".to_owned(), exit: exit_seen }));
        assert_eq!(read("containerd.events.TaskExit", &exit("exec-1").encode_to_vec()), None);
    }
}
