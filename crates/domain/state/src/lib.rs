// SPDX-License-Identifier: Apache-2.0
//! The state: records of every service, their indexes, and the one snapshot and transaction over them.
//!
//! The state lies below every rule. Any rule may read any record of its region; a call from the rules of one service to
//! those of another is an edge between crates. Every write is `(&Snapshot, input, &Env) -> Result<Change<T>, Refusal>`,
//! every read the same without a change. No I/O, no clock, no randomness, no lock: time and fresh ids come in [`Env`],
//! so everything can be replayed.
//!
//! * [`ecs`], [`iam`], [`vpc`]: the records of one service each; `records!` declares them.
//! * [`Snapshot`]: all of them at one revision; [`Change`] and [`Draft`]: their changes.
//! * [`Door`]: the look-up of a rule by the identity of its operation; [`Caller`]: the principal and origin of a call.
//! * [`request`], [`page`], [`tags`]: functions shared by the rules of all services.
#![deny(clippy::disallowed_methods)]

pub mod caller;
pub mod change;
pub mod deadlines;
pub mod door;
pub mod ecs;
pub mod env;
pub mod iam;
pub mod numbers;
pub mod page;
pub mod records;
pub mod request;
mod snapshot;
pub mod tags;
mod tokens;
pub mod vpc;

pub use berth_shapes::Refusal;
pub use caller::{Caller, Origin, Principal};
pub use change::{Change, Draft};
pub use door::{Door, Rule};
pub use env::Env;
pub use records::Undecodable;
pub use snapshot::{Global, Record, RecordKey, Regional, Snapshot, Write};
pub use tags::Tags;
pub use tokens::{ClientToken, RequestDigest};
