// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: the API on a full disk: operations that add are refused, records can be read, changed and deleted, and
//! the same process continues when there is space. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/disk/mod.rs"]
mod disk;
mod lab;

use berth_shapes::ecs;
use disk::SmallDisk;
use lab::{Server, eventually};

fn definition(family: String) -> ecs::RegisterTaskDefinitionRequest {
    let container = ecs::ContainerDefinition {
        name: Some("app".to_owned()),
        image: Some("app".to_owned()),
        memory: Some(64),
        docker_labels: Some([("large".to_owned(), "x".repeat(60_000))].into()),
        ..Default::default()
    };
    ecs::RegisterTaskDefinitionRequest {
        family: Some(family),
        container_definitions: Some(vec![container]),
        ..Default::default()
    }
}

#[tokio::test]
async fn on_a_full_disk_the_api_reads_and_deletes_and_goes_on_by_itself_when_there_is_space() {
    let disk = SmallDisk::new(24);
    let server = Server::start(disk.path()).await;
    let cluster = |name: &str| ecs::CreateClusterRequest { cluster_name: Some(name.to_owned()), ..Default::default() };
    server.call(&cluster("before")).await.expect(200, "before");
    disk.fill();
    let mut acknowledged = 0;
    let refused = loop {
        let answer = server.call(&definition(format!("f{acknowledged}"))).await;
        if answer.status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1000, "the disk is not full");
    };
    refused.expect(503, "ServiceUnavailableException");
    server.health().await.expect(503, "cannot be stored");
    let families = ecs::ListTaskDefinitionFamiliesRequest::default();
    server.call(&families).await.expect(200, "f0");
    let delete = ecs::DeleteClusterRequest { cluster: Some("before".to_owned()) };
    server.call(&delete).await.expect(200, "INACTIVE");

    disk.free();
    eventually(async || (server.health().await.status == 200).then_some(())).await;
    server.call(&cluster("after")).await.expect(200, "after");
    server.stop().await;

    let server = Server::start(disk.path()).await;
    let there = server.call(&families).await;
    for number in 0..acknowledged {
        there.expect(200, &format!("\"f{number}\""));
    }
    server.call(&ecs::ListClustersRequest::default()).await.expect(200, "cluster/after\"");
    server.stop().await;
}
