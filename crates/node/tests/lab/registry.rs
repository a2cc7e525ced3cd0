//! A registry with one image, that counts what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::image;

pub struct Registry {
    pub address: SocketAddr,
    pub manifests: Arc<AtomicUsize>,
    pub blobs: Arc<AtomicUsize>,
    pub digest: String,
    /// Blobs whose bytes are sent wrong.
    pub spoiled: Arc<Mutex<bool>>,
    server: JoinHandle<()>,
}

impl Registry {
    pub async fn start(compression: &str) -> Self {
        let blobs = image::blobs(compression);
        let digest = blobs.last().unwrap().digest.clone();
        let held: HashMap<String, Vec<u8>> = blobs.into_iter().map(|blob| (blob.digest, blob.bytes)).collect();
        let held = Arc::new(held);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manifests, fetched) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let spoiled = Arc::new(Mutex::new(false));
        let (counts, latest, spoil) = ((manifests.clone(), fetched.clone()), digest.clone(), spoiled.clone());
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (held, counts, latest, spoil) = (held.clone(), counts.clone(), latest.clone(), spoil.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<hyper::body::Incoming>| {
                        let is_spoiled = *spoil.lock().unwrap();
                        let answer = answer(&held, &counts, &latest, request.uri().path(), is_spoiled);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self { address, manifests, blobs: fetched, digest, spoiled, server }
    }

    pub fn stop(&self) {
        self.server.abort();
    }
}

fn answer(
    held: &HashMap<String, Vec<u8>>,
    (manifests, blobs): &(Arc<AtomicUsize>, Arc<AtomicUsize>),
    latest: &str,
    path: &str,
    is_spoiled: bool,
) -> Response<Full<Bytes>> {
    let name = path.rsplit('/').next().unwrap();
    let (digest, kind) = match path {
        "/v2/" => return Response::new(Full::default()),
        _ if path.contains("/manifests/") => {
            manifests.fetch_add(1, Ordering::SeqCst);
            (if name == "latest" { latest } else { name }, "application/vnd.oci.image.manifest.v1+json")
        }
        _ => {
            blobs.fetch_add(1, Ordering::SeqCst);
            (name, "application/octet-stream")
        }
    };
    match held.get(digest) {
        Some(bytes) => {
            let mut bytes = bytes.clone();
            if is_spoiled && kind == "application/octet-stream" {
                bytes[0] ^= 1;
            }
            let response = Response::builder().header("content-type", kind).header("docker-content-digest", digest);
            response.body(Full::new(Bytes::from(bytes))).unwrap()
        }
        None => {
            let text = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            Response::builder().status(StatusCode::NOT_FOUND).body(Full::new(Bytes::from(text))).unwrap()
        }
    }
}
