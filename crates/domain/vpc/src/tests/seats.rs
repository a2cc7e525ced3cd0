// SPDX-License-Identifier: Apache-2.0
//! Seats of `berth shell`.

use berth_state::{Draft, Refusal};
use berth_types::report::{EniReport, EniState};
use berth_types::{EniId, HostId};
use expect_test::expect;

use super::World;
use super::interfaces::host;
use crate::{observe_eni, seat};

fn world(hosts: &[(u128, bool)]) -> World {
    let mut world = World::with_default_vpc();
    let mut draft = Draft::of(&world.snap);
    for (number, connected) in hosts {
        draft.put(berth_state::ecs::Host { connected: *connected, ..host(*number) });
    }
    world.apply(draft.change(()));
    world
}

fn open(world: &mut World) -> Result<EniId, Refusal> {
    let env = world.env();
    let change = seat::open(&world.snap, None, &[], None, &env)?;
    Ok(world.apply(change).eni)
}

#[test]
fn a_seat_is_opened_on_the_host_with_most_room_and_goes_when_the_host_let_go() {
    let mut world = world(&[(1, true), (2, true), (3, false)]);
    let first = open(&mut world).unwrap();
    let second = open(&mut world).unwrap();
    let on =
        |world: &World, eni| world.snap.vpc().enis.get(eni).and_then(|eni| eni.attachment.clone()).map(|it| it.host);
    assert_ne!(on(&world, &first), on(&world, &second));
    expect![[r#"
        DescribeNetworkInterfaces filter:private-ip-address=172.31.0.4
          NetworkInterfaces=[{Attachment={AttachTime=0 AttachmentId=eni-attach-1 DeleteOnTermination=true DeviceIndex=1 InstanceId=i-1 InstanceOwnerId=111122223333 NetworkCardIndex=0 Status=attaching} AvailabilityZone=us-west-2a AvailabilityZoneId=usw2-az1 Description="berth shell" Groups=[{GroupId=sg-1 GroupName=default}] InterfaceType=interface MacAddress=02:b5:16:18:d0:f5 NetworkInterfaceId=eni-1 PrivateDnsName=ip-172-31-0-4.us-west-2.compute.internal PrivateIpAddress=172.31.0.4 PrivateIpAddresses=[{Primary=true PrivateDnsName=ip-172-31-0-4.us-west-2.compute.internal PrivateIpAddress=172.31.0.4}] RequesterManaged=false SourceDestCheck=true Status=attaching SubnetId=subnet-1 VpcId=vpc-1}]
    "#]].assert_eq(&world.transcript("DescribeNetworkInterfaces filter:private-ip-address=172.31.0.4"));
    let change = seat::close(&world.snap, &first, &world.env()).unwrap();
    world.apply(change);
    let host = on(&world, &first).unwrap();
    let report = EniReport { eni: first.clone(), state: EniState::Gone };
    let change = observe_eni(&world.snap, &host, &report, &world.env());
    world.apply(change);
    assert!(!world.snap.vpc().enis.contains_key(&first));
    assert_eq!(
        seat::close(&world.snap, &first, &world.env()).unwrap_err().code.code(),
        "InvalidNetworkInterfaceID.NotFound"
    );
}

#[test]
fn a_seat_that_fails_is_taken_away() {
    let mut world = world(&[(1, true)]);
    let eni = open(&mut world).unwrap();
    for state in [EniState::Failed("no veth".to_owned()), EniState::Gone] {
        let report = EniReport { eni: eni.clone(), state };
        let change = observe_eni(&world.snap, &HostId::from_bits(1), &report, &world.env());
        world.apply(change);
    }
    assert!(world.snap.vpc().enis.is_empty());
}

#[test]
fn a_seat_that_cannot_be_is_refused() {
    let mut out = String::new();
    for hosts in [&[][..], &[(1, false)], &[(1, true)]] {
        let mut world = world(hosts);
        let refusal = (0..5).find_map(|_| open(&mut world).err()).unwrap();
        out.push_str(&format!("{hosts:?}: {refusal}\n"));
    }
    let mut world = world(&[(1, false)]);
    let env = world.env();
    let id = HostId::from_bits(1);
    out.push_str(&format!("{}\n", seat::open(&world.snap, None, &[], Some(&id), &env).unwrap_err()));
    let id = HostId::from_bits(9);
    out.push_str(&format!("{}\n", seat::open(&world.snap, None, &[], Some(&id), &env).unwrap_err()));
    world.transcript("!DescribeSubnets\n!CreateNetworkInterface SubnetId=subnet-1");
    let eni = world.snap.vpc().enis.keys().next().unwrap();
    let refusal = seat::close(&world.snap, eni, &env).unwrap_err();
    out.push_str(refusal.code.code());
    expect![[r#"
        []: Unavailable: No host is connected; start 'berth node' on a host.
        [(1, false)]: Unavailable: No host is connected; start 'berth node' on a host.
        [(1, true)]: ResourceCountExceeded: No connected host has room for another network interface; stop tasks or add a host.
        Unavailable: Host '00000000000000000000000000000001' is not connected; start 'berth node' on it or choose another host.
        InvalidInstanceID.NotFound: The host '00000000000000000000000000000009' does not exist
        OperationNotPermitted"#]].assert_eq(&out);
}
