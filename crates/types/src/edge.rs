// SPDX-License-Identifier: Apache-2.0
//! Connections that `berth edge` relays to the server, over a Unix socket of their own.
//!
//! A connection begins with one frame, an [`Announced`] as JSON after its length (4 bytes, big-endian). Every byte after it
//! belongs to the client and the server.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::EniId;

/// Name of the socket in the server's run folder.
pub const SOCKET: &str = "edge.sock";
/// Largest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 1024;

/// A connection to a regional endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Source as the endpoint sees it: behind a gateway, the public address.
    pub source: SocketAddrV4,
    /// The interface that sends, if it is one of this host.
    pub eni: Option<EniId>,
    /// Address of the endpoint.
    pub endpoint: Ipv4Addr,
    /// True if the client speaks TLS.
    pub is_tls: bool,
}
