//! Network interfaces.

use super::{World, check};
use crate::ecs::record::{ClusterName, Host};
use crate::vpc::record::EniOwner;
use crate::vpc::{self, interface};
use crate::{Draft, Snapshot};
use berth_types::link::Capacity;
use berth_types::report::{EniReport, EniState};
use berth_types::{HostId, InstanceId, TaskId};
use expect_test::expect;

const PREPARED: &str = "!CreateVpc CidrBlock=10.0.0.0/16
    !CreateSubnet VpcId=vpc-1 CidrBlock=10.0.0.0/28
    !CreateSecurityGroup GroupName=web Description=web VpcId=vpc-1";

#[test]
fn an_interface_gets_the_lowest_free_address_and_the_default_group() {
    check(
        &format!(
            "{PREPARED}
             CreateNetworkInterface SubnetId=subnet-1 Description=first tag:network-interface:Name=one
             !CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.6
             !CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddresses.1.PrivateIpAddress=10.0.0.8 PrivateIpAddresses.1.Primary=true
             !CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-1
             !CreateNetworkInterface SubnetId=subnet-1
             DescribeNetworkInterfaces filter:group-name=web
             DescribeNetworkInterfaces filter:private-ip-address=10.0.0.7
             DeleteNetworkInterface NetworkInterfaceId=eni-1
             CreateNetworkInterface SubnetId=subnet-1
             DescribeSubnets"
        ),
        expect![[]],
    );
}

#[test]
fn an_interface_that_cannot_be_is_refused() {
    check(
        &format!(
            "{PREPARED}
             !CreateVpc CidrBlock=10.1.0.0/16
             !CreateSecurityGroup GroupName=other Description=other VpcId=vpc-2
             !CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.9
             CreateNetworkInterface
             CreateNetworkInterface SubnetId=subnet-0123456789abcdef0
             CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.9
             CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.3
             CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.15
             CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.1.4
             CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=ten
             CreateNetworkInterface SubnetId=subnet-1 SecondaryPrivateIpAddressCount=1
             CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.5 PrivateIpAddresses.1.PrivateIpAddress=10.0.0.6
             CreateNetworkInterface SubnetId=subnet-1 InterfaceType=trunk
             CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-2
             CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-0123456789abcdef0
             CreateNetworkInterface SubnetId=subnet-1 Ipv6AddressCount=1"
        ),
        expect![[]],
    );
}

#[test]
fn a_full_subnet_refuses_the_next_interface() {
    let mut world = World::default();
    world.transcript(PREPARED);
    for _ in 0..11 {
        world.call("CreateNetworkInterface SubnetId=subnet-1").unwrap();
    }
    expect![[]].assert_eq(&world.transcript("CreateNetworkInterface SubnetId=subnet-1"));
}

#[test]
fn an_interface_carries_at_most_five_groups() {
    let mut world = World::default();
    world.transcript(PREPARED);
    for name in ["b", "c", "d", "e", "f"] {
        world.call(&format!("CreateSecurityGroup GroupName={name} Description=d VpcId=vpc-1")).unwrap();
    }
    let five = "Groups.1=sg-1 Groups.2=sg-2 Groups.3=sg-3 Groups.4=sg-4 Groups.5=sg-5";
    expect![[]].assert_eq(&world.transcript(&format!(
        "!CreateNetworkInterface SubnetId=subnet-1 {five} Groups.6=sg-1
         CreateNetworkInterface SubnetId=subnet-1 {five} Groups.6=sg-6
         ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 {five} Groups.6=sg-6"
    )));
}

#[test]
fn a_client_token_makes_one_interface() {
    check(
        &format!(
            "{PREPARED}
             !CreateNetworkInterface SubnetId=subnet-1 ClientToken=t Description=a
             !CreateNetworkInterface SubnetId=subnet-1 ClientToken=t Description=a
             CreateNetworkInterface SubnetId=subnet-1 ClientToken=t Description=b
             DescribeSubnets filter:available-ip-address-count=10"
        ),
        expect![[]],
    );
}

#[test]
fn attributes_of_an_interface() {
    check(
        &format!(
            "{PREPARED}
             !CreateNetworkInterface SubnetId=subnet-1
             ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Description.Value=new
             ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 SourceDestCheck.Value=false
             ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Groups.1=sg-1
             DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=description
             DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=sourceDestCheck
             DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=groupSet
             DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=attachment
             DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=associatePublicIpAddress
             DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=colour
             DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1
             ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1
             ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Groups.1=sg-1 Description.Value=x
             ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attachment.DeleteOnTermination=true
             ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Groups.1=sg-0123456789abcdef0
             DeleteNetworkInterface NetworkInterfaceId=eni-0123456789abcdef0"
        ),
        expect![[]],
    );
}

#[test]
fn interfaces_of_tasks_belong_to_their_task() {
    let mut world = World::default();
    world.transcript(PREPARED);
    world.transcript("!ModifyVpcAttribute VpcId=vpc-1 EnableDnsHostnames.Value=true");
    for owner in [EniOwner::FargateTask(TaskId::from_bits(1)), EniOwner::Ec2Task(TaskId::from_bits(2))] {
        let mut draft = Draft::of(&world.snap);
        let subnet = world.snap.subnets.values().next().unwrap();
        let env = crate::Env::fixed();
        let env = crate::Env::new(env.now, &env.region, &env.account, "", world.snap.enis.len() as u128 + 77);
        let eni = interface::create(&mut draft, subnet, &[], None, owner, "arn:aws:ecs:attachment", &env).unwrap();
        interface::attach(&mut draft, &eni.id, &host(1), &env).unwrap();
        interface::attached(&mut draft, &eni.id);
        world.apply(draft.change(()).writes);
    }
    expect![[]].assert_eq(&world.transcript(
        "DescribeNetworkInterfaces filter:requester-managed=true
         DescribeNetworkInterfaces filter:requester-managed=false
         DetachNetworkInterface AttachmentId=ela-attach-1
         DetachNetworkInterface AttachmentId=eni-attach-1
         DetachNetworkInterface AttachmentId=eni-attach-0123456789abcdef0
         DetachNetworkInterface AttachmentId=attachment
         DeleteNetworkInterface NetworkInterfaceId=eni-1
         DeleteNetworkInterface NetworkInterfaceId=eni-2
         ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 SourceDestCheck.Value=false
         CreateTags Resources.1=eni-1 Tags.1.Key=team Tags.1.Value=web",
    ));
}

#[test]
fn a_host_frees_the_address_when_it_has_let_go() {
    let mut world = World::default();
    world.transcript(PREPARED);
    let env = world.env();
    let subnet = world.snap.subnets.values().next().unwrap().clone();
    let mut draft = Draft::of(&world.snap);
    let owner = EniOwner::FargateTask(TaskId::from_bits(1));
    let eni = interface::create(&mut draft, &subnet, &[], None, owner, "", &env).unwrap();
    let attachment = interface::attach(&mut draft, &eni.id, &host(1), &env).unwrap();
    assert_eq!(attachment.device_index, 1);
    world.apply(draft.change(()).writes);
    let observe = |snap: &mut Snapshot, from: u128, state: EniState| {
        let report = EniReport { eni: eni.id.clone(), state };
        let change = vpc::observe_eni(snap, &HostId::from_bits(from), &report, &env);
        change.writes.iter().for_each(|write| snap.apply(write));
        snap.enis.get(&eni.id).map(|eni| eni.attachment.as_ref().unwrap().status)
    };
    let mut steps = Vec::new();
    for (from, state) in [
        (2, EniState::Attached),
        (1, EniState::Gone),
        (1, EniState::Failed("no veth".to_owned())),
        (1, EniState::Attached),
        (1, EniState::Attached),
        (1, EniState::Gone),
    ] {
        steps.push(format!("{from} {state:?}: {:?}", observe(&mut world.snap, from, state.clone())));
    }
    let mut draft = Draft::of(&world.snap);
    interface::detach(&mut draft, &eni.id);
    world.apply(draft.change(()).writes);
    for (from, state) in [(1, EniState::Attached), (2, EniState::Gone), (1, EniState::Gone), (1, EniState::Gone)] {
        steps.push(format!("detached, {from} {state:?}: {:?}", observe(&mut world.snap, from, state.clone())));
    }
    expect![[]].assert_eq(&steps.join("\n"));
    assert!(world.snap.group_sets.is_empty());
    assert!(world.snap.index().addresses.is_empty());
    assert!(world.snap.index().macs.is_empty());
}

#[test]
fn device_indexes_are_the_lowest_free_of_the_host() {
    let mut world = World::default();
    world.transcript(PREPARED);
    let env = world.env();
    let subnet = world.snap.subnets.values().next().unwrap().clone();
    let mut draft = Draft::of(&world.snap);
    let attach = |draft: &mut Draft, on: u128| {
        let eni = interface::create(draft, &subnet, &[], None, EniOwner::User, "", &env).unwrap();
        (interface::attach(draft, &eni.id, &host(on), &env).unwrap().device_index, eni.id.clone())
    };
    assert_eq!((attach(&mut draft, 1).0, attach(&mut draft, 2).0), (1, 1));
    let (second, eni) = attach(&mut draft, 1);
    assert_eq!((second, attach(&mut draft, 1).0), (2, 3));
    interface::delete(&mut draft, &eni);
    assert_eq!(attach(&mut draft, 1).0, 2);
    let attached = draft.enis.keys().next().unwrap().clone();
    let refusal = interface::attach(&mut draft, &attached, &host(1), &env).unwrap_err();
    assert_eq!(refusal.code.code(), "InvalidNetworkInterface.InUse");
}

/// A connected host with room for four interfaces.
pub(super) fn host(number: u128) -> Host {
    Host {
        id: HostId::from_bits(number),
        instance: InstanceId::from_bits(number),
        cluster: ClusterName("default".to_owned()),
        registered_at: None,
        connected: true,
        availability_zone: "us-west-2a".to_owned(),
        capacity: Capacity { cpu_units: 2048, memory_mib: 4096, enis: 4 },
        attributes: Default::default(),
        version: "0.1.0".to_owned(),
        runtime_version: "1.6.20".to_owned(),
        record_version: 1,
        tags: Default::default(),
    }
}
