// SPDX-License-Identifier: Apache-2.0
//! The connection to containerd and its limits; the other files of this folder are the calls.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_types::FaultPoints;
use containerd_client::services::v1::version_client::VersionClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::labels::INSTANCE_LABEL;
use super::own_folders::OwnFolders;
use crate::{Fault, Step};

/// Everything Berth keeps in containerd lives in this containerd namespace.
pub(crate) const NAMESPACE: &str = "berth";

/// Ordinary calls: a look into containerd's database.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Calls that start processes or write many files.
pub(super) const WORK_LIMIT: Duration = Duration::from_secs(240);
/// Largest message we accept from containerd.
pub(super) const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// A connection to containerd that renews itself. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Containerd {
    pub(super) channel: Channel,
    lease: Option<MetadataValue<Ascii>>,
    /// Whose snapshots and leases are made through it.
    instance: Option<Arc<str>>,
    /// The program that keeps the containers that are made through it.
    pub(super) shim: PathBuf,
    /// The folders of a containerd of our own.
    pub(super) own: Option<OwnFolders>,
    pub(super) fault_points: FaultPoints<Step>,
}

impl Containerd {
    /// Talks to the containerd at `socket`; the connection is made with the first call.
    pub fn at(socket: &Path) -> Self {
        let socket = socket.to_owned();
        let connect = tower_connect(move || {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://containerd")
            .connect_timeout(Duration::from_secs(5))
            .connect_with_connector_lazy(connect);
        Self {
            channel,
            lease: None,
            instance: None,
            shim: PathBuf::new(),
            own: None,
            fault_points: FaultPoints::default(),
        }
    }

    /// The same connection; snapshots and leases made through it carry the name of the instance, so that it can tell
    /// them from those of others when it has forgotten them.
    pub fn labelling(self, instance: &str) -> Self {
        Self { instance: Some(Arc::from(instance)), ..self }
    }

    /// The same connection; containers made through it are kept by this program, called as containerd calls a shim.
    pub fn keeping_with(self, shim: PathBuf) -> Self {
        Self { shim, ..self }
    }

    /// The same connection, dying where a test wants it.
    pub fn dying_at(self, fault_points: FaultPoints<Step>) -> Self {
        Self { fault_points, ..self }
    }

    /// The same connection, to a containerd of our own with these folders.
    pub fn with_folders(self, own: OwnFolders) -> Self {
        Self { own: Some(own), ..self }
    }

    pub(super) fn own_labels(&self) -> impl Iterator<Item = (String, String)> {
        self.instance.iter().map(|instance| (INSTANCE_LABEL.to_owned(), instance.to_string()))
    }

    /// The same connection; what is made through it is protected by a lease.
    pub(super) fn under(&self, lease: &str) -> Result<Self, Fault> {
        let lease = lease.parse().map_err(|_| Fault::Setting(format!("invalid lease name {lease:?}")))?;
        Ok(Self { lease: Some(lease), ..self.clone() })
    }

    /// Version of containerd, e.g. `1.6.20`; proves that it answers.
    pub async fn version(&self) -> Result<String, Fault> {
        self.version_within(CALL_LIMIT).await
    }

    /// The same, with a time limit of the caller's.
    pub async fn version_within(&self, limit: Duration) -> Result<String, Fault> {
        let mut client = VersionClient::new(self.channel.clone());
        let answer = call("Version", "containerd", limit, client.version(self.request(()))).await?;
        Ok(answer.version.split('~').next().unwrap_or_default().trim_start_matches('v').to_owned())
    }

    pub(super) fn request<T>(&self, body: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(body);
        request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", lease.clone());
        }
        request
    }
}

/// The service that opens connections.
fn tower_connect<F, R>(
    connect: F,
) -> impl tonic::codegen::Service<
    tonic::codegen::http::Uri,
    Response = hyper_util::rt::TokioIo<tokio::net::UnixStream>,
    Error = std::io::Error,
    Future: Send,
> + Send
+ 'static
where
    F: FnMut() -> R + Clone + Send + 'static,
    R: Future<Output = std::io::Result<hyper_util::rt::TokioIo<tokio::net::UnixStream>>> + Send + 'static,
{
    Connector(connect)
}

#[derive(Clone)]
struct Connector<F>(F);

impl<F, R> tonic::codegen::Service<tonic::codegen::http::Uri> for Connector<F>
where
    F: FnMut() -> R,
    R: Future<Output = std::io::Result<hyper_util::rt::TokioIo<tokio::net::UnixStream>>>,
{
    type Response = hyper_util::rt::TokioIo<tokio::net::UnixStream>;
    type Error = std::io::Error;
    type Future = R;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::codegen::http::Uri) -> R {
        (self.0)()
    }
}

/// Waits for the answer to a call, at most `limit`.
pub(super) async fn call<T>(
    name: &'static str,
    on: &str,
    limit: Duration,
    work: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Fault::Containerd { call: name, on: on.to_owned(), status: Box::new(status) }),
        Err(_) => Err(Fault::ContainerdSilent { call: name, on: on.to_owned(), after: limit }),
    }
}
