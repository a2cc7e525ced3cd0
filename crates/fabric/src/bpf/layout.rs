// SPDX-License-Identifier: Apache-2.0
//! Contents of the maps: the Rust side of `bpf/layout.h`. Addresses are octets, so network order needs no conversion.
//!
//! The only `unsafe` of this half of the crate: the promise that these structs are plain bytes, and the membarrier
//! system call.
#![allow(unsafe_code)]

use std::net::Ipv4Addr;

use aya::Pod;
use berth_types::{EniId, Ipv4Cidr};

/// Changes with the meaning or size of anything in `bpf/layout.h`; another version never shares maps with this one.
pub const LAYOUT_VERSION: u32 = 4;

/// `struct eni`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eni {
    pub ifindex: u32,
    pub vni: u32,
    pub address: [u8; 4],
    pub mask: [u8; 4],
    pub router: [u8; 4],
    pub slot: u16,
    pub flags: u16,
    pub mac: [u8; 6],
    pub pad: [u8; 2],
    pub id: [u8; 24],
    pub subnet: u16,
    pub rest: [u8; 6],
}

/// Rows for interfaces; the lowest bits of the device's index choose one.
pub const ENI_ROWS: u32 = 8192;

pub const ENI_SOURCE_DEST_CHECK: u16 = 1;
pub const ENI_LIMITED: u16 = 2;

/// `struct endpoint_key`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKey {
    pub vni: u32,
    pub address: [u8; 4],
}

/// `struct endpoint`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub ifindex: u32,
    pub slot: u16,
    pub flags: u16,
    pub group_set: [u16; 2],
    pub mac: [u8; 6],
    pub subnet: u16,
    pub rest: [u8; 12],
}

pub const ENDPOINT_OTHER_HOST: u16 = 1;
pub const ENDPOINT_FORWARDS: u16 = 2;

/// `struct subnet`. ACLs by side, then out of the subnet and into it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    pub vni: u32,
    pub network: [u8; 4],
    pub mask: [u8; 4],
    pub route_table: [u32; 2],
    pub acl: [[u32; 2]; 2],
    pub rest: [u8; 12],
}

/// Rows for subnets; the first one stands for unknown subnets.
pub const SUBNETS: u16 = 16384;

/// `struct route`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub kind: u32,
    pub vni: u32,
    pub number: u32,
    pub address: [u8; 4],
    pub rest: [u8; 8],
}

pub const ROUTE_LOCAL: u32 = 1;
pub const ROUTE_BLACKHOLE: u32 = 2;
pub const ROUTE_WORLD: u32 = 3;
pub const ROUTE_NAT: u32 = 4;
pub const ROUTE_INTERFACE: u32 = 5;
pub const ROUTE_PEERING: u32 = 6;

/// `struct acl_row`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclRow {
    pub entries: u64,
    pub admit: u64,
}

/// `struct public_owner`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicOwner {
    pub vni: u32,
    pub address: [u8; 4],
    pub kind: u32,
    pub rest: [u8; 12],
}

pub const OWNER_INTERFACE: u32 = 1;
pub const OWNER_NAT: u32 = 2;

/// Addresses of a NAT gateway.
pub const NAT_ADDRESSES: usize = 8;
/// Rows for NAT gateways.
pub const NATS: u32 = 4096;
pub const NAT_HERE: u32 = 1;

/// `struct nat`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    pub vni: u32,
    pub flags: u32,
    pub subnet: u32,
    pub count: u32,
    pub address: [[u8; 4]; NAT_ADDRESSES],
    pub rest: [u8; 16],
}

/// `struct rate`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateRow {
    pub cost: u64,
    pub burst_ns: u64,
    pub busy_until_ns: [u64; 2],
    pub dropped: u64,
}

/// `struct world`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldPort {
    pub ifindex: u32,
    pub pool: [u8; 4],
    pub mask: [u8; 4],
    pub host: [u8; 4],
    pub mac: [u8; 6],
    pub peer_mac: [u8; 6],
    pub edge_ifindex: u32,
    pub endpoints: [u8; 4],
    pub endpoints_mask: [u8; 4],
    pub edge_mac: [u8; 6],
    pub edge_peer_mac: [u8; 6],
    pub rest: [u8; 12],
}

impl WorldPort {
    /// No way to the world.
    pub const NONE: Self = Self {
        ifindex: 0,
        pool: [0; 4],
        mask: [0; 4],
        host: [0; 4],
        mac: [0; 6],
        peer_mac: [0; 6],
        edge_ifindex: 0,
        endpoints: [0; 4],
        endpoints_mask: [0; 4],
        edge_mac: [0; 6],
        edge_peer_mac: [0; 6],
        rest: [0; 12],
    };
}

/// `struct policy`. Rulesets by side, then egress and ingress.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub ruleset: [[u32; 2]; 2],
    pub open: [u32; 2],
}

/// `struct member_key`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberKey {
    pub ruleset: u32,
    pub group_set: u32,
}

/// `struct flow_key`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    pub low: [u8; 4],
    pub high: [u8; 4],
    pub port_low: [u8; 2],
    pub port_high: [u8; 2],
    pub vni_proto: u32,
}

/// `struct flow`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    pub seen_ns: u64,
    pub epoch: u64,
    pub ifindex: [u32; 2],
    pub slot: [u16; 2],
    pub state: u32,
    pub owner: u32,
    pub ring_index: u32,
    pub epoch_high: u64,
    pub decision: [u16; 2],
    pub nat_address: [u8; 4],
    pub nat_port: [u8; 2],
    pub rest: [u8; 2],
    pub nat_vni: u32,
}

/// `struct ring_key`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingKey {
    pub slot: u32,
    pub index: u32,
}

/// Slots; the first belongs to no interface (`SLOTS_MAX` in `bpf/maps.h`).
pub const SLOTS: u16 = 4096;

/// `struct ring`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    pub cursor: u32,
    pub end: u32,
    pub made: u32,
    pub made_shared: u32,
}

/// `struct returned`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    pub rows: u32,
    pub shared: u32,
    pub shrunk: u32,
}

/// `struct shares`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    pub floor: u32,
    pub shared_max: u32,
}

/// `struct control`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    pub epoch: u64,
    pub tick_ns: u64,
    pub nat_idle_ns: u64,
    pub nat_closed_ns: u64,
    pub rest: [u64; 4],
}

/// Number of drop reasons the counters have room for.
pub const DROP_REASONS_MAX: usize = 64;

/// `struct counters`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    pub packets_out: u64,
    pub bytes_out: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
    pub drops: [u64; DROP_REASONS_MAX],
}

impl Counters {
    pub const ZERO: Self =
        Self { packets_out: 0, bytes_out: 0, packets_in: 0, bytes_in: 0, drops: [0; DROP_REASONS_MAX] };
}

/// Value of the bitmap maps.
pub type Row = [u64; crate::compile::RULES_MAX / 64];

const _: () = {
    assert!(size_of::<Eni>() == 64);
    assert!(size_of::<EndpointKey>() == 8);
    assert!(size_of::<Endpoint>() == 32);
    assert!(size_of::<Policy>() == 24);
    assert!(size_of::<MemberKey>() == 8);
    assert!(size_of::<FlowKey>() == 16);
    assert!(size_of::<Flow>() == 64);
    assert!(size_of::<RingKey>() == 8);
    assert!(size_of::<Ring>() == 16);
    assert!(size_of::<Returned>() == 12);
    assert!(size_of::<Shares>() == 8);
    assert!(size_of::<Counters>() == 544);
    assert!(size_of::<Control>() == 64);
    assert!(size_of::<Row>() == 128);
    assert!(size_of::<Subnet>() == 48);
    assert!(size_of::<Route>() == 24);
    assert!(size_of::<AclRow>() == 16);
    assert!(size_of::<PublicOwner>() == 24);
    assert!(size_of::<Nat>() == 64);
    assert!(size_of::<WorldPort>() == 64);
    assert!(size_of::<RateRow>() == 40);
    assert!(crate::DropReason::ALL.len() <= DROP_REASONS_MAX);
};

macro_rules! plain_bytes {
    ($($name:ident)*) => {
        // SAFETY: `repr(C)`, integers and arrays of them only, every byte a field (sizes are asserted above).
        $(unsafe impl Pod for $name {})*
    };
}
plain_bytes!(Eni EndpointKey Endpoint Policy MemberKey FlowKey Flow RingKey Ring Returned Shares Counters Control);
plain_bytes!(Subnet Route AclRow PublicOwner Nat WorldPort RateRow);

impl Eni {
    /// The row of a device.
    pub fn row(ifindex: u32) -> u32 {
        ifindex % ENI_ROWS
    }

    /// The id as text; `None` if the entry is not one of Berth's.
    pub fn id(&self) -> Option<EniId> {
        let end = self.id.iter().position(|&b| b == 0).unwrap_or(self.id.len());
        EniId::parse(std::str::from_utf8(&self.id[..end]).ok()?).ok()
    }

    pub fn id_bytes(id: &EniId) -> [u8; 24] {
        let mut bytes = [0; 24];
        let text = id.as_str().as_bytes();
        bytes[..text.len()].copy_from_slice(text);
        bytes
    }

    pub fn endpoint_key(&self) -> EndpointKey {
        EndpointKey { vni: self.vni, address: self.address }
    }
}

impl Ring {
    /// Rows that the slot holds. Rows of an earlier layout are not counted until the first sweep; the result can be
    /// negative until then.
    pub fn rows_held(&self, returned: &Returned) -> u32 {
        (self.made.wrapping_sub(returned.rows) as i32).max(0).unsigned_abs()
    }

    /// The same for the shared part.
    pub fn shared_held(&self, returned: &Returned) -> u32 {
        (self.made_shared.wrapping_sub(returned.shared) as i32).max(0).unsigned_abs()
    }
}

/// The mask of a range, as octets.
pub fn mask(cidr: Ipv4Cidr) -> [u8; 4] {
    let host_bits = cidr.broadcast().to_bits() ^ cidr.network().to_bits();
    Ipv4Addr::from_bits(!host_bits).octets()
}

/// Length of a jiffy: the resolution of the kernel's coarse clocks.
pub fn tick_ns() -> std::io::Result<u64> {
    let mut tick = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `tick` is live and of the type the call fills.
    let done = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut tick) };
    if done == 0 { Ok(tick.tv_nsec.unsigned_abs()) } else { Err(std::io::Error::last_os_error()) }
}

/// Waits until every packet that was in progress at the call has passed.
///
/// Programs run inside an RCU read section; the command returns after a grace period.
pub fn wait_for_packets() -> std::io::Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the command takes no pointers and has no effect on memory.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
