// SPDX-License-Identifier: Apache-2.0
//! The server: the AWS API on a TCP port, hosts and the command line on a Unix socket, and the loop that owns the state.
//!
//! * [`commit`]: one thread decides, stores and publishes; all others send it rules.
//! * [`publish`]: the last published snapshot, read without a lock, and waiting for a value in it.
//! * [`front`]: HTTP, authentication, dispatch.
//! * [`link`]: the streams of the hosts, and requests of the local command line.
//! * [`reconcile`]: rules without a caller.
//! * [`authority`]: the local certificate authority.
//! * [`throttle`]: rate limits of operations.
//! * [`first_start`]: the administrator's key, the default network, the world and the default cluster.
//!
//! Not here: the meaning of operations (the crates of the rules), bytes of protocols (`berth-wire`), the disk
//! (`berth-store`).

mod authority;
mod clock;
pub mod commit;
mod config;
mod fault;
mod first_start;
mod front;
mod io;
mod link;
mod metrics;
mod publish;
mod reconcile;
mod run;
mod throttle;
mod whole_file;

pub use authority::{Authority, AuthorityFault, Issued};
pub use config::{Addresses, Limits, NetworkSettings, ServerConfig, Transport, UnsafeListen, check_listen};
pub use fault::Fault;
pub use first_start::Credentials;
pub use run::run;
pub use throttle::{Rate, RateFault, Rates};
