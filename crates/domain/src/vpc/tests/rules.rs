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
        expect![[]],
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
        expect![[]],
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
         AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:2001:db8::/32
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
        expect![[]],
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
        expect![[]],
    );
}

#[test]
fn revoking_what_is_not_there_is_listed_in_the_default_vpc() {
    check_with_default_vpc(
        "!CreateSecurityGroup GroupName=web Description=web
         RevokeSecurityGroupEgress GroupId=sg-1 rule=-1::::/0 rule=tcp:1-1:0.0.0.0/0 rule=-1::0.0.0.0/0",
        expect![[]],
    );
}

#[test]
fn a_direction_holds_sixty_rules() {
    let mut world = World::default();
    world.call("CreateVpc CidrBlock=10.0.0.0/16").unwrap();
    world.call("CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1").unwrap();
    for port in 1..=60 {
        world.call(&format!("AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:{port}-{port}:0.0.0.0/0")).unwrap();
    }
    expect![[]].assert_eq(&world.transcript(
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
        expect![[]],
    );
}
