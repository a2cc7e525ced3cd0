// SPDX-License-Identifier: Apache-2.0
//! One registry or mirror that is asked for a repository: names to manifests. Blobs are in `blob`.

use std::sync::Arc;

use bytes::Bytes;
use oci_spec::distribution::Reference;
use reqwest::Url;

use super::reach::Reach;
use super::retry;
use super::transport::{Endpoint, Refused, Request, Transport, body_at_most};
use crate::images::manifest::{DOCUMENT_BYTES_MAX, MANIFEST_TYPES, digest_of};
use crate::{Fault, ImageFault};

/// A place that gave an answer and will be asked for the rest.
#[derive(Clone)]
pub(crate) struct Source {
    pub(super) transport: Arc<Transport>,
    pub(super) endpoint: Endpoint,
}

/// A manifest or index as the registry sent it.
pub(crate) struct Resolved {
    pub text: Bytes,
    pub digest: String,
    pub source: Source,
}

impl Source {
    /// Asks what `image` means here.
    pub(super) async fn resolve(&self, image: &Reference) -> Result<Resolved, Refused> {
        let wanted = image.digest().or(image.tag()).unwrap_or_default();
        let text = self.try_manifest(wanted).await.map_err(|refused| match refused.is_absent {
            true => Refused { message: format!("{}: not found", image.whole()), ..refused },
            false => refused,
        })?;
        let digest = digest_of(&text);
        match image.digest() {
            Some(wanted) if wanted != digest => Err(unlike(wanted, &digest)),
            _ => Ok(Resolved { text, digest, source: self.clone() }),
        }
    }

    /// A manifest by digest, checked.
    pub async fn manifest(&self, digest: &str) -> Result<Bytes, Fault> {
        let mut tries = 0;
        let text = loop {
            tries += 1;
            let refused = match self.try_manifest(digest).await {
                Ok(text) => break text,
                Err(refused) => refused,
            };
            match retry::pause(refused.failure.after_an_answer(), tries, chance()) {
                Some(pause) => wait(self.host(), tries, pause, &[refused]).await,
                None => return Err(ImageFault::Registry(refused.message).into()),
            }
        };
        let got = digest_of(&text);
        if got == digest { Ok(text) } else { Err(ImageFault::Registry(unlike(digest, &got).message).into()) }
    }

    async fn try_manifest(&self, reference: &str) -> Result<Bytes, Refused> {
        let accept = Some(MANIFEST_TYPES.join(", "));
        let request = Request { kind: "manifests", reference, accept, from: 0 };
        let response = self.transport.get(&self.endpoint, &request).await?;
        body_at_most(response, DOCUMENT_BYTES_MAX).await.map(Bytes::from)
    }

    /// The host that is asked.
    pub fn host(&self) -> &str {
        self.endpoint.base.host_str().unwrap_or_default()
    }
}

/// Where the repository of an image is asked for.
pub(super) fn endpoint(
    base: &str,
    reach: Reach,
    image: &Reference,
    namespace: Option<String>,
) -> Result<Endpoint, Refused> {
    let base = Url::parse(base).map_err(|cause| Refused::finally(format!("{base}: {cause}")))?;
    Ok(Endpoint { base, reach, repository: image.repository().to_owned(), namespace })
}

fn unlike(wanted: &str, got: &str) -> Refused {
    Refused::finally(format!("failed to verify {wanted}: the registry sent {got}"))
}

/// Waits before the next try, and says why.
pub(super) async fn wait(registry: &str, tries: u32, pause: std::time::Duration, problems: &[Refused]) {
    let problems: Vec<&str> = problems.iter().map(|refused| refused.message.as_str()).collect();
    let problem = problems.join("; ");
    tracing::info!(registry, tries, pause_ms = pause.as_millis(), problem, "asking the registry again after a pause");
    tokio::time::sleep(pause).await;
}

/// A number between 0 and 1, to spread retries.
pub(super) fn chance() -> f64 {
    rand::random()
}
