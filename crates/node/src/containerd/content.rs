// SPDX-License-Identifier: Apache-2.0
//! The content store: blobs by digest.

use std::collections::HashMap;

use berth_shim::read::too_large;
use bytes::Bytes;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::{
    AbortRequest, Info, InfoRequest, ReadContentRequest, UpdateRequest, WriteAction, WriteContentRequest,
};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::client::{CALL_LIMIT, Containerd, MESSAGE_BYTES_MAX, WORK_LIMIT, call};
use crate::{CopyFault, Fault, ImageFault};

/// Chunks on their way to containerd at the same time.
const CHUNKS_MAX: usize = 4;
/// containerd takes messages of up to 16 MiB; ours stay well below.
const CHUNK_BYTES: usize = 1 << 20;

/// Names a blob.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type.
    #[serde(default)]
    pub media_type: String,
    /// `sha256:...`.
    pub digest: String,
    /// Bytes.
    #[serde(default)]
    pub size: i64,
}

impl From<Descriptor> for containerd_client::types::Descriptor {
    fn from(of: Descriptor) -> Self {
        Self { media_type: of.media_type, digest: of.digest, size: of.size, annotations: HashMap::new() }
    }
}

impl Containerd {
    /// True if the blob is in the store.
    pub async fn has_content(&self, digest: &str) -> Result<bool, Fault> {
        let request = self.request(InfoRequest { digest: digest.to_owned() });
        match call("Content.Info", digest, CALL_LIMIT, ContentClient::new(self.channel.clone()).info(request)).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_absent() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// A whole blob, of at most `limit` bytes; for manifests and configurations.
    pub async fn read_content(&self, digest: &str, limit: usize) -> Result<Vec<u8>, Fault> {
        let request = self.request(ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 });
        let mut client = ContentClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut stream = call("Content.Read", digest, CALL_LIMIT, client.read(request)).await?;
        let mut blob = Vec::new();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|status| refused("Content.Read", digest, status))?;
            if part.data.len() > limit - blob.len() {
                return Err(ImageFault::Read { digest: digest.to_owned(), cause: too_large(limit) }.into());
            }
            blob.extend_from_slice(&part.data);
        }
        Ok(blob)
    }

    /// Sets labels of a blob: the references the garbage collector follows.
    pub async fn label_content(&self, digest: &str, labels: HashMap<String, String>) -> Result<(), Fault> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = Info { digest: digest.to_owned(), labels, ..Info::default() };
        let request =
            self.request(UpdateRequest { info: Some(info), update_mask: Some(prost_types::FieldMask { paths }) });
        let mut client = ContentClient::new(self.channel.clone());
        call("Content.Update", digest, CALL_LIMIT, client.update(request)).await.map(drop)
    }

    /// Stores a blob of exactly the descriptor's size. containerd checks the digest. Nothing of a blob that fails is
    /// kept, and nothing beyond its size is sent on.
    ///
    /// The caller ensures that no other worker writes the same blob now. `source` yields the bytes or the reason of a
    /// failure.
    pub async fn write_content(
        &self,
        blob: &Descriptor,
        labels: HashMap<String, String>,
        source: impl Stream<Item = Result<Bytes, CopyFault>> + Send,
    ) -> Result<(), Fault> {
        let name = format!("berth-{}", blob.digest);
        self.abort_write(&name).await?;
        let written = self.write(&name, blob, labels, source).await;
        if written.is_err() {
            self.abort_write(&name).await.ok();
        }
        written
    }

    /// Removes what was written of a blob that was not finished, if there is such.
    async fn abort_write(&self, name: &str) -> Result<(), Fault> {
        let mut client = ContentClient::new(self.channel.clone());
        let request = self.request(AbortRequest { r#ref: name.to_owned() });
        crate::fault::absent_is_fine(call("Content.Abort", name, CALL_LIMIT, client.abort(request)).await.map(drop))
    }

    async fn write(
        &self,
        name: &str,
        blob: &Descriptor,
        labels: HashMap<String, String>,
        source: impl Stream<Item = Result<Bytes, CopyFault>> + Send,
    ) -> Result<(), Fault> {
        let mut client = ContentClient::new(self.channel.clone());
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: name.to_owned(),
            total: blob.size,
            expected: blob.digest.clone(),
            ..WriteContentRequest::default()
        };
        let drain = async {
            let request = self.request(ReceiverStream::new(receiver));
            let mut answers = match call("Content.Write", &blob.digest, WORK_LIMIT, client.write(request)).await {
                Err(fault) if fault.is_taken() => return Ok(()),
                other => other?,
            };
            while let Some(answer) = answers.next().await {
                match answer.map_err(|status| refused("Content.Write", &blob.digest, status)) {
                    Err(fault) if fault.is_taken() => return Ok(()),
                    other => other.map(drop)?,
                }
            }
            Ok(())
        };
        let feed = feed(sender, first, blob, labels, source);
        let (fed, drained) = tokio::join!(feed, drain);
        drained.and(fed)
    }
}

/// Sends the bytes, then asks for the commit. Ends early without a fault when containerd has hung up: the other half
/// of the stream tells why.
async fn feed(
    sender: mpsc::Sender<WriteContentRequest>,
    first: WriteContentRequest,
    blob: &Descriptor,
    labels: HashMap<String, String>,
    source: impl Stream<Item = Result<Bytes, CopyFault>> + Send,
) -> Result<(), Fault> {
    let name = first.r#ref.clone();
    if sender.send(first).await.is_err() {
        return Ok(());
    }
    let mut source = std::pin::pin!(source);
    let mut offset = 0i64;
    while let Some(part) = source.next().await {
        let mut part = part.map_err(|cause| copy_failed(blob, cause))?;
        if i64::try_from(part.len()).is_ok_and(|length| length > blob.size - offset) {
            return Err(copy_failed(blob, CopyFault::TooLong(blob.size)));
        }
        while !part.is_empty() {
            let chunk = part.split_to(part.len().min(CHUNK_BYTES));
            let length = i64::try_from(chunk.len()).unwrap_or(i64::MAX);
            let request = WriteContentRequest {
                action: WriteAction::Write.into(),
                r#ref: name.clone(),
                total: blob.size,
                expected: blob.digest.clone(),
                offset,
                data: chunk.to_vec(),
                ..WriteContentRequest::default()
            };
            offset += length;
            if sender.send(request).await.is_err() {
                return Ok(());
            }
        }
    }
    if offset < blob.size {
        return Err(copy_failed(blob, CopyFault::TooShort { offset, size: blob.size }));
    }
    let commit = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: name,
        total: offset,
        expected: blob.digest.clone(),
        offset,
        labels,
        ..WriteContentRequest::default()
    };
    sender.send(commit).await.ok();
    Ok(())
}

fn copy_failed(blob: &Descriptor, cause: CopyFault) -> Fault {
    ImageFault::Copy { digest: blob.digest.clone(), cause }.into()
}

fn refused(call: &'static str, on: &str, status: tonic::Status) -> Fault {
    Fault::Containerd { call, on: on.to_owned(), status: Box::new(status) }
}
