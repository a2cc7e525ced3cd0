// SPDX-License-Identifier: Apache-2.0
//! What a region has from the start.

use super::{World, check, check_with_default_vpc};
use crate::ensure_default_network;
use expect_test::expect;

#[test]
fn the_first_start_makes_the_default_vpc() {
    check_with_default_vpc(
        "DescribeVpcs filter:is-default=true
         DescribeSubnets filter:default-for-az=true
         DescribeInternetGateways
         DescribeRouteTables
         DescribeSecurityGroups
         DescribeAccountAttributes AttributeNames.1=default-vpc
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
         CreateDefaultVpc",
        expect![[r#"
            DescribeVpcs filter:is-default=true
              Vpcs=[{CidrBlock=172.31.0.0/16 CidrBlockAssociationSet=[{AssociationId=vpc-cidr-assoc-1 CidrBlock=172.31.0.0/16 CidrBlockState={State=associated}}] DhcpOptionsId=default InstanceTenancy=default IsDefault=true State=available VpcId=vpc-1}]
            DescribeSubnets filter:default-for-az=true
              Subnets=[{AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 AvailableIpAddressCount=4091 CidrBlock=172.31.0.0/20 DefaultForAz=true EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=true PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-1 SubnetId=subnet-1 VpcId=vpc-1}, {AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2b AvailabilityZoneId=usw2-az2 AvailableIpAddressCount=4091 CidrBlock=172.31.16.0/20 DefaultForAz=true EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=true PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-2 SubnetId=subnet-2 VpcId=vpc-1}, {AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2c AvailabilityZoneId=usw2-az3 AvailableIpAddressCount=4091 CidrBlock=172.31.32.0/20 DefaultForAz=true EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=true PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-3 SubnetId=subnet-3 VpcId=vpc-1}]
            DescribeInternetGateways
              InternetGateways=[{Attachments=[{State=available VpcId=vpc-1}] InternetGatewayId=igw-1}]
            DescribeRouteTables
              RouteTables=[{Associations=[{AssociationState={State=associated} Main=true RouteTableAssociationId=rtbassoc-1 RouteTableId=rtb-1}] RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=172.31.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1 Origin=CreateRoute State=active}] VpcId=vpc-1}]
            DescribeSecurityGroups
              SecurityGroups=[{Description="default VPC security group" GroupId=sg-1 GroupName=default IpPermissions=[{IpProtocol=-1 UserIdGroupPairs=[{GroupId=sg-1 UserId=111122223333}]}] IpPermissionsEgress=[{IpProtocol=-1 IpRanges=[{CidrIp=0.0.0.0/0}]}] SecurityGroupArn=arn:aws:ec2:us-west-2:111122223333:security-group/sg-1 VpcId=vpc-1}]
            DescribeAccountAttributes AttributeNames.1=default-vpc
              AccountAttributes=[{AttributeName=default-vpc AttributeValues=[{AttributeValue=vpc-1}]}]
            DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
              EnableDnsHostnames={Value=true} VpcId=vpc-1
            CreateDefaultVpc
              refused DefaultVpcAlreadyExists: A Default VPC already exists for this account in this region.
        "#]],
    );
}

#[test]
fn a_deleted_default_vpc_comes_back_only_when_asked_for() {
    let mut world = World::with_default_vpc();
    world.transcript(
        "!DescribeVpcs
         !DescribeSubnets
         !DescribeInternetGateways
         !DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         !DeleteInternetGateway InternetGatewayId=igw-1
         !DeleteSubnet SubnetId=subnet-1
         !DeleteSubnet SubnetId=subnet-2
         !DeleteSubnet SubnetId=subnet-3
         !DeleteVpc VpcId=vpc-1",
    );
    assert!(ensure_default_network(&world.snap, &world.env()).writes.is_empty());
    assert!(world.snap.vpc().vpcs.is_empty());
    expect![[r#"
        CreateDefaultVpc
          Vpc={CidrBlock=172.31.0.0/16 CidrBlockAssociationSet=[{AssociationId=vpc-cidr-assoc-2 CidrBlock=172.31.0.0/16 CidrBlockState={State=associated}}] DhcpOptionsId=default InstanceTenancy=default IsDefault=true State=available VpcId=vpc-2}
    "#]].assert_eq(&world.transcript("CreateDefaultVpc"));
    assert_eq!(world.snap.vpc().subnets.len(), 3);
}

#[test]
fn zones_regions_and_account() {
    check(
        "DescribeAvailabilityZones
         DescribeAvailabilityZones ZoneNames.1=us-west-2b
         DescribeAvailabilityZones ZoneIds.1=usw2-az3 filter:state=available
         DescribeAvailabilityZones filter:zone-name=*c
         DescribeAvailabilityZones ZoneNames.1=us-west-2z
         DescribeAvailabilityZones ZoneIds.1=use1-az1
         DescribeRegions
         DescribeRegions RegionNames.1=eu-west-1
         DescribeAccountAttributes
         DescribeAccountAttributes AttributeNames.1=colour",
        expect![[r#"
            DescribeAvailabilityZones
              AvailabilityZones=[{GroupName=us-west-2-zg-1 NetworkBorderGroup=us-west-2 OptInStatus=opt-in-not-required RegionName=us-west-2 State=available ZoneId=usw2-az1 ZoneName=us-west-2a ZoneType=availability-zone}, {GroupName=us-west-2-zg-1 NetworkBorderGroup=us-west-2 OptInStatus=opt-in-not-required RegionName=us-west-2 State=available ZoneId=usw2-az2 ZoneName=us-west-2b ZoneType=availability-zone}, {GroupName=us-west-2-zg-1 NetworkBorderGroup=us-west-2 OptInStatus=opt-in-not-required RegionName=us-west-2 State=available ZoneId=usw2-az3 ZoneName=us-west-2c ZoneType=availability-zone}]
            DescribeAvailabilityZones ZoneNames.1=us-west-2b
              AvailabilityZones=[{GroupName=us-west-2-zg-1 NetworkBorderGroup=us-west-2 OptInStatus=opt-in-not-required RegionName=us-west-2 State=available ZoneId=usw2-az2 ZoneName=us-west-2b ZoneType=availability-zone}]
            DescribeAvailabilityZones ZoneIds.1=usw2-az3 filter:state=available
              AvailabilityZones=[{GroupName=us-west-2-zg-1 NetworkBorderGroup=us-west-2 OptInStatus=opt-in-not-required RegionName=us-west-2 State=available ZoneId=usw2-az3 ZoneName=us-west-2c ZoneType=availability-zone}]
            DescribeAvailabilityZones filter:zone-name=*c
              AvailabilityZones=[{GroupName=us-west-2-zg-1 NetworkBorderGroup=us-west-2 OptInStatus=opt-in-not-required RegionName=us-west-2 State=available ZoneId=usw2-az3 ZoneName=us-west-2c ZoneType=availability-zone}]
            DescribeAvailabilityZones ZoneNames.1=us-west-2z
              refused InvalidParameterValue: Invalid availability zone: [us-west-2z]
            DescribeAvailabilityZones ZoneIds.1=use1-az1
              refused InvalidParameterValue: Invalid availability zone-id: [use1-az1]
            DescribeRegions
              Regions=[{Endpoint=ec2.us-west-2.amazonaws.com OptInStatus=opt-in-not-required RegionName=us-west-2}]
            DescribeRegions RegionNames.1=eu-west-1
              refused InvalidParameterValue: Invalid region name: eu-west-1
            DescribeAccountAttributes
              AccountAttributes=[{AttributeName=vpc-max-security-groups-per-interface AttributeValues=[{AttributeValue=5}]}, {AttributeName=max-instances AttributeValues=[{AttributeValue=0}]}, {AttributeName=supported-platforms AttributeValues=[{AttributeValue=VPC}]}, {AttributeName=default-vpc AttributeValues=[{AttributeValue=none}]}, {AttributeName=max-elastic-ips AttributeValues=[{AttributeValue=5}]}, {AttributeName=vpc-max-elastic-ips AttributeValues=[{AttributeValue=5}]}]
            DescribeAccountAttributes AttributeNames.1=colour
              refused InvalidParameterValue: Value (colour) for parameter attributeName is invalid. Unknown attribute name.
        "#]],
    );
}
