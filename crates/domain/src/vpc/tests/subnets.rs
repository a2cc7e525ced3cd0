//! Subnets.

use super::check;
use expect_test::expect;

#[test]
fn a_subnet_lies_in_the_emptiest_zone_unless_one_is_named() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.9/24 tag:subnet:Name=one
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.2.0/24 AvailabilityZoneId=usw2-az3
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.3.0/28 AvailabilityZone=us-west-2b
         DescribeSubnets filter:availability-zone=us-west-2b
         DescribeSubnets filter:availability-zone-id=usw2-az3 filter:cidr-block=10.0.2.*",
        expect![[]],
    );
}

#[test]
fn a_subnet_that_cannot_be_is_refused() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         CreateSubnet VpcId=vpc-1
         CreateSubnet VpcId=vpc-1 CidrBlock=10.1.0.0/24
         CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/29
         CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.128/25
         CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24 AvailabilityZone=us-west-2z
         CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24 AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az2
         CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24 Ipv6CidrBlock=2001:db8::/64
         CreateSubnet VpcId=vpc-0123456789abcdef0 CidrBlock=10.0.1.0/24",
        expect![[]],
    );
}

#[test]
fn attributes_of_a_subnet() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         ModifySubnetAttribute SubnetId=subnet-1 MapPublicIpOnLaunch.Value=true
         ModifySubnetAttribute SubnetId=subnet-1 AssignIpv6AddressOnCreation.Value=false
         ModifySubnetAttribute SubnetId=subnet-1 PrivateDnsHostnameTypeOnLaunch=ip-name
         DescribeSubnets filter:map-public-ip-on-launch=true
         ModifySubnetAttribute SubnetId=subnet-1
         ModifySubnetAttribute SubnetId=subnet-1 MapPublicIpOnLaunch.Value=true EnableDns64.Value=false
         ModifySubnetAttribute SubnetId=subnet-1 EnableDns64.Value=true
         ModifySubnetAttribute SubnetId=subnet-1 PrivateDnsHostnameTypeOnLaunch=resource-name",
        expect![[]],
    );
}

#[test]
fn a_subnet_goes_when_no_interface_is_left_and_takes_its_association_along() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         !CreateRouteTable VpcId=vpc-1
         !AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-1
         !CreateNetworkInterface SubnetId=subnet-1
         DeleteSubnet SubnetId=subnet-1
         !DeleteNetworkInterface NetworkInterfaceId=eni-1
         DeleteSubnet SubnetId=subnet-1
         DeleteSubnet SubnetId=subnet-1
         DeleteRouteTable RouteTableId=rtb-1",
        expect![[]],
    );
}
