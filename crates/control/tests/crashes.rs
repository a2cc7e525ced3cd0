// SPDX-License-Identifier: Apache-2.0
//! The server dies at each step of a durable write: no answered change is lost, and a change that was not answered is
//! stored completely or not at all.
//!
//! The server that dies is a separate process: this executable, started again.
#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use berth_control::commit::CommitStep;
use berth_shapes::ec2;
use berth_types::FaultPoints;
use lab::{LIMIT, Server, config};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Makes this executable act as a server: folder and step, each on a line.
const TO_BE_A_SERVER: &str = "BERTH_TEST_SERVER_TO_DIE";
const SIGABRT: i32 = 6;
/// The durable write at which it dies; those before it are answered.
const LAST_WRITE: u32 = 3;

#[tokio::test]
async fn a_server_that_dies_at_any_step_of_a_write_forgets_nothing_it_answered_and_keeps_no_halves() {
    if let Ok(settings) = std::env::var(TO_BE_A_SERVER) {
        return be_a_server(&settings).await;
    }
    for step in CommitStep::ALL {
        die_at(*step).await;
    }
}

async fn die_at(step: CommitStep) {
    let folder = tempfile::tempdir().unwrap();
    Server::start(folder.path()).await.stop().await;
    let (mut process, server) = start_process(folder.path(), step).await;
    let mut answered = BTreeSet::new();
    while let Some(answer) = server.try_call(&create_vpc(answered.len())).await {
        answer.expect(200, "<vpcId>");
        answered.extend(vpcs(&answer.body));
        assert!(answered.len() <= LAST_WRITE as usize, "it does not die at {step:?}");
    }
    let died = tokio::time::timeout(LIMIT, process.wait()).await.unwrap().unwrap();
    assert_eq!(died.signal(), Some(SIGABRT), "{step:?}: {died}");

    let server = Server::start(folder.path()).await;
    let described = server.call(&ec2::DescribeVpcsRequest::default()).await;
    let there = vpcs(&described.body);
    assert!(there.is_superset(&answered), "{step:?}: {answered:?} were answered, {there:?} are there");
    // The default VPC, and those before the last write, which may be durable or not.
    let before = 1 + LAST_WRITE as usize - 1;
    let (kept, told) = match step {
        CommitStep::Decided => (0, 0),
        CommitStep::Stored | CommitStep::Published => (1, 0),
        // The answer may be in transit.
        CommitStep::Answered => (1, answered.len() + 1 - LAST_WRITE as usize),
    };
    assert_eq!((there.len(), answered.len()), (before + kept, before - 1 + told), "{step:?}");
    // A VPC has a main route table and a default security group.
    let tables = server.call(&ec2::DescribeRouteTablesRequest::default()).await.body;
    let groups = server.call(&ec2::DescribeSecurityGroupsRequest::default()).await.body;
    for vpc in &there {
        let named = format!("<vpcId>{vpc}</vpcId>");
        assert_eq!((tables.matches(&named).count(), groups.matches(&named).count()), (1, 1), "{step:?}: {vpc}");
    }
    assert_eq!((tables.matches("<main>true").count(), vpcs(&groups)), (there.len(), there), "{step:?}");
    server.call(&create_vpc(100)).await.expect(200, "<vpcId>");
    server.stop().await;
}

fn create_vpc(number: usize) -> ec2::CreateVpcRequest {
    ec2::CreateVpcRequest { cidr_block: Some(format!("10.{number}.0.0/16")), ..Default::default() }
}

/// The VPCs in an answer.
fn vpcs(answer: &str) -> BTreeSet<String> {
    let named = answer.split("<vpcId>").skip(1).filter_map(|rest| rest.split_once("</vpcId>"));
    named.map(|(id, _)| id.to_owned()).collect()
}

async fn start_process(folder: &Path, step: CommitStep) -> (Child, Server) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .arg("--nocapture")
        .env(TO_BE_A_SERVER, format!("{}\n{step:?}", folder.display()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let ready = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the server says where it is");
            if let Some(address) = line.strip_prefix("ready ") {
                return address.parse().unwrap();
            }
        }
    };
    let address = tokio::time::timeout(LIMIT, ready).await.unwrap();
    (process, Server::of_process(folder, address))
}

async fn be_a_server(settings: &str) {
    let (folder, step) = settings.split_once('\n').unwrap();
    let mut config = config(Path::new(folder));
    config.fault_points = FaultPoints::at(CommitStep::named(step).unwrap(), LAST_WRITE);
    let server = Server::start_with(config, Path::new(folder)).await.unwrap();
    // Follows the text of the test runner, which does not end its line.
    println!("\nready {}", server.address);
    std::future::pending::<()>().await;
}
