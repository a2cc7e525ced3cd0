//! The rules: what each AWS operation, reconciler and node report means for the records.
//!
//! Every write is `(&Snapshot, input, &Env) -> Result<Change<T>, Refusal>`, every read the same without a change. No
//! I/O, no clock, no randomness, no lock: time and fresh ids come in [`Env`], so everything can be replayed.
//!
//! * [`vpc`]: EC2 networking: VPCs, subnets, security groups, interfaces, routes, tags.
//! * [`ecs`]: clusters, task definitions, tasks, container instances, reports of nodes.
//! * [`sts`]: who is calling.
//! * [`plan`]: what each host must hold.
//! * [`state`]: the records and their snapshot; [`change`]: how they move.

pub mod change;
pub mod ecs;
pub mod env;
mod index;
mod numbers;
pub mod page;
pub mod plan;
pub mod refusal;
pub mod state;
pub mod sts;
pub mod vpc;

pub use change::{Change, Draft};
pub use env::Env;
pub use refusal::Refusal;
pub use state::{Record, RecordKey, Snapshot, Write};
