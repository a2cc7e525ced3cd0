// SPDX-License-Identifier: Apache-2.0
//! VPCs and their attributes.

use super::check;
use expect_test::expect;

#[test]
fn a_vpc_comes_with_a_main_route_table_and_a_default_group() {
    check(
        "CreateVpc CidrBlock=10.0.1.7/16 tag:vpc:Name=lab InstanceTenancy=default AmazonProvidedIpv6CidrBlock=false
         DescribeVpcs VpcIds.1=vpc-1
         DescribeRouteTables filter:vpc-id=vpc-1 filter:association.main=true
         DescribeSecurityGroups filter:vpc-id=vpc-1
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         DescribeNetworkAcls filter:vpc-id=vpc-1 filter:default=true
         !DeleteSubnet SubnetId=subnet-1
         DescribeNetworkAcls filter:association.subnet-id=subnet-1",
        expect![[r#"
            CreateVpc CidrBlock=10.0.1.7/16 tag:vpc:Name=lab InstanceTenancy=default AmazonProvidedIpv6CidrBlock=false
              Vpc={CidrBlock=10.0.0.0/16 CidrBlockAssociationSet=[{AssociationId=vpc-cidr-assoc-1 CidrBlock=10.0.0.0/16 CidrBlockState={State=associated}}] DhcpOptionsId=default InstanceTenancy=default IsDefault=false State=available Tags=[{Key=Name Value=lab}] VpcId=vpc-1}
            DescribeVpcs VpcIds.1=vpc-1
              Vpcs=[{CidrBlock=10.0.0.0/16 CidrBlockAssociationSet=[{AssociationId=vpc-cidr-assoc-1 CidrBlock=10.0.0.0/16 CidrBlockState={State=associated}}] DhcpOptionsId=default InstanceTenancy=default IsDefault=false State=available Tags=[{Key=Name Value=lab}] VpcId=vpc-1}]
            DescribeRouteTables filter:vpc-id=vpc-1 filter:association.main=true
              RouteTables=[{Associations=[{AssociationState={State=associated} Main=true RouteTableAssociationId=rtbassoc-1 RouteTableId=rtb-1}] RouteTableId=rtb-1 Routes=[{DestinationCidrBlock=10.0.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}] VpcId=vpc-1}]
            DescribeSecurityGroups filter:vpc-id=vpc-1
              SecurityGroups=[{Description="default VPC security group" GroupId=sg-1 GroupName=default IpPermissions=[{IpProtocol=-1 UserIdGroupPairs=[{GroupId=sg-1 UserId=111122223333}]}] IpPermissionsEgress=[{IpProtocol=-1 IpRanges=[{CidrIp=0.0.0.0/0}]}] SecurityGroupArn=arn:aws:ec2:us-west-2:111122223333:security-group/sg-1 VpcId=vpc-1}]
            DescribeNetworkAcls filter:vpc-id=vpc-1 filter:default=true
              NetworkAcls=[{Associations=[{NetworkAclAssociationId=aclassoc-1 NetworkAclId=acl-1 SubnetId=subnet-1}] Entries=[{CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=allow RuleNumber=100}, {CidrBlock=0.0.0.0/0 Egress=true Protocol=-1 RuleAction=deny RuleNumber=32767}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=allow RuleNumber=100}, {CidrBlock=0.0.0.0/0 Egress=false Protocol=-1 RuleAction=deny RuleNumber=32767}] IsDefault=true NetworkAclId=acl-1 VpcId=vpc-1}]
            DescribeNetworkAcls filter:association.subnet-id=subnet-1
              nothing
        "#]],
    );
}

#[test]
fn a_vpc_that_cannot_be_is_refused() {
    check(
        "CreateVpc
         CreateVpc CidrBlock=10.0.0.0/8
         CreateVpc CidrBlock=10.0.0.0/29
         CreateVpc CidrBlock=169.254.0.0/20
         CreateVpc CidrBlock=10.0.0.0
         CreateVpc CidrBlock=10.0.0.0/16 InstanceTenancy=dedicated
         CreateVpc CidrBlock=10.0.0.0/16 AmazonProvidedIpv6CidrBlock=true
         CreateVpc CidrBlock=10.0.0.0/16 tag:subnet:Name=lab",
        expect![[r#"
            CreateVpc
              refused MissingParameter: The request must contain the parameter cidrBlock
            CreateVpc CidrBlock=10.0.0.0/8
              refused InvalidVpc.Range: The CIDR '10.0.0.0/8' is invalid.
            CreateVpc CidrBlock=10.0.0.0/29
              refused InvalidVpc.Range: The CIDR '10.0.0.0/29' is invalid.
            CreateVpc CidrBlock=169.254.0.0/20
              refused InvalidVpc.Range: The CIDR '169.254.0.0/20' is invalid.
            CreateVpc CidrBlock=10.0.0.0
              refused InvalidParameterValue: Value (10.0.0.0) for parameter cidrBlock is invalid. This is not a valid CIDR block.
            CreateVpc CidrBlock=10.0.0.0/16 InstanceTenancy=dedicated
              refused InvalidParameterValue: Value (dedicated) for parameter instanceTenancy is invalid. Only the tenancy 'default' is offered.
            CreateVpc CidrBlock=10.0.0.0/16 AmazonProvidedIpv6CidrBlock=true
              refused UnsupportedOperation: The parameter AmazonProvidedIpv6CidrBlock of CreateVpc is not supported.
            CreateVpc CidrBlock=10.0.0.0/16 tag:subnet:Name=lab
              refused InvalidParameterValue: 'subnet' is not a valid taggable resource type for this operation.
        "#]],
    );
}

#[test]
fn a_vpc_goes_when_it_is_empty() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         DeleteVpc VpcId=vpc-1
         !DeleteSubnet SubnetId=subnet-1
         !CreateInternetGateway
         !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         !DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         !DeleteSecurityGroup GroupId=sg-1
         !CreateRouteTable VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         !DeleteRouteTable RouteTableId=rtb-1
         DeleteVpc VpcId=vpc-1
         DeleteVpc VpcId=vpc-1
         DeleteVpc VpcId=vpc-x
         DeleteVpc
         DescribeVpcs
         DescribeRouteTables
         DescribeNetworkAcls
         DescribeNetworkAcls NetworkAclIds.1=acl-0123456789abcdef0
         DescribeSecurityGroups",
        expect![[r#"
            DeleteVpc VpcId=vpc-1
              refused DependencyViolation: The vpc 'vpc-1' has dependencies and cannot be deleted.
            DeleteVpc VpcId=vpc-1
              refused DependencyViolation: The vpc 'vpc-1' has dependencies and cannot be deleted.
            DeleteVpc VpcId=vpc-1
              refused DependencyViolation: The vpc 'vpc-1' has dependencies and cannot be deleted.
            DeleteVpc VpcId=vpc-1
              refused DependencyViolation: The vpc 'vpc-1' has dependencies and cannot be deleted.
            DeleteVpc VpcId=vpc-1
              nothing
            DeleteVpc VpcId=vpc-1
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-1' does not exist
            DeleteVpc VpcId=vpc-x
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-x' does not exist
            DeleteVpc
              refused MissingParameter: The request must contain the parameter vpcId
            DescribeVpcs
              nothing
            DescribeRouteTables
              nothing
            DescribeNetworkAcls
              nothing
            DescribeNetworkAcls NetworkAclIds.1=acl-0123456789abcdef0
              refused InvalidNetworkAclID.NotFound: The networkAcl ID 'acl-0123456789abcdef0' does not exist
            DescribeSecurityGroups
              nothing
        "#]],
    );
}

#[test]
fn attributes_are_set_and_read_one_at_a_time() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsSupport
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
         ModifyVpcAttribute VpcId=vpc-1 EnableDnsHostnames.Value=true
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
         ModifyVpcAttribute VpcId=vpc-1 EnableDnsSupport.Value=false
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsSupport
         ModifyVpcAttribute VpcId=vpc-1 EnableNetworkAddressUsageMetrics.Value=true
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableNetworkAddressUsageMetrics
         DescribeVpcAttribute VpcId=vpc-1 Attribute=enableNothing
         ModifyVpcAttribute VpcId=vpc-1
         ModifyVpcAttribute VpcId=vpc-1 EnableDnsSupport.Value=true EnableDnsHostnames.Value=true
         ModifyVpcAttribute VpcId=vpc-0123456789abcdef0 EnableDnsSupport.Value=true",
        expect![[r#"
            DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsSupport
              EnableDnsSupport={Value=true} VpcId=vpc-1
            DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
              EnableDnsHostnames={Value=false} VpcId=vpc-1
            ModifyVpcAttribute VpcId=vpc-1 EnableDnsHostnames.Value=true
              nothing
            DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsHostnames
              EnableDnsHostnames={Value=true} VpcId=vpc-1
            ModifyVpcAttribute VpcId=vpc-1 EnableDnsSupport.Value=false
              nothing
            DescribeVpcAttribute VpcId=vpc-1 Attribute=enableDnsSupport
              EnableDnsSupport={Value=false} VpcId=vpc-1
            ModifyVpcAttribute VpcId=vpc-1 EnableNetworkAddressUsageMetrics.Value=true
              nothing
            DescribeVpcAttribute VpcId=vpc-1 Attribute=enableNetworkAddressUsageMetrics
              EnableNetworkAddressUsageMetrics={Value=true} VpcId=vpc-1
            DescribeVpcAttribute VpcId=vpc-1 Attribute=enableNothing
              refused InvalidParameterValue: Value (enableNothing) for parameter attribute is invalid. Unknown attribute name.
            ModifyVpcAttribute VpcId=vpc-1
              refused MissingParameter: The request must contain the parameter attribute
            ModifyVpcAttribute VpcId=vpc-1 EnableDnsSupport.Value=true EnableDnsHostnames.Value=true
              refused InvalidParameterCombination: Fields for multiple attribute types specified
            ModifyVpcAttribute VpcId=vpc-0123456789abcdef0 EnableDnsSupport.Value=true
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
        "#]],
    );
}
