// SPDX-License-Identifier: Apache-2.0
//! The socket of hosts and command line, with a simulated host.
#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::BTreeMap;

use berth_types::admin::{Reply, Request};
use berth_types::intent::{HostIntent, Plug, Standalone, apply};
use berth_types::link::{Capacity, Hello, PROTOCOL_VERSION, ToNode, ToServer};
use berth_types::report::{EniReport, EniState, FlowTable};
use berth_types::{EniId, HostId, InstanceId};
use lab::{Server, Stream};

fn host() -> HostId {
    HostId::from_bits(7)
}

fn hello(enis: Vec<EniReport>) -> ToServer {
    ToServer::Hello(Box::new(Hello {
        protocol: PROTOCOL_VERSION,
        host: host(),
        instance: InstanceId::from_bits(7),
        cluster: "default".to_owned(),
        version: "0.1.0".to_owned(),
        runtime_version: "1.6.20".to_owned(),
        capacity: Capacity { cpu_units: 2048, memory_mib: 4096, enis: 10 },
        attributes: BTreeMap::new(),
        runtime: None,
        instance_interface: None,
        tasks: vec![],
        enis,
    }))
}

/// A host that holds the state the server sent.
struct FakeNode {
    stream: Stream,
    generation: u64,
    intent: HostIntent,
}

impl FakeNode {
    async fn join(server: &Server, enis: Vec<EniReport>) -> FakeNode {
        let mut stream = server.connect().await;
        stream.send(&hello(enis)).await;
        match stream.next().await {
            Some(ToNode::Intent { generation, intent }) => FakeNode { stream, generation, intent: *intent },
            other => panic!("the first frame is not the whole intent: {other:?}"),
        }
    }

    /// Applies patches until the intent is as expected.
    async fn until(&mut self, wanted: impl Fn(&HostIntent) -> bool) {
        while !wanted(&self.intent) {
            match self.stream.next().await {
                Some(ToNode::Patch(patch)) => {
                    assert_eq!(patch.from, self.generation);
                    assert!(!patch.is_empty() && patch.to > patch.from);
                    self.generation = patch.to;
                    apply(&mut self.intent, *patch);
                }
                other => panic!("not a patch: {other:?}"),
            }
        }
    }

    async fn report(&mut self, eni: &EniId, state: EniState) {
        self.stream.send(&ToServer::Eni(EniReport { eni: eni.clone(), state })).await;
    }
}

fn open_seat() -> Request {
    Request::OpenSeat { subnet: None, security_groups: vec![], host: None }
}

#[tokio::test]
async fn a_seat_is_opened_survives_a_lost_stream_and_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let mut node = FakeNode::join(&server, vec![]).await;
    assert!(node.intent.enis.is_empty());

    let opening = server.admin(open_seat());
    let plugging = async {
        node.until(|intent| !intent.enis.is_empty()).await;
        let (eni, wanted) = node.intent.enis.first_key_value().unwrap();
        assert!(matches!(wanted.plug, Plug::Standalone(_)));
        let eni = eni.clone();
        node.report(&eni, EniState::Attached).await;
        node.stream.send(&ToServer::Programmed { generation: node.generation }).await;
        eni
    };
    let (opened, eni) = tokio::join!(opening, plugging);
    let Ok(Reply::Seat(seat)) = opened else { panic!("no seat: {opened:?}") };
    assert_eq!(seat.eni, eni);
    assert_eq!(node.intent.enis[&eni].plug, Plug::Standalone(Standalone::seat(seat.netns)));
    assert_eq!(node.intent.enis[&eni].address, seat.address);

    let resumed = FakeNode::join(&server, vec![EniReport { eni: eni.clone(), state: EniState::Attached }]).await;
    assert!(resumed.intent.enis.contains_key(&eni), "the whole intent comes again");
    while node.stream.next().await.is_some() {}
    let mut node = resumed;
    assert!(server.status().await.hosts[0].connected, "the end of the old stream is not the end of the host");

    let closing = server.admin(Request::CloseSeat { eni: eni.clone() });
    let unplugging = async {
        node.until(|intent| intent.enis.is_empty()).await;
        node.report(&eni, EniState::Gone).await;
    };
    let (closed, ()) = tokio::join!(closing, unplugging);
    assert!(matches!(closed, Ok(Reply::Closed)), "{closed:?}");
    assert_eq!(server.status().await.enis, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_seat_that_cannot_be_plugged_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let mut node = FakeNode::join(&server, vec![]).await;
    let plugging = async {
        node.until(|intent| !intent.enis.is_empty()).await;
        let eni = node.intent.enis.first_key_value().unwrap().0.clone();
        node.report(&eni, EniState::Failed("could not create veth pair".to_owned())).await;
        node.until(|intent| intent.enis.is_empty()).await;
        node.report(&eni, EniState::Gone).await;
    };
    let (opened, ()) = tokio::join!(server.admin(open_seat()), plugging);
    let reason = opened.unwrap_err();
    assert!(reason.contains("could not create veth pair"), "{reason}");
    server.stop().await;
}

#[tokio::test]
async fn without_a_host_there_is_no_seat() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let refused = server.admin(open_seat()).await.unwrap_err();
    assert!(refused.contains("No host is connected"), "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn status_shows_a_host_while_its_stream_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let mut node = FakeNode::join(&server, vec![]).await;
    let table = FlowTable { used: 12, max: 1000, shared_used: 3, shared_max: 500, floor: 2 };
    node.stream.send(&ToServer::FlowTable(table)).await;
    node.stream.send(&ToServer::Programmed { generation: node.generation }).await;
    // The stream is read in order, so the report is stored after the generation was recorded.
    let status = loop {
        let status = server.status().await;
        if status.hosts[0].programmed == node.generation {
            break status;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(status.hosts.len(), 1);
    assert_eq!((&status.hosts[0].host, status.hosts[0].connected), (&host(), true));
    assert_eq!((status.vpcs, status.tasks, status.region.as_str()), (1, 0, lab::REGION));
    let metrics = server.get("/_berth/metrics").await;
    for (name, value) in [("used", 12), ("max", 1000), ("shared_used", 3), ("shared_max", 500)] {
        metrics.expect(200, &format!("berth_flows_{name}{{host=\"{}\"}} {value}\n", host()));
    }

    drop(node);
    while server.status().await.hosts[0].connected {
        tokio::task::yield_now().await;
    }
    server.stop().await;

    let server = Server::start(folder.path()).await;
    assert!(!server.status().await.hosts[0].connected);
    server.stop().await;
}

#[tokio::test]
async fn a_node_of_another_protocol_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let ToServer::Hello(mut hello) = hello(vec![]) else { unreachable!() };
    hello.protocol += 1;
    let mut stream = server.connect().await;
    stream.send(&ToServer::Hello(hello)).await;
    let Some(ToNode::Refused { reason }) = stream.next().await else { panic!("not refused") };
    assert!(reason.contains("run the same version of Berth on both"), "{reason}");
    assert!(stream.next().await.is_none());
    server.stop().await;
}
