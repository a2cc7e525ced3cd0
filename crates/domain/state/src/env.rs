// SPDX-License-Identifier: Apache-2.0
//! Inputs of a rule in addition to the records: the time, fresh ids, and the caller.

use std::cell::Cell;

use berth_types::{Arn, TimestampMs};

use crate::caller::Caller;

/// Passed to every rule, made for each call; the same `Env` always returns the same ids in the same order.
#[derive(Debug)]
pub struct Env {
    /// Time of the call.
    pub now: TimestampMs,
    /// Region served.
    pub region: String,
    /// Account served, twelve digits.
    pub account: String,
    /// The caller; the service itself for reconcilers and node reports.
    pub caller: Caller,
    state: Cell<u128>,
}

impl Env {
    /// `seed` is random in production and fixed in tests and simulations.
    pub fn new(now: TimestampMs, region: &str, account: &str, caller: Caller, seed: u128) -> Self {
        let (region, account) = (region.to_owned(), account.to_owned());
        Self { now, region, account, caller, state: Cell::new(seed) }
    }

    /// A fixed environment for tests: 2026-01-01, us-west-2, account 111122223333.
    pub fn fixed() -> Self {
        Self::new(TimestampMs(1_767_225_600_000), "us-west-2", "111122223333", Caller::root("111122223333"), 1)
    }

    /// 128 fresh bits for an id. Unique among the calls of one `Env`, and between `Env`s by their seeds.
    pub fn fresh_bits(&self) -> u128 {
        // A 128-bit Weyl sequence, each element mixed by two rounds of multiply and shift.
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.state.set(state);
        let mut mixed = state ^ (state >> 67);
        mixed = mixed.wrapping_mul(0xda94_2042_e4dd_58b5_94d0_49bb_1331_11eb);
        mixed ^= mixed >> 59;
        mixed = mixed.wrapping_mul(0x2545_f491_4f6c_dd1d_b7e1_5162_8aed_2a6b);
        mixed ^ (mixed >> 64)
    }

    /// An ARN of this region and account.
    pub fn arn(&self, service: &str, resource: impl std::fmt::Display) -> String {
        Arn {
            partition: "aws".to_owned(),
            service: service.to_owned(),
            region: self.region.clone(),
            account: self.account.clone(),
            resource: resource.to_string(),
        }
        .to_string()
    }
}
