// SPDX-License-Identifier: Apache-2.0
//! The life of a network interface: created with an address of its subnet, attached to a host, detached, deleted.
//!
//! Addresses, hardware addresses, device indexes and group-set numbers are allocated and stored, never computed from
//! something else, so that no two interfaces can ever share one. A distinct set of groups has a number while at least
//! one interface carries it. Not here: the EC2 operations (`network_interface.rs`).

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::ecs::Host;
use berth_state::vpc::{
    AttachmentStatus, Eni, EniAttachment, EniOwner, GroupSet, PRIMARY_DEVICE_INDEX, RecordKey, Subnet,
};
use berth_state::{Draft, Env, Refusal, Snapshot, numbers::Numbers};
use berth_types::{
    EniAttachmentId, EniId, GroupSetId, HostId, Ipv4Cidr, MacAddress, NatGatewayId, SecurityGroupId, VpcId,
};

use super::{find, public_address};

/// Reserved addresses at the start of a subnet: network, router, resolver, future use.
const RESERVED_AT_START: u32 = 4;

/// Number of reserved addresses of a subnet: the first four and the last.
pub(super) const RESERVED: u64 = 5;

/// Maximum draws of a hardware address that must not share its second and third byte with another.
const MAC_DRAWS_MAX: usize = 16;
/// Number of addresses, half of all pairs of bytes, above which the search for a free pair is not worth its cost.
const MAC_PAIRS_SOUGHT: usize = 1 << 15;

/// Makes an interface with `address`, or the lowest free address of the subnet. No groups means the default group.
pub fn create(
    draft: &mut Draft,
    subnet: &Subnet,
    groups: &[SecurityGroupId],
    address: Option<Ipv4Addr>,
    owner: EniOwner,
    description: &str,
    env: &Env,
) -> Result<Arc<Eni>, Refusal> {
    let eni = Arc::new(new(draft, subnet, groups, address, owner, description, env)?);
    draft.put(eni.clone());
    Ok(eni)
}

/// Makes an interface with the lowest free address of the subnet and asks for it to be plugged on `host`, like `create`
/// followed by `attach`.
pub fn create_attached(
    draft: &mut Draft,
    subnet: &Subnet,
    groups: &[SecurityGroupId],
    owner: EniOwner,
    description: &str,
    host: &Host,
    env: &Env,
) -> Result<Arc<Eni>, Refusal> {
    let device_index = free_device_index(draft, &host.id);
    create_attached_at(draft, subnet, groups, owner, description, (host, device_index), env)
}

/// Like `create_attached`, at this device index of the host.
pub(super) fn create_attached_at(
    draft: &mut Draft,
    subnet: &Subnet,
    groups: &[SecurityGroupId],
    owner: EniOwner,
    description: &str,
    (host, device_index): (&Host, u32),
    env: &Env,
) -> Result<Arc<Eni>, Refusal> {
    let eni = new(draft, subnet, groups, None, owner, description, env)?;
    let eni = Arc::new(Eni { attachment: Some(attachment(host, device_index, env)), ..eni });
    draft.put(eni.clone());
    Ok(eni)
}

/// Makes the interface of a NAT gateway, which carries no groups and forwards.
pub(super) fn create_for_nat_gateway(
    draft: &mut Draft,
    subnet: &Subnet,
    address: Option<Ipv4Addr>,
    gateway: &NatGatewayId,
    env: &Env,
) -> Result<Arc<Eni>, Refusal> {
    let description = format!("Interface for NAT Gateway {gateway}");
    let owner = EniOwner::NatGateway(gateway.clone());
    let eni = with_groups(draft, subnet, Vec::new(), address, owner, &description, env)?;
    let eni = Arc::new(Eni { source_dest_check: false, ..eni });
    draft.put(eni.clone());
    Ok(eni)
}

/// The record of a new interface, not yet stored; its set of groups is stored. No groups means the default group.
fn new(
    draft: &mut Draft,
    subnet: &Subnet,
    groups: &[SecurityGroupId],
    address: Option<Ipv4Addr>,
    owner: EniOwner,
    description: &str,
    env: &Env,
) -> Result<Eni, Refusal> {
    let groups = find::security_groups(draft, &subnet.vpc, groups)?;
    with_groups(draft, subnet, groups, address, owner, description, env)
}

/// The same with exactly these groups.
fn with_groups(
    draft: &mut Draft,
    subnet: &Subnet,
    groups: Vec<SecurityGroupId>,
    address: Option<Ipv4Addr>,
    owner: EniOwner,
    description: &str,
    env: &Env,
) -> Result<Eni, Refusal> {
    let address = match address {
        Some(address) => asked_address(draft, subnet, address)?,
        None => lowest_free_address(draft, subnet)?,
    };
    let group_set = intern(draft, &subnet.vpc, &groups)?;
    Ok(Eni {
        id: EniId::from_bits(env.fresh_bits()),
        vpc: subnet.vpc.clone(),
        subnet: subnet.id.clone(),
        address,
        mac: free_mac(draft, env),
        description: description.to_owned(),
        groups,
        group_set,
        source_dest_check: true,
        public_address: None,
        client_token: None,
        rate: None,
        owner,
        attachment: None,
        created_at: env.now,
        tags: Default::default(),
    })
}

/// Asks for the interface to be plugged on `host`, at the host's lowest free device index.
pub fn attach(draft: &mut Draft, eni: &EniId, host: &Host, env: &Env) -> Result<EniAttachment, Refusal> {
    let eni = find::network_interface(draft, eni)?.clone();
    if eni.attachment.is_some() {
        return Err(in_use(&eni.id));
    }
    let attachment = attachment(host, free_device_index(draft, &host.id), env);
    draft.put(Eni { attachment: Some(attachment.clone()), ..(*eni).clone() });
    Ok(attachment)
}

fn attachment(host: &Host, device_index: u32, env: &Env) -> EniAttachment {
    EniAttachment {
        id: EniAttachmentId::from_bits(env.fresh_bits()),
        host: host.id.clone(),
        instance: host.instance.clone(),
        device_index,
        status: AttachmentStatus::Attaching,
        attached_at: env.now,
    }
}

/// Gives the interface the lowest free public address, which it has until it is deleted or gets an elastic one.
pub fn give_public_address(draft: &mut Draft, eni: &EniId) -> Result<Arc<Eni>, Refusal> {
    let eni = find::network_interface(draft, eni)?.clone();
    let public_address = Some(public_address::lowest_free(draft)?);
    let eni = Arc::new(Eni { public_address, ..(*eni).clone() });
    draft.put(eni.clone());
    Ok(eni)
}

/// Records that the host reports the interface usable. No effect unless it was being plugged.
pub fn attached(draft: &mut Draft, eni: &EniId) {
    set_status(draft, eni, AttachmentStatus::Attaching, AttachmentStatus::Attached);
}

/// Asks its host to remove the interface. No effect if it is not plugged.
pub fn detach(draft: &mut Draft, eni: &EniId) {
    set_status(draft, eni, AttachmentStatus::Attaching, AttachmentStatus::Detaching);
    set_status(draft, eni, AttachmentStatus::Attached, AttachmentStatus::Detaching);
}

/// Removes the record; an elastic IP address that it has remains. The host must have removed the interface, because its
/// address may be assigned again.
pub fn delete(draft: &mut Draft, eni: &EniId) {
    let Some(eni) = draft.vpc().enis.get(eni).cloned() else { return };
    public_address::disassociate(draft, &eni.id);
    draft.delete(RecordKey::Eni(eni.id.clone()));
    release(draft, eni.group_set);
}

/// Replaces the groups of the interface. No groups means the default group.
pub fn set_groups(draft: &mut Draft, eni: &EniId, groups: &[impl AsRef<str>]) -> Result<(), Refusal> {
    let eni = find::network_interface(draft, eni)?.clone();
    let groups = find::security_groups(draft, &eni.vpc, groups)?;
    let group_set = intern(draft, &eni.vpc, &groups)?;
    draft.put(Eni { groups, group_set, ..(*eni).clone() });
    release(draft, eni.group_set);
    Ok(())
}

/// The DNS name of the interface's address; only in VPCs with DNS support and DNS hostnames.
pub fn private_dns_name(snap: &Snapshot, eni: &Eni, region: &str) -> Option<String> {
    let vpc = snap.vpc().vpcs.get(&eni.vpc)?;
    if !(vpc.dns_support && vpc.dns_hostnames) {
        return None;
    }
    let [a, b, c, d] = eni.address.octets();
    // us-east-1 is older than the naming of all other regions.
    Some(match region {
        "us-east-1" => format!("ip-{a}-{b}-{c}-{d}.ec2.internal"),
        region => format!("ip-{a}-{b}-{c}-{d}.{region}.compute.internal"),
    })
}

/// Number of free addresses of the subnet.
pub fn free_addresses(snap: &Snapshot, subnet: &Subnet) -> u64 {
    (subnet.cidr.size() - RESERVED).saturating_sub(used_addresses(snap, subnet).used())
}

/// The interfaces of a subnet.
pub(super) fn of_subnet<'a>(snap: &'a Snapshot, subnet: &Subnet) -> impl Iterator<Item = &'a EniId> {
    snap.vpc().index().addresses.range(address_keys(subnet)).map(|(_, eni)| eni)
}

/// Refusal of an operation on a plugged interface.
pub(super) fn in_use(eni: &EniId) -> Refusal {
    Refusal::new(Code::InvalidNetworkInterfaceInUse, format!("Network interface '{eni}' is currently in use."))
}

fn set_status(draft: &mut Draft, eni: &EniId, from: AttachmentStatus, to: AttachmentStatus) {
    let Some(eni) = draft.vpc().enis.get(eni).cloned() else { return };
    let Some(attachment) = eni.attachment.clone().filter(|attachment| attachment.status == from) else { return };
    draft.put(Eni { attachment: Some(EniAttachment { status: to, ..attachment }), ..(*eni).clone() });
}

fn address_keys(subnet: &Subnet) -> RangeInclusive<(berth_types::SubnetId, Ipv4Addr)> {
    (subnet.id.clone(), subnet.cidr.network())..=(subnet.id.clone(), subnet.cidr.broadcast())
}

fn is_reserved(cidr: Ipv4Cidr, address: Ipv4Addr) -> bool {
    address == cidr.broadcast() || address.to_bits() - cidr.network().to_bits() < RESERVED_AT_START
}

fn asked_address(snap: &Snapshot, subnet: &Subnet, address: Ipv4Addr) -> Result<Ipv4Addr, Refusal> {
    if !subnet.cidr.contains(address) {
        let words = "Address does not fall within the subnet's address range";
        return Err(Refusal::new(Code::InvalidParameterValue, words));
    }
    if is_reserved(subnet.cidr, address) {
        return Err(Refusal::new(Code::InvalidParameterValue, "Address is in subnet's reserved address range"));
    }
    if snap.vpc().index().addresses.contains_key(&(subnet.id.clone(), address)) {
        return Err(Refusal::new(Code::InvalidIpAddressInUse, format!("Address {address} is in use.")));
    }
    Ok(address)
}

fn lowest_free_address(snap: &Snapshot, subnet: &Subnet) -> Result<Ipv4Addr, Refusal> {
    let first = subnet.cidr.network().to_bits() + RESERVED_AT_START;
    let lowest = used_addresses(snap, subnet).lowest_free(first);
    let Some(lowest) = lowest.filter(|lowest| *lowest < subnet.cidr.broadcast().to_bits()) else {
        return Err(Refusal::new(
            Code::InsufficientFreeAddressesInSubnet,
            "The specified subnet does not have enough free addresses to satisfy the request.",
        ));
    };
    Ok(Ipv4Addr::from_bits(lowest))
}

fn used_addresses<'a>(snap: &'a Snapshot, subnet: &Subnet) -> &'a Numbers {
    snap.vpc().index().address_numbers.get(&subnet.id).unwrap_or(Numbers::none())
}

/// The lowest free device index for an interface that is not the host's primary one.
fn free_device_index(snap: &Snapshot, host: &HostId) -> u32 {
    let used = snap.vpc().index().device_indexes.get(host).unwrap_or(Numbers::none());
    used.lowest_free(PRIMARY_DEVICE_INDEX + 1).unwrap_or(u32::MAX)
}

/// The interfaces plugged on a host.
pub(super) fn of_host<'a>(snap: &'a Snapshot, host: &HostId) -> impl Iterator<Item = &'a EniId> {
    let host = host.clone();
    snap.vpc()
        .index()
        .host_enis
        .range((host.clone(), EniId::from_bits(0))..)
        .take_while(move |(on, _)| *on == host)
        .map(|(_, eni)| eni)
}

/// The number of this set of groups, assigned now if no interface carries the set yet.
fn intern(draft: &mut Draft, vpc: &VpcId, groups: &[SecurityGroupId]) -> Result<GroupSetId, Refusal> {
    let mut groups = groups.to_vec();
    groups.sort();
    groups.dedup();
    let key = (vpc.clone(), groups);
    if let Some(id) = draft.vpc().index().group_sets.get(&key) {
        return Ok(*id);
    }
    let lowest = draft.vpc().index().group_set_numbers.lowest_free(1);
    let id = lowest.and_then(|lowest| u16::try_from(lowest).ok()).map(GroupSetId).ok_or_else(|| {
        let words = "The maximum number of distinct sets of security groups on network interfaces has been reached; \
                     delete interfaces or let them share their groups.";
        Refusal::new(Code::ResourceCountExceeded, words)
    })?;
    let (vpc, groups) = key;
    draft.put(GroupSet { id, vpc, groups });
    Ok(id)
}

/// Frees the number of a set of groups if no interface carries the set any more.
fn release(draft: &mut Draft, set: GroupSetId) {
    let members = &draft.vpc().index().group_set_members;
    let is_carried = members.range((set, EniId::from_bits(0))..).next().is_some_and(|(other, _)| *other == set);
    if !is_carried {
        draft.delete(RecordKey::GroupSet(set));
    }
}

/// An unused hardware address. Its second and third byte differ from all others while that is possible, because the
/// official CNI plugins name a link after the first three bytes of its address when they return it to the host.
fn free_mac(snap: &Snapshot, env: &Env) -> MacAddress {
    let macs = &snap.vpc().index().macs;
    let draw = || {
        let [a, b, c, d, e, ..] = env.fresh_bits().to_be_bytes();
        MacAddress([0x02, a, b, c, d, e])
    };
    let shares_prefix = |mac: &MacAddress| {
        let [first, a, b, ..] = mac.0;
        let (low, high) = (MacAddress([first, a, b, 0, 0, 0]), MacAddress([first, a, b, 255, 255, 255]));
        macs.range(low..=high).next().is_some()
    };
    let draws = if macs.len() < MAC_PAIRS_SOUGHT { MAC_DRAWS_MAX } else { 0 };
    for _ in 0..draws {
        let mac = draw();
        if !shares_prefix(&mac) {
            return mac;
        }
    }
    loop {
        let mac = draw();
        if !macs.contains(&mac) {
            return mac;
        }
    }
}
