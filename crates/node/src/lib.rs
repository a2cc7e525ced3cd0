// SPDX-License-Identifier: Apache-2.0
//! The host agent: makes the tasks and interfaces of an intent true on one machine, and tells the server how they are.
//!
//! [`run`] is the node; it holds one stream to the server, a containerd (its own, unless told otherwise), the fabric on a
//! thread of its own, and one actor per task. Everything it begins is in a journal first, so that a node killed at any
//! line finds its tasks again; tasks, interfaces and packets do not need it to live. [`load`] brings images from files,
//! [`doctor`] looks whether the machine can run tasks, [`teardown`] takes
//! everything away. Not here: who gets which address, placement, services (the server).

mod backoff;
mod blocking;
mod cgroups;
mod clock;
mod config;
mod container;
mod containerd;
mod doctor;
mod edge;
mod endpoint;
mod engine;
mod fault;
mod folders;
mod free_space;
mod garbage;
mod identity;
mod images;
mod journal;
mod kept_logs;
mod link;
mod log_driver;
mod modes;
mod namespaces;
mod network;
mod nft;
mod node;
mod outside;
mod pause;
mod reports;
mod samples;
mod shim;
mod step;
mod teardown;
mod world;

pub use config::{
    EdgeProgram, ImageLimits, ImageSettings, LogSettings, Mirror, NodeConfig, PREPARED_NAMESPACES, Patience,
    PullBehavior, TASK_PIDS, Uplink, containerd_socket, journal_file, task_pids_limit,
};
pub use containerd::supervise::private_containerd;
pub use doctor::{Check, doctor};
pub use fault::{CopyFault, Fault, ImageFault, NetworkFault, SpecFault};
pub use folders::{PRIVATE_UMASK, base_folder, close, private_folder};
pub use identity::{Identity, identity, measured_capacity};
#[doc(hidden)]
pub use images::manifest;
pub use images::{Loaded, Loading, held_images, load};
pub use node::run;
pub use step::Step;
pub use teardown::{end_containerd, teardown};
