// SPDX-License-Identifier: Apache-2.0
//! A blocking AWS client for one connection: compose, sign, send, read the body. An endpoint that closes the connection
//! after an answer gets a new one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use berth_shapes::Input;
use berth_wire::sigv4::{Endpoint, SigningKey, sign};
use bytes::Bytes;
use serde::Deserialize;

/// The file the server writes on its first start.
#[derive(Clone, Debug, Deserialize)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    region: String,
}

impl Credentials {
    /// Reads `<data>/credentials`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read {}; is Berth up?", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not Berth's credentials file", path.display()))
    }
}

/// Time limit of one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One kept-alive connection to an endpoint.
pub struct Client {
    host: String,
    region: String,
    key: SigningKey,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to `http://HOST:PORT`.
    pub fn connect(endpoint: &str, credentials: &Credentials) -> Result<Self> {
        let host = endpoint.strip_prefix("http://").context("the endpoint must begin with http://")?;
        let host = host.trim_end_matches('/').to_owned();
        let stream = open(&host)?;
        let key = SigningKey {
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.clone(),
            session_token: None,
        };
        Ok(Self { host, region: credentials.region.clone(), key, stream })
    }

    /// Sends one call and returns the body of its answer; any status except 200 is an error with the body.
    pub fn call<I: Input>(&mut self, input: &I) -> Result<Vec<u8>> {
        let service = I::OPERATION.row().service.name();
        let mut request = berth_wire::compose(input, &self.host).context("bad host")?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        sign(&mut request, &self.key, Endpoint { region: &self.region, service }, now_ms)?;
        self.send(&request)?;
        self.receive()
    }

    /// The same for operations that answer JSON.
    pub fn json<I: Input>(&mut self, input: &I) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.call(input)?)?)
    }

    fn send(&mut self, request: &http::Request<Bytes>) -> Result<()> {
        let mut head = Vec::with_capacity(1024 + request.body().len());
        write!(head, "POST / HTTP/1.1\r\ncontent-length: {}\r\n", request.body().len())?;
        for (name, value) in request.headers() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(request.body());
        Ok(self.stream.get_mut().write_all(&head)?)
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut is_last) = (None, false);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the server closed the connection");
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse::<usize>()?),
                "connection" => is_last = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length.context("an answer without Content-Length")?];
        self.stream.read_exact(&mut body)?;
        if is_last {
            self.stream = open(&self.host)?;
        }
        if status != "200" {
            bail!("HTTP {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }
}

/// The body of an answer to an unsigned GET.
pub fn get(endpoint: &str, path: &str) -> Result<String> {
    let host = endpoint.strip_prefix("http://").context("the endpoint must begin with http://")?;
    let mut stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{}: {body}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}

fn open(host: &str) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(BufReader::new(stream))
}
