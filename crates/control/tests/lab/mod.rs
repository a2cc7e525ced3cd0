// SPDX-License-Identifier: Apache-2.0
//! A whole server on a free port and in its own folder, and clients for both doors.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_control::{
    Addresses, Authority, Credentials, Fault, Limits, NetworkSettings, Rates, ServerConfig, Transport,
};
use berth_shapes::Input;
use berth_types::admin;
use berth_types::link::{ToNode, ToServer};
use berth_wire::sigv4::{Endpoint, SigningKey, sign};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

pub const REGION: &str = "us-west-2";
pub const ACCOUNT: &str = "111122223333";
/// Maximum wait of every test; a busy machine may be slow.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Server {
    pub folder: PathBuf,
    pub address: SocketAddr,
    /// Of health and metrics.
    pub admin: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), Fault>>,
}

pub fn config(folder: &Path) -> ServerConfig {
    ServerConfig {
        data_dir: folder.join("data"),
        run_dir: folder.join("run"),
        instance: "test".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        transport: Transport::Plain,
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        network: NetworkSettings::default(),
        trust_any_key: false,
        stopped_tasks_kept: Duration::from_secs(3600),
        rates: Rates::default(),
        limits: Limits::default(),
        endpoint_limits: Limits::of_endpoints(),
        ready: None,
        fault_points: Default::default(),
    }
}

impl Server {
    pub async fn start(folder: &Path) -> Server {
        Server::start_with(config(folder), folder).await.unwrap()
    }

    pub async fn start_with(mut config: ServerConfig, folder: &Path) -> Result<Server, Fault> {
        let (ready, is_ready) = oneshot::channel();
        config.ready = Some(ready);
        let shutdown = CancellationToken::new();
        let mut running = tokio::spawn(berth_control::run(config, shutdown.clone()));
        tokio::select! {
            ready = is_ready => {
                let Ok(Addresses { api, admin }) = ready else { return Err(running.await.unwrap().unwrap_err()) };
                Ok(Server { folder: folder.to_owned(), address: api, admin, shutdown, running })
            }
            ended = &mut running => Err(ended.unwrap().unwrap_err()),
        }
    }

    /// A server in a process of its own.
    pub fn of_process(folder: &Path, address: SocketAddr) -> Server {
        let running = tokio::spawn(async { Ok(()) });
        Server { folder: folder.to_owned(), address, admin: address, shutdown: CancellationToken::new(), running }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(LIMIT, self.running).await.unwrap().unwrap().unwrap();
    }

    pub fn credentials(&self) -> Credentials {
        serde_json::from_slice(&std::fs::read(Credentials::path(&self.folder.join("data"))).unwrap()).unwrap()
    }

    pub fn key(&self) -> SigningKey {
        let Credentials { access_key_id, secret_access_key, .. } = self.credentials();
        SigningKey { access_key_id, secret_access_key, session_token: None }
    }

    /// Calls as the administrator.
    pub async fn call<I: Input>(&self, input: &I) -> Answer {
        self.call_as(input, &self.key(), REGION).await
    }

    pub async fn call_as<I: Input>(&self, input: &I, key: &SigningKey, region: &str) -> Answer {
        self.send(self.signed(input, key, region)).await
    }

    pub fn signed<I: Input>(&self, input: &I, key: &SigningKey, region: &str) -> Request<Bytes> {
        let mut request = berth_wire::compose(input, &self.address.to_string()).unwrap();
        let service = I::OPERATION.row().service.name();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        sign(&mut request, key, Endpoint { region, service }, i64::try_from(now_ms).unwrap()).unwrap();
        request
    }

    /// Calls as the administrator; `None` when the server closed the connection instead of answering.
    pub async fn try_call<I: Input>(&self, input: &I) -> Option<Answer> {
        self.try_send(self.signed(input, &self.key(), REGION)).await
    }

    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    async fn try_send(&self, request: Request<Bytes>) -> Option<Answer> {
        Self::try_send_to(self.address, request).await
    }

    async fn try_send_to(address: SocketAddr, request: Request<Bytes>) -> Option<Answer> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let response = tokio::time::timeout(LIMIT, sender.send_request(request.map(Full::new))).await.unwrap();
        Some(Answer::of(response.ok()?).await)
    }

    pub async fn send_http2(&self, request: Request<Bytes>) -> Answer {
        self.send_http2_on(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    async fn send_http2_on(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        mut request: Request<Bytes>,
    ) -> Answer {
        // HTTP/2 has no host header; the host is in the URI.
        let uri = format!("http://{}/", self.address);
        request.headers_mut().remove(http::header::HOST);
        *request.uri_mut() = uri.parse().unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let response = tokio::time::timeout(LIMIT, sender.send_request(request.map(Full::new))).await.unwrap();
        Answer::of(response.unwrap()).await
    }

    /// Sends over TLS, in the version the protocol's name implies; trusts only the data folder's authority.
    pub async fn send_tls(&self, request: Request<Bytes>, protocol: &str) -> Answer {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = Authority::certificate_path(&self.folder.join("data"));
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        if protocol == "h2" {
            return self.send_http2_on(stream, request).await;
        }
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Answer::of(sender.send_request(request.map(Full::new)).await.unwrap()).await
    }

    /// One of the instance's own pages.
    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", self.admin.to_string()).body(Bytes::new()).unwrap();
        Self::try_send_to(self.admin, request).await.expect("an answer")
    }

    pub async fn metrics(&self) -> Answer {
        self.get("/_berth/metrics").await
    }

    pub async fn health(&self) -> Answer {
        self.get("/_berth/health").await
    }

    pub async fn revision(&self) -> u64 {
        let health: serde_json::Value = serde_json::from_str(&self.health().await.body).unwrap();
        health["revision"].as_u64().unwrap()
    }

    /// A new connection to the socket of hosts and command line.
    pub async fn connect(&self) -> Stream {
        let stream = UnixStream::connect(self.folder.join("run/server.sock")).await.unwrap();
        Stream(Framed::new(stream, LengthDelimitedCodec::builder().max_frame_length(64 << 20).new_codec()))
    }

    pub async fn admin(&self, request: admin::Request) -> Result<admin::Reply, String> {
        let mut stream = self.connect().await;
        stream.send(&ToServer::Admin(request)).await;
        match stream.next().await {
            Some(ToNode::Admin(reply)) => reply,
            other => panic!("not an answer to a request: {other:?}"),
        }
    }

    pub async fn status(&self) -> admin::Status {
        match self.admin(admin::Request::Status).await {
            Ok(admin::Reply::Status(status)) => status,
            other => panic!("not a status: {other:?}"),
        }
    }
}

/// Repeats the question until there is a value.
pub async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("a value within the limit")
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub request_id: Option<String>,
}

impl Answer {
    async fn of(response: Response<hyper::body::Incoming>) -> Answer {
        let (head, body) = response.into_parts();
        let header = head.headers.get("x-amzn-requestid");
        Answer {
            status: head.status.as_u16(),
            request_id: header.map(|id| id.to_str().unwrap().to_owned()),
            body: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        }
    }

    #[track_caller]
    pub fn expect(&self, status: u16, fragment: &str) {
        assert!(self.status == status && self.body.contains(fragment), "expected {status} and {fragment:?}: {self:?}");
    }
}

pub struct Stream(Framed<UnixStream, LengthDelimitedCodec>);

impl Stream {
    pub async fn send(&mut self, frame: &ToServer) {
        self.0.send(Bytes::from(serde_json::to_vec(frame).unwrap())).await.unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<ToNode> {
        let frame = tokio::time::timeout(LIMIT, self.0.next()).await.expect("no frame in time")?;
        frame.ok().map(|frame| serde_json::from_slice(&frame).unwrap())
    }
}
