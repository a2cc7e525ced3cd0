// SPDX-License-Identifier: Apache-2.0
//! Route tables and routes.

use super::{World, check};
use expect_test::expect;

const PREPARED: &str = "!CreateVpc CidrBlock=10.0.0.0/16
    !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
    !CreateInternetGateway
    !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
    !CreateRouteTable VpcId=vpc-1";

#[test]
fn a_route_whose_gateway_is_gone_is_a_blackhole() {
    check(
        &format!(
            "{PREPARED}
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
             DescribeRouteTables RouteTableIds.1=rtb-1
             !DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
             DescribeRouteTables filter:route.state=blackhole
             !DeleteInternetGateway InternetGatewayId=igw-1
             !DescribeRouteTables filter:route.gateway-id=igw-1
             DeleteRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0
             DescribeRouteTables RouteTableIds.1=rtb-1"
        ),
        expect![[r#"
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
              Return=true
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
              Return=true
            DescribeRouteTables RouteTableIds.1=rtb-1
              RouteTables=[{RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1 Origin=CreateRoute State=active}] VpcId=vpc-1}]
            DescribeRouteTables filter:route.state=blackhole
              RouteTables=[{RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1 Origin=CreateRoute State=blackhole}] VpcId=vpc-1}]
            DeleteRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0
              nothing
            DescribeRouteTables RouteTableIds.1=rtb-1
              RouteTables=[{RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}] VpcId=vpc-1}]
        "#]],
    );
}

#[test]
fn routes_that_cannot_be_are_refused() {
    check(
        &format!(
            "{PREPARED}
             !CreateInternetGateway
             !CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.9.9/16 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.0.0/16 GatewayId=igw-2
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-2
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-0123456789abcdef0
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NatGatewayId=nat-0123456789abcdef0
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-0123456789abcdef0
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0
             CreateRoute RouteTableId=rtb-1 DestinationIpv6CidrBlock=::/0 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=anywhere GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/24 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-0123456789abcdef0 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.0.0/16 GatewayId=igw-1
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.0.0/16 LocalTarget=true
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 LocalTarget=true
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 GatewayId=igw-1
             DeleteRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0
             DeleteRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16"
        ),
        expect![[r#"
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.0.0/16 GatewayId=igw-2
              refused InvalidParameterValue: route table rtb-1 and network gateway igw-2 belong to different networks
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-2
              refused InvalidParameterValue: route table rtb-1 and network gateway igw-2 belong to different networks
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-0123456789abcdef0
              refused InvalidGatewayID.NotFound: The gateway ID 'igw-0123456789abcdef0' does not exist
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NatGatewayId=nat-0123456789abcdef0
              refused InvalidNatGatewayID.NotFound: The natGateway ID 'nat-0123456789abcdef0' does not exist
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-0123456789abcdef0
              refused InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0123456789abcdef0' does not exist
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0
              refused MissingParameter: The request must contain the parameter gatewayId
            CreateRoute RouteTableId=rtb-1 DestinationIpv6CidrBlock=::/0 GatewayId=igw-1
              refused UnsupportedOperation: The parameter DestinationIpv6CidrBlock of CreateRoute is not supported.
            CreateRoute RouteTableId=rtb-1 GatewayId=igw-1
              refused MissingParameter: The request must contain the parameter destinationCidrBlock
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=anywhere GatewayId=igw-1
              refused InvalidParameterValue: Value (anywhere) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/24 GatewayId=igw-1
              refused InvalidParameterValue: The destination CIDR block 10.0.0.0/24 is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.
            CreateRoute RouteTableId=rtb-0123456789abcdef0 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
              refused InvalidRouteTableID.NotFound: The routeTable ID 'rtb-0123456789abcdef0' does not exist
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
              refused InvalidRoute.NotFound: no route with destination-cidr-block 0.0.0.0/0 in route table rtb-1
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.0.0/16 GatewayId=igw-1
              nothing
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.0.0/16 LocalTarget=true
              refused InvalidParameterValue: The local target is only for the local route.
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 LocalTarget=true
              nothing
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 GatewayId=igw-1
              refused InvalidParameterValue: The destination CIDR block 10.0.0.0/16 is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.
            DeleteRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0
              refused InvalidRoute.NotFound: no route with destination-cidr-block 0.0.0.0/0 in route table rtb-1
            DeleteRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16
              refused InvalidParameterValue: cannot remove local route 10.0.0.0/16 in route table rtb-1
        "#]],
    );
}

#[test]
fn a_table_holds_fifty_routes() {
    let mut world = super::World::empty();
    world.transcript(PREPARED);
    let route =
        |n: u32| format!("CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.{n}.0/24 GatewayId=igw-1");
    (0..50).for_each(|n| drop(world.line(&route(n)).unwrap()));
    expect![[r#"
        CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.50.0/24 GatewayId=igw-1
          refused RouteLimitExceeded: The maximum number of routes for route table 'rtb-1' has been reached.
    "#]]
    .assert_eq(&world.transcript(&route(50)));
}

#[test]
fn a_subnet_uses_one_table() {
    check(
        &format!(
            "{PREPARED}
             !CreateRouteTable VpcId=vpc-1
             !CreateVpc CidrBlock=10.1.0.0/16
             !CreateRouteTable VpcId=vpc-2
             AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-1
             AssociateRouteTable RouteTableId=rtb-2 SubnetId=subnet-1
             AssociateRouteTable RouteTableId=rtb-3 SubnetId=subnet-1
             AssociateRouteTable RouteTableId=rtb-1 GatewayId=igw-1
             AssociateRouteTable RouteTableId=rtb-1
             DeleteRouteTable RouteTableId=rtb-1
             ReplaceRouteTableAssociation AssociationId=rtbassoc-1 RouteTableId=rtb-3
             ReplaceRouteTableAssociation AssociationId=rtbassoc-1 RouteTableId=rtb-2
             DescribeRouteTables filter:association.subnet-id=subnet-1
             DisassociateRouteTable AssociationId=rtbassoc-1
             DisassociateRouteTable AssociationId=rtbassoc-2
             DisassociateRouteTable AssociationId=association
             DeleteRouteTable RouteTableId=rtb-2
             DeleteRouteTable RouteTableId=rtb-2"
        ),
        expect![[r#"
            AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-1
              AssociationId=rtbassoc-1 AssociationState={State=associated}
            AssociateRouteTable RouteTableId=rtb-2 SubnetId=subnet-1
              refused Resource.AlreadyAssociated: the specified association for route table rtb-2 conflicts with an existing association
            AssociateRouteTable RouteTableId=rtb-3 SubnetId=subnet-1
              refused InvalidParameterValue: route table rtb-3 and subnet subnet-1 belong to different networks
            AssociateRouteTable RouteTableId=rtb-1 GatewayId=igw-1
              refused UnsupportedOperation: The parameter GatewayId of AssociateRouteTable is not supported.
            AssociateRouteTable RouteTableId=rtb-1
              refused MissingParameter: The request must contain the parameter subnetId
            DeleteRouteTable RouteTableId=rtb-1
              refused DependencyViolation: The routeTable 'rtb-1' has dependencies and cannot be deleted.
            ReplaceRouteTableAssociation AssociationId=rtbassoc-1 RouteTableId=rtb-3
              refused InvalidParameterValue: route table rtb-3 and route table rtb-1 belong to different networks
            ReplaceRouteTableAssociation AssociationId=rtbassoc-1 RouteTableId=rtb-2
              AssociationState={State=associated} NewAssociationId=rtbassoc-2
            DescribeRouteTables filter:association.subnet-id=subnet-1
              RouteTables=[{Associations=[{AssociationState={State=associated} Main=false RouteTableAssociationId=rtbassoc-2 RouteTableId=rtb-2 SubnetId=subnet-1}] RouteTableId=rtb-2 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}] VpcId=vpc-1}]
            DisassociateRouteTable AssociationId=rtbassoc-1
              refused InvalidAssociationID.NotFound: The association ID 'rtbassoc-1' does not exist
            DisassociateRouteTable AssociationId=rtbassoc-2
              nothing
            DisassociateRouteTable AssociationId=association
              refused InvalidAssociationID.Malformed: Invalid id: "association" (expecting "rtbassoc-...")
            DeleteRouteTable RouteTableId=rtb-2
              nothing
            DeleteRouteTable RouteTableId=rtb-2
              refused InvalidRouteTableID.NotFound: The routeTable ID 'rtb-2' does not exist
        "#]],
    );
}

#[test]
fn another_table_can_become_the_main_one() {
    check(
        &format!(
            "{PREPARED}
             !DescribeRouteTables filter:association.main=true
             DisassociateRouteTable AssociationId=rtbassoc-1
             DeleteRouteTable RouteTableId=rtb-2
             ReplaceRouteTableAssociation AssociationId=rtbassoc-1 RouteTableId=rtb-1
             DescribeRouteTables filter:association.main=true
             DeleteRouteTable RouteTableId=rtb-2"
        ),
        expect![[r#"
            DisassociateRouteTable AssociationId=rtbassoc-1
              refused InvalidParameterValue: cannot disassociate the main route table association rtbassoc-1
            DeleteRouteTable RouteTableId=rtb-2
              refused DependencyViolation: The routeTable 'rtb-2' has dependencies and cannot be deleted.
            ReplaceRouteTableAssociation AssociationId=rtbassoc-1 RouteTableId=rtb-1
              AssociationState={State=associated} NewAssociationId=rtbassoc-2
            DescribeRouteTables filter:association.main=true
              RouteTables=[{Associations=[{AssociationState={State=associated} Main=true RouteTableAssociationId=rtbassoc-2 RouteTableId=rtb-1}] RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}] VpcId=vpc-1}]
            DeleteRouteTable RouteTableId=rtb-2
              nothing
        "#]],
    );
}

#[test]
fn a_client_token_makes_one_table() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateVpc CidrBlock=10.1.0.0/16
         CreateRouteTable VpcId=vpc-1 ClientToken=t
         CreateRouteTable VpcId=vpc-1 ClientToken=t
         CreateRouteTable VpcId=vpc-2 ClientToken=t",
        expect![[r#"
            CreateRouteTable VpcId=vpc-1 ClientToken=t
              ClientToken=t RouteTable={RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}] VpcId=vpc-1}
            CreateRouteTable VpcId=vpc-1 ClientToken=t
              ClientToken=t RouteTable={RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}] VpcId=vpc-1}
            CreateRouteTable VpcId=vpc-2 ClientToken=t
              refused IdempotentParameterMismatch: The client token 't' was used before with different parameters.
        "#]],
    );
}

/// A VPC with a subnet whose interface a shell holds.
const WITH_INTERFACE: &str = "!CreateVpc CidrBlock=10.0.0.0/16
    !CreateVpc CidrBlock=10.1.0.0/16
    !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
    !CreateSubnet VpcId=vpc-2 CidrBlock=10.1.0.0/24
    !CreateInternetGateway
    !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
    !CreateNetworkInterface SubnetId=subnet-1
    !CreateNetworkInterface SubnetId=subnet-2
    !CreateRouteTable VpcId=vpc-1";

#[test]
fn a_route_to_an_interface_can_be_inside_the_vpc() {
    check(
        &format!(
            "{WITH_INTERFACE}
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 NetworkInterfaceId=eni-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/24 NetworkInterfaceId=eni-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/25 NetworkInterfaceId=eni-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-2
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 InstanceId=i-0123456789abcdef0
             !CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 NetworkInterfaceId=eni-1
             DescribeRouteTables filter:route.network-interface-id=eni-1 | Routes
             ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 LocalTarget=true
             !DeleteNetworkInterface NetworkInterfaceId=eni-1
             DescribeRouteTables RouteTableIds.1=rtb-1 | Routes"
        ),
        expect![[r#"
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 NetworkInterfaceId=eni-1
              refused RouteAlreadyExists: The route identified by 10.0.0.0/16 already exists.
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/24 NetworkInterfaceId=eni-1
              Return=true
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/25 NetworkInterfaceId=eni-1
              refused InvalidParameterValue: The destination CIDR block 10.0.0.0/25 is more specific than one of this VPC's CIDR blocks. It must be equal to the CIDR block of a subnet.
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-2
              refused InvalidParameterValue: route table rtb-1 and interface eni-2 belong to different networks
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1 GatewayId=igw-1
              refused InvalidParameterCombination: The parameter gatewayId cannot be used with the parameter networkInterfaceId
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 InstanceId=i-0123456789abcdef0
              refused InvalidInstanceID.NotFound: The instance ID 'i-0123456789abcdef0' does not exist
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1
              refused RouteAlreadyExists: The route identified by 0.0.0.0/0 already exists.
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1
              nothing
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 NetworkInterfaceId=eni-1
              nothing
            DescribeRouteTables filter:route.network-interface-id=eni-1 | Routes
              RouteTables=[{Routes=[{DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1 Origin=CreateRoute State=blackhole}, {DestinationCidrBlock=10.0.0.0/16 NetworkInterfaceId=eni-1 Origin=CreateRouteTable State=blackhole}, {DestinationCidrBlock=10.0.0.0/24 NetworkInterfaceId=eni-1 Origin=CreateRoute State=blackhole}]}]
            ReplaceRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/16 LocalTarget=true
              nothing
            DescribeRouteTables RouteTableIds.1=rtb-1 | Routes
              RouteTables=[{Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1 Origin=CreateRoute State=blackhole}, {DestinationCidrBlock=10.0.0.0/24 NetworkInterfaceId=eni-1 Origin=CreateRoute State=blackhole}]}]
        "#]],
    );
}

#[test]
fn a_route_leads_to_the_only_interface_of_an_instance() {
    let mut world = World::with_default_vpc();
    let asked = berth_types::instance::InstanceInterface { subnets: Vec::new(), security_groups: Vec::new() };
    world.connect(&berth_types::link::Hello { instance_interface: Some(asked), ..berth_world::hello(1) });
    world.transcript("!DescribeInstances\n!DescribeRouteTables\n!DescribeSubnets");
    let shown = world.transcript(
        "CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.9.0.0/16 InstanceId=i-1
         CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.8.0.0/16 InstanceId=i-0123456789abcdef0
         DescribeRouteTables filter:route.instance-id=i-1 | InstanceId NetworkInterfaceId
         !CreateVpc CidrBlock=10.0.0.0/16
         !CreateRouteTable VpcId=vpc-2
         CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=10.8.0.0/16 InstanceId=i-1",
    );
    expect![[r#"
        CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.9.0.0/16 InstanceId=i-1
          Return=true
        CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.8.0.0/16 InstanceId=i-0123456789abcdef0
          refused InvalidInstanceID.NotFound: The instance ID 'i-0123456789abcdef0' does not exist
        DescribeRouteTables filter:route.instance-id=i-1 | InstanceId NetworkInterfaceId
          RouteTables=[{Routes=[{InstanceId=i-1 NetworkInterfaceId=eni-1}]}]
        CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=10.8.0.0/16 InstanceId=i-1
          refused InvalidParameterValue: route table rtb-2 and interface eni-1 belong to different networks
    "#]]
    .assert_eq(&shown);
}
