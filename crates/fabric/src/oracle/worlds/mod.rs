// SPDX-License-Identifier: Apache-2.0
//! Random worlds: whole intents, and conversations in them. Every packet is judged twice, by the compiled program
//! (`machine`) and by reading the records (`reading`); both must agree about arrival, addresses, ports and drop reason.
//!
//! `making` draws worlds and conversations from a seed, `trial` compares, `shrink` looks for a smaller world in which the
//! two still differ. The suite of the kernel sends the same conversations as packets.

pub mod datagram;
pub mod machine;
pub mod making;
pub mod random;
pub mod reading;
pub mod shrink;
pub mod trial;
pub mod world;
