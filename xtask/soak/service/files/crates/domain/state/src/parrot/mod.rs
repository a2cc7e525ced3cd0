// SPDX-License-Identifier: Apache-2.0
//! Records of a made-up service: words that a parrot knows.

mod kinds;
mod record;

pub use kinds::{Record, RecordKey, Records};
pub use record::Word;
