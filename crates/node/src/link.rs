// SPDX-License-Identifier: Apache-2.0
//! The stream to the server: sends `Hello` and reports, receives intents. Tasks continue without it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use berth_types::intent::{self, HostIntent};
use berth_types::link::{Capacity, FRAME_BYTES_MAX, Hello, PROTOCOL_VERSION, ToNode, ToServer};
use futures_util::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::backoff::Backoff;
use crate::engine::{Engine, NodeHost};
use crate::identity::Identity;

/// Pauses between tries to reach the server.
const RECONNECT: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };
/// Pause before a failed programming of the data path is retried.
const PROGRAM_RETRY_PAUSE: Duration = Duration::from_secs(2);

/// An intent and its number.
type Numbered = (u64, Arc<HostIntent>);

/// The server's intent, and the connection that brought it.
#[derive(Clone)]
pub(crate) struct WantedIntent {
    intent: Numbered,
    /// Counts connections.
    connection: u64,
}

/// The node's own part of `Hello`.
pub(crate) struct Introduction {
    pub identity: Identity,
    pub capacity: Capacity,
    pub runtime_version: String,
}

/// Keeps the stream open and passes each intent on.
pub(crate) async fn keep(
    host: Arc<NodeHost>,
    who: Introduction,
    intents: watch::Sender<Option<WantedIntent>>,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let ended = tokio::select! {
            ended = talk(&host, &who, &intents, &mut failures) => ended,
            () = shutdown.cancelled() => return Ok(()),
        };
        failures = failures.saturating_add(1);
        let pause = RECONNECT.after(failures);
        tracing::warn!(why = ended, again_in_ms = pause.as_millis(), "no stream to the server");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// One connection; returns the reason of its end.
async fn talk(
    host: &NodeHost,
    who: &Introduction,
    intents: &watch::Sender<Option<WantedIntent>>,
    failures: &mut u32,
) -> String {
    let stream = match UnixStream::connect(&host.config.server_socket).await {
        Ok(stream) => stream,
        Err(cause) => return format!("{}: {cause}", host.config.server_socket.display()),
    };
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    let (mut sender, mut receiver) = Framed::new(stream, codec).split();
    let (tasks, enis) = host.reports.all();
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        host: who.identity.host.clone(),
        instance: who.identity.instance.clone(),
        cluster: host.config.cluster.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_version: who.runtime_version.clone(),
        capacity: who.capacity,
        attributes: attributes(&who.runtime_version, host.config.availability_zone.as_ref()),
        runtime: host.reports.said_of_runtime(),
        instance_interface: host.config.instance_interface.clone(),
        tasks,
        enis,
    };
    if let Err(cause) = sender.send(frame(&ToServer::Hello(Box::new(hello)))).await {
        return cause.to_string();
    }
    let mut held: Option<Numbered> = None;
    let connection = intents.borrow().as_ref().map_or(0, |wanted| wanted.connection) + 1;
    loop {
        tokio::select! {
            said = receiver.next() => {
                let text = match said {
                    Some(Ok(text)) => text,
                    Some(Err(cause)) => return cause.to_string(),
                    None => return "the server closed the stream".to_owned(),
                };
                match next_intent(&mut held, &text) {
                    Ok(intent) => {
                        *failures = 0;
                        intents.send_replace(Some(WantedIntent { intent, connection }));
                    }
                    Err(why) => return why,
                }
            }
            unsent = host.reports.unsent() => {
                for report in unsent {
                    if let Err(cause) = sender.send(frame(&report)).await {
                        return cause.to_string();
                    }
                }
            }
        }
    }
}

fn frame(message: &ToServer) -> bytes::Bytes {
    serde_json::to_vec(message).expect("messages are plain data").into()
}

/// The intent after a message; an error ends the stream.
fn next_intent(held: &mut Option<Numbered>, text: &[u8]) -> Result<Numbered, String> {
    let message: ToNode = serde_json::from_slice(text).map_err(|cause| format!("unreadable message: {cause}"))?;
    let next = match message {
        ToNode::Intent { generation, intent } => (generation, Arc::new(*intent)),
        ToNode::Patch(patch) => match held.take() {
            Some((generation, intent)) if generation == patch.from => {
                let mut intent = Arc::unwrap_or_clone(intent);
                let to = patch.to;
                intent::apply(&mut intent, *patch);
                (to, Arc::new(intent))
            }
            other => {
                let held = other.map(|(generation, _)| generation);
                return Err(format!("a patch from generation {} does not fit {held:?}", patch.from));
            }
        },
        ToNode::Refused { reason } => return Err(format!("the server refused this node: {reason}")),
        ToNode::Admin(_) => return Err("an answer to a question nobody asked".to_owned()),
    };
    *held = Some(next.clone());
    Ok(next)
}

/// Makes each intent true: first the data path, then the tasks. Intents that were replaced meanwhile are skipped.
pub(crate) async fn obey(
    host: Arc<NodeHost>,
    engine: Arc<Engine>,
    mut intents: watch::Receiver<Option<WantedIntent>>,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let mut cleaned = None;
    loop {
        tokio::select! {
            changed = intents.changed() => if changed.is_err() { return Ok(()) },
            () = shutdown.cancelled() => return Ok(()),
        }
        loop {
            let Some(wanted) = intents.borrow_and_update().clone() else { break };
            let (generation, intent) = wanted.intent;
            let programmed = program(&host, intent.clone()).await;
            if programmed.is_ok() {
                host.reports.programmed(generation);
            }
            engine.dispatch(&intent).await;
            if cleaned != Some(wanted.connection) {
                engine.unplug_strangers(&intent).await;
                if let (None, Some(ready)) = (cleaned, &host.config.ready) {
                    ready.notify_one();
                }
                cleaned = Some(wanted.connection);
            }
            match programmed {
                Ok(Reach::Complete) => break,
                Ok(Reach::Inside(fault)) => {
                    tracing::error!(generation, %fault, "the machine does not lead to this host; it will be tried again");
                }
                Err(fault) => {
                    tracing::error!(generation, %fault, "the data path did not take the intent; it will be tried again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PROGRAM_RETRY_PAUSE) => {}
                _ = intents.changed() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }
}

/// How far packets get once the data path is programmed.
enum Reach {
    /// As far as the intent says.
    Complete,
    /// Not between a simulated host and its machine.
    Inside(Fault),
}

/// Programs the data path, and opens the way to the world inside its wall. Without a wall the way stays closed.
async fn program(host: &NodeHost, mut intent: Arc<HostIntent>) -> Result<Reach, Fault> {
    if let Err(fault) = host.world.wall(&intent).await {
        tracing::error!(%fault, "the way to the world stays closed: there is no wall around it");
        Arc::make_mut(&mut intent).worlds.clear();
    }
    host.network.program(intent.clone()).await?;
    let endpoint = intent.worlds.values().find_map(|world| Some(world.endpoints.as_ref()?.all));
    host.endpoints.send_if_modified(|present| std::mem::replace(present, endpoint) != endpoint);
    host.world.settle(&intent).await?;
    match &host.outside {
        None => Ok(Reach::Complete),
        Some(outside) => Ok(outside.follow(&intent).await.map_or_else(Reach::Inside, |()| Reach::Complete)),
    }
}

/// ECS attributes of this host.
fn attributes(runtime_version: &str, zone: Option<&String>) -> BTreeMap<String, Option<String>> {
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x86_64" };
    let capability = |name: &str| (format!("ecs.capability.{name}"), None);
    let docker_api = (17..=44).map(|minor| (format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"), None));
    let facts = [
        ("ecs.os-type".to_owned(), Some("linux".to_owned())),
        ("ecs.os-family".to_owned(), Some("LINUX".to_owned())),
        ("ecs.cpu-architecture".to_owned(), Some(architecture.to_owned())),
        ("ecs.capability.cni-plugin-version".to_owned(), Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("berth.containerd-version".to_owned(), Some(runtime_version.to_owned())),
    ];
    let capabilities = [
        "task-eni",
        "task-cpu-mem-limit",
        "docker-plugin.local",
        "pid-ipc-namespace-sharing",
        "container-health-check",
        "container-restart-policy",
        "network.container-port-range",
    ];
    facts
        .into_iter()
        .chain(capabilities.map(capability))
        .chain([
            ("com.amazonaws.ecs.capability.logging-driver.json-file".to_owned(), None),
            ("com.amazonaws.ecs.capability.privileged-container".to_owned(), None),
        ])
        .chain(docker_api)
        .chain(zone.map(|zone| ("ecs.availability-zone".to_owned(), Some(zone.clone()))))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_patch_must_fit_what_is_held() {
        let text = |message: &ToNode| serde_json::to_vec(message).unwrap();
        let empty = HostIntent::default();
        let patch = |from| ToNode::Patch(Box::new(intent::diff(from, &empty, from + 1, &empty)));
        let mut held = None;
        assert!(next_intent(&mut held, &text(&patch(1))).is_err());
        let whole = ToNode::Intent { generation: 4, intent: Box::new(empty.clone()) };
        assert_eq!(next_intent(&mut held, &text(&whole)).unwrap().0, 4);
        assert_eq!(next_intent(&mut held, &text(&patch(4))).unwrap().0, 5);
        assert!(next_intent(&mut held, &text(&patch(9))).is_err());
        let refused = ToNode::Refused { reason: "old".to_owned() };
        assert!(next_intent(&mut held, &text(&refused)).unwrap_err().contains("old"));
    }
}
