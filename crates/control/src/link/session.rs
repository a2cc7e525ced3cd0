// SPDX-License-Identifier: Apache-2.0
//! The session of one host: sends its intent and receives its reports, each at its own pace.
//!
//! Each publication is compared with the generation the host holds; snapshots published meanwhile are skipped. A host
//! that reads slowly delays only its own session. A report that could not be stored ends the session, because the next
//! hello repeats everything.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use berth_ecs as ecs;
use berth_plan as plan;
use berth_state::{Change, Env, Snapshot};
use berth_types::link::{Hello, PROTOCOL_VERSION, ToNode, ToServer};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::time::Instant;

use super::frames::{Inbound, Outbound};
use super::hosts::Session;
use super::shared::Link;
use crate::commit::{Answer, CommitFault};

/// Maximum number of reports whose storing has not been answered yet.
const REPORTS_IN_FLIGHT_MAX: usize = 64;
/// Computations of an intent that are faster than this are not paced.
const UNPACED: Duration = Duration::from_millis(1);

/// Serves a host until its stream ends, a newer one takes its place, or a step fails.
pub(super) async fn attend(link: &Link, hello: Hello, inbound: Inbound, mut outbound: Outbound) -> io::Result<()> {
    if hello.protocol != PROTOCOL_VERSION {
        let reason = format!(
            "the node speaks protocol {} and the server {PROTOCOL_VERSION}; run the same version of Berth on both",
            hello.protocol
        );
        tracing::warn!(host = %hello.host, reason, "a host was refused");
        return outbound.send(&ToNode::Refused { reason }).await;
    }
    let session = link.hosts.begin(&hello.host);
    let ended = converse(link, &session, hello, inbound, &mut outbound).await;
    link.hosts.end(&session);
    tracing::info!(host = %session.host, "a host's stream ended");
    record_end(link, &session).await;
    ended
}

async fn converse(
    link: &Link,
    session: &Session,
    hello: Hello,
    inbound: Inbound,
    outbound: &mut Outbound,
) -> io::Result<()> {
    let connected =
        link.committer.send("host-connected", link.locality.service_env(), move |snap: &Snapshot, env: &Env| {
            ecs::host_connected(snap, &hello, env)
        });
    match settled(connected.await).await {
        Ok(()) => {}
        Err(CommitFault::Refused(refusal)) => {
            tracing::warn!(host = %session.host, %refusal, "a host was refused");
            return outbound.send(&ToNode::Refused { reason: refusal.message }).await;
        }
        Err(fault) => return Err(io::Error::other(fault)),
    }
    tracing::info!(host = %session.host, "a host's stream is open");
    tokio::select! {
        ended = take_reports(link, session, inbound) => ended,
        ended = push_intents(link, session, outbound) => ended,
        () = session.replaced.cancelled() => Ok(()),
    }
}

/// Sends the whole intent first and then its changes.
async fn push_intents(link: &Link, session: &Session, outbound: &mut Outbound) -> io::Result<()> {
    let mut revisions = link.published.revisions();
    // The generation the host holds, and the last snapshot that led to the same one.
    let mut held: Option<(u64, Arc<Snapshot>)> = None;
    loop {
        let began = Instant::now();
        revisions.borrow_and_update();
        let snapshot = link.published.snapshot();
        let (generation, env) = (snapshot.revision, link.locality.service_env());
        let now_held = match &held {
            None => {
                let intent = plan::host(&snapshot, &session.host, &env);
                outbound.send(&ToNode::Intent { generation, intent: Box::new(intent) }).await?;
                generation
            }
            Some((from, old)) => {
                let patch = plan::patch(*from, old, &snapshot, &session.host, &env);
                if patch.is_empty() {
                    *from
                } else {
                    outbound.send(&ToNode::Patch(Box::new(patch))).await?;
                    generation
                }
            }
        };
        held = Some((now_held, snapshot));
        // Under many changes a large intent costs at most half of a core.
        let cost = began.elapsed();
        if cost > UNPACED {
            tokio::time::sleep(cost).await;
        }
        revisions.changed().await.map_err(io::Error::other)?;
    }
}

/// Passes reports to the commit loop in the order of their arrival.
async fn take_reports(link: &Link, session: &Session, mut inbound: Inbound) -> io::Result<()> {
    let mut in_flight: FuturesOrdered<Answer<()>> = FuturesOrdered::new();
    loop {
        tokio::select! {
            Some(stored) = in_flight.next() => {
                stored.unwrap_or(Err(CommitFault::Stopped)).map_err(io::Error::other)?;
            }
            frame = inbound.next(), if in_flight.len() < REPORTS_IN_FLIGHT_MAX => {
                let Some(frame) = frame? else { return Ok(()) };
                if let Some(answer) = take(link, session, frame).await? {
                    in_flight.push_back(answer);
                }
            }
        }
    }
}

async fn take(link: &Link, session: &Session, frame: ToServer) -> io::Result<Option<Answer<()>>> {
    let (env, host) = (link.locality.service_env(), session.host.clone());
    let sent = match frame {
        ToServer::Task(report) => {
            let rule = move |snap: &Snapshot, env: &Env| Ok(ecs::observe_task(snap, &host, &report, env));
            link.committer.send("observe-task", env, rule).await
        }
        ToServer::Eni(report) => {
            link.hosts.note_failure(&report);
            let rule = move |snap: &Snapshot, env: &Env| Ok(ecs::observe_eni(snap, &host, &report, env));
            link.committer.send("observe-eni", env, rule).await
        }
        ToServer::FreeSpace(space) => {
            let rule = move |snap: &Snapshot, _: &Env| Ok(ecs::observe_free_space(snap, &host, space));
            link.committer.send("observe-free-space", env, rule).await
        }
        ToServer::Runtime(report) => {
            let rule = move |snap: &Snapshot, env: &Env| Ok(ecs::observe_runtime(snap, &host, report, env));
            link.committer.send("observe-runtime", env, rule).await
        }
        ToServer::Programmed { generation } => {
            link.hosts.set_programmed(session, generation);
            return Ok(None);
        }
        ToServer::FlowTable(table) => {
            link.hosts.set_flow_table(session, table);
            return Ok(None);
        }
        ToServer::Hello(_) | ToServer::Admin(_) => {
            return Err(io::Error::other("a host's stream carried a frame that can only be the first"));
        }
    };
    sent.map(Some).map_err(io::Error::other)
}

/// Records that the stream is closed, unless the host has a new one when the rule is decided.
async fn record_end(link: &Link, session: &Session) {
    let (hosts, host) = (link.hosts.clone(), session.host.clone());
    let rule = move |snap: &Snapshot, env: &Env| {
        // A newer session registers itself before it commits, so it is visible here.
        if hosts.is_connected(&host) {
            return Ok(Change::none(()));
        }
        Ok(ecs::host_disconnected(snap, &host, env))
    };
    let sent = link.committer.send("host-disconnected", link.locality.service_env(), rule).await;
    if let Err(fault) = settled(sent).await {
        tracing::warn!(host = %session.host, %fault, "the end of a host's stream could not be recorded");
    }
}

async fn settled<T>(sent: Result<Answer<T>, CommitFault>) -> Result<T, CommitFault> {
    sent?.await.unwrap_or(Err(CommitFault::Stopped))
}
