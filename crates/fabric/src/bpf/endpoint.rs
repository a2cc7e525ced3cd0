// SPDX-License-Identifier: Apache-2.0
//! Redirection of connections for an address and port to a socket that listens elsewhere (`bpf/endpoint.bpf.c`).
//!
//! A pinned link outlives its process. Without a socket the program drops, so that no other program that listens at the
//! port of all addresses can pose as the one that has ended.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;

use aya::EbpfLoader;
use aya::maps::SockMap;
use aya::programs::SkLookup;
use aya::programs::links::FdLink;

use super::pins;
use crate::fault::Fault;
use crate::kernel::Namespace;

/// Compiled by build.rs from `bpf/endpoint.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/endpoint.bpf.o"));

const PROGRAM: &str = "endpoint";
const SOCKET: &str = "endpoint_socket";
/// Prefix of the links' pins; a number follows.
const PIN: &str = "endpoint_link_";

/// True if this is the pin of a link.
pub fn is_pin(name: &str) -> bool {
    name.starts_with(PIN)
}

/// Names of the links pinned in a directory: they are valid until [`lead`] replaces them.
pub fn pinned(directory: &Path) -> Result<Vec<String>, Fault> {
    Ok(pins::list(directory)?.into_iter().filter(|name| is_pin(name)).collect())
}

/// Redirects connections for `address` in the calling thread's namespace to the listening socket, and pins the link in
/// `directory` in place of older ones. Returns the name of the pin.
///
/// The new link is attached before an older one is removed: of two programs the one with a socket decides.
pub fn lead(directory: &Path, address: SocketAddrV4, listener: &impl AsRawFd) -> Result<String, Fault> {
    let older = pinned(directory)?;
    let name = (0..).map(|number: u64| format!("{PIN}{number}")).find(|name| !older.contains(name)).unwrap_or_default();
    let link = attached(address, listener)?;
    let path = directory.join(&name);
    link.pin(&path).map_err(|source| Fault::Pin { path: path.clone(), source })?;
    older.iter().try_for_each(|name| pins::remove_one(&directory.join(name)))?;
    Ok(name)
}

/// Loads the program and attaches it in the calling thread's namespace, without a socket.
pub fn try_lead() -> Result<(), Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Fault::Listen)?;
    attached(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80), &listener).map(drop)
}

fn attached(address: SocketAddrV4, listener: &impl AsRawFd) -> Result<FdLink, Fault> {
    let (ip, port) = (u32::from_ne_bytes(address.ip().octets()), u32::from(address.port()));
    let mut loader = EbpfLoader::new();
    loader.override_global("ADDRESS", &ip, true).override_global("PORT", &port, true);
    let mut object = loader.load(OBJECT).map_err(Fault::load)?;
    let map = object.map_mut(SOCKET).ok_or(Fault::NoProgram)?;
    let set = SockMap::try_from(map).and_then(|mut socket| socket.set(0, listener, 0));
    set.map_err(|source| Fault::map("set", SOCKET, source))?;
    let program: &mut SkLookup =
        object.program_mut(PROGRAM).ok_or(Fault::NoProgram)?.try_into().map_err(Fault::program("read"))?;
    program.load().map_err(Fault::program("load"))?;
    let id = program.attach(Namespace::of_current_thread()?.as_fd()).map_err(Fault::program("attach"))?;
    Ok(program.take_link(id).map_err(Fault::program("attach"))?.into())
}
