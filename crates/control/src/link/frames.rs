// SPDX-License-Identifier: Apache-2.0
//! Frames: four bytes of length (big-endian), then JSON.

use std::io;
use std::time::Duration;

use berth_types::link::{FRAME_BYTES_MAX, ToNode, ToServer};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Maximum time a frame waits for a reader that does not read.
const SEND_LIMIT: Duration = Duration::from_secs(30);

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_length(4).big_endian().max_frame_length(FRAME_BYTES_MAX).new_codec()
}

/// Incoming frames.
pub(super) struct Inbound(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

impl Inbound {
    pub(super) fn new(reader: OwnedReadHalf) -> Self {
        Self(FramedRead::new(reader, codec()))
    }

    /// The next frame; `None` at the end. Cancel-safe: dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Option<ToServer>> {
        match self.0.next().await {
            None => Ok(None),
            Some(frame) => Ok(Some(serde_json::from_slice(&frame?)?)),
        }
    }
}

/// Outgoing frames.
pub(super) struct Outbound(FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>);

impl Outbound {
    pub(super) fn new(writer: OwnedWriteHalf) -> Self {
        Self(FramedWrite::new(writer, codec()))
    }

    /// Sends one frame; an error when the peer does not take it in time.
    pub(super) async fn send(&mut self, frame: &ToNode) -> io::Result<()> {
        let bytes = Bytes::from(serde_json::to_vec(frame)?);
        tokio::time::timeout(SEND_LIMIT, self.0.send(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}
