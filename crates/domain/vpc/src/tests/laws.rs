// SPDX-License-Identifier: Apache-2.0
//! What holds whatever is asked.

use std::collections::{BTreeMap, BTreeSet};

use berth_state::vpc::EniOwner;
use berth_state::{Draft, Snapshot};
use berth_types::{EniId, SecurityGroupId};
use proptest::prelude::*;

use super::World;
use crate::interface;

/// One step in the life of interfaces; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Create { groups: Vec<u8>, address: Option<u8> },
    Delete(u8),
    SetGroups(u8, Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let groups = || prop::collection::vec(0u8..4, 0..4);
    let step = prop_oneof![
        3 => (groups(), prop::option::of(0u8..20)).prop_map(|(groups, address)| Step::Create { groups, address }),
        1 => any::<u8>().prop_map(Step::Delete),
        1 => (any::<u8>(), groups()).prop_map(|(eni, groups)| Step::SetGroups(eni, groups)),
    ];
    prop::collection::vec(step, 0..60)
}

fn prepared() -> World {
    let mut world = World::empty();
    world.transcript(
        "!CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/28
         !CreateSecurityGroup GroupName=a Description=a VpcId=vpc-1
         !CreateSecurityGroup GroupName=b Description=b VpcId=vpc-1
         !CreateSecurityGroup GroupName=c Description=c VpcId=vpc-1",
    );
    world
}

fn act(world: &mut World, step: &Step) -> Result<(), berth_state::Refusal> {
    let env = world.env();
    let ids: Vec<SecurityGroupId> = world.snap.vpc().security_groups.keys().cloned().collect();
    let chosen = |numbers: &[u8]| numbers.iter().map(|n| ids[usize::from(*n) % ids.len()].clone()).collect::<Vec<_>>();
    let enis: Vec<EniId> = world.snap.vpc().enis.keys().cloned().collect();
    let eni = |n: u8| enis.get(usize::from(n) % enis.len().max(1)).cloned();
    let subnet = world.snap.vpc().subnets.values().next().unwrap().clone();
    let mut draft = Draft::of(&world.snap);
    match step {
        Step::Create { groups, address } => {
            let address = address.map(|last| std::net::Ipv4Addr::new(10, 0, 0, last));
            interface::create(&mut draft, &subnet, &chosen(groups), address, EniOwner::User, "", &env)?;
        }
        Step::Delete(n) => {
            if let Some(eni) = eni(*n) {
                interface::delete(&mut draft, &eni);
            }
        }
        Step::SetGroups(n, groups) => {
            if let Some(eni) = eni(*n) {
                interface::set_groups(&mut draft, &eni, &chosen(groups))?;
            }
        }
    }
    world.apply(draft.change(()));
    Ok(())
}

fn addresses_are_given_once(snap: &Snapshot) {
    let subnet = snap.vpc().subnets.values().next().unwrap();
    let addresses: BTreeSet<_> = snap.vpc().enis.values().map(|eni| eni.address).collect();
    let macs: BTreeSet<_> = snap.vpc().enis.values().map(|eni| eni.mac).collect();
    assert_eq!((addresses.len(), macs.len()), (snap.vpc().enis.len(), snap.vpc().enis.len()));
    assert!(addresses.iter().all(|address| subnet.cidr.contains(*address) && (4..15).contains(&address.octets()[3])));
    assert_eq!(interface::free_addresses(snap, subnet), 11 - snap.vpc().enis.len() as u64);
}

fn group_sets_are_exactly_those_in_use(snap: &Snapshot) {
    let mut in_use = BTreeMap::new();
    for eni in snap.vpc().enis.values() {
        let groups: BTreeSet<_> = eni.groups.iter().cloned().collect();
        assert_eq!(groups.len(), eni.groups.len());
        let known = in_use.entry(eni.group_set).or_insert_with(|| groups.clone());
        assert_eq!(*known, groups);
    }
    let held: BTreeMap<_, BTreeSet<_>> =
        snap.vpc().group_sets.values().map(|set| (set.id, set.groups.iter().cloned().collect())).collect();
    assert_eq!(held, in_use);
    assert_eq!(held.values().collect::<BTreeSet<_>>().len(), held.len());
    assert!(!held.keys().any(|id| id.0 == 0));
}

proptest! {
    #[test]
    fn addresses_and_group_sets_are_always_in_order(steps in steps()) {
        let mut world = prepared();
        for step in &steps {
            let before = world.snap.vpc().enis.len();
            let result = act(&mut world, step);
            if let (Step::Create { address: None, .. }, Err(refusal)) = (step, &result) {
                prop_assert_eq!(refusal.code.code(), "InsufficientFreeAddressesInSubnet");
                prop_assert_eq!(before, 11);
            }
            addresses_are_given_once(&world.snap);
            group_sets_are_exactly_those_in_use(&world.snap);
        }
    }

    #[test]
    fn records_read_back_give_the_same_indexes(steps in steps()) {
        let mut world = prepared();
        steps.iter().for_each(|step| drop(act(&mut world, step)));
        let mut read = Snapshot::default();
        for record in world.snap.records() {
            let body = record.encode().unwrap();
            let again = berth_state::Record::decode(record.kind(), &record.key().text(), record.version(), &body).unwrap();
            read.apply(&berth_state::Write::Put(again));
        }
        prop_assert_eq!(format!("{:?}", read.vpc().index()), format!("{:?}", world.snap.vpc().index()));
    }
}

#[test]
fn what_is_created_and_deleted_leaves_nothing() {
    let mut world = World::empty();
    world.transcript(
        "!CreateVpc CidrBlock=10.0.0.0/16 tag:vpc:Name=lab
         !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/24
         !CreateInternetGateway
         !AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         !CreateRouteTable VpcId=vpc-1
         !CreateRoute RouteTableId=rtb-1 DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1
         !AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-1
         !DescribeNetworkAcls
         !CreateNetworkAcl VpcId=vpc-1
         !CreateNetworkAclEntry NetworkAclId=acl-2 Egress=true RuleNumber=1 Protocol=-1 RuleAction=deny CidrBlock=0.0.0.0/0
         !ReplaceNetworkAclAssociation AssociationId=aclassoc-1 NetworkAclId=acl-2
         !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1
         !AuthorizeSecurityGroupIngress GroupId=sg-1 rule=tcp:80-80:sg-1
         !CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-1
         !CreateTags Resources.1=eni-1 Tags.1.Key=a
         !DeleteNetworkInterface NetworkInterfaceId=eni-1
         !DeleteSecurityGroup GroupId=sg-1
         !DisassociateRouteTable AssociationId=rtbassoc-1
         !DeleteRouteTable RouteTableId=rtb-1
         !DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         !DeleteInternetGateway InternetGatewayId=igw-1
         !DeleteSubnet SubnetId=subnet-1
         !DeleteNetworkAcl NetworkAclId=acl-2
         !DeleteVpc VpcId=vpc-1",
    );
    assert_eq!(world.snap.records().count(), 0);
    assert_eq!(format!("{:?}", world.snap.vpc().index()), format!("{:?}", Snapshot::default().vpc().index()));
}

#[test]
fn numbers_of_vpcs_are_used_again_only_when_free() {
    let mut world = World::empty();
    let vnis = |world: &World| world.snap.vpc().vpcs.values().map(|vpc| vpc.vni.0).collect::<BTreeSet<_>>();
    for n in 0..3 {
        world.line(&format!("CreateVpc CidrBlock=10.{n}.0.0/16")).unwrap();
    }
    assert_eq!(vnis(&world), BTreeSet::from([1, 2, 3]));
    world.line("DeleteVpc VpcId=vpc-2").unwrap();
    world.line("CreateVpc CidrBlock=10.9.0.0/16").unwrap();
    assert_eq!(vnis(&world), BTreeSet::from([1, 2, 3]));
}
