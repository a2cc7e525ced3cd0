// SPDX-License-Identifier: Apache-2.0
//! Calls of ECS in a small world, and the answers: as transcripts where answers are small, as JSON where they are large
//! or tables of cases. The language of transcripts is that of `berth_world`.
#![allow(clippy::too_many_lines, clippy::unwrap_used)]

mod agent;
mod capacity;
mod containers;
mod describe;
mod hosts;
mod instances;
mod modes;
mod placement;
mod public_addresses;
mod register;
mod run;
mod simulation;
mod sizes;
mod strategies;
mod unsettled;
mod validation_table;

use berth_world::{World, ec2_definition, fargate_definition, fill, hello, merged, report, run_request, table};
use expect_test::Expect;

/// Registers the definition `nginx` (Fargate and EC2, size 256/512) and runs it as `task-1`.
const RUN: &str = "!RegisterTaskDefinition family=nginx networkMode=awsvpc cpu=256 memory=512 \
    requiresCompatibilities.1=FARGATE containerDefinitions.1.name=nginx containerDefinitions.1.image=nginx \
    containerDefinitions.1.portMappings.1.containerPort=80
    !RunTask taskDefinition=nginx launchType=FARGATE \
    networkConfiguration.awsvpcConfiguration.subnets.1=subnet-a \
    networkConfiguration.awsvpcConfiguration.securityGroups.1=sg-web";

/// Runs the lines in a world with one host.
#[track_caller]
fn check(lines: &str, expected: Expect) {
    expected.assert_eq(&World::with_host().transcript(lines));
}
