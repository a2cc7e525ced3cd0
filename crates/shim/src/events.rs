// SPDX-License-Identifier: Apache-2.0
//! Events for containerd, in order, each repeated until containerd has received it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use containerd_shim_protos::protobuf::MessageFull;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{Client, EventsClient};
use containerd_shim_protos::ttrpc::context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pause before containerd, who may be restarting, is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Time limit for the delivery of one event.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of tries; a containerd that is away for longer reads the state when it comes back.
const TRIES_MAX: u32 = 60;

/// Where events go.
#[derive(Clone)]
pub(crate) struct Events {
    namespace: String,
    queue: mpsc::UnboundedSender<Envelope>,
}

impl Events {
    /// Events for the containerd with this socket, in a namespace of it. The task ends when the last sender is dropped
    /// and all events are delivered.
    pub fn to(containerd: &Path, namespace: &str) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let address = format!("unix://{}.ttrpc", containerd.display());
        (Self { namespace: namespace.to_owned(), queue }, tokio::spawn(tell(address, waiting)))
    }

    /// Queues an event.
    pub fn publish<M: MessageFull>(&self, topic: &str, event: &M) {
        let Ok(value) = event.write_to_bytes() else { return };
        let event = Any { type_url: M::descriptor().full_name().to_owned(), value, ..Any::default() };
        let envelope = Envelope {
            timestamp: Some(timestamp(SystemTime::now())).into(),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(event).into(),
            ..Envelope::default()
        };
        // The receiver ends at the shutdown; ignore the send error.
        self.queue.send(envelope).ok();
    }
}

/// A time as containerd's messages have it.
pub(crate) fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32, ..Timestamp::default() }
}

async fn tell(address: String, mut waiting: mpsc::UnboundedReceiver<Envelope>) {
    let mut client = None;
    while let Some(envelope) = waiting.recv().await {
        let call = context::with_duration(CALL_LIMIT);
        let request = ForwardRequest { envelope: Some(envelope).into(), ..ForwardRequest::default() };
        for _ in 0..TRIES_MAX {
            let (connected, is_new) = match client.take() {
                Some(connected) => (Some(connected), false),
                None => (Client::connect(&address).await.ok().map(EventsClient::new), true),
            };
            if let Some(connected) = connected
                && connected.forward(call.clone(), &request).await.is_ok()
            {
                client = Some(connected);
                break;
            }
            // An old connection may belong to a containerd that has restarted since.
            if is_new {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
