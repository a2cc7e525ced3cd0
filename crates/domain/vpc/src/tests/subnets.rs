// SPDX-License-Identifier: Apache-2.0
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
        expect![[r#"
            CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.9/24 tag:subnet:Name=one
              Subnet={AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 AvailableIpAddressCount=251 CidrBlock=10.0.0.0/24 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=false PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-1 SubnetId=subnet-1 Tags=[{Key=Name Value=one}] VpcId=vpc-1}
            DescribeSubnets filter:availability-zone=us-west-2b
              Subnets=[{AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2b AvailabilityZoneId=usw2-az2 AvailableIpAddressCount=11 CidrBlock=10.0.3.0/28 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=false PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-4 SubnetId=subnet-4 VpcId=vpc-1}, {AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2b AvailabilityZoneId=usw2-az2 AvailableIpAddressCount=251 CidrBlock=10.0.1.0/24 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=false PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-2 SubnetId=subnet-2 VpcId=vpc-1}]
            DescribeSubnets filter:availability-zone-id=usw2-az3 filter:cidr-block=10.0.2.*
              Subnets=[{AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2c AvailabilityZoneId=usw2-az3 AvailableIpAddressCount=251 CidrBlock=10.0.2.0/24 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=false PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-3 SubnetId=subnet-3 VpcId=vpc-1}]
        "#]],
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
        expect![[r#"
            CreateSubnet VpcId=vpc-1
              refused MissingParameter: The request must contain the parameter cidrBlock
            CreateSubnet VpcId=vpc-1 CidrBlock=10.1.0.0/24
              refused InvalidSubnet.Range: The CIDR '10.1.0.0/24' is invalid.
            CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/29
              refused InvalidSubnet.Range: The CIDR '10.0.0.0/29' is invalid.
            CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.128/25
              refused InvalidSubnet.Conflict: The CIDR '10.0.0.128/25' conflicts with another subnet
            CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24 AvailabilityZone=us-west-2z
              refused InvalidParameterValue: Value (us-west-2z) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: us-west-2a, us-west-2b, us-west-2c.
            CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24 AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az2
              refused InvalidParameterValue: AvailabilityZone and AvailabilityZoneId do not name the same zone.
            CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24 Ipv6CidrBlock=2001:db8::/64
              refused UnsupportedOperation: The parameter Ipv6CidrBlock of CreateSubnet is not supported.
            CreateSubnet VpcId=vpc-0123456789abcdef0 CidrBlock=10.0.1.0/24
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
        "#]],
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
        expect![[r#"
            ModifySubnetAttribute SubnetId=subnet-1 MapPublicIpOnLaunch.Value=true
              nothing
            ModifySubnetAttribute SubnetId=subnet-1 AssignIpv6AddressOnCreation.Value=false
              nothing
            ModifySubnetAttribute SubnetId=subnet-1 PrivateDnsHostnameTypeOnLaunch=ip-name
              nothing
            DescribeSubnets filter:map-public-ip-on-launch=true
              Subnets=[{AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 AvailableIpAddressCount=251 CidrBlock=10.0.0.0/24 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=true PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-1 SubnetId=subnet-1 VpcId=vpc-1}]
            ModifySubnetAttribute SubnetId=subnet-1
              refused InvalidParameterCombination: No attributes specified.
            ModifySubnetAttribute SubnetId=subnet-1 MapPublicIpOnLaunch.Value=true EnableDns64.Value=false
              refused InvalidParameterCombination: Fields for multiple attribute types specified
            ModifySubnetAttribute SubnetId=subnet-1 EnableDns64.Value=true
              refused UnsupportedOperation: The parameter EnableDns64 of ModifySubnetAttribute is not supported.
            ModifySubnetAttribute SubnetId=subnet-1 PrivateDnsHostnameTypeOnLaunch=resource-name
              refused UnsupportedOperation: The hostname type 'resource-name' is not supported; use 'ip-name'.
        "#]],
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
        expect![[r#"
            DeleteSubnet SubnetId=subnet-1
              refused DependencyViolation: The subnet 'subnet-1' has dependencies and cannot be deleted.
            DeleteSubnet SubnetId=subnet-1
              nothing
            DeleteSubnet SubnetId=subnet-1
              refused InvalidSubnetID.NotFound: The subnet ID 'subnet-1' does not exist
            DeleteRouteTable RouteTableId=rtb-1
              nothing
        "#]],
    );
}
