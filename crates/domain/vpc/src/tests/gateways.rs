// SPDX-License-Identifier: Apache-2.0
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
        expect![[r#"
            CreateInternetGateway tag:internet-gateway:Name=out
              InternetGateway={InternetGatewayId=igw-1 Tags=[{Key=Name Value=out}]}
            AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
              nothing
            DescribeInternetGateways filter:attachment.vpc-id=vpc-1 filter:attachment.state=available
              InternetGateways=[{Attachments=[{State=available VpcId=vpc-1}] InternetGatewayId=igw-1 Tags=[{Key=Name Value=out}]}]
            AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-2
              refused Resource.AlreadyAssociated: resource igw-1 is already attached to network vpc-1
            AttachInternetGateway InternetGatewayId=igw-2 VpcId=vpc-1
              refused InvalidParameterValue: Network vpc-1 already has an internet gateway attached
            DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-2
              refused Gateway.NotAttached: resource igw-1 is not attached to network vpc-2
            DeleteInternetGateway InternetGatewayId=igw-1
              refused DependencyViolation: The internetGateway 'igw-1' has dependencies and cannot be deleted.
            DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
              nothing
            DeleteInternetGateway InternetGatewayId=igw-1
              nothing
            DeleteInternetGateway InternetGatewayId=igw-1
              refused InvalidInternetGatewayID.NotFound: The internetGateway ID 'igw-1' does not exist
            AttachInternetGateway InternetGatewayId=igw-2
              refused MissingParameter: The request must contain the parameter vpcId
            AttachInternetGateway InternetGatewayId=igw-2 VpcId=vpc-0123456789abcdef0
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
            AttachInternetGateway InternetGatewayId=gateway VpcId=vpc-1
              refused InvalidInternetGatewayId.Malformed: Invalid id: "gateway" (expecting "igw-...")
        "#]],
    );
}
