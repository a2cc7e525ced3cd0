// SPDX-License-Identifier: Apache-2.0
//! The settings of a server at its start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use berth_types::{FaultPoints, Ipv4Cidr};
use tokio::sync::oneshot;

use crate::commit::CommitStep;
use crate::throttle::Rates;

/// Settings of one server.
#[derive(Debug)]
pub struct ServerConfig {
    /// Holds `state.redb` and `credentials`; created when absent. Readable only by its owner.
    pub data_dir: PathBuf,
    /// Holds `server.sock`; created when absent.
    pub run_dir: PathBuf,
    /// Name of this instance, shown by the health endpoint.
    pub instance: String,
    /// Address of the AWS API; port 0 selects a free one.
    pub listen: SocketAddr,
    /// Protection of the AWS API in transit.
    pub transport: Transport,
    /// Address of the instance's own pages, health and metrics; on loopback. Port 0 selects a free one.
    pub admin_listen: SocketAddr,
    /// Region served, such as `us-west-2`. It is in every ARN, so it cannot change for a data folder.
    pub region: String,
    /// Account served, twelve digits. It is in every ARN, so it cannot change for a data folder.
    pub account: String,
    /// Settings of EC2 networking.
    pub network: NetworkSettings,
    /// Accept unknown access keys as the account's root, without verification of their signature.
    pub trust_any_key: bool,
    /// How long stopped tasks can be described.
    pub stopped_tasks_kept: Duration,
    /// Rate limits of each group of operations.
    pub rates: Rates,
    /// Limits for callers that are not authenticated yet.
    pub limits: Limits,
    /// The same for callers from inside VPCs, at the regional endpoints.
    pub endpoint_limits: Limits,
    /// Receives the bound addresses once requests are answered.
    pub ready: Option<oneshot::Sender<Addresses>>,
    /// Fault point of a test.
    pub fault_points: FaultPoints<CommitStep>,
}

/// Settings of EC2 networking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Pool of public addresses; without it that of the records, or the default one at the first start.
    pub public_pool: Option<Ipv4Cidr>,
    /// Quotas that differ from those with which AWS begins, by name.
    pub quotas: BTreeMap<String, u32>,
    /// Tasks of launch type EC2 may have a public address, which AWS refuses.
    pub ec2_task_public_ip: bool,
}

/// The bound addresses of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Of the AWS API.
    pub api: SocketAddr,
    /// Of the instance's own pages.
    pub admin: SocketAddr,
}

/// Protection of the AWS API in transit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTPS, with a certificate of the local authority for the names and addresses given.
    Tls(Vec<String>),
    /// HTTP, only on loopback addresses.
    Plain,
    /// HTTP on any address, because another program protects it.
    PlainAnywhere,
}

/// An invalid setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeListen {
    /// HTTP would be readable on the network.
    #[error(
        "--listen {0} can be reached from other machines, and plain HTTP shows them every answer; add --tls, or \
         --insecure-listen if something in front of it encrypts"
    )]
    Plain(SocketAddr),
    /// The own pages carry no signature.
    #[error("--admin-listen {0} can be reached from other machines; choose an address of loopback, such as 127.0.0.1")]
    Admin(SocketAddr),
}

/// Refuses addresses that other machines reach without the required protection.
pub fn check_listen(listen: SocketAddr, transport: &Transport, admin_listen: SocketAddr) -> Result<(), UnsafeListen> {
    let is_local = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    if *transport == Transport::Plain && !is_local(listen) {
        return Err(UnsafeListen::Plain(listen));
    }
    if is_local(admin_listen) { Ok(()) } else { Err(UnsafeListen::Admin(admin_listen)) }
}

/// Limits on resources and time for callers that are not authenticated yet.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections of the AWS API.
    pub connections: usize,
    /// Open connections of one peer: an IPv4 address or an IPv6 network.
    pub connections_per_peer: usize,
    /// From the acceptance of a connection to its first complete head.
    pub head: Duration,
    /// From the end of a connection's last request to the next complete head.
    pub idle: Duration,
    /// From the head of a request to the last byte of its body.
    pub body: Duration,
    /// Heads and bodies of callers that are not verified yet, all together.
    pub unverified_bytes: usize,
    /// The same of one peer.
    pub unverified_bytes_per_peer: usize,
}

impl Limits {
    /// Those of regional endpoints: a peer is one interface.
    pub fn of_endpoints() -> Self {
        Self { connections_per_peer: 128, unverified_bytes_per_peer: 8 << 20, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 512,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(30),
            unverified_bytes: 64 << 20,
            unverified_bytes_per_peer: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_may_be_plain_and_have_the_own_pages() {
        let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        let check = |listen, transport: &Transport, admin| check_listen(address(listen), transport, address(admin));
        let (open, local) = ("0.0.0.0:4566", "127.0.0.1:4566");
        for plain in [open, "[::]:4566", "192.0.2.1:4566"] {
            assert_eq!(check(plain, &Transport::Plain, local), Err(UnsafeListen::Plain(address(plain))));
        }
        for fine in [local, "[::1]:4566", "[::ffff:127.0.0.1]:4566"] {
            assert_eq!(check(fine, &Transport::Plain, local), Ok(()));
        }
        for protected in [Transport::Tls(Vec::new()), Transport::PlainAnywhere] {
            assert_eq!(check(open, &protected, local), Ok(()));
            assert_eq!(check(open, &protected, open), Err(UnsafeListen::Admin(address(open))));
        }
    }
}
