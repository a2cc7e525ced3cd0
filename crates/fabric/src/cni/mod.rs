// SPDX-License-Identifier: Apache-2.0
//! Container network plugins: `ecs-eni`, `vpc-eni`, `ecs-bridge`, `ecs-ipam`, as a library and as executables.
//!
//! The node calls the library ([`bridge::add`], [`eni::configure_in_place`]); the executable `berth-cni` has the four
//! names and implements the Container Network Interface 0.3.0 to 1.1.0 ([`plugin_main`]), so that the official Amazon
//! ECS agent and any CNI runtime can call it. Both follow the same plans. An ADD that fails undoes its changes and may
//! be repeated after a crash; DEL of an absent object succeeds; errors inside a namespace are errors. Not here: the
//! fabric's end of an interface (the data path), the assignment of addresses in a VPC (the server).

mod asked;
pub mod bridge;
mod call;
mod causes;
pub mod eni;
pub mod exec;
mod fault;
pub mod ipam;
mod plugin;
pub mod spec;

#[doc(hidden)]
pub use asked::{Asked, Bridged};
pub use causes::describe;
pub use fault::Fault;
#[doc(hidden)]
pub use plugin::asked;
pub use plugin::plugin_main;
