// SPDX-License-Identifier: Apache-2.0
//! Public addresses and NAT gateways of a host's VPCs, and how they change.

use berth_types::intent::diff;
use berth_world::{World, fargate_definition, hello};
use expect_test::expect;
use proptest::prelude::*;

use crate::{host, patch};

/// A VPC with a task that has a public address, and one whose only use of a host is its NAT gateway.
const PREPARED: &str = r#"
    !CreateVpc CidrBlock=10.0.0.0/16
    !CreateVpc CidrBlock=10.1.0.0/16
    !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24 AvailabilityZone=us-west-2a
    !CreateSubnet VpcId=vpc-2 CidrBlock=10.1.0.0/24 AvailabilityZone=us-west-2a
    !CreateInternetGateway
    !CreateInternetGateway
    !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
    !AttachInternetGateway InternetGatewayId=igw-2 VpcId=vpc-2
    !AllocateAddress
    !AllocateAddress
    !RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}
    !RunTask taskDefinition=nginx launchType=EC2 networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    !DescribeNetworkInterfaces
    !DescribeNetworkInterfaces filter:association.ip-owner-id=amazon"#;

fn prepared() -> World {
    let mut world = World::with_host();
    world.connect(&hello(2));
    world.call("RegisterTaskDefinition", fargate_definition()).unwrap();
    world.transcript(PREPARED);
    world
}

/// Public addresses and NAT gateways of both hosts, with names in place of ids.
fn shown(world: &World) -> String {
    let mut lines = String::new();
    for number in [1, 2] {
        let intent = host(&world.snap, &hello(number).host, &world.env());
        lines.push_str(&format!("host-{number}: {} VPCs\n", intent.vpcs.len()));
        for (public, it) in &intent.public_addresses {
            let (vni, eni, address, host) = (it.vni.0, &it.eni, it.address, &it.host);
            lines.push_str(&format!("  {public} is {address} of {eni} in {vni} on {host}\n"));
        }
        for (gateway, it) in &intent.nat_gateways {
            let (vni, subnet, eni, host) = (it.vni.0, &it.subnet, &it.eni, &it.host);
            lines.push_str(&format!("  {gateway} is {:?} of {eni} in {vni} {subnet} on {host}\n", it.addresses));
        }
    }
    world.named(&lines)
}

#[test]
fn a_host_knows_the_public_addresses_and_nat_gateways_of_its_vpcs() {
    let mut world = prepared();
    let mut told = shown(&world);
    world.transcript(
        "!CreateNatGateway SubnetId=subnet-2 AllocationId=eipalloc-1
         !DescribeNetworkInterfaces filter:interface-type=nat_gateway",
    );
    told.push_str("\na pending gateway\n");
    told.push_str(&shown(&world));
    world.settle_nat_gateways();
    told.push_str("\nan available gateway\n");
    told.push_str(&shown(&world));
    world.transcript("!DeleteNatGateway NatGatewayId=nat-1");
    told.push_str("\na deleting gateway\n");
    told.push_str(&shown(&world));
    expect![[r#"
        host-1: 1 VPCs
          198.18.0.4 is 10.0.0.4 of eni-1 in 3 on host-1
        host-2: 0 VPCs

        a pending gateway
        host-1: 1 VPCs
          198.18.0.4 is 10.0.0.4 of eni-1 in 3 on host-1
        host-2: 0 VPCs

        an available gateway
        host-1: 2 VPCs
          198.18.0.2 is 10.1.0.4 of eni-3 in 4 on host-1
          198.18.0.4 is 10.0.0.4 of eni-1 in 3 on host-1
          nat-1 is [10.1.0.4] of eni-3 in 4 subnet-2 on host-1
        host-2: 0 VPCs

        a deleting gateway
        host-1: 1 VPCs
          198.18.0.4 is 10.0.0.4 of eni-1 in 3 on host-1
        host-2: 0 VPCs
    "#]]
    .assert_eq(&told);
}

#[test]
fn an_elastic_address_stands_for_the_interface_of_a_task() {
    let mut world = prepared();
    world.transcript("!AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2");
    expect![[r#"
        host-1: 1 VPCs
          198.18.0.2 is 10.0.0.5 of eni-2 in 3 on host-1
          198.18.0.4 is 10.0.0.4 of eni-1 in 3 on host-1
        host-2: 0 VPCs
    "#]]
    .assert_eq(&shown(&world));
}

/// Calls and events that change addresses; most are possible in some order only.
const STEPS: &[&str] = &[
    "AllocateAddress",
    "AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1",
    "AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2",
    "AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-1",
    "AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-2",
    "DisassociateAddress AssociationId=eipassoc-1",
    "DisassociateAddress AssociationId=eipassoc-2",
    "DisassociateAddress AssociationId=eipassoc-3",
    "ReleaseAddress AllocationId=eipalloc-1",
    "ReleaseAddress AllocationId=eipalloc-2",
    "CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1",
    "CreateNatGateway SubnetId=subnet-2 AllocationId=eipalloc-2",
    "CreateNatGateway SubnetId=subnet-2 ConnectivityType=private",
    "DeleteNatGateway NatGatewayId=nat-1",
    "DeleteNatGateway NatGatewayId=nat-2",
    SETTLE,
    SETTLE,
    "StopTask task=task-1",
    "StopTask task=task-2",
    "task-1 reports STOPPED",
    "task-1 interface ATTACHED",
    "task-1 interface GONE",
    "task-2 interface ATTACHED",
    "task-2 interface GONE",
    "host-1 disconnects",
    r#"RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-2"], "assignPublicIp": "ENABLED"}}"#,
    r#"RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}"#,
];

/// The step of the server's reconciler.
const SETTLE: &str = "settle";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_patch_is_the_difference_of_whole_intents(steps in prop::collection::vec(0..STEPS.len(), 1..40)) {
        let mut world = prepared();
        for step in steps {
            let before = world.snap.clone();
            if STEPS[step] == SETTLE {
                world.settle_nat_gateways();
            } else if world.line(STEPS[step]).is_err() {
                continue;
            }
            let env = world.env();
            for number in [1, 2] {
                let id = hello(number).host;
                let whole = |snap| host(snap, &id, &env);
                let expected = diff(7, &whole(&before), world.snap.revision, &whole(&world.snap));
                prop_assert_eq!(patch(7, &before, &world.snap, &id, &env), expected, "{}", STEPS[step]);
            }
        }
    }
}
