// SPDX-License-Identifier: Apache-2.0
//! Questions to a running server over its Unix socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail};
use berth_types::admin::{Reply, Request, Status};
use berth_types::link::{FRAME_BYTES_MAX, ToNode, ToServer};

use crate::installation::Installation;

/// Sends a question and waits for the answer.
pub fn ask(installation: &Installation, request: Request) -> Result<Reply> {
    let socket = installation.socket();
    let mut stream = match UnixStream::connect(&socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            bail!("no server answers at {}; start one with `berth up`, or name its folder with --run", socket.display())
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("{} belongs to another user; run this as root", socket.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot connect to {}", socket.display())),
    };
    let frame = serde_json::to_vec(&ToServer::Admin(request))?;
    let mut bytes = u32::try_from(frame.len())?.to_be_bytes().to_vec();
    bytes.extend(frame);
    stream.write_all(&bytes).context("the server closed the connection")?;

    let mut length = [0; 4];
    stream.read_exact(&mut length).context("the server closed the connection without an answer; see its log")?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        bail!("the server's answer has {length} bytes; it uses another protocol");
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).context("the server closed the connection within its answer")?;
    match serde_json::from_slice(&frame).context("the server uses another version of the protocol")? {
        ToNode::Admin(Ok(reply)) => Ok(reply),
        ToNode::Admin(Err(reason)) | ToNode::Refused { reason } => bail!("{reason}"),
        ToNode::Intent { .. } | ToNode::Patch(_) => bail!("the server took this for a node's connection"),
    }
}

/// The server's state.
pub fn status(installation: &Installation) -> Result<Status> {
    match ask(installation, Request::Status)? {
        Reply::Status(status) => Ok(status),
        other => bail!("the server answered {other:?} to a question about its status"),
    }
}
