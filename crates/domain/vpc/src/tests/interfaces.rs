// SPDX-License-Identifier: Apache-2.0
//! Network interfaces.

use berth_state::ecs::{ClusterName, Host};
use berth_state::vpc::EniOwner;
use berth_state::{Draft, Snapshot};
use berth_types::link::Capacity;
use berth_types::report::{EniReport, EniState};
use berth_types::{HostId, InstanceId, TaskId};
use expect_test::expect;

use super::{World, check};
use crate::interface;

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
        expect![[r#"
            CreateNetworkInterface SubnetId=subnet-1 Description=first tag:network-interface:Name=one
              NetworkInterface={AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description=first Groups=[{GroupId=sg-2 GroupName=default}] InterfaceType=interface MacAddress=02:ee:ab:02:77:55 NetworkInterfaceId=eni-1 PrivateIpAddress=10.0.0.4 PrivateIpAddresses=[{Primary=true PrivateIpAddress=10.0.0.4}] RequesterManaged=false SourceDestCheck=true Status=available SubnetId=subnet-1 TagSet=[{Key=Name Value=one}] VpcId=vpc-1}
            DescribeNetworkInterfaces filter:group-name=web
              NetworkInterfaces=[{AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description="" Groups=[{GroupId=sg-1 GroupName=web}] InterfaceType=interface MacAddress=02:5c:aa:97:9b:d4 NetworkInterfaceId=eni-4 PrivateIpAddress=10.0.0.5 PrivateIpAddresses=[{Primary=true PrivateIpAddress=10.0.0.5}] RequesterManaged=false SourceDestCheck=true Status=available SubnetId=subnet-1 VpcId=vpc-1}]
            DescribeNetworkInterfaces filter:private-ip-address=10.0.0.7
              NetworkInterfaces=[{AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description="" Groups=[{GroupId=sg-2 GroupName=default}] InterfaceType=interface MacAddress=02:72:90:78:7f:1c NetworkInterfaceId=eni-5 PrivateIpAddress=10.0.0.7 PrivateIpAddresses=[{Primary=true PrivateIpAddress=10.0.0.7}] RequesterManaged=false SourceDestCheck=true Status=available SubnetId=subnet-1 VpcId=vpc-1}]
            DeleteNetworkInterface NetworkInterfaceId=eni-1
              nothing
            CreateNetworkInterface SubnetId=subnet-1
              NetworkInterface={AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description="" Groups=[{GroupId=sg-2 GroupName=default}] InterfaceType=interface MacAddress=02:fb:55:d4:d9:6b NetworkInterfaceId=eni-6 PrivateIpAddress=10.0.0.4 PrivateIpAddresses=[{Primary=true PrivateIpAddress=10.0.0.4}] RequesterManaged=false SourceDestCheck=true Status=available SubnetId=subnet-1 VpcId=vpc-1}
            DescribeSubnets
              Subnets=[{AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 AvailableIpAddressCount=6 CidrBlock=10.0.0.0/28 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=false PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-1 SubnetId=subnet-1 VpcId=vpc-1}]
        "#]],
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
        expect![[r#"
            CreateNetworkInterface
              refused MissingParameter: The request must contain the parameter subnetId
            CreateNetworkInterface SubnetId=subnet-0123456789abcdef0
              refused InvalidSubnetID.NotFound: The subnet ID 'subnet-0123456789abcdef0' does not exist
            CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.9
              refused InvalidIPAddress.InUse: Address 10.0.0.9 is in use.
            CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.3
              refused InvalidParameterValue: Address is in subnet's reserved address range
            CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.15
              refused InvalidParameterValue: Address is in subnet's reserved address range
            CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.1.4
              refused InvalidParameterValue: Address does not fall within the subnet's address range
            CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=ten
              refused InvalidParameterValue: Value (ten) for parameter privateIpAddress is invalid. This is not a valid IPv4 address.
            CreateNetworkInterface SubnetId=subnet-1 SecondaryPrivateIpAddressCount=1
              refused UnsupportedOperation: The parameter SecondaryPrivateIpAddressCount of CreateNetworkInterface is not supported.
            CreateNetworkInterface SubnetId=subnet-1 PrivateIpAddress=10.0.0.5 PrivateIpAddresses.1.PrivateIpAddress=10.0.0.6
              refused UnsupportedOperation: Secondary private IP addresses are not supported.
            CreateNetworkInterface SubnetId=subnet-1 InterfaceType=trunk
              refused InvalidParameterValue: Value (trunk) for parameter interfaceType is invalid. Only the type 'interface' is offered.
            CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-2
              refused InvalidParameterValue: You have specified two resources that belong to different networks.
            CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-0123456789abcdef0
              refused InvalidGroup.NotFound: The security group 'sg-0123456789abcdef0' does not exist
            CreateNetworkInterface SubnetId=subnet-1 Ipv6AddressCount=1
              refused UnsupportedOperation: The parameter Ipv6AddressCount of CreateNetworkInterface is not supported.
        "#]],
    );
}

#[test]
fn a_full_subnet_refuses_the_next_interface() {
    let mut world = World::empty();
    world.transcript(PREPARED);
    for _ in 0..11 {
        world.line("CreateNetworkInterface SubnetId=subnet-1").unwrap();
    }
    expect![[r#"
        CreateNetworkInterface SubnetId=subnet-1
          refused InsufficientFreeAddressesInSubnet: The specified subnet does not have enough free addresses to satisfy the request.
    "#]].assert_eq(&world.transcript("CreateNetworkInterface SubnetId=subnet-1"));
}

#[test]
fn an_interface_carries_at_most_five_groups() {
    let mut world = World::empty();
    world.transcript(PREPARED);
    for name in ["b", "c", "d", "e", "f"] {
        world.line(&format!("CreateSecurityGroup GroupName={name} Description=d VpcId=vpc-1")).unwrap();
    }
    let five = "Groups.1=sg-1 Groups.2=sg-2 Groups.3=sg-3 Groups.4=sg-4 Groups.5=sg-5";
    expect![[r#"
        CreateNetworkInterface SubnetId=subnet-1 Groups.1=sg-1 Groups.2=sg-2 Groups.3=sg-3 Groups.4=sg-4 Groups.5=sg-5 Groups.6=sg-6
          refused SecurityGroupsPerInterfaceLimitExceeded: The maximum number of security groups per interface has been reached.
        ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Groups.1=sg-1 Groups.2=sg-2 Groups.3=sg-3 Groups.4=sg-4 Groups.5=sg-5 Groups.6=sg-6
          refused SecurityGroupsPerInterfaceLimitExceeded: The maximum number of security groups per interface has been reached.
    "#]].assert_eq(&world.transcript(&format!(
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
        expect![[r#"
            CreateNetworkInterface SubnetId=subnet-1 ClientToken=t Description=b
              refused IdempotentParameterMismatch: The client token 't' was used before with different parameters.
            DescribeSubnets filter:available-ip-address-count=10
              Subnets=[{AssignIpv6AddressOnCreation=false AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 AvailableIpAddressCount=10 CidrBlock=10.0.0.0/28 DefaultForAz=false EnableDns64=false Ipv6Native=false MapCustomerOwnedIpOnLaunch=false MapPublicIpOnLaunch=false PrivateDnsNameOptionsOnLaunch={EnableResourceNameDnsAAAARecord=false EnableResourceNameDnsARecord=false HostnameType=ip-name} State=available SubnetArn=arn:aws:ec2:us-west-2:111122223333:subnet/subnet-1 SubnetId=subnet-1 VpcId=vpc-1}]
        "#]],
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
        expect![[r#"
            ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Description.Value=new
              nothing
            ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 SourceDestCheck.Value=false
              nothing
            ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Groups.1=sg-1
              nothing
            DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=description
              Description={Value=new} NetworkInterfaceId=eni-1
            DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=sourceDestCheck
              NetworkInterfaceId=eni-1 SourceDestCheck={Value=false}
            DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=groupSet
              Groups=[{GroupId=sg-1 GroupName=web}] NetworkInterfaceId=eni-1
            DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=attachment
              NetworkInterfaceId=eni-1
            DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=associatePublicIpAddress
              AssociatePublicIpAddress=false NetworkInterfaceId=eni-1
            DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attribute=colour
              refused InvalidParameterValue: Value (colour) for parameter attribute is invalid. Unknown attribute name.
            DescribeNetworkInterfaceAttribute NetworkInterfaceId=eni-1
              refused MissingParameter: The request must contain the parameter attribute
            ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1
              refused InvalidParameterCombination: No attributes specified.
            ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Groups.1=sg-1 Description.Value=x
              refused InvalidParameterCombination: Fields for multiple attribute types specified
            ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Attachment.DeleteOnTermination=true
              refused UnsupportedOperation: The parameter Attachment of ModifyNetworkInterfaceAttribute is not supported.
            ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 Groups.1=sg-0123456789abcdef0
              refused InvalidGroup.NotFound: The security group 'sg-0123456789abcdef0' does not exist
            DeleteNetworkInterface NetworkInterfaceId=eni-0123456789abcdef0
              refused InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0123456789abcdef0' does not exist
        "#]],
    );
}

#[test]
fn interfaces_of_tasks_belong_to_their_task() {
    let mut world = World::empty();
    world.transcript(PREPARED);
    world.transcript("!ModifyVpcAttribute VpcId=vpc-1 EnableDnsHostnames.Value=true");
    for owner in [EniOwner::FargateTask(TaskId::from_bits(1)), EniOwner::Ec2Task(TaskId::from_bits(2))] {
        let mut draft = Draft::of(&world.snap);
        let subnet = world.snap.vpc().subnets.values().next().unwrap();
        let env = berth_state::Env::fixed();
        let env = berth_state::Env::new(
            env.now,
            &env.region,
            &env.account,
            env.caller,
            world.snap.vpc().enis.len() as u128 + 77,
        );
        let eni = interface::create(&mut draft, subnet, &[], None, owner, "arn:aws:ecs:attachment", &env).unwrap();
        interface::attach(&mut draft, &eni.id, &host(1), &env).unwrap();
        interface::attached(&mut draft, &eni.id);
        world.apply(draft.change(()));
    }
    expect![[r#"
        DescribeNetworkInterfaces filter:requester-managed=true
          NetworkInterfaces=[{Attachment={AttachTime=0 AttachmentId=ela-attach-1 DeleteOnTermination=false DeviceIndex=1 InstanceOwnerId=111122223333 NetworkCardIndex=0 Status=attached} AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description=arn:aws:ecs:attachment Groups=[{GroupId=sg-2 GroupName=default}] InterfaceType=interface MacAddress=02:f7:71:85:30:ac NetworkInterfaceId=eni-1 PrivateDnsName=ip-10-0-0-4.us-west-2.compute.internal PrivateIpAddress=10.0.0.4 PrivateIpAddresses=[{Primary=true PrivateDnsName=ip-10-0-0-4.us-west-2.compute.internal PrivateIpAddress=10.0.0.4}] RequesterId=111122223333 RequesterManaged=true SourceDestCheck=true Status=in-use SubnetId=subnet-1 VpcId=vpc-1}]
        DescribeNetworkInterfaces filter:requester-managed=false
          NetworkInterfaces=[{Attachment={AttachTime=0 AttachmentId=eni-attach-1 DeleteOnTermination=false DeviceIndex=2 InstanceId=i-1 InstanceOwnerId=111122223333 NetworkCardIndex=0 Status=attached} AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description=arn:aws:ecs:attachment Groups=[{GroupId=sg-2 GroupName=default}] InterfaceType=interface MacAddress=02:84:8b:85:6a:40 NetworkInterfaceId=eni-2 PrivateDnsName=ip-10-0-0-5.us-west-2.compute.internal PrivateIpAddress=10.0.0.5 PrivateIpAddresses=[{Primary=true PrivateDnsName=ip-10-0-0-5.us-west-2.compute.internal PrivateIpAddress=10.0.0.5}] RequesterManaged=false SourceDestCheck=true Status=in-use SubnetId=subnet-1 VpcId=vpc-1}]
        DetachNetworkInterface AttachmentId=ela-attach-1
          refused OperationNotPermitted: You are not allowed to manage 'ela-attach' attachments.
        DetachNetworkInterface AttachmentId=eni-attach-1
          refused OperationNotPermitted: Network interface 'eni-2' belongs to the Amazon ECS task '00000000000000000000000000000002' and cannot be detached, modified or deleted. To release it, stop the task.
        DetachNetworkInterface AttachmentId=eni-attach-0123456789abcdef0
          refused InvalidAttachmentID.NotFound: The attachment ID 'eni-attach-0123456789abcdef0' does not exist
        DetachNetworkInterface AttachmentId=attachment
          refused InvalidAttachmentId.Malformed: Invalid id: "attachment" (expecting "eni-attach-...")
        DeleteNetworkInterface NetworkInterfaceId=eni-1
          refused InvalidNetworkInterface.InUse: Network interface 'eni-1' is currently in use.
        DeleteNetworkInterface NetworkInterfaceId=eni-2
          refused InvalidNetworkInterface.InUse: Network interface 'eni-2' is currently in use.
        ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-1 SourceDestCheck.Value=false
          refused OperationNotPermitted: You are not allowed to manage 'ela-attach' attachments.
        CreateTags Resources.1=eni-1 Tags.1.Key=team Tags.1.Value=web
          nothing
    "#]].assert_eq(&world.transcript(
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
    let mut world = World::empty();
    world.transcript(PREPARED);
    let env = world.env();
    let subnet = world.snap.vpc().subnets.values().next().unwrap().clone();
    let mut draft = Draft::of(&world.snap);
    let owner = EniOwner::FargateTask(TaskId::from_bits(1));
    let eni = interface::create(&mut draft, &subnet, &[], None, owner, "", &env).unwrap();
    let attachment = interface::attach(&mut draft, &eni.id, &host(1), &env).unwrap();
    assert_eq!(attachment.device_index, 1);
    world.apply(draft.change(()));
    let observe = |snap: &mut Snapshot, from: u128, state: EniState| {
        let report = EniReport { eni: eni.id.clone(), state };
        let change = crate::observe_eni(snap, &HostId::from_bits(from), &report, &env);
        change.writes.iter().for_each(|write| snap.apply(write));
        snap.vpc().enis.get(&eni.id).map(|eni| eni.attachment.as_ref().unwrap().status)
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
    world.apply(draft.change(()));
    for (from, state) in [(1, EniState::Attached), (2, EniState::Gone), (1, EniState::Gone), (1, EniState::Gone)] {
        steps.push(format!("detached, {from} {state:?}: {:?}", observe(&mut world.snap, from, state.clone())));
    }
    expect![[r#"
        2 Attached: Some(Attaching)
        1 Gone: Some(Attaching)
        1 Failed("no veth"): Some(Attaching)
        1 Attached: Some(Attached)
        1 Attached: Some(Attached)
        1 Gone: Some(Attached)
        detached, 1 Attached: Some(Detaching)
        detached, 2 Gone: Some(Detaching)
        detached, 1 Gone: None
        detached, 1 Gone: None"#]]
    .assert_eq(&steps.join("\n"));
    assert!(world.snap.vpc().group_sets.is_empty());
    assert!(world.snap.vpc().index().addresses.is_empty());
    assert!(world.snap.vpc().index().macs.is_empty());
}

#[test]
fn device_indexes_are_the_lowest_free_of_the_host() {
    let mut world = World::empty();
    world.transcript(PREPARED);
    let env = world.env();
    let subnet = world.snap.vpc().subnets.values().next().unwrap().clone();
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
    let attached = draft.vpc().enis.keys().next().unwrap().clone();
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
        deregistered_at: None,
        draining: false,
        custom_attributes: Default::default(),
        connected: true,
        short_of_space: false,
        availability_zone: "us-west-2a".to_owned(),
        capacity: Capacity { cpu_units: 2048, memory_mib: 4096, enis: 4 },
        attributes: Default::default(),
        version: "0.1.0".to_owned(),
        runtime_version: "1.6.20".to_owned(),
        runtime: None,
        instance_interface: None,
        record_version: 1,
        tags: Default::default(),
    }
}
