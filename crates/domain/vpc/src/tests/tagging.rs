// SPDX-License-Identifier: Apache-2.0
//! Tags.

use super::{World, check};
use expect_test::expect;

#[test]
fn any_kind_of_resource_is_tagged_and_found() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:0.0.0.0/0
         !CreateNetworkInterface SubnetId=subnet-1
         !CreateInternetGateway
         !CreateRouteTable VpcId=vpc-1
         CreateTags Resources.1=vpc-1 Resources.2=subnet-1 Resources.3=sg-1 Resources.4=sgr-1 Resources.5=eni-1 Resources.6=igw-1 Resources.7=rtb-1 Tags.1.Key=env Tags.1.Value=lab Tags.2.Key=bare
         DescribeTags filter:key=env
         DescribeTags filter:resource-type=subnet,route-table filter:value=lab
         DescribeTags filter:resource-id=vpc-1
         DescribeSubnets filter:tag:env=l* filter:tag-key=bare
         CreateTags Resources.1=vpc-1 Tags.1.Key=env Tags.1.Value=prod
         DeleteTags Resources.1=vpc-1 Tags.1.Key=env Tags.1.Value=lab
         DescribeTags filter:resource-id=vpc-1
         DeleteTags Resources.1=vpc-1 Tags.1.Key=env
         DescribeTags filter:resource-id=vpc-1
         DeleteTags Resources.1=vpc-1 Resources.2=sgr-1
         DescribeTags filter:resource-id=vpc-1,sgr-1",
        expect![[r#"
            CreateTags Resources.1=vpc-1 Resources.2=subnet-1 Resources.3=sg-1 Resources.4=sgr-1 Resources.5=eni-1 Resources.6=igw-1 Resources.7=rtb-1 Tags.1.Key=env Tags.1.Value=lab Tags.2.Key=bare
              nothing
            DescribeTags filter:key=env
              Tags=[{Key=env ResourceId=eni-1 ResourceType=network-interface Value=lab}, {Key=env ResourceId=igw-1 ResourceType=internet-gateway Value=lab}, {Key=env ResourceId=rtb-1 ResourceType=route-table Value=lab}, {Key=env ResourceId=sg-1 ResourceType=security-group Value=lab}, {Key=env ResourceId=sgr-1 ResourceType=security-group-rule Value=lab}, {Key=env ResourceId=subnet-1 ResourceType=subnet Value=lab}, {Key=env ResourceId=vpc-1 ResourceType=vpc Value=lab}]
            DescribeTags filter:resource-type=subnet,route-table filter:value=lab
              Tags=[{Key=env ResourceId=rtb-1 ResourceType=route-table Value=lab}, {Key=env ResourceId=subnet-1 ResourceType=subnet Value=lab}]
            DescribeTags filter:resource-id=vpc-1
              Tags=[{Key=bare ResourceId=vpc-1 ResourceType=vpc Value=""}, {Key=env ResourceId=vpc-1 ResourceType=vpc Value=lab}]
            DescribeSubnets filter:tag:env=l* filter:tag-key=bare
              Subnets=[{AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 AvailableIpAddressCount=250 CidrBlock=10.0.0.0/24 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=false PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-1 SubnetId=subnet-1 Tags=[{Key=bare Value=""}, {Key=env Value=lab}] VpcId=vpc-1}]
            CreateTags Resources.1=vpc-1 Tags.1.Key=env Tags.1.Value=prod
              nothing
            DeleteTags Resources.1=vpc-1 Tags.1.Key=env Tags.1.Value=lab
              nothing
            DescribeTags filter:resource-id=vpc-1
              Tags=[{Key=bare ResourceId=vpc-1 ResourceType=vpc Value=""}, {Key=env ResourceId=vpc-1 ResourceType=vpc Value=prod}]
            DeleteTags Resources.1=vpc-1 Tags.1.Key=env
              nothing
            DescribeTags filter:resource-id=vpc-1
              Tags=[{Key=bare ResourceId=vpc-1 ResourceType=vpc Value=""}]
            DeleteTags Resources.1=vpc-1 Resources.2=sgr-1
              nothing
            DescribeTags filter:resource-id=vpc-1,sgr-1
              nothing
        "#]],
    );
}

#[test]
fn tags_that_cannot_be_are_refused() {
    let long = "k".repeat(129);
    check(
        &format!(
            "!CreateVpc CidrBlock=10.0.0.0/16
             CreateTags Resources.1=vpc-1
             CreateTags Tags.1.Key=a
             CreateTags Resources.1=vpc-1 Tags.1.Key=aws:mine
             CreateTags Resources.1=vpc-1 Tags.1.Value=v
             CreateTags Resources.1=vpc-1 Tags.1.Key=a Tags.2.Key=a
             CreateTags Resources.1=vpc-1 Tags.1.Key={long}
             CreateTags Resources.1=vpc-1 Tags.1.Key=a Tags.1.Value={long}{long}
             CreateTags Resources.1=vpc-1 Resources.2=vpc-0123456789abcdef0 Tags.1.Key=a
             CreateTags Resources.1=i-0123456789abcdef0 Tags.1.Key=a
             CreateTags Resources.1=nothing Tags.1.Key=a
             DeleteTags Resources.1=vpc-1 Tags.1.Key=aws:mine
             CreateVpc CidrBlock=10.1.0.0/16 tag:vpc:aws:x=1
             CreateVpc CidrBlock=10.1.0.0/16 tag:vpc:a=1 tag:vpc:a=2
             DescribeTags"
        ),
        expect![[r#"
            CreateTags Resources.1=vpc-1
              refused MissingParameter: The request must contain the parameter Tags
            CreateTags Tags.1.Key=a
              refused MissingParameter: The request must contain the parameter resourceIdSet
            CreateTags Resources.1=vpc-1 Tags.1.Key=aws:mine
              refused InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use
            CreateTags Resources.1=vpc-1 Tags.1.Value=v
              refused InvalidParameterValue: Tag key cannot be empty
            CreateTags Resources.1=vpc-1 Tags.1.Key=a Tags.2.Key=a
              refused InvalidParameterValue: Duplicate tag key 'a' specified.
            CreateTags Resources.1=vpc-1 Tags.1.Key=kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
              refused InvalidParameterValue: Tag key exceeds the maximum length of 128 characters, key provided: 'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk'
            CreateTags Resources.1=vpc-1 Tags.1.Key=a Tags.1.Value=kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
              refused InvalidParameterValue: Tag value exceeds the maximum length of 256 characters, value provided: 'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk'
            CreateTags Resources.1=vpc-1 Resources.2=vpc-0123456789abcdef0 Tags.1.Key=a
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
            CreateTags Resources.1=i-0123456789abcdef0 Tags.1.Key=a
              refused InvalidInstanceID.NotFound: The instance ID 'i-0123456789abcdef0' does not exist
            CreateTags Resources.1=nothing Tags.1.Key=a
              refused InvalidID: The ID 'nothing' is not valid
            DeleteTags Resources.1=vpc-1 Tags.1.Key=aws:mine
              refused InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use
            CreateVpc CidrBlock=10.1.0.0/16 tag:vpc:aws:x=1
              refused InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use
            CreateVpc CidrBlock=10.1.0.0/16 tag:vpc:a=1 tag:vpc:a=2
              refused InvalidParameterValue: Duplicate tag key 'a' specified.
            DescribeTags
              nothing
        "#]],
    );
}

#[test]
fn a_resource_has_at_most_fifty_tags() {
    let mut world = World::empty();
    world.line("CreateVpc CidrBlock=10.0.0.0/16").unwrap();
    (0..50).for_each(|n| drop(world.line(&format!("CreateTags Resources.1=vpc-1 Tags.1.Key=k{n}")).unwrap()));
    expect![[r#"
        CreateTags Resources.1=vpc-1 Tags.1.Key=k50
          refused TagLimitExceeded: The maximum number of Tags for a resource has been reached. (50)
    "#]]
    .assert_eq(&world.transcript(
        "CreateTags Resources.1=vpc-1 Tags.1.Key=k50
         !CreateTags Resources.1=vpc-1 Tags.1.Key=k49",
    ));
}
