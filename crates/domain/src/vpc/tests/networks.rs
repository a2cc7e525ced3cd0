//! VPCs and their attributes.

use super::check;
use expect_test::expect;

#[test]
fn a_vpc_comes_with_a_main_route_table_and_a_default_group() {
    check(
        "CreateVpc CidrBlock=10.0.1.7/16 tag:vpc:Name=lab InstanceTenancy=default AmazonProvidedIpv6CidrBlock=false
         DescribeVpcs VpcIds.1=vpc-1
         DescribeRouteTables filter:vpc-id=vpc-1 filter:association.main=true
         DescribeSecurityGroups filter:vpc-id=vpc-1",
        expect![[]],
    );
}

#[test]
fn a_vpc_that_cannot_be_is_refused() {
    check(
        "CreateVpc
         CreateVpc CidrBlock=10.0.0.0/8
         CreateVpc CidrBlock=10.0.0.0/29
         CreateVpc CidrBlock=169.254.0.0/20
         CreateVpc CidrBlock=10.0.0.0
         CreateVpc CidrBlock=10.0.0.0/16 InstanceTenancy=dedicated
         CreateVpc CidrBlock=10.0.0.0/16 AmazonProvidedIpv6CidrBlock=true
         CreateVpc CidrBlock=10.0.0.0/16 tag:subnet:Name=lab",
        expect![[]],
    );
}

#[test]
fn a_vpc_goes_when_it_is_empty() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         DeleteVpc VpcId=vpc-1
         !DeleteSubnet SubnetId=subnet-1
         !CreateInternetGateway
         !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         !DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         !DeleteSecurityGroup GroupId=sg-1
         !CreateRouteTable VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         !DeleteRouteTable RouteTableId=rtb-1
         DeleteVpc VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         DeleteVpc VpcId=vpc-x
         DeleteVpc
         DescribeVpcs
         DescribeRouteTables
         DescribeSecurityGroups",
        expect![[]],
    );
}

#[test]
fn attributes_are_set_and_read_one_at_a_time() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsSupport
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
         ModifyVpcAttribute VpcId=vpc-1 EnableDnsHostnames.Value=true
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
         ModifyVpcAttribute VpcId=vpc-1 EnableDnsSupport.Value=false
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsSupport
         ModifyVpcAttribute VpcId=vpc-1 EnableNetworkAddressUsageMetrics.Value=true
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableNetworkAddressUsageMetrics
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableNothing
         ModifyVpcAttribute VpcId=vpc-1
         ModifyVpcAttribute VpcId=vpc-1 EnableDnsSupport.Value=true EnableDnsHostnames.Value=true
         ModifyVpcAttribute VpcId=vpc-0123456789abcdef0 EnableDnsSupport.Value=true",
        expect![[]],
    );
}
