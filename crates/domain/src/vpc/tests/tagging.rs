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
        expect![[]],
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
        expect![[]],
    );
}

#[test]
fn a_resource_has_at_most_fifty_tags() {
    let mut world = World::default();
    world.call("CreateVpc CidrBlock=10.0.0.0/16").unwrap();
    (0..50).for_each(|n| drop(world.call(&format!("CreateTags Resources.1=vpc-1 Tags.1.Key=k{n}")).unwrap()));
    expect![[]].assert_eq(&world.transcript(
        "CreateTags Resources.1=vpc-1 Tags.1.Key=k50
         !CreateTags Resources.1=vpc-1 Tags.1.Key=k49",
    ));
}
