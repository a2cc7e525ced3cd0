// SPDX-License-Identifier: Apache-2.0
//! Elastic IP addresses and the public addresses of interfaces.

use std::collections::{BTreeMap, BTreeSet};

use berth_state::records::Single;
use berth_state::{Record, Snapshot, Write};
use expect_test::expect;
use proptest::prelude::*;

use super::{World, check_with_default_vpc};
use crate::set_quotas;

#[test]
fn an_address_is_allocated_associated_and_given_back() {
    check_with_default_vpc(
        "!DescribeSubnets
         AllocateAddress tag:elastic-ip:Name=out
         DescribeAddresses
         CreateNetworkInterface SubnetId=subnet-1 | NetworkInterfaceId
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1 PrivateIpAddress=172.31.0.4
         DescribeAddresses filter:network-interface-id=eni-1 filter:tag:Name=out
         DescribeNetworkInterfaces filter:association.public-ip=198.18.0.2 | NetworkInterfaceId Association AllocationId AssociationId IpOwnerId PublicDnsName PublicIp
         DescribeNetworkInterfaces filter:association.allocation-id=eipalloc-2 | NetworkInterfaceId
         ReleaseAddress AllocationId=eipalloc-1
         DisassociateAddress AssociationId=eipassoc-1
         DisassociateAddress AssociationId=eipassoc-1
         DescribeNetworkInterfaces | Association
         ReleaseAddress AllocationId=eipalloc-1
         ReleaseAddress AllocationId=eipalloc-1
         DescribeAddresses",
        expect![[r#"
            AllocateAddress tag:elastic-ip:Name=out
              AllocationId=eipalloc-1 Domain=vpc NetworkBorderGroup=us-west-2 PublicIp=198.18.0.2 PublicIpv4Pool=amazon
            DescribeAddresses
              Addresses=[{AllocationId=eipalloc-1 Domain=vpc NetworkBorderGroup=us-west-2 PublicIp=198.18.0.2 PublicIpv4Pool=amazon Tags=[{Key=Name Value=out}]}]
            CreateNetworkInterface SubnetId=subnet-1 | NetworkInterfaceId
              NetworkInterface={NetworkInterfaceId=eni-1}
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
              AssociationId=eipassoc-1
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1 PrivateIpAddress=172.31.0.4
              AssociationId=eipassoc-1
            DescribeAddresses filter:network-interface-id=eni-1 filter:tag:Name=out
              Addresses=[{AllocationId=eipalloc-1 AssociationId=eipassoc-1 Domain=vpc NetworkBorderGroup=us-west-2 NetworkInterfaceId=eni-1 NetworkInterfaceOwnerId=111122223333 PrivateIpAddress=172.31.0.4 PublicIp=198.18.0.2 PublicIpv4Pool=amazon Tags=[{Key=Name Value=out}]}]
            DescribeNetworkInterfaces filter:association.public-ip=198.18.0.2 | NetworkInterfaceId Association AllocationId AssociationId IpOwnerId PublicDnsName PublicIp
              NetworkInterfaces=[{Association={AllocationId=eipalloc-1 AssociationId=eipassoc-1 IpOwnerId=111122223333 PublicDnsName=ec2-198-18-0-2.us-west-2.compute.amazonaws.com PublicIp=198.18.0.2} NetworkInterfaceId=eni-1 PrivateIpAddresses=[{Association={AllocationId=eipalloc-1 AssociationId=eipassoc-1 IpOwnerId=111122223333 PublicDnsName=ec2-198-18-0-2.us-west-2.compute.amazonaws.com PublicIp=198.18.0.2}}]}]
            DescribeNetworkInterfaces filter:association.allocation-id=eipalloc-2 | NetworkInterfaceId
              nothing
            ReleaseAddress AllocationId=eipalloc-1
              refused InvalidIPAddress.InUse: Address 198.18.0.2 is in use.
            DisassociateAddress AssociationId=eipassoc-1
              nothing
            DisassociateAddress AssociationId=eipassoc-1
              refused InvalidAssociationID.NotFound: The association ID 'eipassoc-1' does not exist
            DescribeNetworkInterfaces | Association
              nothing
            ReleaseAddress AllocationId=eipalloc-1
              nothing
            ReleaseAddress AllocationId=eipalloc-1
              refused InvalidAllocationID.NotFound: The allocation ID 'eipalloc-1' does not exist
            DescribeAddresses
              nothing
        "#]],
    );
}

#[test]
fn an_association_moves_unless_that_is_ruled_out() {
    check_with_default_vpc(
        "!DescribeSubnets
         !AllocateAddress
         !AllocateAddress
         !CreateNetworkInterface SubnetId=subnet-1
         !CreateNetworkInterface SubnetId=subnet-1
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2 AllowReassociation=false
         AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-1 AllowReassociation=false
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2
         AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-2
         DescribeAddresses | PublicIp NetworkInterfaceId
         DeleteNetworkInterface NetworkInterfaceId=eni-2
         DescribeAddresses | PublicIp NetworkInterfaceId",
        expect![[r#"
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
              AssociationId=eipassoc-1
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2 AllowReassociation=false
              refused Resource.AlreadyAssociated: resource eipalloc-1 is already associated with associate-id eipassoc-1
            AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-1 AllowReassociation=false
              refused Resource.AlreadyAssociated: resource eni-1 is already associated with associate-id eipassoc-1
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2
              AssociationId=eipassoc-2
            AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-2
              AssociationId=eipassoc-3
            DescribeAddresses | PublicIp NetworkInterfaceId
              Addresses=[{NetworkInterfaceId=eni-2 PublicIp=198.18.0.3}, {PublicIp=198.18.0.2}]
            DeleteNetworkInterface NetworkInterfaceId=eni-2
              nothing
            DescribeAddresses | PublicIp NetworkInterfaceId
              Addresses=[{PublicIp=198.18.0.3}, {PublicIp=198.18.0.2}]
        "#]],
    );
}

#[test]
fn what_cannot_be_is_refused() {
    check_with_default_vpc(
        "!DescribeSubnets
         !AllocateAddress
         !CreateVpc CidrBlock=10.0.0.0/16
         !CreateSubnet VpcId=vpc-2 CidrBlock=10.0.0.0/24
         !CreateNetworkInterface SubnetId=subnet-4
         AllocateAddress Domain=standard
         AllocateAddress PublicIpv4Pool=ipv4pool-ec2-1
         AllocateAddress Address=198.18.0.9
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
         AssociateAddress AllocationId=eipalloc-1
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1 InstanceId=i-0123456789abcdef0
         AssociateAddress AllocationId=eipalloc-1 InstanceId=i-0123456789abcdef0
         AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1 PrivateIpAddress=10.0.0.9
         AssociateAddress AllocationId=eipalloc-0123456789abcdef0 NetworkInterfaceId=eni-1
         AssociateAddress NetworkInterfaceId=eni-1
         AssociateAddress PublicIp=198.18.0.2 NetworkInterfaceId=eni-1
         DisassociateAddress AssociationId=eipassoc-0123456789abcdef0
         DisassociateAddress PublicIp=198.18.0.2
         ReleaseAddress PublicIp=198.18.0.2
         ReleaseAddress AllocationId=eipalloc-0123456789abcdef0
         DescribeAddresses AllocationIds.1=eipalloc-0123456789abcdef0
         DescribeAddresses PublicIps.1=198.18.0.3
         DescribeAddresses PublicIps.1=198.18.0.2 | PublicIp
         DescribeAddresses filter:color=red
         DescribeAddressesAttribute AllocationIds.1=eipalloc-1 Attribute=domain-name
         DescribeAddressesAttribute Attribute=color",
        expect![[r#"
            AllocateAddress Domain=standard
              refused InvalidParameterValue: Value (standard) for parameter domain is invalid. Only 'vpc' is offered.
            AllocateAddress PublicIpv4Pool=ipv4pool-ec2-1
              refused InvalidParameterValue: Value (ipv4pool-ec2-1) for parameter publicIpv4Pool is invalid. Only 'amazon' is offered.
            AllocateAddress Address=198.18.0.9
              refused UnsupportedOperation: The parameter Address of AllocateAddress is not supported.
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
              refused Gateway.NotAttached: Network vpc-2 is not attached to any internet gateway
            AssociateAddress AllocationId=eipalloc-1
              refused MissingParameter: Either 'InstanceId' or 'NetworkInterfaceId' must be specified.
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1 InstanceId=i-0123456789abcdef0
              refused InvalidParameterCombination: The parameter instanceId cannot be used with the parameter networkInterfaceId
            AssociateAddress AllocationId=eipalloc-1 InstanceId=i-0123456789abcdef0
              refused InvalidInstanceID.NotFound: The instance ID 'i-0123456789abcdef0' does not exist
            AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1 PrivateIpAddress=10.0.0.9
              refused InvalidParameterValue: The private IP address 10.0.0.9 is not assigned to network interface 'eni-1'.
            AssociateAddress AllocationId=eipalloc-0123456789abcdef0 NetworkInterfaceId=eni-1
              refused InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0123456789abcdef0' does not exist
            AssociateAddress NetworkInterfaceId=eni-1
              refused MissingParameter: The request must contain the parameter allocationId
            AssociateAddress PublicIp=198.18.0.2 NetworkInterfaceId=eni-1
              refused InvalidParameterValue: You must specify an allocation id when mapping an address to a VPC instance
            DisassociateAddress AssociationId=eipassoc-0123456789abcdef0
              refused InvalidAssociationID.NotFound: The association ID 'eipassoc-0123456789abcdef0' does not exist
            DisassociateAddress PublicIp=198.18.0.2
              refused InvalidParameterValue: You must specify an association id when unmapping an address from a VPC instance
            ReleaseAddress PublicIp=198.18.0.2
              refused InvalidParameterValue: You must specify an allocation id when releasing a VPC elastic IP address
            ReleaseAddress AllocationId=eipalloc-0123456789abcdef0
              refused InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0123456789abcdef0' does not exist
            DescribeAddresses AllocationIds.1=eipalloc-0123456789abcdef0
              refused InvalidAllocationID.NotFound: The allocation ID 'eipalloc-0123456789abcdef0' does not exist
            DescribeAddresses PublicIps.1=198.18.0.3
              refused InvalidAddress.NotFound: Address '198.18.0.3' not found.
            DescribeAddresses PublicIps.1=198.18.0.2 | PublicIp
              Addresses=[{PublicIp=198.18.0.2}]
            DescribeAddresses filter:color=red
              refused InvalidParameterValue: The filter 'color' is invalid
            DescribeAddressesAttribute AllocationIds.1=eipalloc-1 Attribute=domain-name
              Addresses=[{AllocationId=eipalloc-1 PublicIp=198.18.0.2}]
            DescribeAddressesAttribute Attribute=color
              refused InvalidParameterValue: Value (color) for parameter attribute is invalid. Unknown attribute name.
        "#]],
    );
}

#[test]
fn a_gateway_stays_while_public_addresses_are_mapped() {
    check_with_default_vpc(
        "!DescribeSubnets
         !DescribeInternetGateways
         !AllocateAddress
         !CreateNetworkInterface SubnetId=subnet-1
         !AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1
         DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
         !DisassociateAddress AssociationId=eipassoc-1
         DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1",
        expect![[r#"
            DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
              refused DependencyViolation: Network vpc-1 has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.
            DetachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-1
              nothing
        "#]],
    );
}

/// Allocates until it is refused; gives the number of addresses and the refusal.
fn fill(world: &mut World) -> String {
    for count in 0..1000 {
        if let Err(refusal) = world.line("AllocateAddress") {
            return format!("{count}: {refusal}");
        }
    }
    String::new()
}

#[test]
fn quotas_and_the_pool_bound_the_addresses() {
    let mut world = World::with_default_vpc();
    let mut told = fill(&mut world);
    let set = |world: &mut World, name: &str| {
        let values = BTreeMap::from([(name.to_owned(), 100)]);
        set_quotas(&world.snap, &values).map(|change| world.apply(change))
    };
    told.push_str(&format!("\n{}\n", set(&mut world, "elastic").unwrap_err()));
    let mut world = World::empty();
    let pool = Some("192.0.2.0/25".parse().unwrap());
    let change = crate::ensure_world(&world.snap, pool, &world.env()).unwrap();
    world.apply(change);
    set(&mut world, "elastic-ips").unwrap();
    told.push_str(&fill(&mut world));
    let used: Vec<_> = world.snap.vpc().elastic_ips.values().map(|elastic| elastic.address).collect();
    let pool = &world.snap.vpc().world[&Single];
    assert!(used.iter().all(|address| (pool.first()..=pool.last()).contains(address)));
    expect![[r#"
        5: AddressLimitExceeded: The maximum number of addresses has been reached.
        InvalidParameterValue: There is no quota 'elastic'; the quotas are vpcs, internet-gateways, elastic-ips, nat-gateways-per-zone, cidrs-per-vpc, subnets-per-vpc, route-tables-per-vpc, routes-per-route-table, network-acls-per-vpc, network-acl-entries, peerings-per-vpc, security-groups, rules-per-security-group, security-groups-per-interface.
        61: InsufficientAddressCapacity: There are not enough free public addresses in the pool to satisfy the request."#]].assert_eq(&told);
    let released =
        world.snap.vpc().elastic_ips.values().find(|elastic| elastic.address == pool.first()).unwrap().id.clone();
    world.line(&format!("ReleaseAddress AllocationId={released}")).unwrap();
    assert!(world.line("AllocateAddress").unwrap().contains("PublicIp=192.0.2.2"));
}

#[test]
fn quotas_are_raised_up_to_what_aws_gives() {
    let mut world = World::with_default_vpc();
    let set = |world: &mut World, values: &[(&str, u32)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        set_quotas(&world.snap, &values).map(|change| world.apply(change)).map_err(|refusal| refusal.to_string())
    };
    let mut told = String::new();
    for values in [
        &[("network-acl-entries", 41)][..],
        &[("rules-per-security-group", 300)],
        &[("rules-per-security-group", 100), ("security-groups-per-interface", 11)],
    ] {
        told.push_str(&format!("{}\n", set(&mut world, values).unwrap_err()));
    }
    set(&mut world, &[("network-acl-entries", 22), ("cidrs-per-vpc", 6)]).unwrap();
    world.line("DescribeNetworkAcls").unwrap();
    let entry = |number: u32| {
        format!(
            "CreateNetworkAclEntry NetworkAclId=acl-1 RuleNumber={number} Protocol=-1 RuleAction=deny Egress=true \
             CidrBlock=10.0.0.0/8"
        )
    };
    // The default ACL has one.
    let made = (1..50).take_while(|number| world.line(&entry(*number)).is_ok()).count();
    told.push_str(&format!("{made}\n"));
    expect![[r#"
        InvalidParameterValue: The quota 'network-acl-entries' is at most 40, not 41.
        InvalidParameterValue: The quotas 'rules-per-security-group' and 'security-groups-per-interface' give 1500 rules of one interface, more than 1000.
        InvalidParameterValue: The quotas 'rules-per-security-group' and 'security-groups-per-interface' give 1100 rules of one interface, more than 1000.
        21
    "#]].assert_eq(&told);
}

/// Calls that give, move and take public addresses; most are possible in some order only.
const STEPS: &[&str] = &[
    "AllocateAddress",
    "AllocateAddress",
    "CreateNetworkInterface SubnetId=subnet-1",
    "AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1",
    "AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2",
    "AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-1",
    "AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-2 AllowReassociation=false",
    "DisassociateAddress AssociationId=eipassoc-1",
    "DisassociateAddress AssociationId=eipassoc-2",
    "ReleaseAddress AllocationId=eipalloc-1",
    "ReleaseAddress AllocationId=eipalloc-2",
    "DeleteNetworkInterface NetworkInterfaceId=eni-1",
    "DeleteNetworkInterface NetworkInterfaceId=eni-2",
    "CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-1 ClientToken=a",
    "CreateNatGateway SubnetId=subnet-1 AllocationId=eipalloc-2",
    "DeleteNatGateway NatGatewayId=nat-1",
    "DeleteNatGateway NatGatewayId=nat-2",
    SETTLE,
];

/// The step of the server's reconciler.
const SETTLE: &str = "settle";

/// Each public address in use has one owner, and each associated one an interface that is there.
fn check_owners(snap: &Snapshot) {
    let (records, index) = (snap.vpc(), snap.vpc().index());
    let owned: Vec<_> = records.elastic_ips.values().map(|elastic| elastic.address).collect();
    let distinct: BTreeSet<_> = owned.iter().collect();
    assert_eq!((distinct.len(), index.public_addresses.used()), (owned.len(), owned.len() as u64));
    let associated: Vec<_> =
        records.elastic_ips.values().filter_map(|elastic| elastic.association.as_ref()).map(|it| &it.eni).collect();
    let enis: BTreeSet<_> = associated.iter().copied().collect();
    assert_eq!(enis.len(), associated.len(), "an interface has one elastic address");
    assert!(enis.iter().all(|eni| records.enis.contains_key(*eni)));
    let of_gateways: BTreeSet<_> = records.nat_gateways.values().filter_map(|gateway| gateway.eni()).collect();
    assert!(of_gateways.iter().all(|eni| records.enis.contains_key(*eni)));
}

proptest! {
    #[test]
    fn public_addresses_are_always_in_order(steps in prop::collection::vec(0..STEPS.len(), 1..60)) {
        let mut world = World::with_default_vpc();
        world.transcript("!DescribeSubnets");
        for step in steps {
            match STEPS[step] {
                SETTLE => world.settle_nat_gateways(),
                // A refusal changes nothing.
                line => drop(world.line(line)),
            }
            check_owners(&world.snap);
        }
        let mut read = Snapshot::default();
        for record in world.snap.records() {
            let body = record.encode().unwrap();
            let again = Record::decode(record.kind(), &record.key().text(), record.version(), &body).unwrap();
            read.apply(&Write::Put(again));
        }
        prop_assert_eq!(format!("{:?}", read.vpc().index()), format!("{:?}", world.snap.vpc().index()));
    }
}
