// SPDX-License-Identifier: Apache-2.0
//! The registry: names to digests, digests to bytes. Mirrors are asked first.
//!
//! What a registry sends has a limit each (`transport`, and descriptors for blobs); where it leads is judged (`reach`).

mod blob;
mod challenge;
mod reach;
mod retry;
mod source;
mod transport;

use std::sync::Arc;

use oci_spec::distribution::Reference;
use tokio::runtime::Handle;

use crate::Mirror;
use reach::{Reach, is_loopback};
use retry::Failure;
use source::{chance, endpoint, wait};
use transport::{Refused, Transport};

pub(super) use source::{Resolved, Source};

/// Why a name means nothing.
#[derive(Debug)]
pub(super) struct Unresolved {
    pub message: String,
    /// It may go better later.
    pub may_pass: bool,
}

/// Registries and mirrors.
pub(crate) struct Registry {
    mirrors: Vec<Mirror>,
    transport: Arc<Transport>,
}

impl Registry {
    pub fn new(mirrors: Vec<Mirror>, runtime: Option<Handle>) -> Self {
        Self { mirrors, transport: Arc::new(Transport::new(runtime)) }
    }

    /// Asks what `image` means now. `is_urgent`: there is a cached image, so do not try again.
    pub(super) async fn resolve(&self, image: &Reference, is_urgent: bool) -> Result<Resolved, Unresolved> {
        let sources = self.sources(image).map_err(|refused| unresolved(vec![refused]))?;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut problems = Vec::new();
            for source in &sources {
                match source.resolve(image).await {
                    Ok(resolved) => return Ok(resolved),
                    Err(refused) => problems.push(refused),
                }
            }
            // What the next try may change decides; a mirror that does not have the image changes nothing.
            let pause = problems.iter().filter_map(|refused| retry::pause(refused.failure, tries, chance())).max();
            match pause.filter(|_| !is_urgent) {
                Some(pause) => wait(image.registry(), tries, pause, &problems).await,
                None => return Err(unresolved(problems)),
            }
        }
    }

    fn sources(&self, image: &Reference) -> Result<Vec<Source>, Refused> {
        let mut endpoints = Vec::new();
        for mirror in self.mirrors.iter().filter(|mirror| mirror.registry == image.registry()) {
            let namespace = Some(image.registry().to_owned());
            endpoints.push(endpoint(&mirror.endpoint, Reach::Mirror, image, namespace)?);
        }
        let host = image.resolve_registry();
        match (is_loopback(host), endpoints.is_empty()) {
            (false, _) => endpoints.push(endpoint(&format!("https://{host}"), Reach::Registry, image, None)?),
            // Its mirrors are the registry: the name means nothing else.
            (true, false) => {}
            (true, true) => return Err(unnamed(host)),
        }
        let source = |endpoint| Source { transport: self.transport.clone(), endpoint };
        Ok(endpoints.into_iter().map(source).collect())
    }
}

fn unnamed(host: &str) -> Refused {
    Refused::finally(format!(
        "{host} is this host, which image names reach only where the node is started with \
         --mirror {host}=http://{host}"
    ))
}

fn unresolved(refused: Vec<Refused>) -> Unresolved {
    let may_pass = refused.iter().any(|refused| refused.failure != Failure::Final);
    let mut problems: Vec<String> = refused.into_iter().map(|refused| refused.message).collect();
    problems.dedup();
    Unresolved { message: problems.join("; "), may_pass }
}

#[cfg(test)]
mod tests;
