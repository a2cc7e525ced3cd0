// SPDX-License-Identifier: Apache-2.0
//! The introspection endpoint of the ECS agent, for clients on the host: http://127.0.0.1:51678, which container
//! instance this is and which tasks it has. Only for programs of the host: a task has a loopback interface of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connections::accept_each;
use super::{metadata, reply, serve_one};
use crate::Fault;
use crate::engine::NodeHost;
use crate::engine::record::TaskRecord;

const PORT: u16 = 51678;

/// Serves until shutdown. A host whose port is taken, by the agent of AWS itself perhaps, goes without.
pub(crate) async fn serve(host: Arc<NodeHost>, instance: String, shutdown: CancellationToken) -> Result<(), Fault> {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await {
        Ok(listener) => listener,
        Err(cause) => {
            tracing::warn!(%cause, "the introspection endpoint on 127.0.0.1:{PORT} is not served");
            shutdown.cancelled().await;
            return Ok(());
        }
    };
    let serve = |stream, _: SocketAddr, place| {
        let (host, instance) = (host.clone(), instance.clone());
        let respond = move |request: &Request<hyper::body::Incoming>| {
            let tasks = host.directory.all();
            let uri = request.uri();
            let document = match request.method() {
                &Method::GET => document(&host, &instance, &tasks, uri.path(), uri.query().unwrap_or_default()),
                _ => None,
            };
            match document {
                Some(document) => reply(StatusCode::OK, &document),
                None => reply(StatusCode::NOT_FOUND, &json!({})),
            }
        };
        serve_one(stream, place, respond)
    };
    accept_each(&listener, "introspection endpoint", &shutdown, serve).await;
    Ok(())
}

fn document(host: &NodeHost, instance: &str, tasks: &[Arc<TaskRecord>], path: &str, query: &str) -> Option<Value> {
    match path.trim_end_matches('/') {
        "" => Some(json!({"AvailableCommands": ["/v1/metadata", "/v1/tasks"]})),
        "/v1/metadata" => {
            let cluster = &host.config.cluster;
            // The node learns its account from its tasks.
            let account = tasks.first().and_then(|task| task.intent.arn.split(':').nth(4));
            let arn = account.map(|account| {
                format!("arn:aws:ecs:{}:{account}:container-instance/{cluster}/{instance}", host.config.region)
            });
            let version = concat!("Amazon ECS Agent - v", env!("CARGO_PKG_VERSION"), " (berth)");
            Some(json!({"Cluster": cluster, "ContainerInstanceArn": arn, "Version": version}))
        }
        "/v1/tasks" => listed(tasks, query),
        _ => None,
    }
}

/// All tasks, or the one a query names.
fn listed(tasks: &[Arc<TaskRecord>], query: &str) -> Option<Value> {
    let (key, value) = query.split_once('=').unwrap_or((query, ""));
    let value = value.replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/");
    let holds = |task: &TaskRecord, is: &dyn Fn(&str) -> bool| task.containers.iter().any(|one| is(&one.runtime_id));
    let mut named: Box<dyn Iterator<Item = &Arc<TaskRecord>>> = match key {
        "taskarn" => Box::new(tasks.iter().filter(|task| task.intent.arn == value)),
        "dockerid" => Box::new(tasks.iter().filter(|task| holds(task, &|id| id == value))),
        "shortdockerid" => Box::new(tasks.iter().filter(|task| holds(task, &|id| id.starts_with(&value)))),
        _ => return Some(json!({"Tasks": tasks.iter().map(|task| one(task)).collect::<Vec<_>>()})),
    };
    named.next().map(|task| one(task))
}

fn one(task: &TaskRecord) -> Value {
    let whole = metadata::task(task, metadata::Version::V4);
    let members = [
        "DockerId",
        "DockerName",
        "Name",
        "Image",
        "ImageID",
        "CreatedAt",
        "StartedAt",
        "Ports",
        "Networks",
        "Volumes",
    ];
    let containers = whole["Containers"].as_array().into_iter().flatten();
    let containers: Vec<Value> = containers
        .filter(|container| container["Type"] == "NORMAL")
        .map(|container| {
            let kept =
                members.iter().filter_map(|name| container.get(*name).map(|value| ((*name).to_owned(), value.clone())));
            Value::Object(kept.collect())
        })
        .collect();
    json!({
        "Arn": task.intent.arn,
        "DesiredStatus": whole["DesiredStatus"],
        "KnownStatus": whole["KnownStatus"],
        "Family": task.intent.family,
        "Version": task.intent.revision.to_string(),
        "Containers": containers,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_task_is_found_by_its_arn_and_by_a_container() {
        let record = TaskRecord::accept(berth_types::TaskId::from_bits(7), crate::container::spec::tests::task(), None);
        let (arn, id) = (record.intent.arn.clone(), record.containers[0].runtime_id.clone());
        let tasks = [Arc::new(record)];
        let all = listed(&tasks, "").unwrap();
        assert_eq!(all["Tasks"][0]["Containers"][0]["Name"], "app");
        assert_eq!(listed(&tasks, &format!("taskarn={arn}")).unwrap()["Arn"], arn);
        assert_eq!(listed(&tasks, &format!("taskarn={}", arn.replace(':', "%3A"))).unwrap()["Arn"], arn);
        assert_eq!(listed(&tasks, &format!("dockerid={id}")).unwrap()["Family"], "web");
        assert_eq!(listed(&tasks, &format!("shortdockerid={}", &id[..10])).unwrap()["Version"], "3");
        assert_eq!(listed(&tasks, "dockerid=none"), None);
    }
}
