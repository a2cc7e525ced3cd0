//! The server: the AWS API on a TCP port, hosts and the command line on a Unix socket, and the loop that owns the state.
//!
//! * [`commit`]: one thread decides, stores and publishes; everybody else sends it rules.
//! * [`publish`]: the last published snapshot, read without a lock, and waiting for a value in it.
//! * [`front`]: HTTP, authentication, dispatch.
//! * [`link`]: the streams of the hosts, and requests of the local command line.
//! * [`reconcile`]: rules that nobody asked for.
//! * [`throttle`]: how often operations may be called.
//! * [`first_start`]: the administrator's key, the default network and the default cluster.
//!
//! Not here: what any operation means (`berth-domain`), bytes of protocols (`berth-wire`), the disk (`berth-store`).

mod clock;
pub mod commit;
mod config;
mod fault;
mod first_start;
mod front;
mod link;
mod metrics;
mod publish;
mod reconcile;
mod run;
mod throttle;

pub use config::ServerConfig;
pub use fault::Fault;
pub use first_start::Credentials;
pub use run::run;
pub use throttle::{Rate, RateFault, Rates};
