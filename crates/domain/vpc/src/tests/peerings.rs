// SPDX-License-Identifier: Apache-2.0
//! Peerings of VPCs, and what leads through them.

use super::{World, check};
use crate::{Ages, expire};
use expect_test::expect;

const PREPARED: &str = "!CreateVpc CidrBlock=10.0.0.0/16
    !CreateVpc CidrBlock=10.1.0.0/16
    !CreateVpc CidrBlock=10.1.128.0/17
    !CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-2 tag:vpc-peering-connection:Name=mine";

#[test]
fn a_request_is_accepted_and_deleted() {
    check(
        &format!(
            "{PREPARED}
             DescribeVpcPeeringConnections
             CreateVpcPeeringConnection VpcId=vpc-2 PeerVpcId=vpc-1
             AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1 | Status ExpirationTime
             AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             RejectVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             ModifyVpcPeeringConnectionOptions VpcPeeringConnectionId=pcx-1
             DeleteVpc VpcId=vpc-1
             AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.1.64.0/24
             !AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.2.0.0/16
             DescribeVpcPeeringConnections filter:requester-vpc-info.cidr-block=10.2.0.0/16 | RequesterVpcInfo
             DescribeVpcPeeringConnections filter:status-code=active filter:tag:Name=mine | VpcPeeringConnectionId
             DescribeTags | ResourceId ResourceType
             DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             DescribeVpcPeeringConnections VpcPeeringConnectionIds.1=pcx-1 | Status
             CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-2 | VpcPeeringConnectionId Status
             RejectVpcPeeringConnection VpcPeeringConnectionId=pcx-2
             DescribeVpcPeeringConnections VpcPeeringConnectionIds.1=pcx-2 | Status
             DeleteVpc VpcId=vpc-1"
        ),
        expect![[r#"
            DescribeVpcPeeringConnections
              VpcPeeringConnections=[{AccepterVpcInfo={CidrBlock=10.1.0.0/16 CidrBlockSet=[{CidrBlock=10.1.0.0/16}] Region=us-west-2 VpcId=vpc-2} ExpirationTime=604800000 RequesterVpcInfo={CidrBlock=10.0.0.0/16 CidrBlockSet=[{CidrBlock=10.0.0.0/16}] Region=us-west-2 VpcId=vpc-1} Status={Code=pending-acceptance Message="Pending Acceptance by 111122223333"} Tags=[{Key=Name Value=mine}] VpcPeeringConnectionId=pcx-1}]
            CreateVpcPeeringConnection VpcId=vpc-2 PeerVpcId=vpc-1
              refused VpcPeeringConnectionAlreadyExists: A VPC peering connection between vpc-2 and vpc-1 already exists.
            AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1 | Status ExpirationTime
              VpcPeeringConnection={Status={Code=active Message=Active}}
            AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1
              refused InvalidStateTransition: Invalid state transition for pcx-1, attempted to transition from active to active
            RejectVpcPeeringConnection VpcPeeringConnectionId=pcx-1
              refused InvalidStateTransition: Invalid state transition for pcx-1, attempted to transition from active to rejected
            ModifyVpcPeeringConnectionOptions VpcPeeringConnectionId=pcx-1
              refused UnsupportedOperation: Options of VPC peering connections are not supported.
            DeleteVpc VpcId=vpc-1
              refused DependencyViolation: The vpc 'vpc-1' has dependencies and cannot be deleted.
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.1.64.0/24
              refused CidrConflict: The CIDR '10.1.64.0/24' conflicts with a peer of the network 'vpc-1'
            DescribeVpcPeeringConnections filter:requester-vpc-info.cidr-block=10.2.0.0/16 | RequesterVpcInfo
              VpcPeeringConnections=[{RequesterVpcInfo={CidrBlock=10.0.0.0/16 CidrBlockSet=[{CidrBlock=10.0.0.0/16}, {CidrBlock=10.2.0.0/16}] Region=us-west-2 VpcId=vpc-1}}]
            DescribeVpcPeeringConnections filter:status-code=active filter:tag:Name=mine | VpcPeeringConnectionId
              VpcPeeringConnections=[{VpcPeeringConnectionId=pcx-1}]
            DescribeTags | ResourceId ResourceType
              Tags=[{ResourceId=pcx-1 ResourceType=vpc-peering-connection}]
            DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1
              Return=true
            DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1
              refused InvalidStateTransition: Invalid state transition for pcx-1, attempted to transition from deleted to deleted
            DescribeVpcPeeringConnections VpcPeeringConnectionIds.1=pcx-1 | Status
              VpcPeeringConnections=[{Status={Code=deleted Message="Deleted by 111122223333"}}]
            CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-2 | VpcPeeringConnectionId Status
              VpcPeeringConnection={Status={Code=initiating-request Message="Initiating Request to 111122223333"} VpcPeeringConnectionId=pcx-2}
            RejectVpcPeeringConnection VpcPeeringConnectionId=pcx-2
              Return=true
            DescribeVpcPeeringConnections VpcPeeringConnectionIds.1=pcx-2 | Status
              VpcPeeringConnections=[{Status={Code=rejected Message="Rejected by 111122223333"}}]
            DeleteVpc VpcId=vpc-1
              nothing
        "#]],
    );
}

#[test]
fn an_impossible_request_fails() {
    check(
        &format!(
            "{PREPARED}
             !CreateVpcPeeringConnection VpcId=vpc-2 PeerVpcId=vpc-3
             DescribeVpcPeeringConnections VpcPeeringConnectionIds.1=pcx-2
             CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-1 | Status
             CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-0123456789abcdef0 | Status
             CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-3 PeerOwnerId=444455556666 | Status
             CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-3 PeerRegion=eu-west-1
             CreateVpcPeeringConnection VpcId=vpc-0123456789abcdef0 PeerVpcId=vpc-1
             CreateVpcPeeringConnection VpcId=vpc-1
             AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-2
             DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-0123456789abcdef0
             DeleteVpcPeeringConnection VpcPeeringConnectionId=mine
             AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.1.64.0/24 | CidrBlock
             AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1 | Status"
        ),
        expect![[r#"
            DescribeVpcPeeringConnections VpcPeeringConnectionIds.1=pcx-2
              VpcPeeringConnections=[{AccepterVpcInfo={CidrBlock=10.1.128.0/17 CidrBlockSet=[{CidrBlock=10.1.128.0/17}] Region=us-west-2 VpcId=vpc-3} RequesterVpcInfo={CidrBlock=10.1.0.0/16 CidrBlockSet=[{CidrBlock=10.1.0.0/16}] Region=us-west-2 VpcId=vpc-2} Status={Code=failed Message="Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"} VpcPeeringConnectionId=pcx-2}]
            CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-1 | Status
              VpcPeeringConnection={Status={Code=failed Message="Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"}}
            CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-0123456789abcdef0 | Status
              VpcPeeringConnection={Status={Code=failed Message="Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"}}
            CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-3 PeerOwnerId=444455556666 | Status
              VpcPeeringConnection={Status={Code=failed Message="Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"}}
            CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-3 PeerRegion=eu-west-1
              refused UnsupportedOperation: There is no region eu-west-1; both VPCs must be in us-west-2.
            CreateVpcPeeringConnection VpcId=vpc-0123456789abcdef0 PeerVpcId=vpc-1
              refused InvalidVpcID.NotFound: The vpc ID 'vpc-0123456789abcdef0' does not exist
            CreateVpcPeeringConnection VpcId=vpc-1
              refused MissingParameter: The request must contain the parameter peerVpcId
            AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-2
              refused InvalidStateTransition: Invalid state transition for pcx-2, attempted to transition from failed to active
            DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-0123456789abcdef0
              refused InvalidVpcPeeringConnectionID.NotFound: The vpcPeeringConnection ID 'pcx-0123456789abcdef0' does not exist
            DeleteVpcPeeringConnection VpcPeeringConnectionId=mine
              refused InvalidVpcPeeringConnectionId.Malformed: Invalid id: "mine" (expecting "pcx-...")
            AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.1.64.0/24 | CidrBlock
              CidrBlockAssociation={CidrBlock=10.1.64.0/24}
            AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1 | Status
              VpcPeeringConnection={Status={Code=failed Message="Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"}}
        "#]],
    );
}

#[test]
fn routes_lead_through_an_active_peering() {
    check(
        &format!(
            "{PREPARED}
             !CreateRouteTable VpcId=vpc-1
             !CreateRouteTable VpcId=vpc-3
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.1.0.0/16 VpcPeeringConnectionId=pcx-1
             CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=10.0.0.0/16 VpcPeeringConnectionId=pcx-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/24 VpcPeeringConnectionId=pcx-1
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.9.0.0/16 VpcPeeringConnectionId=pcx-0123456789abcdef0
             DescribeRouteTables filter:route.vpc-peering-connection-id=pcx-1 | VpcPeeringConnectionId State
             !AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             DescribeRouteTables filter:route.vpc-peering-connection-id=pcx-1 | VpcPeeringConnectionId State
             !DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             DescribeRouteTables filter:route.vpc-peering-connection-id=pcx-1 | VpcPeeringConnectionId State
             CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.9.0.0/16 VpcPeeringConnectionId=pcx-1"
        ),
        expect![[r#"
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.1.0.0/16 VpcPeeringConnectionId=pcx-1
              Return=true
            CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=10.0.0.0/16 VpcPeeringConnectionId=pcx-1
              refused InvalidParameterValue: route table rtb-2 and peering connection pcx-1 belong to different networks
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.0.0.0/24 VpcPeeringConnectionId=pcx-1
              refused InvalidParameterValue: The destination CIDR block 10.0.0.0/24 is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.9.0.0/16 VpcPeeringConnectionId=pcx-0123456789abcdef0
              refused InvalidVpcPeeringConnectionID.NotFound: The vpcPeeringConnection ID 'pcx-0123456789abcdef0' does not exist
            DescribeRouteTables filter:route.vpc-peering-connection-id=pcx-1 | VpcPeeringConnectionId State
              RouteTables=[{Routes=[{State=active}, {State=blackhole VpcPeeringConnectionId=pcx-1}]}]
            DescribeRouteTables filter:route.vpc-peering-connection-id=pcx-1 | VpcPeeringConnectionId State
              RouteTables=[{Routes=[{State=active}, {State=active VpcPeeringConnectionId=pcx-1}]}]
            DescribeRouteTables filter:route.vpc-peering-connection-id=pcx-1 | VpcPeeringConnectionId State
              RouteTables=[{Routes=[{State=active}, {State=blackhole VpcPeeringConnectionId=pcx-1}]}]
            CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=10.9.0.0/16 VpcPeeringConnectionId=pcx-1
              refused InvalidVpcPeeringConnectionID.NotFound: The vpcPeeringConnection ID 'pcx-1' does not exist
        "#]],
    );
}

#[test]
fn a_rule_names_a_group_of_an_active_peer() {
    check(
        &format!(
            "{PREPARED}
             !CreateSecurityGroup GroupName=a Description=a VpcId=vpc-1
             !CreateSecurityGroup GroupName=b Description=b VpcId=vpc-2
             AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-2
             !AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-2
             DescribeSecurityGroups GroupIds.1=sg-1 | IpPermissions
             !DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1
             DescribeSecurityGroups GroupIds.1=sg-1 | UserIdGroupPairs"
        ),
        expect![[r#"
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-2
              refused InvalidGroup.NotFound: You have specified two resources that belong to different networks.
            AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-2
              Return=true SecurityGroupRules=[{FromPort=80 GroupId=sg-1 GroupOwnerId=111122223333 IpProtocol=tcp IsEgress=false ReferencedGroupInfo={GroupId=sg-2 PeeringStatus=active UserId=111122223333 VpcId=vpc-2 VpcPeeringConnectionId=pcx-1} SecurityGroupRuleArn=arn:aws:ec2:us-west-2:111122223333:security-group-rule/sgr-1 SecurityGroupRuleId=sgr-1 ToPort=80}]
            DescribeSecurityGroups GroupIds.1=sg-1 | IpPermissions
              SecurityGroups=[{IpPermissions=[{FromPort=80 IpProtocol=tcp ToPort=80 UserIdGroupPairs=[{GroupId=sg-2 PeeringStatus=active UserId=111122223333 VpcId=vpc-2 VpcPeeringConnectionId=pcx-1}]}]}]
            DescribeSecurityGroups GroupIds.1=sg-1 | UserIdGroupPairs
              SecurityGroups=[{IpPermissions=[{UserIdGroupPairs=[{GroupId=sg-2 PeeringStatus=deleted UserId=111122223333 VpcId=vpc-2 VpcPeeringConnectionId=pcx-1}]}] IpPermissionsEgress=[{}]}]
        "#]],
    );
}

#[test]
fn a_request_expires_and_what_ended_is_forgotten() {
    const MINUTE_MS: u64 = 60_000;
    let mut world = World::empty();
    world.transcript(PREPARED);
    let mut ages = Ages::default();
    let mut pass = |world: &mut World, steady_ms: u64| {
        let over = ages.look(&world.snap, steady_ms);
        let change = expire(&world.snap, &over, &world.env());
        world.apply(change);
        let states = world.snap.vpc().peerings.values().map(|peering| format!("{:?}", peering.state));
        (states.collect::<Vec<_>>().join(" "), ages.next_ms())
    };
    let week_ms = 7 * 24 * 60 * MINUTE_MS;
    assert_eq!(pass(&mut world, 5), ("PendingAcceptance".to_owned(), Some(week_ms + 6)));
    assert_eq!(pass(&mut world, week_ms + 6), ("Expired".to_owned(), None));
    assert_eq!(pass(&mut world, week_ms + 7), ("Expired".to_owned(), Some(week_ms + 8 + 120 * MINUTE_MS)));
    assert_eq!(pass(&mut world, week_ms + 8 + 120 * MINUTE_MS), (String::new(), None));
}
