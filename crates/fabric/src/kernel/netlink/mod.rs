// SPDX-License-Identifier: Apache-2.0
//! A blocking routing socket: links, addresses, routes, rules and neighbours of one network namespace.
//!
//! A socket belongs for its lifetime to the namespace it was opened in, whichever thread uses it. Every request passes
//! through one function from request to replies ([`Ask`]), so a test can pass in a kernel that answers EBUSY.
//! Not here: traffic control and eBPF attachment (`bpf`).

mod address;
mod link;
mod route;
mod rule;
mod socket;

pub use link::{Link, VethPair};
pub use route::{Route, RouteKind};
pub use rule::{Rule, Selector};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;

use super::{Fault, Refused};

/// The only path to the kernel: a request with its flags (`NLM_F_*` without `NLM_F_REQUEST`) becomes replies or a
/// refusal.
pub type Ask = dyn FnMut(RouteNetlinkMessage, u16) -> Result<Vec<RouteNetlinkMessage>, Refused> + Send;

/// A routing socket.
pub struct Netlink {
    ask: Box<Ask>,
}

const ACT: u16 = NLM_F_ACK;
const CREATE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
const PUT: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;

impl Netlink {
    /// Opens a socket in the calling thread's namespace. See also `Namespace::netlink`.
    pub fn open() -> Result<Self, Fault> {
        let mut socket = socket::Socket::open().map_err(Fault::OpenSocket)?;
        Ok(Self::over(move |request, flags| socket.ask(request, flags)))
    }

    /// A socket whose requests go to `ask`.
    pub fn over(
        ask: impl FnMut(RouteNetlinkMessage, u16) -> Result<Vec<RouteNetlinkMessage>, Refused> + Send + 'static,
    ) -> Self {
        Self { ask: Box::new(ask) }
    }

    fn act(&mut self, request: RouteNetlinkMessage, flags: u16) -> Result<(), Refused> {
        (self.ask)(request, flags).map(drop)
    }

    fn dump(&mut self, what: &'static str, request: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Fault> {
        (self.ask)(request, NLM_F_DUMP).map_err(|cause| Fault::List { what, cause })
    }
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Netlink")
    }
}
