// SPDX-License-Identifier: Apache-2.0
//! A registry of this process, on loopback, that answers as each test wants.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::transport::{Judge, Proxies};
use super::*;
use crate::containerd::Descriptor;
use crate::images::manifest::{DOCUMENT_BYTES_MAX, digest_of};

/// Path, range and authorization of each request.
type Asked = Arc<Mutex<Vec<String>>>;

struct Server {
    url: String,
    asked: Asked,
}

impl Server {
    /// `answer` is given a request and how many came before it.
    async fn start(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Asked::default(), Arc::new(answer));
        let all = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, answer) = (all.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let request = shown(&String::from_utf8(head).unwrap());
                    let number = asked.lock().unwrap().len();
                    asked.lock().unwrap().push(request.clone());
                    // The node hangs up on what is too long.
                    stream.write_all(&answer(&request, number)).await.ok();
                });
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn source(&self) -> Source {
        let registry = Registry::new(vec![Mirror::parse(&format!("docker.io={}", self.url)).unwrap()], None);
        let image = Reference::try_from("docker.io/team/app:1").unwrap();
        registry.sources(&image).unwrap().remove(0)
    }

    async fn blob(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let size = i64::try_from(bytes.len()).unwrap();
        let blob = Descriptor { media_type: String::new(), digest: digest_of(bytes), size };
        let parts: Vec<Bytes> =
            self.source().await.blob(&blob).map_err(|fault| fault.to_string()).try_collect().await?;
        Ok(parts.concat())
    }
}

fn shown(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap().rsplit('/').next().unwrap();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    format!("{path} {} {}", header("range:"), header("authorization:")).trim().to_owned()
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n");
    let length =
        if headers.contains("content-length") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    [head.as_bytes(), length.as_bytes(), b"\r\n", body].concat()
}

async fn resolved(server: &Server) -> Result<Resolved, Unresolved> {
    let registry = Registry::new(vec![Mirror::parse(&format!("localhost={}", server.url)).unwrap()], None);
    registry.resolve(&Reference::try_from("localhost/team/app:1").unwrap(), false).await
}

#[tokio::test]
async fn failures_that_pass_are_tried_again_and_a_blob_is_taken_up_where_it_broke_off() {
    let server = Server::start(|request, number| match (number, request) {
        (0, _) => reply("429 Too Many Requests", "retry-after: 0\r\n", b""),
        (1, _) => reply("200 OK", "content-length: 10\r\n", b"0123"),
        _ => reply("206 Partial Content", "content-range: bytes 4-9/10\r\n", b"456789"),
    });
    let server = server.await;
    assert_eq!(server.blob(b"0123456789").await.unwrap(), b"0123456789");
    let digest = digest_of(b"0123456789");
    assert_eq!(server.asked(), [digest.clone(), digest.clone(), format!("{digest} bytes=4-")]);
}

#[tokio::test]
async fn a_registry_without_ranges_sends_all_again() {
    let server = Server::start(|_, number| match number {
        0 => reply("200 OK", "content-length: 10\r\n", b"0123"),
        _ => reply("200 OK", "", b"0123456789"),
    });
    assert_eq!(server.await.blob(b"0123456789").await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn what_will_not_change_is_asked_once() {
    let server = Server::start(|_, _| reply("404 Not Found", "", br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)).await;
    let refused = resolved(&server).await.map(|_| ()).unwrap_err();
    assert_eq!((refused.message.as_str(), refused.may_pass), ("localhost/team/app:1: not found", false));
    assert_eq!(server.asked(), ["1"]);
}

#[tokio::test]
async fn a_manifest_without_an_end_is_given_up() {
    let server = Server::start(|_, _| reply("200 OK", "", &vec![b' '; DOCUMENT_BYTES_MAX + 1])).await;
    let refused = resolved(&server).await.map(|_| ()).unwrap_err();
    assert!(refused.message.ends_with("is longer than the limit of 4194304 bytes"), "{}", refused.message);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_challenge_is_answered_wherever_it_comes() {
    let own = Arc::new(Mutex::new(String::new()));
    let url = own.clone();
    let server = Server::start(move |request, _| match request {
        "token" => reply("200 OK", "", br#"{"token":"word"}"#),
        manifest if manifest.starts_with('1') => reply("200 OK", "", b"{}"),
        blob if blob.ends_with("Bearer word") => reply("200 OK", "", b"blob"),
        _ => {
            let challenge =
                format!("www-authenticate: Bearer realm=\"{}/token\",service=\"s\"\r\n", url.lock().unwrap());
            reply("401 Unauthorized", &challenge, b"")
        }
    });
    let server = server.await;
    own.lock().unwrap().clone_from(&server.url);
    assert_eq!(&resolved(&server).await.unwrap().text[..], b"{}");
    assert_eq!(server.blob(b"blob").await.unwrap(), b"blob");
    let digest = digest_of(b"blob");
    assert_eq!(server.asked(), ["1".to_owned(), digest.clone(), "token".to_owned(), format!("{digest}  Bearer word")]);
}

#[tokio::test]
async fn a_token_that_does_not_help_is_not_asked_for_twice() {
    let own = Arc::new(Mutex::new(String::new()));
    let url = own.clone();
    let server = Server::start(move |request, _| match request {
        "token" => reply("200 OK", "", br#"{"token":"word"}"#),
        _ => {
            let challenge = format!("www-authenticate: Bearer realm=\"{}/token\"\r\n", url.lock().unwrap());
            let body = br#"{"errors":[{"code":"DENIED","message":"insufficient_scope"}]}"#;
            reply("401 Unauthorized", &challenge, body)
        }
    });
    let server = server.await;
    own.lock().unwrap().clone_from(&server.url);
    let refused = resolved(&server).await.map(|_| ()).unwrap_err();
    let words = "pull access denied, repository does not exist or may require authorization: server message: \
                 denied: insufficient_scope";
    assert_eq!(refused.message, words);
    assert_eq!(server.asked(), ["1", "token", "1  Bearer word"]);
}

/// The registry is on loopback, so it may lead there, but not to the networks of the host.
#[tokio::test]
async fn neither_redirects_nor_realms_lead_into_the_networks_of_the_host() {
    for target in ["10.0.0.1", "169.254.169.254", "192.168.0.1:5000", "[fd00::1]", "[::ffff:169.254.169.254]"] {
        let to = format!("http://{target}/latest?secret");
        let location = format!("location: {to}\r\n");
        let challenge = format!("www-authenticate: Bearer realm=\"{to}\"\r\n");
        let server = Server::start(move |_, _| reply("307 Temporary Redirect", &location, b"")).await;
        let redirected = resolved(&server).await.map(|_| ()).unwrap_err();
        let server = Server::start(move |_, _| reply("401 Unauthorized", &challenge, b"")).await;
        let challenged = resolved(&server).await.map(|_| ()).unwrap_err();
        for refused in [redirected, challenged] {
            let message = &refused.message;
            assert!(message.contains("redirects and token servers of a registry are public"), "{message}");
            assert!(!message.contains("secret") && !refused.may_pass, "{message}");
        }
    }
    let server = Server::start(|_, number| match number {
        0 => reply("302 Found", "location: /elsewhere\r\n", b""),
        _ => reply("200 OK", "", b"{}"),
    });
    let server = server.await;
    assert!(resolved(&server).await.is_ok());
    assert_eq!(server.asked(), ["1", "elsewhere"]);
}

#[tokio::test]
async fn redirects_have_an_end() {
    let server = Server::start(|_, _| reply("302 Found", "location: /again\r\n", b"")).await;
    let refused = resolved(&server).await.map(|_| ()).unwrap_err();
    assert!(refused.message.ends_with("more than 10 redirects"), "{}", refused.message);
}

#[tokio::test]
async fn a_registry_on_this_host_is_reached_only_by_its_mirror() {
    let server = Server::start(|_, _| reply("200 OK", "", b"{}")).await;
    let host = server.url.strip_prefix("http://").unwrap();
    let image = Reference::try_from(format!("{host}/app:1").as_str()).unwrap();
    let refused = Registry::new(Vec::new(), None).resolve(&image, false).await.map(|_| ()).unwrap_err();
    assert!(refused.message.contains(&format!("--mirror {host}=http://{host}")), "{}", refused.message);
    assert!(server.asked().is_empty());
    let named = vec![Mirror::parse(&format!("{host}={}", server.url)).unwrap()];
    assert!(Registry::new(named, None).resolve(&image, false).await.is_ok());
}

/// The addresses a name has at the time of the connection are those that count.
#[tokio::test]
async fn a_name_of_this_host_is_judged_by_its_addresses() {
    use reqwest::dns::Resolve;
    let resolve = |reach| Judge::new(reach, Arc::new(Proxies::of_environment())).resolve("localhost".parse().unwrap());
    let refused = resolve(Reach::Registry).await.map(|_| ()).unwrap_err().to_string();
    assert!(refused.starts_with("localhost has the address ") && refused.contains("--mirror"), "{refused}");
    assert!(resolve(Reach::Mirror).await.unwrap().next().is_some());
}
