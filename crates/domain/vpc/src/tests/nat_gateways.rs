// SPDX-License-Identifier: Apache-2.0
//! NAT gateways.

use berth_state::Draft;
use berth_state::ecs::Host;
use expect_test::expect;

use super::World;
use super::interfaces::host;
use crate::{Ages, expire, has_unsettled_nat_gateways, settle_nat_gateways};

/// The default VPC, an elastic IP address, and hosts: their numbers, and whether they are connected.
fn world(hosts: &[(u128, bool)]) -> World {
    let mut world = World::with_default_vpc();
    let mut draft = Draft::of(&world.snap);
    for (number, connected) in hosts {
        draft.put(Host { connected: *connected, ..host(*number) });
    }
    world.apply(draft.change(()));
    world.transcript("!DescribeSubnets\n!DescribeInternetGateways\n!AllocateAddress");
    world
}

/// Does what is left to do; true if there was something.
fn settle(world: &mut World) -> bool {
    let had = has_unsettled_nat_gateways(&world.snap);
    let change = settle_nat_gateways(&world.snap, &world.env());
    assert_eq!(had, !change.writes.is_empty());
    world.apply(change);
    had
}

/// Runs the lines; what is left to do is done after each.
fn settled(world: &mut World, lines: &str) -> String {
    let mut out = String::new();
    for line in lines.lines() {
        out.push_str(&world.transcript(line));
        settle(world);
    }
    out
}

#[test]
fn a_public_gateway_is_made_serves_and_goes() {
    let mut world = world(&[(3, true), (2, true), (1, false)]);
    let told = settled(
        &mut world,
        "CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 ClientToken=once tag:natgateway:Name=out
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 ClientToken=once tag:natgateway:Name=out | NatGatewayId State
         CreateNatGateway SubnetId=subnet-2 AllocationId=eipalloc-1 ClientToken=once
         DescribeNatGateways Filter.1.Name=state Filter.1.Values.1=available Filter.2.Name=tag:Name Filter.2.Values.1=out
         DescribeNetworkInterfaces
         DescribeAddresses
         CreateRouteTable VpcId=vpc-1 | RouteTableId
         CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NatGatewayId=nat-1
         DescribeRouteTables RouteTableIds.1=rtb-1 | State NatGatewayId
         DeleteNetworkInterface NetworkInterfaceId=eni-1
         DetachNetworkInterface AttachmentId=ela-attach-1
         ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 SourceDestCheck.Value=true
         DisassociateAddress AssociationId=eipassoc-1
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
         ReleaseAddress AllocationId=eipalloc-1
         DeleteSubnet SubnetId=subnet-1
         DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         CreateTags Resources.1=nat-1 Tags.1.Key=a Tags.1.Value=b
         DeleteNatGateway NatGatewayId=nat-1
         DescribeNatGateways
         DescribeRouteTables RouteTableIds.1=rtb-1 | State NatGatewayId
         DescribeAddresses | PublicIp AssociationId
         DescribeNetworkInterfaces
         DeleteNatGateway NatGatewayId=nat-1",
    );
    expect![[r#"
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 ClientToken=once tag:natgateway:Name=out
          ClientToken=once NatGateway={AvailabilityMode=zonal ConnectivityType=public CreateTime=0 NatGatewayAddresses=[{AllocationId=eipalloc-1 AssociationId=eipassoc-1 IsPrimary=true NetworkInterfaceId=eni-1 PrivateIp=172.31.0.4 PublicIp=198.18.0.2 Status=associating}] NatGatewayId=nat-1 State=pending SubnetId=subnet-1 Tags=[{Key=Name Value=out}] VpcId=vpc-1}
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 ClientToken=once tag:natgateway:Name=out | NatGatewayId State
          NatGateway={NatGatewayId=nat-1 State=available}
        CreateNatGateway SubnetId=subnet-2 AllocationId=eipalloc-1 ClientToken=once
          refused IdempotentParameterMismatch: The client token 'once' was used before with different parameters.
        DescribeNatGateways Filter.1.Name=state Filter.1.Values.1=available Filter.2.Name=tag:Name Filter.2.Values.1=out
          NatGateways=[{AvailabilityMode=zonal ConnectivityType=public CreateTime=0 NatGatewayAddresses=[{AllocationId=eipalloc-1 AssociationId=eipassoc-1 IsPrimary=true NetworkInterfaceId=eni-1 PrivateIp=172.31.0.4 PublicIp=198.18.0.2 Status=succeeded}] NatGatewayId=nat-1 State=available SubnetId=subnet-1 Tags=[{Key=Name Value=out}] VpcId=vpc-1}]
        DescribeNetworkInterfaces
          NetworkInterfaces=[{Association={AllocationId=eipalloc-1 AssociationId=eipassoc-1 IpOwnerId=111122223333 PublicDnsName=ec2-198-18-0-2.us-west-2.compute.amazonaws.com PublicIp=198.18.0.2} Attachment={AttachTime=0 AttachmentId=ela-attach-1 DeleteOnTermination=false DeviceIndex=1 InstanceOwnerId=amazon-aws NetworkCardIndex=0 Status=attached} AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description="Interface for NAT Gateway nat-1" InterfaceType=nat_gateway MacAddress=02:65:3c:5d:a4:96 NetworkInterfaceId=eni-1 PrivateDnsName=ip-172-31-0-4.us-west-2.compute.internal PrivateIpAddress=172.31.0.4 PrivateIpAddresses=[{Association={AllocationId=eipalloc-1 AssociationId=eipassoc-1 IpOwnerId=111122223333 PublicDnsName=ec2-198-18-0-2.us-west-2.compute.amazonaws.com PublicIp=198.18.0.2} Primary=true PrivateDnsName=ip-172-31-0-4.us-west-2.compute.internal PrivateIpAddress=172.31.0.4}] RequesterId=111122223333 RequesterManaged=true SourceDestCheck=false Status=in-use SubnetId=subnet-1 VpcId=vpc-1}]
        DescribeAddresses
          Addresses=[{AllocationId=eipalloc-1 AssociationId=eipassoc-1 Domain=vpc NetworkBorderGroup=us-west-2 NetworkInterfaceId=eni-1 NetworkInterfaceOwnerId=111122223333 PrivateIpAddress=172.31.0.4 PublicIp=198.18.0.2 PublicIpv4Pool=amazon}]
        CreateRouteTable VpcId=vpc-1 | RouteTableId
          RouteTable={RouteTableId=rtb-1}
        CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NatGatewayId=nat-1
          Return=true
        DescribeRouteTables RouteTableIds.1=rtb-1 | State NatGatewayId
          RouteTables=[{Routes=[{State=active}, {NatGatewayId=nat-1 State=active}]}]
        DeleteNetworkInterface NetworkInterfaceId=eni-1
          refused InvalidNetworkInterface.InUse: Network interface 'eni-1' is currently in use.
        DetachNetworkInterface AttachmentId=ela-attach-1
          refused OperationNotPermitted: You are not allowed to manage 'ela-attach' attachments.
        ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 SourceDestCheck.Value=true
          refused OperationNotPermitted: You are not allowed to manage 'ela-attach' attachments.
        DisassociateAddress AssociationId=eipassoc-1
          refused AuthFailure: You do not have permission to access the specified resource.
        AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
          refused AuthFailure: You do not have permission to access the specified resource.
        ReleaseAddress AllocationId=eipalloc-1
          refused InvalidIPAddress.InUse: Address 198.18.0.2 is in use.
        DeleteSubnet SubnetId=subnet-1
          refused DependencyViolation: The subnet 'subnet-1' has dependencies and cannot be deleted.
        DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
          refused DependencyViolation: Network vpc-1 has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.
        CreateTags Resources.1=nat-1 Tags.1.Key=a Tags.1.Value=b
          nothing
        DeleteNatGateway NatGatewayId=nat-1
          NatGatewayId=nat-1
        DescribeNatGateways
          NatGateways=[{AvailabilityMode=zonal ConnectivityType=public CreateTime=0 DeleteTime=0 NatGatewayAddresses=[{AllocationId=eipalloc-1 AssociationId=eipassoc-1 IsPrimary=true NetworkInterfaceId=eni-1 PrivateIp=172.31.0.4 PublicIp=198.18.0.2 Status=succeeded}] NatGatewayId=nat-1 State=deleted SubnetId=subnet-1 Tags=[{Key=Name Value=out}, {Key=a Value=b}] VpcId=vpc-1}]
        DescribeRouteTables RouteTableIds.1=rtb-1 | State NatGatewayId
          RouteTables=[{Routes=[{State=active}, {NatGatewayId=nat-1 State=blackhole}]}]
        DescribeAddresses | PublicIp AssociationId
          Addresses=[{PublicIp=198.18.0.2}]
        DescribeNetworkInterfaces
          nothing
        DeleteNatGateway NatGatewayId=nat-1
          refused NatGatewayNotFound: The Nat Gateway nat-1 was not found
    "#]].assert_eq(&told);
}

#[test]
fn the_states_before_and_after_can_be_seen() {
    let mut world = world(&[(1, false)]);
    let state = "DescribeNatGateways | State";
    let create = "CreateNatGateway SubnetId=subnet-1 ConnectivityType=private PrivateIpAddress=172.31.0.9";
    let mut told = world.transcript(create);
    assert!(!settle(&mut world), "no host is connected");
    told.push_str(&world.transcript(state));
    let mut draft = Draft::of(&world.snap);
    draft.put(Host { connected: true, ..host(1) });
    world.apply(draft.change(()));
    assert!(settle(&mut world) && !settle(&mut world));
    told.push_str(&world.transcript(&format!("{state}\nDeleteNatGateway NatGatewayId=nat-1\n{state}")));
    told.push_str(&world.transcript("DeleteNatGateway NatGatewayId=nat-1\nDeleteSubnet SubnetId=subnet-1"));
    assert!(settle(&mut world) && !settle(&mut world));
    told.push_str(&world.transcript(&format!("{state}\nDeleteSubnet SubnetId=subnet-1")));
    expect![[r#"
        CreateNatGateway SubnetId=subnet-1 ConnectivityType=private PrivateIpAddress=172.31.0.9
          NatGateway={AvailabilityMode=zonal ConnectivityType=private CreateTime=0 NatGatewayAddresses=[{IsPrimary=true NetworkInterfaceId=eni-1 PrivateIp=172.31.0.9 Status=associating}] NatGatewayId=nat-1 State=pending SubnetId=subnet-1 VpcId=vpc-1}
        DescribeNatGateways | State
          NatGateways=[{State=pending}]
        DescribeNatGateways | State
          NatGateways=[{State=available}]
        DeleteNatGateway NatGatewayId=nat-1
          NatGatewayId=nat-1
        DescribeNatGateways | State
          NatGateways=[{State=deleting}]
        DeleteNatGateway NatGatewayId=nat-1
          NatGatewayId=nat-1
        DeleteSubnet SubnetId=subnet-1
          refused DependencyViolation: The subnet 'subnet-1' has dependencies and cannot be deleted.
        DescribeNatGateways | State
          NatGateways=[{State=deleted}]
        DeleteSubnet SubnetId=subnet-1
          nothing
    "#]].assert_eq(&told);
}

#[test]
fn what_prevents_a_gateway_shows_as_its_failure() {
    let mut world = world(&[(1, true)]);
    let told = settled(
        &mut world,
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-2 CidrBlock=10.0.0.0/28
         !AllocateAddress
         !CreateRouteTable VpcId=vpc-2
         CreateNatGateway SubnetId=subnet-4 AllocationId=eipalloc-1 | NatGatewayId State
         !CreateNetworkInterface SubnetId=subnet-1
         !AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 | NatGatewayId State
         DescribeNatGateways | NatGatewayId State FailureCode FailureMessage NatGatewayAddresses Status
         DescribeNetworkInterfaces | NetworkInterfaceId
         CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=1.0.0.0/8 NatGatewayId=nat-1
         DeleteNatGateway NatGatewayId=nat-1
         DescribeNatGateways NatGatewayIds.1=nat-1 | State",
    );
    expect![[r#"
        CreateNatGateway SubnetId=subnet-4 AllocationId=eipalloc-1 | NatGatewayId State
          NatGateway={NatGatewayId=nat-1 State=pending}
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 | NatGatewayId State
          NatGateway={NatGatewayId=nat-2 State=pending}
        DescribeNatGateways | NatGatewayId State FailureCode FailureMessage NatGatewayAddresses Status
          NatGateways=[{FailureCode=Gateway.NotAttached FailureMessage="Network vpc-2 has no Internet gateway attached" NatGatewayAddresses=[{AllocationId=eipalloc-1 IsPrimary=true PublicIp=198.18.0.2 Status=failed}] NatGatewayId=nat-1 State=failed}, {FailureCode=Resource.AlreadyAssociated FailureMessage="Elastic IP address [eipalloc-1] is already associated" NatGatewayAddresses=[{AllocationId=eipalloc-1 IsPrimary=true PublicIp=198.18.0.2 Status=failed}] NatGatewayId=nat-2 State=failed}]
        DescribeNetworkInterfaces | NetworkInterfaceId
          NetworkInterfaces=[{NetworkInterfaceId=eni-1}]
        CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=1.0.0.0/8 NatGatewayId=nat-1
          refused InvalidNatGatewayID.NotFound: The natGateway ID 'nat-1' does not exist
        DeleteNatGateway NatGatewayId=nat-1
          NatGatewayId=nat-1
        DescribeNatGateways NatGatewayIds.1=nat-1 | State
          NatGateways=[{State=deleted}]
    "#]].assert_eq(&told);
}

#[test]
fn a_full_subnet_fails_the_gateway() {
    let mut world = world(&[(1, true)]);
    world.transcript("!CreateVpc CidrBlock=10.0.0.0/16\n!CreateSubnet VpcId=vpc-2 CidrBlock=10.0.0.0/28");
    for _ in 0..11 {
        world.line("CreateNetworkInterface SubnetId=subnet-4").unwrap();
    }
    let told = settled(
        &mut world,
        "!CreateNatGateway SubnetId=subnet-4 ConnectivityType=private
         DescribeNatGateways | State FailureCode FailureMessage",
    );
    expect![[r#"
        DescribeNatGateways | State FailureCode FailureMessage
          NatGateways=[{FailureCode=InsufficientFreeAddressesInSubnet FailureMessage="The specified subnet does not have enough free addresses to satisfy the request." State=failed}]
    "#]].assert_eq(&told);
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let mut world = world(&[(1, true)]);
    let told = settled(
        &mut world,
        "CreateNatGateway SubnetId=subnet-1
         CreateNatGateway AllocationId=eipalloc-1
         CreateNatGateway SubnetId=subnet-0123456789abcdef0 AllocationId=eipalloc-1
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-0123456789abcdef0
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 ConnectivityType=private
         CreateNatGateway SubnetId=subnet-1 ConnectivityType=open
         CreateNatGateway VpcId=vpc-1 AvailabilityMode=regional
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 AvailabilityMode=regional
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 PrivateIpAddress=172.31.0.1
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 PrivateIpAddress=9.9.9.9
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 SecondaryPrivateIpAddressCount=1
         CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 tag:subnet:Name=x
         DescribeNatGateways NatGatewayIds.1=nat-0123456789abcdef0
         DescribeNatGateways NatGatewayIds.1=gateway
         DescribeNatGateways Filter.1.Name=color Filter.1.Values.1=red
         DeleteNatGateway NatGatewayId=nat-0123456789abcdef0
         DescribeNatGateways
         DescribeNetworkInterfaces",
    );
    expect![[r#"
        CreateNatGateway SubnetId=subnet-1
          refused MissingParameter: The request must include the AllocationId parameter. Add the required parameter and retry the request.
        CreateNatGateway AllocationId=eipalloc-1
          refused MissingParameter: The request must contain the parameter subnetId
        CreateNatGateway SubnetId=subnet-0123456789abcdef0 AllocationId=eipalloc-1
          refused InvalidSubnetID.NotFound: The subnet ID 'subnet-0123456789abcdef0' does not exist
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-0123456789abcdef0
          refused InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0123456789abcdef0' does not exist
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 ConnectivityType=private
          refused InvalidParameterCombination: AllocationId cannot be specified for a NAT Gateway with Connectivity Type private.
        CreateNatGateway SubnetId=subnet-1 ConnectivityType=open
          refused InvalidParameterValue: Value (open) for parameter connectivityType is invalid. Choose 'public' or 'private'.
        CreateNatGateway VpcId=vpc-1 AvailabilityMode=regional
          refused UnsupportedOperation: The parameter VpcId of CreateNatGateway is not supported.
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 AvailabilityMode=regional
          refused UnsupportedOperation: Regional NAT gateways are not supported.
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 PrivateIpAddress=172.31.0.1
          refused InvalidParameterValue: Address is in subnet's reserved address range
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 PrivateIpAddress=9.9.9.9
          refused InvalidParameterValue: Address does not fall within the subnet's address range
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 SecondaryPrivateIpAddressCount=1
          refused UnsupportedOperation: The parameter SecondaryPrivateIpAddressCount of CreateNatGateway is not supported.
        CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 tag:subnet:Name=x
          refused InvalidParameterValue: 'subnet' is not a valid taggable resource type for this operation.
        DescribeNatGateways NatGatewayIds.1=nat-0123456789abcdef0
          refused NatGatewayNotFound: The Nat Gateway nat-0123456789abcdef0 was not found
        DescribeNatGateways NatGatewayIds.1=gateway
          refused NatGatewayMalformed: Invalid id: "gateway" (expecting "nat-...")
        DescribeNatGateways Filter.1.Name=color Filter.1.Values.1=red
          refused InvalidParameterValue: The filter 'color' is invalid
        DeleteNatGateway NatGatewayId=nat-0123456789abcdef0
          refused NatGatewayNotFound: The Nat Gateway nat-0123456789abcdef0 was not found
        DescribeNatGateways
          nothing
        DescribeNetworkInterfaces
          nothing
    "#]].assert_eq(&told);
}

#[test]
fn a_zone_has_a_quota_of_gateways_and_a_vpc_one_host() {
    let mut world = world(&[(2, true)]);
    let create = "CreateNatGateway SubnetId=subnet-1 ConnectivityType=private";
    world.line(create).unwrap();
    settle(&mut world);
    // A host with a lower id takes no gateway of a VPC that has one elsewhere.
    let mut draft = Draft::of(&world.snap);
    draft.put(Host { connected: true, ..host(1) });
    world.apply(draft.change(()));
    for _ in 1..5 {
        world.line(create).unwrap();
    }
    assert_eq!(
        world.line(create).unwrap_err().to_string(),
        "NatGatewayLimitExceeded: Performing this operation would exceed the limit of 5 NAT gateways"
    );
    world.line("CreateNatGateway SubnetId=subnet-2 ConnectivityType=private").unwrap();
    settle(&mut world);
    let on: Vec<_> = world.snap.vpc().nat_gateways.values().map(|gateway| gateway.host.clone()).collect();
    assert_eq!(on, vec![Some(host(2).id); 6]);
    let first = world.snap.vpc().nat_gateways.keys().next().unwrap().clone();
    world.line(&format!("DeleteNatGateway NatGatewayId={first}")).unwrap();
    assert!(world.line(create).is_err(), "the gateway is still deleting");
    settle(&mut world);
    world.line(create).unwrap();
}

#[test]
fn an_ended_gateway_is_described_for_an_hour() {
    let mut world = world(&[(1, true)]);
    let mut ages = Ages::default();
    settled(
        &mut world,
        "!CreateNatGateway SubnetId=subnet-1 ConnectivityType=private\n!DeleteNatGateway NatGatewayId=nat-1",
    );
    let mut shown = Vec::new();
    for minutes in [0, 60, 61] {
        let over = ages.look(&world.snap, minutes * 60_000);
        let change = expire(&world.snap, &over, &world.env());
        world.apply(change);
        shown.push(world.snap.vpc().nat_gateways.len());
    }
    assert_eq!(shown, [1, 1, 0]);
    assert_eq!(world.snap.vpc().index().ended_nat_gateways.len(), 0);
}
