// SPDX-License-Identifier: Apache-2.0
//! Further ranges of a VPC.

use super::check;
use expect_test::expect;

#[test]
fn a_vpc_has_up_to_five_ranges_with_subnets_and_local_routes() {
    check(
        "!CreateVpc CidrBlock=10.8.0.0/24
         AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.2.9.9/16
         !AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=100.64.0.0/16
         !AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.8.1.0/24
         !AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=203.0.112.0/20
         AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.8.4.0/24
         DescribeVpcs filter:cidr-block-association.cidr-block=100.64.0.0/16 | CidrBlockAssociationSet
         CreateSubnet VpcId=vpc-1 CidrBlock=100.64.0.0/24 | SubnetId CidrBlock AvailableIpAddressCount
         CreateSubnet VpcId=vpc-1 CidrBlock=10.8.0.0/23
         !CreateRouteTable VpcId=vpc-1
         DescribeRouteTables RouteTableIds.1=rtb-1 | Routes
         DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-3
         !DeleteSubnet SubnetId=subnet-1
         DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-3
         DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-3
         DescribeVpcs | CidrBlock",
        expect![[r#"
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.2.9.9/16
              CidrBlockAssociation={AssociationId=vpc-cidr-assoc-2 CidrBlock=10.2.0.0/16 CidrBlockState={State=associating}} VpcId=vpc-1
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.8.4.0/24
              refused CidrLimitExceeded: This network 'vpc-1' has met its maximum number of allowed CIDRs: 5
            DescribeVpcs filter:cidr-block-association.cidr-block=100.64.0.0/16 | CidrBlockAssociationSet
              Vpcs=[{CidrBlockAssociationSet=[{AssociationId=vpc-cidr-assoc-1 CidrBlock=10.8.0.0/24 CidrBlockState={State=associated}}, {AssociationId=vpc-cidr-assoc-5 CidrBlock=203.0.112.0/20 CidrBlockState={State=associated}}, {AssociationId=vpc-cidr-assoc-2 CidrBlock=10.2.0.0/16 CidrBlockState={State=associated}}, {AssociationId=vpc-cidr-assoc-4 CidrBlock=10.8.1.0/24 CidrBlockState={State=associated}}, {AssociationId=vpc-cidr-assoc-3 CidrBlock=100.64.0.0/16 CidrBlockState={State=associated}}]}]
            CreateSubnet VpcId=vpc-1 CidrBlock=100.64.0.0/24 | SubnetId CidrBlock AvailableIpAddressCount
              Subnet={AvailableIpAddressCount=251 CidrBlock=100.64.0.0/24 SubnetId=subnet-1}
            CreateSubnet VpcId=vpc-1 CidrBlock=10.8.0.0/23
              refused InvalidSubnet.Range: The CIDR '10.8.0.0/23' is invalid.
            DescribeRouteTables RouteTableIds.1=rtb-1 | Routes
              RouteTables=[{Routes=[{DestinationCidrBlock=10.8.0.0/24 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=203.0.112.0/20 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=10.2.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=10.8.1.0/24 GatewayId=local Origin=CreateRouteTable State=active}, {DestinationCidrBlock=100.64.0.0/16 GatewayId=local Origin=CreateRouteTable State=active}]}]
            DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-3
              refused InvalidCidrBlock.InUse: The vpc vpc-1 currently has a subnet within CIDR block 100.64.0.0/16
            DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-3
              CidrBlockAssociation={AssociationId=vpc-cidr-assoc-3 CidrBlock=100.64.0.0/16 CidrBlockState={State=disassociating}} VpcId=vpc-1
            DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-3
              refused InvalidVpcCidrBlockAssociationID.NotFound: The vpc CIDR block association ID 'vpc-cidr-assoc-3' does not exist
            DescribeVpcs | CidrBlock
              Vpcs=[{CidrBlock=10.8.0.0/24 CidrBlockAssociationSet=[{CidrBlock=10.8.0.0/24}, {CidrBlock=203.0.112.0/20}, {CidrBlock=10.2.0.0/16}, {CidrBlock=10.8.1.0/24}]}]
        "#]],
    );
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    check(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateVpc CidrBlock=192.168.0.0/16
         !CreateVpc CidrBlock=198.51.100.0/24
         !CreateVpc CidrBlock=10.4.0.0/16
         AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.0.0.0/8
         AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=169.254.0.0/16
         AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=172.16.0.0/16
         AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=198.19.0.0/16
         AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.0.4.0/24
         AssociateVpcCidrBlock VpcId=vpc-2 CidrBlock=10.9.0.0/16
         AssociateVpcCidrBlock VpcId=vpc-3 CidrBlock=10.9.0.0/16
         AssociateVpcCidrBlock VpcId=vpc-4 CidrBlock=10.4.4.0/24
         AssociateVpcCidrBlock VpcId=vpc-4
         AssociateVpcCidrBlock VpcId=vpc-4 AmazonProvidedIpv6CidrBlock=true
         AssociateVpcCidrBlock VpcId=vpc-0123456789abcdef0 CidrBlock=10.5.0.0/16
         !CreateRouteTable VpcId=vpc-4
         !CreateInternetGateway
         !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-4
         !CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.5.1.0/24 GatewayId=igw-1
         AssociateVpcCidrBlock VpcId=vpc-4 CidrBlock=10.5.0.0/16
         AssociateVpcCidrBlock VpcId=vpc-4 CidrBlock=10.5.1.0/28 | CidrBlock
         !DescribeVpcs VpcIds.1=vpc-1
         DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-1
         DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-0123456789abcdef0
         DisassociateVpcCidrBlock AssociationId=mine",
        expect![[r#"
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.0.0.0/8
              refused InvalidVpc.Range: The CIDR '10.0.0.0/8' is invalid.
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=169.254.0.0/16
              refused InvalidVpc.Range: The CIDR '169.254.0.0/16' is invalid.
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=172.16.0.0/16
              refused InvalidVpc.Range: The CIDR '172.16.0.0/16' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. For additional restrictions, see https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=198.19.0.0/16
              refused InvalidVpc.Range: The CIDR '198.19.0.0/16' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. For additional restrictions, see https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.0.4.0/24
              refused InvalidVpc.Range: The CIDR '10.0.4.0/24' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. For additional restrictions, see https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
            AssociateVpcCidrBlock VpcId=vpc-2 CidrBlock=10.9.0.0/16
              refused InvalidVpc.Range: The CIDR '10.9.0.0/16' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. For additional restrictions, see https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
            AssociateVpcCidrBlock VpcId=vpc-3 CidrBlock=10.9.0.0/16
              refused InvalidVpc.Range: The CIDR '10.9.0.0/16' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. For additional restrictions, see https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
            AssociateVpcCidrBlock VpcId=vpc-4 CidrBlock=10.4.4.0/24
              refused CidrConflict: The CIDR '10.4.4.0/24' conflicts with another CIDR block of the network 'vpc-4'
            AssociateVpcCidrBlock VpcId=vpc-4
              refused MissingParameter: The request must contain the parameter cidrBlock
            AssociateVpcCidrBlock VpcId=vpc-4 AmazonProvidedIpv6CidrBlock=true
              refused UnsupportedOperation: The parameter AmazonProvidedIpv6CidrBlock of AssociateVpcCidrBlock is not supported.
            AssociateVpcCidrBlock VpcId=vpc-0123456789abcdef0 CidrBlock=10.5.0.0/16
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
            AssociateVpcCidrBlock VpcId=vpc-4 CidrBlock=10.5.0.0/16
              refused CidrConflict: The CIDR '10.5.0.0/16' conflicts with a route of the network 'vpc-4'
            AssociateVpcCidrBlock VpcId=vpc-4 CidrBlock=10.5.1.0/28 | CidrBlock
              CidrBlockAssociation={CidrBlock=10.5.1.0/28}
            DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-1
              refused OperationNotPermitted: The vpc CIDR block with association ID vpc-cidr-assoc-1 may not be disassociated. It is the primary IPv4 CIDR block of the VPC
            DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-0123456789abcdef0
              refused InvalidVpcCidrBlockAssociationID.NotFound: The vpc CIDR block association ID 'vpc-cidr-assoc-0123456789abcdef0' does not exist
            DisassociateVpcCidrBlock AssociationId=mine
              refused InvalidVpcCidrBlockAssociationId.Malformed: Invalid id: "mine" (expecting "vpc-cidr-assoc-...")
        "#]],
    );
}
