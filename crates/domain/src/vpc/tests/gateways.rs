//! Internet gateways.

use super::check;
use expect_test::expect;

#[test]
fn one_gateway_for_one_vpc() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateVpc CidrBlock=10.1.0.0/16
         CreateInternetGateway tag:internet-gateway:Name=out
         !CreateInternetGateway
         AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         DescribeInternetGateways filter:attachment.vpc-id=vpc-1 filter:attachment.state=available
         AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-2
         AttachInternetGateway InternetGatewayId=igw-2 VpcId=vpc-1
         DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-2
         DeleteInternetGateway InternetGatewayId=igw-1
         DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         DeleteInternetGateway InternetGatewayId=igw-1
         DeleteInternetGateway InternetGatewayId=igw-1
         AttachInternetGateway InternetGatewayId=igw-2
         AttachInternetGateway InternetGatewayId=igw-2 VpcId=vpc-0123456789abcdef0
         AttachInternetGateway InternetGatewayId=gateway VpcId=vpc-1",
        expect![[]],
    );
}
