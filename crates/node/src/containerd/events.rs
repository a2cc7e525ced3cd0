//! The event stream: containerd tells when a container's program ends.

use containerd_client::events::{TaskExit, TaskOom};
use containerd_client::services::v1::SubscribeRequest;
use containerd_client::services::v1::events_client::EventsClient;
use futures_util::{Stream, StreamExt};

use super::{CALL_LIMIT, Containerd, Exit, call, tasks};
use crate::Fault;

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuntimeEvent {
    /// Its first process ended.
    Exited(String, Exit),
    /// The kernel killed one of its processes, or one beside it in the task, for want of memory.
    OutOfMemory(String),
}

impl Containerd {
    /// Events from now on. The stream ends when containerd does.
    pub async fn events(&self) -> Result<impl Stream<Item = RuntimeEvent> + Send + Unpin + 'static, Fault> {
        let filters =
            [r#"topic=="/tasks/exit""#, r#"topic=="/tasks/oom""#].map(|topic| format!("{topic},namespace==berth"));
        let request = self.request(SubscribeRequest { filters: filters.to_vec() });
        let mut client = EventsClient::new(self.channel.clone());
        let stream = call("Events.Subscribe", "tasks", CALL_LIMIT, client.subscribe(request)).await?;
        let events = stream.take_while(|event| std::future::ready(event.is_ok())).filter_map(|event| {
            let envelope = event.ok();
            std::future::ready(envelope.and_then(|e| e.event).and_then(|e| read(&e.type_url, &e.value)))
        });
        Ok(events)
    }
}

fn read(kind: &str, body: &[u8]) -> Option<RuntimeEvent> {
    use prost::Message;
    match kind.rsplit('/').next()? {
        "containerd.events.TaskExit" => {
            let event = TaskExit::decode(body).ok()?;
            // Processes started by exec have an id of their own.
            let is_first = event.id == event.container_id;
            is_first.then(|| RuntimeEvent::Exited(event.container_id, tasks::exit(event.exit_status, event.exited_at)))
        }
        "containerd.events.TaskOOM" => Some(RuntimeEvent::OutOfMemory(TaskOom::decode(body).ok()?.container_id)),
        _ => None,
    }
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
        let expected = Exit { code: 7, at: berth_types::TimestampMs(2005) };
        assert_eq!(seen, Some(RuntimeEvent::Exited("c".to_owned(), expected)));
        assert_eq!(read("containerd.events.TaskExit", &exit("exec-1").encode_to_vec()), None);
    }
}
