// SPDX-License-Identifier: Apache-2.0
//! A registry with one image, that counts what it is asked and misbehaves as a test wants.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use berth_node::Mirror;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::image::{self, Blob};

type Body = BoxBody<Bytes, std::io::Error>;

/// How the registry answers.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// The bytes of blobs are sent wrong.
    pub spoils: bool,
    /// Number of bytes sent after each blob, beyond its announced size.
    pub adds: usize,
    /// So many answers with blobs break off in the middle.
    pub breaks: usize,
    /// So many requests are answered with 503.
    pub refuses: usize,
    /// Requests for blobs are redirected to this URL.
    pub redirects_to: Option<String>,
    /// Requests without the token are answered with a challenge that names this URL.
    pub token_from: Option<String>,
}

pub struct Registry {
    pub address: SocketAddr,
    pub manifests: Arc<AtomicUsize>,
    pub blobs: Arc<AtomicUsize>,
    /// Digest of what `latest` names.
    pub digest: String,
    pub manners: Arc<Mutex<Manners>>,
    held: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    server: JoinHandle<()>,
}

struct Shelf {
    manifests: Arc<AtomicUsize>,
    blobs: Arc<AtomicUsize>,
    held: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    manners: Arc<Mutex<Manners>>,
    latest: String,
}

impl Registry {
    pub async fn start(compression: &str) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), image::blobs(compression)).await
    }

    /// A registry at an address of this machine; the last blob is what `latest` names.
    pub async fn start_at(address: IpAddr, blobs: Vec<Blob>) -> Self {
        let digest = blobs.last().unwrap().digest.clone();
        let held: HashMap<String, Vec<u8>> = blobs.into_iter().map(|blob| (blob.digest, blob.bytes)).collect();
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shelf = Arc::new(Shelf {
            manifests: Arc::default(),
            blobs: Arc::default(),
            held: Arc::new(Mutex::new(held)),
            manners: Arc::default(),
            latest: digest.clone(),
        });
        let (manifests, blobs, manners) = (shelf.manifests.clone(), shelf.blobs.clone(), shelf.manners.clone());
        let held = shelf.held.clone();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shelf = shelf.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<Incoming>| {
                        let answer = shelf.answer(&request);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    http.serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Self { address, manifests, blobs, digest, manners, held, server }
    }

    /// The setting of a node that finds this registry under its own address.
    pub fn mirror(&self) -> Mirror {
        Mirror::parse(&format!("{0}=http://{0}", self.address)).unwrap()
    }

    /// Also holds `bytes` as the manifest of a tag.
    pub fn tag(&self, tag: &str, bytes: Vec<u8>) {
        self.held.lock().unwrap().insert(tag.to_owned(), bytes);
    }

    /// Also holds the blobs of another image; the last one is its manifest.
    pub fn add(&self, tag: &str, blobs: Vec<Blob>) {
        let mut held = self.held.lock().unwrap();
        held.insert(tag.to_owned(), blobs.last().unwrap().bytes.clone());
        held.extend(blobs.into_iter().map(|blob| (blob.digest, blob.bytes)));
    }

    pub fn behave(&self, manners: Manners) {
        *self.manners.lock().unwrap() = manners;
    }

    pub fn stop(&self) {
        self.server.abort();
    }
}

impl Shelf {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let name = path.rsplit('/').next().unwrap();
        let is_manifest = path.contains("/manifests/");
        let mut manners = self.manners.lock().unwrap();
        if path.ends_with("/token") {
            return answer(StatusCode::OK, &[], r#"{"token":"word"}"#.into());
        }
        let counter = if is_manifest { &self.manifests } else { &self.blobs };
        counter.fetch_add(1, Ordering::SeqCst);
        if let Some(realm) = manners.token_from.as_ref().filter(|_| !request.headers().contains_key("authorization")) {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"lab\"");
            return answer(StatusCode::UNAUTHORIZED, &[("www-authenticate", &challenge)], Bytes::new());
        }
        if manners.refuses > 0 {
            manners.refuses -= 1;
            return answer(StatusCode::SERVICE_UNAVAILABLE, &[("retry-after", "1")], Bytes::new());
        }
        if let Some(url) = manners.redirects_to.as_ref().filter(|_| !is_manifest) {
            return answer(StatusCode::TEMPORARY_REDIRECT, &[("location", url)], Bytes::new());
        }
        let digest = if name == "latest" { &self.latest } else { name };
        let Some(mut bytes) = self.held.lock().unwrap().get(digest).cloned() else {
            let text = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            return answer(StatusCode::NOT_FOUND, &[], text.into());
        };
        if is_manifest {
            let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
            return answer(StatusCode::OK, &kind, bytes.into());
        }
        if manners.spoils {
            bytes[0] ^= 1;
        }
        bytes.resize(bytes.len() + manners.adds, 0);
        let from = request.headers().get("range").map_or(0, |range| first_byte(range.to_str().unwrap()));
        let (status, total, rest) = (if from > 0 { 206 } else { 200 }, bytes.len(), bytes.split_off(from));
        let range = format!("bytes {from}-{}/{total}", total - 1);
        let length = rest.len().to_string();
        let headers = [("content-range", range.as_str()), ("content-length", length.as_str())];
        let headers = if from > 0 { &headers[..] } else { &headers[1..] };
        let status = StatusCode::from_u16(status).unwrap();
        match manners.breaks {
            0 => answer(status, headers, rest.into()),
            _ => {
                manners.breaks -= 1;
                let half = Bytes::copy_from_slice(&rest[..rest.len() / 2]);
                let broken = Err(std::io::Error::other("broken off as the test wants"));
                let parts = stream::iter([Ok(Frame::data(half)), broken]);
                with_headers(status, headers).body(StreamBody::new(parts).boxed()).unwrap()
            }
        }
    }
}

fn first_byte(range: &str) -> usize {
    range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap()
}

fn with_headers(status: StatusCode, headers: &[(&str, &str)]) -> hyper::http::response::Builder {
    let response = Response::builder().status(status);
    headers.iter().fold(response, |response, (name, value)| response.header(*name, *value))
}

fn answer(status: StatusCode, headers: &[(&str, &str)], body: Bytes) -> Response<Body> {
    with_headers(status, headers).body(Full::new(body).map_err(|never| match never {}).boxed()).unwrap()
}
