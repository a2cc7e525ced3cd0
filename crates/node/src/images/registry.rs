//! The registry: names to digests, digests to bytes. Mirrors are asked first.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::manifest::{MANIFEST_TYPES, digest_of};
use crate::containerd::Descriptor;
use crate::{Fault, Mirror};

/// Time for a connection to a registry.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time without a byte from a registry.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Further tries after a failure that may pass.
const RETRIES: u32 = 1;
/// Pause before a further try.
const RETRY_PAUSE: Duration = Duration::from_millis(1100);
/// Name under which the client library wants to be known.
const USER_AGENT: &str = concat!("berth/", env!("CARGO_PKG_VERSION"));

/// A place that gave an answer and will be asked for the rest.
#[derive(Clone)]
pub(super) struct Source {
    client: Client,
    image: Reference,
    line: Line,
}

/// Where requests are sent from: another runtime, or the one that asks.
#[derive(Clone)]
struct Line(Option<Handle>);

impl Line {
    /// Everything a request opens (connections, look-ups of names) is opened by the threads of the line.
    async fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, OciDistributionError>> + Send + 'static,
    ) -> Result<T, OciDistributionError> {
        match &self.0 {
            None => request.await,
            Some(runtime) => match AbortOnDropHandle::new(runtime.spawn(request)).await {
                Ok(answer) => answer,
                Err(ended) => Err(OciDistributionError::IoError(std::io::Error::other(ended))),
            },
        }
    }
}

/// A manifest or index as the registry sent it.
pub(super) struct Resolved {
    pub text: Bytes,
    pub digest: String,
    pub source: Source,
}

/// Why a registry did not give what was asked.
#[derive(Debug)]
pub(super) struct Refused {
    pub message: String,
    /// It may go better later.
    pub may_pass: bool,
}

/// Clients, one for each registry: they keep connections and tokens.
pub(crate) struct Registry {
    mirrors: Vec<Mirror>,
    line: Line,
    clients: Mutex<HashMap<String, Client>>,
}

impl Registry {
    pub fn new(mirrors: Vec<Mirror>, runtime: Option<Handle>) -> Self {
        // Only one TLS provider can be the process's default; whoever was first is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        Self { mirrors, line: Line(runtime), clients: Mutex::new(HashMap::new()) }
    }

    /// Asks what `image` means now. `is_urgent`: there is a cached image, so do not try again.
    pub(super) async fn resolve(&self, image: &Reference, is_urgent: bool) -> Result<Resolved, Refused> {
        let tries_left = if is_urgent { 0 } else { RETRIES };
        let mut problems = Vec::new();
        let mut may_pass = false;
        for source in self.sources(image)? {
            match with_retries(tries_left, || resolve_at(&source, image)).await {
                Ok(resolved) => return Ok(resolved),
                Err(refused) => {
                    may_pass |= refused.may_pass;
                    problems.push(refused.message);
                }
            }
        }
        problems.dedup();
        Err(Refused { message: problems.join("; "), may_pass })
    }

    fn sources(&self, image: &Reference) -> Result<Vec<Source>, Refused> {
        let mut sources = Vec::new();
        for mirror in self.mirrors.iter().filter(|mirror| mirror.registry == image.registry()) {
            let Some(host) = mirror.host() else { continue };
            let mut mirrored = image.clone();
            mirrored.set_mirror_registry(host.to_owned());
            sources.push(self.source(host, mirror.is_plain(), mirrored)?);
        }
        let host = image.resolve_registry();
        sources.push(self.source(host, is_loopback(host), image.clone())?);
        Ok(sources)
    }

    fn source(&self, host: &str, plain: bool, image: Reference) -> Result<Source, Refused> {
        Ok(Source { client: self.client(host, plain)?, image, line: self.line.clone() })
    }

    fn client(&self, host: &str, plain: bool) -> Result<Client, Refused> {
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = clients.get(host) {
            return Ok(client.clone());
        }
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT_LIMIT),
            read_timeout: Some(SILENCE_LIMIT),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|fault| refused(&fault))?;
        clients.insert(host.to_owned(), client.clone());
        Ok(client)
    }
}

impl Source {
    /// The text a name or digest stands for, as it is.
    async fn pull_manifest(&self, image: Reference) -> Result<Bytes, OciDistributionError> {
        let client = self.client.clone();
        let request = async move { client.pull_manifest_raw(&image, &RegistryAuth::Anonymous, &MANIFEST_TYPES).await };
        self.line.run(request).await.map(|(text, _)| text)
    }

    /// A manifest by digest, checked.
    pub async fn manifest(&self, digest: &str) -> Result<Bytes, Refused> {
        let image = self.image.clone_with_digest(digest.to_owned());
        let text = with_retries(RETRIES, || async {
            self.pull_manifest(image.clone()).await.map_err(|fault| refused(&fault))
        })
        .await?;
        let got = digest_of(&text);
        if got == digest {
            return Ok(text);
        }
        Err(Refused { message: format!("failed to verify {digest}: the registry sent {got}"), may_pass: false })
    }

    /// The bytes of a blob. They are checked where they are stored.
    pub async fn blob(
        &self,
        blob: &Descriptor,
    ) -> Result<impl Stream<Item = Result<Bytes, String>> + Send + use<>, Refused> {
        let wanted = OciDescriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.clone(),
            size: blob.size,
            ..OciDescriptor::default()
        };
        let stream = with_retries(RETRIES, || async {
            let (client, image, wanted) = (self.client.clone(), self.image.clone(), wanted.clone());
            let request = async move { client.pull_blob_stream(&image, &wanted).await };
            self.line.run(request).await.map_err(|fault| refused(&fault))
        })
        .await?;
        Ok(stream.map(|part| part.map_err(|fault| chain(&fault))))
    }
}

async fn resolve_at(source: &Source, image: &Reference) -> Result<Resolved, Refused> {
    let text = source.pull_manifest(source.image.clone()).await.map_err(|fault| match is_not_found(&fault) {
        true => Refused { message: format!("{}: not found", image.whole()), may_pass: false },
        false => refused(&fault),
    })?;
    let digest = digest_of(&text);
    match image.digest() {
        Some(wanted) if wanted != digest => {
            Err(Refused { message: format!("failed to verify {wanted}: the registry sent {digest}"), may_pass: false })
        }
        _ => Ok(Resolved { text, digest, source: source.clone() }),
    }
}

async fn with_retries<T, R: Future<Output = Result<T, Refused>>>(
    mut tries_left: u32,
    mut ask: impl FnMut() -> R,
) -> Result<T, Refused> {
    loop {
        match ask().await {
            Err(refused) if refused.may_pass && tries_left > 0 => tries_left -= 1,
            other => return other,
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn is_not_found(fault: &OciDistributionError) -> bool {
    match fault {
        OciDistributionError::ImageManifestNotFoundError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
            matches!(error.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
        }),
        _ => false,
    }
}

fn refused(fault: &OciDistributionError) -> Refused {
    let may_pass = match fault {
        OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code >= 500 || *code == 429,
        _ => false,
    };
    Refused { message: chain(fault), may_pass }
}

/// The text of an error and of what caused it, without repetition.
fn chain(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(under) = cause {
        let more = under.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = under.source();
    }
    text
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        Self::Image(refused.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_registries_speak_without_tls() {
        assert!(is_loopback("127.0.0.1:5000") && is_loopback("localhost") && is_loopback("[::1]:5000"));
        assert!(!is_loopback("registry.example:5000") && !is_loopback("10.0.0.1"));
    }
}
