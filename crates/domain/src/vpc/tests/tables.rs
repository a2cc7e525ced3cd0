//! Route tables and routes.

use super::check;
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
        expect![[]],
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
        expect![[]],
    );
}

#[test]
fn a_table_holds_fifty_routes() {
    let mut world = super::World::default();
    world.transcript(PREPARED);
    let route =
        |n: u32| format!("CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=192.168.{n}.0/24 GatewayId=igw-1");
    (0..50).for_each(|n| drop(world.call(&route(n)).unwrap()));
    expect![[]].assert_eq(&world.transcript(&route(50)));
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
        expect![[]],
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
        expect![[]],
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
        expect![[]],
    );
}
