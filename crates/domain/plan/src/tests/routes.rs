// SPDX-License-Identifier: Apache-2.0
//! Route tables and network ACLs of a host's VPCs, and how they change.

use berth_types::intent::{HostIntent, RouteIntent, RulePeer, diff};
use berth_world::{World, fargate_definition, hello};
use expect_test::expect;
use proptest::prelude::*;

use crate::{host, patch};

const PREPARED: &str = r#"
    !CreateVpc CidrBlock=10.0.0.0/16
    !CreateVpc CidrBlock=10.1.0.0/16
    !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24 AvailabilityZone=us-west-2a
    !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.1.0/24 AvailabilityZone=us-west-2a
    !CreateSubnet VpcId=vpc-2 CidrBlock=10.1.0.0/24 AvailabilityZone=us-west-2a
    !CreateInternetGateway
    !CreateInternetGateway
    !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
    !CreateRouteTable VpcId=vpc-1
    !CreateNetworkAcl VpcId=vpc-1
    !DescribeRouteTables filter:association.main=true filter:vpc-id=vpc-1
    !DescribeNetworkAcls filter:vpc-id=vpc-1
    !RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    !DescribeNetworkInterfaces
    !DescribeSecurityGroups filter:vpc-id=vpc-1
    !task-1 interface ATTACHED"#;

fn prepared() -> World {
    let mut world = World::with_host();
    world.connect(&hello(2));
    world.call("RegisterTaskDefinition", fargate_definition()).unwrap();
    world.transcript(PREPARED);
    world
}

fn whole(world: &World, number: u128) -> HostIntent {
    let env = world.env();
    host(&world.snap, &hello(number).host, &env)
}

fn whole_of_both(world: &World) -> [HostIntent; 2] {
    [1, 2].map(|number| whole(world, number))
}

/// The host of the first task.
fn of_the_task(world: &World) -> HostIntent {
    whole_of_both(world).into_iter().find(|intent| !intent.tasks.is_empty()).unwrap()
}

/// Routes and entries of the host of the first task, with names in place of ids.
fn shown(world: &World) -> String {
    let intent = of_the_task(world);
    let mut lines = Vec::new();
    for vpc in intent.vpcs.values() {
        lines.push(format!("{} {:?} gateway {:?}", vpc.vpc, vpc.cidrs, vpc.internet_gateway));
        for (id, subnet) in &vpc.subnets {
            let table = &intent.route_tables[subnet.route_table.as_ref().unwrap()];
            let acl = &intent.network_acls[subnet.network_acl.as_ref().unwrap()];
            assert_eq!((table.vni, acl.vni), (intent.enis.values().next().unwrap().vni, table.vni));
            let routes: Vec<_> = table.routes.iter().map(|(cidr, route)| format!("{cidr} {}", target(route))).collect();
            let entries: Vec<_> = acl
                .entries
                .iter()
                .map(|it| {
                    format!(
                        "{:?} {} {:?} {:?} {} {}",
                        it.direction, it.number, it.protocol, it.ports, it.cidr, it.admits
                    )
                })
                .collect();
            lines.push(format!("{id}: {}; {}", routes.join(", "), entries.join(", ")));
        }
    }
    lines.sort();
    world.named(&(lines.join("\n") + "\n"))
}

fn target(route: &RouteIntent) -> String {
    match route {
        RouteIntent::Local => "local".to_owned(),
        RouteIntent::InternetGateway(id) => id.to_string(),
        RouteIntent::NatGateway(id) => id.to_string(),
        RouteIntent::Eni(id) => id.to_string(),
        RouteIntent::Peering { id, vni } => format!("{id} to {}", vni.0),
        RouteIntent::Blackhole => "blackhole".to_owned(),
    }
}

#[test]
fn a_route_leads_to_an_interface_as_long_as_it_is_attached() {
    let mut world = prepared();
    world.transcript(
        "!AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.7.0.0/16
         !CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-1
         !ReplaceRoute RouteTableId=rtb-2 DestinationCidrBlock=10.0.0.0/16 NetworkInterfaceId=eni-1",
    );
    let routes = |world: &World| {
        let intent = whole_of_both(world);
        let tables: Vec<_> = intent.iter().flat_map(|intent| intent.route_tables.values()).collect();
        let routes = tables.iter().flat_map(|table| &table.routes);
        let routes: Vec<_> = routes.map(|(cidr, route)| format!("{cidr} {}", target(route))).collect();
        world.named(&routes.join(", "))
    };
    assert_eq!(routes(&world), "0.0.0.0/0 eni-1, 10.0.0.0/16 eni-1, 10.7.0.0/16 local");
    world.transcript("!StopTask task=task-1");
    world.transcript("task-1 reports STOPPED exited=nginx");
    let still: HostIntent = whole_of_both(&world).into_iter().next().unwrap();
    assert!(still.route_tables.is_empty(), "nothing is plugged any more");
    let shown = world.transcript("DescribeRouteTables filter:route.state=blackhole | State");
    assert_eq!(shown.matches("State=blackhole").count(), 2, "{shown}");
}

#[test]
fn a_prefix_list_is_replaced_by_its_ranges() {
    let mut world = prepared();
    world.transcript(
        "!CreateManagedPrefixList PrefixListName=a AddressFamily=IPv4 MaxEntries=3 Entries.1.Cidr=192.0.2.0/24 Entries.2.Cidr=10.0.0.0/16
         !CreateRoute RouteTableId=rtb-2 DestinationPrefixListId=pl-1 GatewayId=igw-1
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1",
    );
    let shown = |world: &World| {
        let intent = of_the_task(world);
        let routes = intent.route_tables.values().flat_map(|table| &table.routes);
        let routes: Vec<_> = routes.map(|(cidr, route)| format!("{cidr} {}", target(route))).collect();
        let rules = intent.security_groups.values().flat_map(|group| group.rules.values());
        let lists = rules.filter_map(|rule| match &rule.peer {
            RulePeer::Cidrs(cidrs) => Some(format!("{cidrs:?}")),
            RulePeer::Cidr(_) | RulePeer::Group(_) => None,
        });
        world.named(&format!("{}; {}", routes.join(", "), lists.collect::<String>()))
    };
    assert_eq!(shown(&world), "10.0.0.0/16 local, 192.0.2.0/24 igw-1; [192.0.2.0/24, 10.0.0.0/16]");
    world.transcript("!ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=1 AddEntries.1.Cidr=203.0.113.0/24 RemoveEntries.1.Cidr=192.0.2.0/24");
    assert_eq!(shown(&world), "10.0.0.0/16 local, 203.0.113.0/24 igw-1; [10.0.0.0/16, 203.0.113.0/24]");
}

#[test]
fn a_host_knows_the_peers_of_its_vpcs() {
    let mut world = prepared();
    world.transcript(
        r#"!CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-2
           !CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=10.1.0.0/16 VpcPeeringConnectionId=pcx-1
           !RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-3"]}}"#,
    );
    let counts = |world: &World| {
        whole_of_both(world).map(|intent| {
            let routes = intent.route_tables.values().flat_map(|table| table.routes.values());
            let through = routes.filter(|route| matches!(route, RouteIntent::Peering { .. })).count();
            (intent.vpcs.len(), intent.endpoints.len(), intent.security_groups.len(), intent.enis.len(), through)
        })
    };
    assert_eq!(counts(&world), [(1, 1, 1, 1, 0), (1, 1, 1, 1, 0)]);
    world.transcript("!AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1");
    assert_eq!(counts(&world), [(2, 2, 2, 1, 1), (2, 2, 2, 1, 1)]);
    world.transcript("!DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1");
    assert_eq!(counts(&world), [(1, 1, 1, 1, 0), (1, 1, 1, 1, 0)]);
}

#[test]
fn a_subnet_has_its_own_table_and_acl_or_those_of_the_vpc() {
    let mut world = prepared();
    world.transcript(
        "!CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
         !AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-2
         !ReplaceNetworkAclAssociation AssociationId=aclassoc-2 NetworkAclId=acl-1
         !CreateNetworkAclEntry NetworkAclId=acl-1 Egress=false RuleNumber=20 Protocol=6 RuleAction=allow CidrBlock=10.0.0.0/24 PortRange.From=80 PortRange.To=443
         !CreateNetworkAclEntry NetworkAclId=acl-1 Egress=false RuleNumber=10 Protocol=1 RuleAction=deny CidrBlock=0.0.0.0/0 IcmpTypeCode.Type=8 IcmpTypeCode.Code=-1
         !CreateNetworkAclEntry NetworkAclId=acl-1 Egress=false RuleNumber=30 Protocol=-1 RuleAction=allow Ipv6CidrBlock=::/0
         !CreateNetworkAclEntry NetworkAclId=acl-1 Egress=true RuleNumber=1 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0",
    );
    expect![[r#"
        subnet-1: 10.0.0.0/16 local; Ingress 100 None All 0.0.0.0/0 true, Egress 100 None All 0.0.0.0/0 true
        subnet-2: 0.0.0.0/0 igw-1, 10.0.0.0/16 local; Ingress 10 Some(1) Icmp(8, None) 0.0.0.0/0 false, Ingress 20 Some(6) Ports(80, 443) 10.0.0.0/24 true, Egress 1 None All 0.0.0.0/0 true
        vpc-1 [10.0.0.0/16] gateway Some(igw-1)
    "#]].assert_eq(&shown(&world));
    world.transcript("!DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1");
    expect![[r#"
        subnet-1: 10.0.0.0/16 local; Ingress 100 None All 0.0.0.0/0 true, Egress 100 None All 0.0.0.0/0 true
        subnet-2: 0.0.0.0/0 blackhole, 10.0.0.0/16 local; Ingress 10 Some(1) Icmp(8, None) 0.0.0.0/0 false, Ingress 20 Some(6) Ports(80, 443) 10.0.0.0/24 true, Egress 1 None All 0.0.0.0/0 true
        vpc-1 [10.0.0.0/16] gateway None
    "#]].assert_eq(&shown(&world));
}

/// Calls that change routes, ACLs and what they lead to; most are possible in some order only.
const STEPS: &[&str] = &[
    "CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1",
    "DeleteRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0",
    "CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=192.168.0.0/16 GatewayId=igw-1",
    "CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=192.168.1.0/24 NetworkInterfaceId=eni-1",
    "ReplaceRoute RouteTableId=rtb-2 DestinationCidrBlock=10.0.0.0/16 NetworkInterfaceId=eni-1",
    "ReplaceRoute RouteTableId=rtb-2 DestinationCidrBlock=10.0.0.0/16 LocalTarget=true",
    "AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-1",
    "AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-2",
    "DisassociateRouteTable AssociationId=rtbassoc-2",
    "DisassociateRouteTable AssociationId=rtbassoc-3",
    "ReplaceRouteTableAssociation AssociationId=rtbassoc-1 RouteTableId=rtb-1",
    "DeleteRouteTable RouteTableId=rtb-1",
    "DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1",
    "AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1",
    "AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-2",
    "DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-2",
    "DeleteInternetGateway InternetGatewayId=igw-1",
    "CreateNetworkAclEntry NetworkAclId=acl-1 Egress=true RuleNumber=1 Protocol=-1 RuleAction=allow CidrBlock=0.0.0.0/0",
    "CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=1 Protocol=-1 RuleAction=deny CidrBlock=10.9.0.0/16",
    "DeleteNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=1",
    "ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-1",
    "ReplaceNetworkAclAssociation AssociationId=aclassoc-2 NetworkAclId=acl-1",
    "ReplaceNetworkAclAssociation AssociationId=aclassoc-3 NetworkAclId=acl-2",
    "DeleteNetworkAcl NetworkAclId=acl-1",
    "CreateSubnet VpcId=vpc-1 CidrBlock=10.0.2.0/24 AvailabilityZone=us-west-2b",
    "DeleteSubnet SubnetId=subnet-2",
    r#"RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-3"]}}"#,
    r#"RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}}"#,
    "StopTask task=task-1",
    "task-1 interface ATTACHED",
    "task-1 interface GONE",
    "task-1 reports STOPPED",
    "CreateManagedPrefixList PrefixListName=a AddressFamily=IPv4 MaxEntries=3 Entries.1.Cidr=192.0.2.0/24",
    "ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=1 AddEntries.1.Cidr=203.0.113.0/24",
    "ModifyManagedPrefixList PrefixListId=pl-1 CurrentVersion=2 AddEntries.1.Cidr=10.0.0.0/16",
    "RestoreManagedPrefixListVersion PrefixListId=pl-1 PreviousVersion=1 CurrentVersion=3",
    "CreateRoute RouteTableId=rtb-2 DestinationPrefixListId=pl-1 GatewayId=igw-1",
    "DeleteRoute RouteTableId=rtb-2 DestinationPrefixListId=pl-1",
    "AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1",
    "RevokeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:pl-1",
    "DeleteManagedPrefixList PrefixListId=pl-1",
    "CreateVpcPeeringConnection VpcId=vpc-1 PeerVpcId=vpc-2",
    "CreateVpcPeeringConnection VpcId=vpc-2 PeerVpcId=vpc-1",
    "AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1",
    "AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-2",
    "DeleteVpcPeeringConnection VpcPeeringConnectionId=pcx-1",
    "CreateRoute RouteTableId=rtb-2 DestinationCidrBlock=10.1.0.0/16 VpcPeeringConnectionId=pcx-1",
    r#"RunTask taskDefinition=nginx launchType=FARGATE networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-3"]}}"#,
    "StopTask task=task-2",
    "AssociateVpcCidrBlock VpcId=vpc-1 CidrBlock=10.7.0.0/16",
    "DisassociateVpcCidrBlock AssociationId=vpc-cidr-assoc-3",
];

proptest! {
    #[test]
    fn a_patch_is_the_difference_of_whole_intents(steps in prop::collection::vec(0..STEPS.len(), 1..40)) {
        let mut world = prepared();
        for step in steps {
            let before = world.snap.clone();
            if world.line(STEPS[step]).is_err() {
                continue;
            }
            let env = world.env();
            for number in [1, 2] {
                let id = hello(number).host;
                let whole = |snap| host(snap, &id, &env);
                let expected = diff(7, &whole(&before), world.snap.revision, &whole(&world.snap));
                prop_assert_eq!(patch(7, &before, &world.snap, &id, &env), expected, "{}", STEPS[step]);
            }
        }
    }
}
