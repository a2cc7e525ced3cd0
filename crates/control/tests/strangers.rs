// SPDX-License-Identifier: Apache-2.0
//! Callers without a key cannot affect those who have one. Tested over the network, with small limits.
#![allow(clippy::unwrap_used)]

mod lab;

use std::convert::Infallible;
use std::time::Duration;

use berth_control::{Fault, Limits, Transport};
use berth_shapes::{ecs, sts};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lab::{LIMIT, Server, config, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

async fn server(folder: &std::path::Path, limits: Limits) -> Server {
    let mut config = config(folder);
    config.limits = limits;
    Server::start_with(config, folder).await.unwrap()
}

async fn said(server: &Server, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(words).await.unwrap();
    stream
}

/// All bytes until the server closes the connection.
async fn heard(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut text)).await.expect("the connection is closed");
    String::from_utf8_lossy(&text).into_owned()
}

async fn is_served(server: &Server) {
    server.call(&sts::GetCallerIdentityRequest {}).await.expect(200, "administrator");
}

#[tokio::test]
async fn who_does_not_send_a_whole_head_is_shown_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), Limits { head: Duration::from_millis(300), ..Limits::default() }).await;
    let half_a_head = b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-";
    let half_a_preface = &PREFACE[..10];
    for words in [&b""[..], half_a_preface, PREFACE, half_a_head] {
        let stream = said(&server, words).await;
        is_served(&server).await;
        heard(stream).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn who_takes_all_connections_loses_them_to_newcomers() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { connections: 8, connections_per_peer: 8, ..Limits::default() };
    let server = server(folder.path(), limits).await;
    let mut held = Vec::new();
    for number in 0..24 {
        held.push(said(&server, if number % 2 == 0 { b"" } else { PREFACE }).await);
        is_served(&server).await;
    }
    heard(held.swap_remove(0)).await;
    drop(held);
    server.metrics().await.expect(200, "berth_http_connections_refused_total 0\n");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), Limits { body: Duration::from_millis(300), ..Limits::default() }).await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\nx";
    let stream = said(&server, head).await;
    is_served(&server).await;
    let answer = heard(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_large_body_of_a_stranger_is_refused_at_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let target = "x-amz-target: AmazonEC2ContainerServiceV20141113.ListClusters\r\n";
    let scope = "Credential=AKIASTRANGER/20260101/us-west-2/ec2/aws4_request, SignedHeaders=host, Signature=0";
    let stranger = format!("authorization: AWS4-HMAC-SHA256 {scope}\r\nx-amz-date: 20260101T000000Z\r\n");
    for (headers, refused) in [(target, "MissingAuthenticationTokenException"), (&stranger, "RequestExpired")] {
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{headers}content-length: 900000\r\n\r\n");
        let answer = heard(said(&server, head.as_bytes()).await).await;
        assert!(answer.contains(refused), "{answer}");
    }
    // A body without a length is cut off as soon as it is too long.
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{target}transfer-encoding: chunked\r\n\r\n10000\r\n");
    let stream = said(&server, &[head.as_bytes(), &[b'x'; 0x10000]].concat()).await;
    let answer = heard(stream).await;
    assert!(answer.contains("MissingAuthenticationTokenException"), "{answer}");

    let large = ecs::ListClustersRequest { next_token: Some("x".repeat(500_000)), ..Default::default() };
    server.call(&large).await.expect(400, "InvalidParameterException");
    server.stop().await;
}

type Endless = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A body that begins and never ends.
fn endless(first: Bytes) -> Endless {
    let first = stream::iter([Ok(Frame::data(first))]);
    StreamBody::new(first.chain(stream::pending()).boxed())
}

#[tokio::test]
async fn many_streams_with_bodies_that_do_not_end_hold_no_more_than_their_budget() {
    const STREAMS: usize = 32;
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), Limits { unverified_bytes: 256 << 10, ..Limits::default() }).await;
    let mut requests = tokio::task::JoinSet::new();
    let (tell, mut answers) = tokio::sync::mpsc::unbounded_channel::<Response<Incoming>>();
    for _ in 0..4 {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Endless>(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        for _ in 0..STREAMS {
            let (mut sender, tell) = (sender.clone(), tell.clone());
            let request = Request::post(format!("http://{}/", server.address));
            let request = request.body(endless(Bytes::from(vec![b'x'; 15 << 10]))).unwrap();
            requests.spawn(async move {
                if let Ok(answer) = sender.send_request(request).await {
                    let _ = tell.send(answer);
                }
            });
        }
        is_served(&server).await;
    }
    let gave_way = tokio::time::timeout(LIMIT, answers.recv()).await.unwrap().unwrap();
    assert_eq!(gave_way.status(), 503);
    for _ in 0..20 {
        is_served(&server).await;
    }
    let held = server.metrics().await.body;
    let bytes = held.lines().find_map(|line| line.strip_prefix("berth_http_unverified_bytes ")).unwrap();
    assert!(bytes.parse::<usize>().unwrap() <= 256 << 10, "{bytes}");
    requests.shutdown().await;
    server.stop().await;
}

#[tokio::test]
async fn the_own_pages_are_on_loopback_and_not_beside_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for path in ["/_berth/health", "/_berth/metrics"] {
        let request = Request::get(path).header("host", "x").body(Bytes::new()).unwrap();
        let answer = server.send(request).await;
        answer.expect(403, "MissingAuthenticationToken");
        server.get(path).await.expect(200, "");
    }
    assert_eq!(server.status().await.admin_endpoint, format!("http://{}", server.admin));
    server.stop().await;

    let unsafe_listens: [fn(&mut berth_control::ServerConfig); 2] =
        [|config| config.listen.set_ip([0, 0, 0, 0].into()), |config| config.admin_listen.set_ip([0, 0, 0, 0].into())];
    for unsafe_listen in unsafe_listens {
        let mut config = config(folder.path());
        unsafe_listen(&mut config);
        let refused = Server::start_with(config, folder.path()).await.err().unwrap();
        assert!(matches!(refused, Fault::UnsafeListen(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn https_is_spoken_in_both_versions_with_the_authority_of_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.transport = Transport::Tls(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    config.limits.head = Duration::from_millis(300);
    let server = Server::start_with(config, folder.path()).await.unwrap();
    assert_eq!(server.credentials().endpoint, format!("https://{}", server.address));
    // A handshake that does not continue has the same time limit as a head.
    let silent = said(&server, &[]).await;
    for protocol in ["http/1.1", "h2"] {
        let request = server.signed(&sts::GetCallerIdentityRequest {}, &server.key(), lab::REGION);
        server.send_tls(request, protocol).await.expect(200, "administrator");
    }
    heard(silent).await;
    let plain = said(&server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!heard(plain).await.contains("HTTP/1.1"));
    eventually(async || server.metrics().await.body.contains("berth_http_connections 0\n").then_some(())).await;
    server.stop().await;
}
