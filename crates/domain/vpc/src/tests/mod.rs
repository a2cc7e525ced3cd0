// SPDX-License-Identifier: Apache-2.0
//! Transcripts of EC2 calls: each call, and its answer below it. The language is that of `berth_world`.
#![allow(clippy::too_many_lines, clippy::unwrap_used)]

mod acls;
mod addresses;
mod cidrs;
mod defaults;
mod explain;
mod filters;
mod gateways;
mod groups;
mod instances;
mod interfaces;
mod laws;
mod nat_gateways;
mod networks;
mod peerings;
mod prefix_lists;
mod rules;
mod seats;
mod subnets;
mod tables;
mod tagging;
mod world;

use berth_world::World;
use expect_test::Expect;

/// Runs the calls in a world without records.
#[track_caller]
fn check(calls: &str, expected: Expect) {
    expected.assert_eq(&World::empty().transcript(calls));
}

/// Runs the calls in a world with the default VPC.
#[track_caller]
fn check_with_default_vpc(calls: &str, expected: Expect) {
    expected.assert_eq(&World::with_default_vpc().transcript(calls));
}
