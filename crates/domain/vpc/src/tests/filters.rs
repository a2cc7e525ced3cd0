// SPDX-License-Identifier: Apache-2.0
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
        expect![[r#"
            DescribeVpcs filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeSubnets filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeSecurityGroups filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeSecurityGroupRules filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeNetworkInterfaces filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeInternetGateways filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeRouteTables filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeTags filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeAvailabilityZones filter:tag:a=b
              refused InvalidParameterValue: The filter 'tag:a' is invalid
            DescribeRegions filter:colour=red
              refused InvalidParameterValue: The filter 'colour' is invalid
            DescribeVpcs Filters.1.Name=vpc-id
              refused InvalidParameterValue: The filter 'vpc-id' must have at least one value
            DescribeVpcs filter:vpc-id=vpc-0123456789abcdef0
              nothing
            DescribeVpcs VpcIds.1=vpc-0123456789abcdef0
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
            DescribeVpcs VpcIds.1=vpc
              refused InvalidVpcID.NotFound: The vpc ID 'vpc' does not exist
            DescribeSubnets SubnetIds.1=subnet-0123456789abcdef0
              refused InvalidSubnetID.NotFound: The subnet ID 'subnet-0123456789abcdef0' does not exist
            DescribeSecurityGroups GroupIds.1=sg-0123456789abcdef0
              refused InvalidGroup.NotFound: The security group 'sg-0123456789abcdef0' does not exist
            DescribeSecurityGroups GroupNames.1=web
              refused InvalidGroup.NotFound: The security group 'web' does not exist in default VPC
            DescribeSecurityGroupRules SecurityGroupRuleIds.1=sgr-0123456789abcdef0
              refused InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-0123456789abcdef0' does not exist
            DescribeNetworkInterfaces NetworkInterfaceIds.1=eni-0123456789abcdef0
              refused InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0123456789abcdef0' does not exist
            DescribeInternetGateways InternetGatewayIds.1=igw-0123456789abcdef0
              refused InvalidInternetGatewayID.NotFound: The internetGateway ID 'igw-0123456789abcdef0' does not exist
            DescribeRouteTables RouteTableIds.1=rtb-0123456789abcdef0
              refused InvalidRouteTableID.NotFound: The routeTable ID 'rtb-0123456789abcdef0' does not exist
        "#]],
    );
}

#[test]
fn pages_have_bounds_and_their_own_tokens() {
    let mut world = World::empty();
    world.line("CreateVpc CidrBlock=10.0.0.0/16").unwrap();
    for n in 0..7 {
        world.line(&format!("CreateSubnet VpcId=vpc-1 CidrBlock=10.0.{n}.0/24")).unwrap();
    }
    let page = world.line("DescribeSubnets MaxResults=5").unwrap();
    assert_eq!(page.matches("SubnetId=").count(), 5);
    let token = page.split("NextToken=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let rest = world.line(&format!("DescribeSubnets MaxResults=5 NextToken={token}")).unwrap();
    assert_eq!(rest.matches("SubnetId=").count(), 2);
    assert!(!rest.contains("NextToken="));
    let refusal = world.line(&format!("DescribeVpcs NextToken={token}")).unwrap_err();
    assert_eq!(refusal.code.code(), "InvalidPaginationToken");
    expect![[r#"
        DescribeSubnets MaxResults=4
          refused InvalidParameterValue: Value ( 4 ) for parameter maxResults is invalid. Expecting a value greater than or equal to 5.
        DescribeSubnets MaxResults=1001
          refused InvalidParameterValue: Value ( 1001 ) for parameter maxResults is invalid. Expecting a value less than or equal to 1000.
        DescribeSubnets MaxResults=5 SubnetIds.1=subnet-1
          refused InvalidParameterCombination: The parameter subnetIds cannot be used with the parameter maxResults
        DescribeSubnets NextToken=forged
          refused InvalidPaginationToken: The specified pagination token is not valid or is expired.
    "#]].assert_eq(&world.transcript(
        "DescribeSubnets MaxResults=4
         DescribeSubnets MaxResults=1001
         DescribeSubnets MaxResults=5 SubnetIds.1=subnet-1
         DescribeSubnets NextToken=forged",
    ));
}
