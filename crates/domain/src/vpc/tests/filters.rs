//! What describe calls have in common.

use super::{World, check};
use expect_test::expect;

#[test]
fn unknown_filters_and_ids_are_refused_and_no_hit_is_an_empty_list() {
    check(
        "DescribeVpcs filter:colour=red
         DescribeSubnets filter:colour=red
         DescribeSecurityGroups filter:colour=red
         DescribeSecurityGroupRules filter:colour=red
         DescribeNetworkInterfaces filter:colour=red
         DescribeInternetGateways filter:colour=red
         DescribeRouteTables filter:colour=red
         DescribeTags filter:colour=red
         DescribeAvailabilityZones filter:tag:a=b
         DescribeRegions filter:colour=red
         DescribeVpcs Filters.1.Name=vpc-id
         DescribeVpcs filter:vpc-id=vpc-0123456789abcdef0
         DescribeVpcs VpcIds.1=vpc-0123456789abcdef0
         DescribeVpcs VpcIds.1=vpc
         DescribeSubnets SubnetIds.1=subnet-0123456789abcdef0
         DescribeSecurityGroups GroupIds.1=sg-0123456789abcdef0
         DescribeSecurityGroups GroupNames.1=web
         DescribeSecurityGroupRules SecurityGroupRuleIds.1=sgr-0123456789abcdef0
         DescribeNetworkInterfaces NetworkInterfaceIds.1=eni-0123456789abcdef0
         DescribeInternetGateways InternetGatewayIds.1=igw-0123456789abcdef0
         DescribeRouteTables RouteTableIds.1=rtb-0123456789abcdef0",
        expect![[]],
    );
}

#[test]
fn pages_have_bounds_and_their_own_tokens() {
    let mut world = World::default();
    world.call("CreateVpc CidrBlock=10.0.0.0/16").unwrap();
    for n in 0..7 {
        world.call(&format!("CreateSubnet VpcId=vpc-1 CidrBlock=10.0.{n}.0/24")).unwrap();
    }
    let page = world.call("DescribeSubnets MaxResults=5").unwrap();
    assert_eq!(page.matches("SubnetId=").count(), 5);
    let token = page.split("NextToken=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let rest = world.call(&format!("DescribeSubnets MaxResults=5 NextToken={token}")).unwrap();
    assert_eq!(rest.matches("SubnetId=").count(), 2);
    assert!(!rest.contains("NextToken="));
    let refusal = world.call(&format!("DescribeVpcs NextToken={token}")).unwrap_err();
    assert_eq!(refusal.code.code(), "InvalidPaginationToken");
    expect![[]].assert_eq(&world.transcript(
        "DescribeSubnets MaxResults=4
         DescribeSubnets MaxResults=1001
         DescribeSubnets MaxResults=5 SubnetIds.1=subnet-1
         DescribeSubnets NextToken=forged",
    ));
}
