// SPDX-License-Identifier: Apache-2.0
//! Nanoseconds per call of the protocol steps: `cargo run --release -p berth-wire --example speed`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use berth_shapes::{OperationId, Timestamp, ec2, ecs};
use berth_wire::sigv4::{Endpoint, Secret, SigningKey, sign, verify};
use berth_wire::{RequestParts, compose, decode, encode, route};

const NOW_MS: i64 = 1_795_422_298_000;
const ROUNDS: u32 = 20_000;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn main() {
    let run = run_task();
    let request = signed(compose(&run, "127.0.0.1:4566").unwrap(), "ecs");
    steps::<ecs::RunTaskRequest>("RunTask", &request, "ecs");
    let describe = ec2::DescribeVpcsRequest {
        filters: Some(vec![ec2::Filter {
            name: some("vpc-id"),
            values: Some(vec!["vpc-0123456789abcdef0".to_owned()]),
        }]),
        ..ec2::DescribeVpcsRequest::default()
    };
    let request = signed(compose(&describe, "127.0.0.1:4566").unwrap(), "ec2");
    steps::<ec2::DescribeVpcsRequest>("DescribeVpcs", &request, "ec2");

    let tasks = ecs::DescribeTasksResponse { tasks: Some(vec![task(); 100]), failures: Some(Vec::new()) };
    let bytes = encode(OperationId::EcsDescribeTasks.row(), &tasks, "req").body().len();
    let name = format!("DescribeTasks encode, 100 tasks, {bytes} bytes");
    measure(&name, 200, || encode(OperationId::EcsDescribeTasks.row(), &tasks, "req"));
    let vpc = ec2::Vpc {
        vpc_id: some("vpc-0123456789abcdef0"),
        cidr_block: some("10.0.0.0/16"),
        is_default: Some(false),
        state: some("available"),
        tags: Some(vec![ec2::Tag { key: some("Name"), value: some("main & more") }]),
        ..ec2::Vpc::default()
    };
    let vpcs = ec2::DescribeVpcsResult { vpcs: Some(vec![vpc; 100]), next_token: None };
    let bytes = encode(OperationId::Ec2DescribeVpcs.row(), &vpcs, "req").body().len();
    let name = format!("DescribeVpcs encode, 100 VPCs, {bytes} bytes");
    measure(&name, 200, || encode(OperationId::Ec2DescribeVpcs.row(), &vpcs, "req"));
}

fn steps<I: berth_shapes::Input>(name: &str, request: &http::Request<bytes::Bytes>, service: &str) {
    let parts = RequestParts::of(request);
    let secret = Secret { secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(), session: None };
    let endpoint = Endpoint { region: "us-west-2", service };
    println!("{name}: body of {} bytes", request.body().len());
    measure("  verify", ROUNDS, || verify(&parts, &|_| Some(secret.clone()), NOW_MS, endpoint).unwrap());
    measure("  route", ROUNDS, || route(&parts).unwrap());
    measure("  route and decode", ROUNDS, || decode::<I>(&route(&parts).unwrap()).ok().unwrap());
}

fn measure<T>(name: &str, rounds: u32, mut step: impl FnMut() -> T) {
    let mut best = u128::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(step());
        }
        best = best.min(start.elapsed().as_nanos() / u128::from(rounds));
    }
    println!("{name}: {best} ns");
}

fn signed(mut request: http::Request<bytes::Bytes>, service: &str) -> http::Request<bytes::Bytes> {
    let key = SigningKey {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: None,
    };
    sign(&mut request, &key, Endpoint { region: "us-west-2", service }, NOW_MS).unwrap();
    request
}

fn run_task() -> ecs::RunTaskRequest {
    let awsvpc = ecs::AwsVpcConfiguration {
        subnets: Some(vec!["subnet-0123456789abcdef0".to_owned(), "subnet-0123456789abcdef1".to_owned()]),
        security_groups: Some(vec!["sg-0123456789abcdef0".to_owned()]),
        assign_public_ip: some("ENABLED"),
    };
    ecs::RunTaskRequest {
        cluster: some("default"),
        task_definition: some("web:3"),
        launch_type: some("FARGATE"),
        count: Some(1),
        network_configuration: Some(ecs::NetworkConfiguration { awsvpc_configuration: Some(awsvpc) }),
        tags: Some(vec![ecs::Tag { key: some("team"), value: some("blue") }]),
        ..ecs::RunTaskRequest::default()
    }
}

fn task() -> ecs::Task {
    let detail = |name: &str, value: &str| ecs::KeyValuePair { name: some(name), value: some(value) };
    let attachment = ecs::Attachment {
        id: some("0a1b2c3d-0000-1111-2222-333344445555"),
        r#type: some("ElasticNetworkInterface"),
        status: some("ATTACHED"),
        details: Some(vec![
            detail("subnetId", "subnet-0123456789abcdef0"),
            detail("networkInterfaceId", "eni-0123456789abcdef0"),
            detail("macAddress", "02:00:00:00:00:01"),
            detail("privateIPv4Address", "10.0.0.35"),
        ]),
    };
    let container = ecs::Container {
        container_arn: some("arn:aws:ecs:us-west-2:123456789012:container/default/0123/4567"),
        name: some("web"),
        image: some("nginx:latest"),
        last_status: some("RUNNING"),
        health_status: some("UNKNOWN"),
        ..ecs::Container::default()
    };
    ecs::Task {
        attachments: Some(vec![attachment]),
        task_arn: some("arn:aws:ecs:us-west-2:123456789012:task/default/0123456789abcdef0123456789abcdef"),
        cluster_arn: some("arn:aws:ecs:us-west-2:123456789012:cluster/default"),
        task_definition_arn: some("arn:aws:ecs:us-west-2:123456789012:task-definition/web:3"),
        containers: Some(vec![container]),
        last_status: some("RUNNING"),
        desired_status: some("RUNNING"),
        cpu: some("256"),
        memory: some("512"),
        launch_type: some("FARGATE"),
        created_at: Some(Timestamp(NOW_MS + 123)),
        started_at: Some(Timestamp(NOW_MS + 456)),
        ..ecs::Task::default()
    }
}
