// SPDX-License-Identifier: Apache-2.0
//! The rules of a made-up service: a parrot learns words and says them.
#![deny(clippy::disallowed_methods)]

mod door;
mod resources;
mod word;

pub use door::door;
pub use word::{describe_word, known_word, teach_word};
