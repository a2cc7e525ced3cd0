// SPDX-License-Identifier: Apache-2.0
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
        expect![[r#"
            CreateSecurityGroup GroupName=web Description="Web servers" VpcId=vpc-1 tag:security-group:Name=web
              GroupId=sg-1 SecurityGroupArn=arn:aws:ec2:us-west-2:111122223333:security-group/sg-1 Tags=[{Key=Name Value=web}]
            DescribeSecurityGroups GroupIds.1=sg-1
              SecurityGroups=[{Description="Web servers" GroupId=sg-1 GroupName=web IpPermissionsEgress=[{IpProtocol=-1 IpRanges=[{CidrIp=0.0.0.0/0}]}] SecurityGroupArn=arn:aws:ec2:us-west-2:111122223333:security-group/sg-1 Tags=[{Key=Name Value=web}] VpcId=vpc-1}]
            DescribeSecurityGroupRules filter:group-id=sg-1
              SecurityGroupRules=[{CidrIpv4=0.0.0.0/0 FromPort=-1 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=-1 IsEgress=true SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 ToPort=-1}]
        "#]],
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
        expect![[r#"
            CreateSecurityGroup GroupName=web Description=again VpcId=vpc-1
              refused InvalidGroup.Duplicate: The security group 'web' already exists for VPC 'vpc-1'
            CreateSecurityGroup GroupName=default Description=d VpcId=vpc-1
              refused InvalidGroup.Reserved: Cannot use reserved security group name: default
            CreateSecurityGroup GroupName=sg-mine Description=d VpcId=vpc-1
              refused InvalidParameterValue: Group names may not be in the format sg-*
            CreateSecurityGroup GroupName=größe Description=d VpcId=vpc-1
              refused InvalidParameterValue: Invalid security group name. Valid names are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*
            CreateSecurityGroup GroupName=api Description=100% VpcId=vpc-1
              refused InvalidParameterValue: Invalid security group description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*
            CreateSecurityGroup GroupName=api VpcId=vpc-1
              refused MissingParameter: The request must contain the parameter GroupDescription
            CreateSecurityGroup Description=d VpcId=vpc-1
              refused MissingParameter: The request must contain the parameter GroupName
            CreateSecurityGroup GroupName=api Description=d
              refused MissingParameter: No default VPC for this user. The request must contain the parameter vpcId
            CreateSecurityGroup GroupName=api Description=d VpcId=vpc-0123456789abcdef0
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
        "#]],
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
        expect![[r#"
            DeleteSecurityGroup GroupId=sg-1
              refused DependencyViolation: resource sg-1 has a dependent object
            DeleteSecurityGroup GroupId=sg-1
              refused DependencyViolation: resource sg-1 has a dependent object
            DeleteSecurityGroup GroupId=sg-1
              GroupId=sg-1 Return=true
            DeleteSecurityGroup GroupId=sg-1
              refused InvalidGroup.NotFound: The security group 'sg-1' does not exist
            DeleteSecurityGroup GroupId=web
              refused InvalidGroupId.Malformed: Invalid id: "web" (expecting "sg-...")
            DeleteSecurityGroup
              refused MissingParameter: The request must contain the parameter groupName or groupId
            DeleteSecurityGroup GroupId=sg-3
              refused CannotDelete: the specified group: "sg-3" name: "default" cannot be deleted by a user
        "#]],
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
        expect![[r#"
            DescribeSecurityGroupRules filter:group-id=sg-1
              SecurityGroupRules=[{CidrIpv4=0.0.0.0/0 FromPort=80 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 ToPort=80}, {CidrIpv4=0.0.0.0/0 FromPort=-1 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=-1 IsEgress=true SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-2 SecurityGroupRuleId=sgr-2 ToPort=-1}]
            AuthorizeSecurityGroupIngress GroupName=web SourceSecurityGroupName=default
              Return=true SecurityGroupRules=[{FromPort=-1 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=icmp IsEgress=false ReferencedGroupInfo={GroupId=sg-2 UserId=111122223333} SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-3 SecurityGroupRuleId=sgr-3 ToPort=-1}, {FromPort=0 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=udp IsEgress=false ReferencedGroupInfo={GroupId=sg-2 UserId=111122223333} SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-4 SecurityGroupRuleId=sgr-4 ToPort=65535}, {FromPort=0 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false ReferencedGroupInfo={GroupId=sg-2 UserId=111122223333} SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-5 SecurityGroupRuleId=sgr-5 ToPort=65535}]
            DeleteSecurityGroup GroupName=api
              refused InvalidGroup.NotFound: The security group 'api' does not exist in default VPC 'vpc-1'
            DeleteSecurityGroup GroupName=web
              GroupId=sg-1 Return=true
        "#]],
    );
}
