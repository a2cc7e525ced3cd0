//! Security groups.

use super::{check, check_with_default_vpc};
use expect_test::expect;

#[test]
fn a_new_group_lets_everything_out_and_nothing_in() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         CreateSecurityGroup GroupName=web Description=\"Web servers\" VpcId=vpc-1 tag:security-group:Name=web
         DescribeSecurityGroups GroupIds.1=sg-1
         DescribeSecurityGroupRules filter:group-id=sg-1",
        expect![[]],
    );
}

#[test]
fn a_group_that_cannot_be_is_refused() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         CreateSecurityGroup GroupName=web Description=again VpcId=vpc-1
         CreateSecurityGroup GroupName=default Description=d VpcId=vpc-1
         CreateSecurityGroup GroupName=sg-mine Description=d VpcId=vpc-1
         CreateSecurityGroup GroupName=größe Description=d VpcId=vpc-1
         CreateSecurityGroup GroupName=api Description=100% VpcId=vpc-1
         CreateSecurityGroup GroupName=api VpcId=vpc-1
         CreateSecurityGroup Description=d VpcId=vpc-1
         CreateSecurityGroup GroupName=api Description=d
         CreateSecurityGroup GroupName=api Description=d VpcId=vpc-0123456789abcdef0",
        expect![[]],
    );
}

#[test]
fn a_group_goes_when_nobody_needs_it() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         !CreateSecurityGroup GroupName=db Description=db VpcId=vpc-1
         !AuthorizeSecurityGroupIngress GroupId=sg-2 rule=tcp:5432-5432:sg-1
         DeleteSecurityGroup GroupId=sg-1
         !RevokeSecurityGroupIngress GroupId=sg-2 rule=tcp:5432-5432:sg-1
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=-1::sg-1
         !CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-1
         DeleteSecurityGroup GroupId=sg-1
         !DeleteNetworkInterface NetworkInterfaceId=eni-1
         DeleteSecurityGroup GroupId=sg-1
         DeleteSecurityGroup GroupId=sg-1
         DeleteSecurityGroup GroupId=web
         DeleteSecurityGroup
         !DescribeSecurityGroups filter:group-name=default
         DeleteSecurityGroup GroupId=sg-3",
        expect![[]],
    );
}

#[test]
fn names_are_those_of_the_default_vpc() {
    check_with_default_vpc(
        "!CreateSecurityGroup GroupName=web Description=web
         !DescribeSecurityGroups GroupNames.1=web
         !AuthorizeSecurityGroupIngress GroupName=web IpProtocol=tcp FromPort=80 ToPort=80 CidrIp=0.0.0.0/0
         DescribeSecurityGroupRules filter:group-id=sg-1
         AuthorizeSecurityGroupIngress GroupName=web SourceSecurityGroupName=default
         DeleteSecurityGroup GroupName=api
         DeleteSecurityGroup GroupName=web",
        expect![[]],
    );
}
