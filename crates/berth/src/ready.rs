//! "I am ready", said with the protocol of systemd's `Type=notify`: one datagram to the socket named by
//! `NOTIFY_SOCKET`. `berth up` listens to its children the same way systemd listens to a unit.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context, Result};

/// Name of the variable that carries the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Tells whoever started this process that it is ready; nothing when nobody listens.
pub fn say_ready() -> Result<()> {
    let Some(name) = std::env::var_os(VARIABLE).and_then(|name| name.into_string().ok()) else { return Ok(()) };
    let address = match name.strip_prefix('@') {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name),
        None => SocketAddr::from_pathname(&name),
    };
    let address = address.with_context(|| format!("{VARIABLE}={name} is no socket"))?;
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).with_context(|| format!("nobody listens at {name}"))?;
    Ok(())
}
