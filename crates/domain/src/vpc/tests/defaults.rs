//! What a region has from the start.

use super::{World, check, check_with_default_vpc};
use crate::vpc::ensure_default_network;
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
        expect![[]],
    );
}

#[test]
fn a_deleted_default_vpc_comes_back_only_when_asked_for() {
    let mut world = World::default();
    let change = ensure_default_network(&world.snap, &world.env());
    world.apply(change.writes);
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
    assert!(world.snap.vpcs.is_empty());
    expect![[]].assert_eq(&world.transcript("CreateDefaultVpc"));
    assert_eq!(world.snap.subnets.len(), 3);
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
        expect![[]],
    );
}
