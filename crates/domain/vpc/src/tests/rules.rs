// SPDX-License-Identifier: Apache-2.0
//! Rules of security groups.

use super::{World, check, check_with_default_vpc};
use expect_test::expect;

#[test]
fn rules_with_the_same_ports_stand_in_one_permission() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:0.0.0.0/0
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=6:80-80:sg-1 rule=udp:53-53:10.0.0.9/8 rule=icmp:8--1:10.0.0.0/8
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmp:-1--1:10.9.0.0/16 rule=50::10.0.0.0/8 rule=-1:80-80:10.0.0.0/8
         DescribeSecurityGroups GroupIds.1=sg-1",
        expect![[r#"
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:0.0.0.0/0
              Return=true SecurityGroupRules=[{CidrIpv4=0.0.0.0/0 FromPort=80 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 ToPort=80}]
            DescribeSecurityGroups GroupIds.1=sg-1
              SecurityGroups=[{Description=web GroupId=sg-1 GroupName=web IpPermissions=[{FromPort=-1 IpProtocol=icmp IpRanges=[{CidrIp=10.9.0.0/16}] ToPort=-1}, {IpProtocol=-1 IpRanges=[{CidrIp=10.0.0.0/8}]}, {IpProtocol=50 IpRanges=[{CidrIp=10.0.0.0/8}]}, {FromPort=8 IpProtocol=icmp IpRanges=[{CidrIp=10.0.0.0/8}] ToPort=-1}, {FromPort=80 IpProtocol=tcp IpRanges=[{CidrIp=0.0.0.0/0}] ToPort=80 UserIdGroupPairs=[{GroupId=sg-1 UserId=111122223333}]}, {FromPort=53 IpProtocol=udp IpRanges=[{CidrIp=10.0.0.0/8}] ToPort=53}] IpPermissionsEgress=[{IpProtocol=-1 IpRanges=[{CidrIp=0.0.0.0/0}]}] SecurityGroupArn=arn:aws:ec2:us-west-2:111122223333:security-group/sg-1 VpcId=vpc-1}]
        "#]],
    );
}

#[test]
fn both_apis_name_the_same_rule() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-81:10.0.0.0/8 tag:security-group-rule:Name=http
         ModifySecurityGroupRules GroupId=sg-1 SecurityGroupRules.1.SecurityGroupRuleId=sgr-1 SecurityGroupRules.1.SecurityGroupRule.IpProtocol=tcp SecurityGroupRules.1.SecurityGroupRule.FromPort=443 SecurityGroupRules.1.SecurityGroupRule.ToPort=443 SecurityGroupRules.1.SecurityGroupRule.CidrIpv4=10.0.0.0/8 SecurityGroupRules.1.SecurityGroupRule.Description=tls
         DescribeSecurityGroupRules SecurityGroupRuleIds.1=sgr-1
         UpdateSecurityGroupRuleDescriptionsIngress GroupId=sg-1 SecurityGroupRuleDescriptions.1.SecurityGroupRuleId=sgr-1 SecurityGroupRuleDescriptions.1.Description=https
         !UpdateSecurityGroupRuleDescriptionsIngress GroupId=sg-1 IpPermissions.1.IpProtocol=tcp IpPermissions.1.FromPort=443 IpPermissions.1.ToPort=443 IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8 IpPermissions.1.IpRanges.1.Description=web
         DescribeSecurityGroupRules filter:tag:Name=http
         RevokeSecurityGroupIngress GroupId=sg-1 SecurityGroupRuleIds.1=sgr-1
         RevokeSecurityGroupIngress GroupId=sg-1 SecurityGroupRuleIds.1=sgr-1
         DescribeSecurityGroupRules SecurityGroupRuleIds.1=sgr-1
         RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::0.0.0.0/0
         DescribeSecurityGroups GroupIds.1=sg-1",
        expect![[r#"
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-81:10.0.0.0/8 tag:security-group-rule:Name=http
              Return=true SecurityGroupRules=[{CidrIpv4=10.0.0.0/8 FromPort=80 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 Tags=[{Key=Name Value=http}] ToPort=81}]
            ModifySecurityGroupRules GroupId=sg-1 SecurityGroupRules.1.SecurityGroupRuleId=sgr-1 SecurityGroupRules.1.SecurityGroupRule.IpProtocol=tcp SecurityGroupRules.1.SecurityGroupRule.FromPort=443 SecurityGroupRules.1.SecurityGroupRule.ToPort=443 SecurityGroupRules.1.SecurityGroupRule.CidrIpv4=10.0.0.0/8 SecurityGroupRules.1.SecurityGroupRule.Description=tls
              Return=true
            DescribeSecurityGroupRules SecurityGroupRuleIds.1=sgr-1
              SecurityGroupRules=[{CidrIpv4=10.0.0.0/8 Description=tls FromPort=443 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 Tags=[{Key=Name Value=http}] ToPort=443}]
            UpdateSecurityGroupRuleDescriptionsIngress GroupId=sg-1 SecurityGroupRuleDescriptions.1.SecurityGroupRuleId=sgr-1 SecurityGroupRuleDescriptions.1.Description=https
              Return=true
            DescribeSecurityGroupRules filter:tag:Name=http
              SecurityGroupRules=[{CidrIpv4=10.0.0.0/8 Description=web FromPort=443 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 Tags=[{Key=Name Value=http}] ToPort=443}]
            RevokeSecurityGroupIngress GroupId=sg-1 SecurityGroupRuleIds.1=sgr-1
              Return=true RevokedSecurityGroupRules=[{CidrIpv4=10.0.0.0/8 Description=web FromPort=443 GroupId=sg-1 IpProtocol=tcp IsEgress=false SecurityGroupRuleId=sgr-1 ToPort=443}]
            RevokeSecurityGroupIngress GroupId=sg-1 SecurityGroupRuleIds.1=sgr-1
              refused InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-1' does not exist
            DescribeSecurityGroupRules SecurityGroupRuleIds.1=sgr-1
              refused InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-1' does not exist
            RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::0.0.0.0/0
              Return=true RevokedSecurityGroupRules=[{CidrIpv4=0.0.0.0/0 FromPort=-1 GroupId=sg-1 IpProtocol=-1 IsEgress=true SecurityGroupRuleId=sgr-2 ToPort=-1}]
            DescribeSecurityGroups GroupIds.1=sg-1
              SecurityGroups=[{Description=web GroupId=sg-1 GroupName=web SecurityGroupArn=arn:aws:ec2:us-west-2:111122223333:security-group/sg-1 VpcId=vpc-1}]
        "#]],
    );
}

#[test]
fn rules_that_cannot_be_are_refused_and_none_is_added() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateVpc CidrBlock=10.1.0.0/16
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         !CreateSecurityGroup GroupName=other Description=other VpcId=vpc-2
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:0.0.0.0/0 rule=icmp:-1--1:10.0.0.0/8 rule=-1::sg-1
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:81-81:0.0.0.0/0 rule=tcp:80-80:0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmp:-1--1:10.0.0.0/8
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=-1::sg-1
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:81-81:0.0.0.0/0 rule=6:81-81:0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp::0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:90-80:0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-70000:0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmp:300--1:0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmp:-1-3:0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=sctpx:1-1:0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:10.0.0.0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:2001:db8::/129
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-0123456789abcdef0
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-2
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-0123456789abcdef0
         AuthorizeSecurityGroupIngress GroupId=sg-1 IpPermissions.1.IpProtocol=tcp IpPermissions.1.FromPort=1 IpPermissions.1.ToPort=1
         AuthorizeSecurityGroupIngress GroupId=sg-1 IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8
         AuthorizeSecurityGroupIngress GroupId=sg-1
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:0.0.0.0/0 CidrIp=0.0.0.0/0
         AuthorizeSecurityGroupIngress GroupId=sg-0123456789abcdef0 rule=tcp:81-81:0.0.0.0/0
         AuthorizeSecurityGroupIngress rule=tcp:81-81:0.0.0.0/0
         AuthorizeSecurityGroupEgress GroupId=sg-1 IpPermissions.1.IpProtocol=-1 IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8 IpPermissions.1.IpRanges.1.Description=50%
         DescribeSecurityGroupRules filter:group-id=sg-1",
        expect![[r#"
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:81-81:0.0.0.0/0 rule=tcp:80-80:0.0.0.0/0
              refused InvalidPermission.Duplicate: the specified rule "peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW" already exists
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmp:-1--1:10.0.0.0/8
              refused InvalidPermission.Duplicate: the specified rule "peer: 10.0.0.0/8, ICMP, type: ALL, code: ALL, ALLOW" already exists
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=-1::sg-1
              refused InvalidPermission.Duplicate: the specified rule "peer: sg-1, ALL, ALLOW" already exists
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:81-81:0.0.0.0/0 rule=6:81-81:0.0.0.0/0
              refused InvalidParameterValue: The same permission must not appear multiple times
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp::0.0.0.0/0
              refused InvalidParameterValue: Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:90-80:0.0.0.0/0
              refused InvalidParameterValue: Invalid TCP/UDP port range (90:80)
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-70000:0.0.0.0/0
              refused InvalidParameterValue: TCP/UDP port (70000) out of range
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmp:300--1:0.0.0.0/0
              refused InvalidParameterValue: ICMP type (300) out of range
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmp:-1-3:0.0.0.0/0
              refused InvalidParameterValue: ICMP code (3) cannot be given for all ICMP types
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=sctpx:1-1:0.0.0.0/0
              refused InvalidParameterValue: Invalid value 'sctpx' for IP protocol. Unknown protocol.
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:10.0.0.0
              refused InvalidParameterValue: CIDR block 10.0.0.0 is malformed
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:2001:db8::/129
              refused InvalidParameterValue: CIDR block 2001:db8::/129 is malformed
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-0123456789abcdef0
              refused InvalidPrefixListID.NotFound: The prefix list ID 'pl-0123456789abcdef0' does not exist
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-2
              refused InvalidGroup.NotFound: You have specified two resources that belong to different networks.
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-0123456789abcdef0
              refused InvalidGroup.NotFound: The security group 'sg-0123456789abcdef0' does not exist
            AuthorizeSecurityGroupIngress GroupId=sg-1 IpPermissions.1.IpProtocol=tcp IpPermissions.1.FromPort=1 IpPermissions.1.ToPort=1
              refused MissingParameter: Missing source specification: include source security group or CIDR information
            AuthorizeSecurityGroupIngress GroupId=sg-1 IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8
              refused InvalidParameterValue: Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.
            AuthorizeSecurityGroupIngress GroupId=sg-1
              refused MissingParameter: The request must contain the parameter ipPermissions
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:0.0.0.0/0 CidrIp=0.0.0.0/0
              refused InvalidParameterCombination: The parameter ipPermissions may not be used in combination with ipProtocol, fromPort, toPort, cidrIp or sourceSecurityGroupName
            AuthorizeSecurityGroupIngress GroupId=sg-0123456789abcdef0 rule=tcp:81-81:0.0.0.0/0
              refused InvalidGroup.NotFound: The security group 'sg-0123456789abcdef0' does not exist
            AuthorizeSecurityGroupIngress rule=tcp:81-81:0.0.0.0/0
              refused MissingParameter: The request must contain the parameter groupName or groupId
            AuthorizeSecurityGroupEgress GroupId=sg-1 IpPermissions.1.IpProtocol=-1 IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8 IpPermissions.1.IpRanges.1.Description=50%
              refused InvalidParameterValue: Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*
            DescribeSecurityGroupRules filter:group-id=sg-1
              SecurityGroupRules=[{CidrIpv4=0.0.0.0/0 FromPort=80 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 ToPort=80}, {FromPort=-1 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=-1 IsEgress=false ReferencedGroupInfo={GroupId=sg-1 UserId=111122223333} SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-3 SecurityGroupRuleId=sgr-3 ToPort=-1}, {CidrIpv4=10.0.0.0/8 FromPort=-1 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=icmp IsEgress=false SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-2 SecurityGroupRuleId=sgr-2 ToPort=-1}, {CidrIpv4=0.0.0.0/0 FromPort=-1 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=-1 IsEgress=true SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-4 SecurityGroupRuleId=sgr-4 ToPort=-1}]
        "#]],
    );
}

#[test]
fn revoking_what_is_not_there_is_refused_outside_the_default_vpc() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0
         RevokeSecurityGroupEgress GroupId=sg-1 rule=tcp:1-1:0.0.0.0/0 rule=-1::0.0.0.0/0
         RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::0.0.0.0/0 SecurityGroupRuleIds.1=sgr-0123456789abcdef0
         RevokeSecurityGroupEgress GroupId=sg-1 SecurityGroupRuleIds.1=nonsense
         RevokeSecurityGroupEgress GroupId=sg-1
         RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::0.0.0.0/0",
        expect![[r#"
            RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0
              refused InvalidPermission.NotFound: The specified rule does not exist in this security group.
            RevokeSecurityGroupEgress GroupId=sg-1 rule=tcp:1-1:0.0.0.0/0 rule=-1::0.0.0.0/0
              refused InvalidPermission.NotFound: The specified rule does not exist in this security group.
            RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::0.0.0.0/0 SecurityGroupRuleIds.1=sgr-0123456789abcdef0
              refused InvalidParameterCombination: The parameter securityGroupRuleIds may not be used in combination with ipPermissions
            RevokeSecurityGroupEgress GroupId=sg-1 SecurityGroupRuleIds.1=nonsense
              refused InvalidSecurityGroupRuleId.Malformed: Invalid id: "nonsense" (expecting "sgr-...")
            RevokeSecurityGroupEgress GroupId=sg-1
              refused MissingParameter: The request must contain the parameter ipPermissions
            RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::0.0.0.0/0
              Return=true RevokedSecurityGroupRules=[{CidrIpv4=0.0.0.0/0 FromPort=-1 GroupId=sg-1 IpProtocol=-1 IsEgress=true SecurityGroupRuleId=sgr-1 ToPort=-1}]
        "#]],
    );
}

#[test]
fn revoking_what_is_not_there_is_listed_in_the_default_vpc() {
    check_with_default_vpc(
        "!CreateSecurityGroup GroupName=web Description=web
         RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0 rule=tcp:1-1:0.0.0.0/0 rule=-1::0.0.0.0/0",
        expect![[r#"
            RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0 rule=tcp:1-1:0.0.0.0/0 rule=-1::0.0.0.0/0
              Return=true RevokedSecurityGroupRules=[{CidrIpv4=0.0.0.0/0 FromPort=-1 GroupId=sg-1 IpProtocol=-1 IsEgress=true SecurityGroupRuleId=sgr-1 ToPort=-1}] UnknownIpPermissions=[{IpProtocol=-1 Ipv6Ranges=[{CidrIpv6=::/0}]}, {FromPort=1 IpProtocol=tcp IpRanges=[{CidrIp=0.0.0.0/0}] ToPort=1}]
        "#]],
    );
}

#[test]
fn a_direction_holds_sixty_rules() {
    let mut world = World::empty();
    world.line("CreateVpc CidrBlock=10.0.0.0/16").unwrap();
    world.line("CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1").unwrap();
    for port in 1..=60 {
        world.line(&format!("AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:{port}-{port}:0.0.0.0/0")).unwrap();
    }
    expect![[r#"
        AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:61-61:0.0.0.0/0
          refused RulesPerSecurityGroupLimitExceeded: The maximum number of rules per security group has been reached.
    "#]]
    .assert_eq(&world.transcript(
        "AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:61-61:0.0.0.0/0
         !AuthorizeSecurityGroupEgress GroupId=sg-1 rule=tcp:61-61:10.0.0.0/8",
    ));
}

#[test]
fn modifying_rules_refuses_what_is_not_there_or_there_twice() {
    let rule = "SecurityGroupRules.1.SecurityGroupRule";
    check(
        &format!(
            "!CreateVpc CidrBlock=10.0.0.0/16
             !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
             !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:1-1:0.0.0.0/0
             !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:2-2:0.0.0.0/0
             ModifySecurityGroupRules GroupId=sg-1 {rule}Id=sgr-2 {rule}.IpProtocol=tcp {rule}.FromPort=1 {rule}.ToPort=1 {rule}.CidrIpv4=0.0.0.0/0
             ModifySecurityGroupRules GroupId=sg-1 {rule}Id=sgr-2 {rule}.IpProtocol=tcp {rule}.FromPort=1 {rule}.ToPort=1 {rule}.CidrIpv4=0.0.0.0/0 {rule}.ReferencedGroupId=sg-1
             ModifySecurityGroupRules GroupId=sg-1 {rule}Id=sgr-0123456789abcdef0 {rule}.IpProtocol=tcp
             ModifySecurityGroupRules GroupId=sg-1 {rule}Id=sgr-2
             ModifySecurityGroupRules GroupId=sg-1
             UpdateSecurityGroupRuleDescriptionsEgress GroupId=sg-1 SecurityGroupRuleDescriptions.1.SecurityGroupRuleId=sgr-2
             UpdateSecurityGroupRuleDescriptionsEgress GroupId=sg-1 rule=tcp:9-9:0.0.0.0/0
             UpdateSecurityGroupRuleDescriptionsEgress GroupId=sg-1"
        ),
        expect![[r#"
            ModifySecurityGroupRules GroupId=sg-1 SecurityGroupRules.1.SecurityGroupRuleId=sgr-2 SecurityGroupRules.1.SecurityGroupRule.IpProtocol=tcp SecurityGroupRules.1.SecurityGroupRule.FromPort=1 SecurityGroupRules.1.SecurityGroupRule.ToPort=1 SecurityGroupRules.1.SecurityGroupRule.CidrIpv4=0.0.0.0/0
              refused InvalidPermission.Duplicate: the specified rule "peer: 0.0.0.0/0, TCP, from port: 1, to port: 1, ALLOW" already exists
            ModifySecurityGroupRules GroupId=sg-1 SecurityGroupRules.1.SecurityGroupRuleId=sgr-2 SecurityGroupRules.1.SecurityGroupRule.IpProtocol=tcp SecurityGroupRules.1.SecurityGroupRule.FromPort=1 SecurityGroupRules.1.SecurityGroupRule.ToPort=1 SecurityGroupRules.1.SecurityGroupRule.CidrIpv4=0.0.0.0/0 SecurityGroupRules.1.SecurityGroupRule.ReferencedGroupId=sg-1
              refused InvalidParameterCombination: Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified
            ModifySecurityGroupRules GroupId=sg-1 SecurityGroupRules.1.SecurityGroupRuleId=sgr-0123456789abcdef0 SecurityGroupRules.1.SecurityGroupRule.IpProtocol=tcp
              refused InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-0123456789abcdef0' does not exist
            ModifySecurityGroupRules GroupId=sg-1 SecurityGroupRules.1.SecurityGroupRuleId=sgr-2
              refused MissingParameter: The request must contain the parameter SecurityGroupRule
            ModifySecurityGroupRules GroupId=sg-1
              refused MissingParameter: The request must contain the parameter SecurityGroupRule
            UpdateSecurityGroupRuleDescriptionsEgress GroupId=sg-1 SecurityGroupRuleDescriptions.1.SecurityGroupRuleId=sgr-2
              refused InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-2' does not exist
            UpdateSecurityGroupRuleDescriptionsEgress GroupId=sg-1 rule=tcp:9-9:0.0.0.0/0
              refused InvalidPermission.NotFound: The specified rule does not exist in this security group.
            UpdateSecurityGroupRuleDescriptionsEgress GroupId=sg-1
              refused InvalidParameterCombination: Either IpPermissions or SecurityGroupRuleDescriptions must be specified, and not both
        "#]],
    );
}

#[test]
fn rules_for_ipv6_are_kept_and_answered() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         AuthorizeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0
         AuthorizeSecurityGroupEgress GroupId=sg-1 rule=-1::0::0/0
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:2001:db8::1/32 rule=tcp:80-80:0.0.0.0/0
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=icmpv6::::/0 rule=58:128-0:2001:db8::/32
         DescribeSecurityGroups GroupIds.1=sg-1
         !DescribeSecurityGroups filter:ip-permission.ipv6-cidr=::/0
         RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0",
        expect![[r#"
            AuthorizeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0
              Return=true SecurityGroupRules=[{CidrIpv6=::/0 FromPort=-1 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=-1 IsEgress=true SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 ToPort=-1}]
            AuthorizeSecurityGroupEgress GroupId=sg-1 rule=-1::0::0/0
              refused InvalidPermission.Duplicate: the specified rule "peer: ::/0, ALL, ALLOW" already exists
            DescribeSecurityGroups GroupIds.1=sg-1
              SecurityGroups=[{Description=web GroupId=sg-1 GroupName=web IpPermissions=[{FromPort=80 IpProtocol=tcp IpRanges=[{CidrIp=0.0.0.0/0}] Ipv6Ranges=[{CidrIpv6=2001:db8::/32}] ToPort=80}, {FromPort=128 IpProtocol=icmpv6 Ipv6Ranges=[{CidrIpv6=2001:db8::/32}] ToPort=0}, {FromPort=-1 IpProtocol=icmpv6 Ipv6Ranges=[{CidrIpv6=::/0}] ToPort=-1}] IpPermissionsEgress=[{IpProtocol=-1 IpRanges=[{CidrIp=0.0.0.0/0}] Ipv6Ranges=[{CidrIpv6=::/0}]}] SecurityGroupArn=arn:aws:ec2:us-west-2:111122223333:security-group/sg-1 VpcId=vpc-1}]
            RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0
              Return=true RevokedSecurityGroupRules=[{CidrIpv6=::/0 FromPort=-1 GroupId=sg-1 IpProtocol=-1 IsEgress=true SecurityGroupRuleId=sgr-1 ToPort=-1}]
        "#]],
    );
}
