// SPDX-License-Identifier: Apache-2.0
//! A table of several doors, over the network.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Limits;
use crate::front::connections::Connections;
use crate::front::serve::{Entrance, serve};

/// Maximum wait for an answer; a busy machine may be slow.
const LIMIT: Duration = Duration::from_secs(60);

/// A door that answers with its name and reads no body.
struct Named(&'static str);

impl Door for Named {
    fn respond(self: Arc<Self>, _: request::Parts, _: Incoming, _: UnderWay) -> Answering {
        Box::pin(async move { whole(Response::new(Bytes::from_static(self.0.as_bytes()))) })
    }
}

/// A door that sends the body back while it arrives.
struct Echo;

impl Door for Echo {
    fn respond(self: Arc<Self>, _: request::Parts, body: Incoming, _: UnderWay) -> Answering {
        let body = body.map_err(io::Error::other).boxed_unsync();
        Box::pin(async move { Response::new(Either::Right(body)) })
    }
}

fn is_registry(head: &request::Parts) -> bool {
    head.uri.path().starts_with("/v2/")
}

fn doors() -> Doors {
    let row = |name, answers, door| Row { name, answers, door };
    let rows = vec![
        row("registry", is_registry, Arc::new(Named("registry")) as Arc<dyn Door>),
        row("echo", |head| head.headers.contains_key("x-echo"), Arc::new(Echo)),
        row("console", |head| head.method == Method::GET, Arc::new(Named("console"))),
    ];
    Doors::new(rows, "last", Arc::new(Named("last")))
}

async fn listen(stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let entrance = Entrance { listener, tls: None, connections: Connections::new(Limits::default()) };
    tokio::spawn(serve(doors(), entrance, stop.clone()));
    address
}

/// Reads up to this text.
async fn hear(stream: &mut TcpStream, text: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(text) {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(LIMIT, stream.read(&mut bytes)).await.expect("an answer").unwrap();
        assert!(read > 0, "the connection ended after {heard:?}, before {text:?}");
        heard.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    heard
}

#[tokio::test]
async fn the_head_of_a_request_chooses_the_first_door_that_answers_it_before_any_byte_of_the_body_has_arrived() {
    let stop = CancellationToken::new();
    let address = listen(&stop).await;
    for (line, chosen) in [
        ("POST /v2/app/blobs", "registry"),
        ("GET /v2/app/blobs", "registry"),
        ("GET /", "console"),
        ("POST /", "last"),
        ("PUT /anything?else", "last"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = hear(&mut stream, chosen).await.to_lowercase();
        assert!(answer.contains(&format!("content-length: {}\r\n", chosen.len())), "{line}: {answer}");
    }
    stop.cancel();
}

#[tokio::test]
async fn a_door_may_answer_while_the_body_arrives() {
    let stop = CancellationToken::new();
    let mut stream = TcpStream::connect(listen(&stop).await).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nx-echo: 1\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    hear(&mut stream, "\r\n\r\n").await;
    for piece in ["first", "next!"] {
        stream.write_all(format!("5\r\n{piece}\r\n").as_bytes()).await.unwrap();
        hear(&mut stream, piece).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    hear(&mut stream, "0\r\n\r\n").await;
    stop.cancel();
}
