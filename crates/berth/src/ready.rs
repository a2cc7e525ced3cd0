// SPDX-License-Identifier: Apache-2.0
//! Readiness notification with the protocol of systemd's `Type=notify`: one datagram to the socket named by
//! `NOTIFY_SOCKET`. `berth up` receives it from its children as systemd does from a unit.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context, Result};

/// Name of the variable that carries the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Notifies the parent that this process is ready; does nothing without a receiver.
pub fn say_ready() -> Result<()> {
    let Some(name) = std::env::var_os(VARIABLE).and_then(|name| name.into_string().ok()) else { return Ok(()) };
    let address = match name.strip_prefix('@') {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name),
        None => SocketAddr::from_pathname(&name),
    };
    let address = address.with_context(|| format!("{VARIABLE}={name} is not a socket"))?;
    UnixDatagram::unbound()?
        .send_to_addr(b"READY=1", &address)
        .with_context(|| format!("no process listens at {name}"))?;
    Ok(())
}
