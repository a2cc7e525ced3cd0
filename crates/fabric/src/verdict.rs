// SPDX-License-Identifier: Apache-2.0
//! `bpf/verdict.h` compiled for the host, for the sweep, the property tests and the fuzzer: the same text that the
//! kernel runs.
#![allow(unsafe_code)]

#[cfg(test)]
use crate::bpf::layout::AclRow;
use crate::bpf::layout::{Control, Flow, FlowKey};
use crate::compile::Bitmap;

/// `struct packet`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet {
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
    /// Source port.
    pub sport: [u8; 2],
    /// Destination port.
    pub dport: [u8; 2],
    /// Identifier of an ICMP request.
    pub icmp_id: [u8; 2],
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// IP protocol.
    pub proto: u8,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Not the first fragment.
    pub fragment: u8,
    /// Other fragments follow.
    pub more_fragments: u8,
    /// Identification of the datagram.
    pub ip_id: [u8; 2],
    /// Length of the headers.
    pub header_bytes: u16,
}

/// `struct question`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GateQuestion {
    /// Whose rules.
    pub group_set: u32,
    /// The group set of the other end; 0 for an end known only by its address.
    pub peer_group_set: u32,
    /// Address of the other end.
    pub peer: [u8; 4],
    /// IP protocol.
    pub proto: u8,
    /// Port of the contacted end.
    pub port: [u8; 2],
    /// Egress or ingress.
    pub direction: u8,
    /// Side of the policies.
    pub side: u32,
}

/// `struct ends`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupSets {
    /// Of the sender.
    pub sender: u32,
    /// The sender's group set for the receiver's rules.
    pub sender_as_peer: u32,
    /// Of the receiver.
    pub receiver: u32,
    /// The receiver's group set for the sender's rules.
    pub receiver_as_peer: u32,
    /// Side of the policies.
    pub side: u32,
}

/// `EGRESS` and `INGRESS`.
pub const GATES: [u8; 2] = [0, 1];
/// `FLOW_FROM_HIGH`.
pub const FROM_HIGH: u32 = 1;
/// `FLOW_TRANSLATED`.
pub const TRANSLATED: u32 = 1 << 10;

const _: () = assert!(size_of::<Packet>() == 24 && size_of::<GateQuestion>() == 20 && size_of::<GroupSets>() == 20);

unsafe extern "C" {
    fn host_overlap(peer: *const Bitmap, port: *const Bitmap) -> bool;
    fn host_replies_are_open(open: u32, direction: u8, proto: u8) -> bool;
    fn host_tcp_opens(flags: u8) -> bool;
    fn host_flow_key(packet: *const Packet, vni: u32, key: *mut FlowKey);
    fn host_flow_step(state: u32, from_high: bool, proto: u8, tcp_flags: u8) -> u32;
    fn host_flow_alive(now_ns: u64, seen_ns: u64, state: u32, proto: u8) -> bool;
    fn host_flow_carries(flow: *const Flow, packet: *const Packet, ifindex: u32, now_ns: u64) -> bool;
    fn host_question_of(question: *mut GateQuestion, packet: *const Packet, ends: *const GroupSets, gate: u8);
    fn host_flow_unanswered(state: u32) -> bool;
    fn host_may_share(own: i32, taken: i32, shared_max: u32) -> bool;
    #[cfg(test)]
    fn host_first_match_admits(address: *const AclRow, port: *const AclRow) -> bool;
    fn host_never_routed(address: u32) -> bool;
    fn host_nat_port(own: u16, probe: u32, random: u32) -> u16;
    fn host_translation_alive(now_ns: u64, seen_ns: u64, state: u32, durations: *const Control) -> bool;
    fn host_flow_reclaimable(now_ns: u64, seen_ns: u64, state: u32, proto: u8) -> bool;
}

fn pointer(row: Option<&Bitmap>) -> *const Bitmap {
    row.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// True if some rule is in both rows.
pub fn overlap(peer: Option<&Bitmap>, port: Option<&Bitmap>) -> bool {
    // SAFETY: each pointer is null, which the function checks, or to a row of the size it reads.
    unsafe { host_overlap(pointer(peer), pointer(port)) }
}

/// True if a flow admitted by a rule for everywhere needs no tracking.
pub fn replies_are_open(open: u32, direction: u8, proto: u8) -> bool {
    // SAFETY: numbers only.
    unsafe { host_replies_are_open(open, direction, proto) }
}

/// True if the flags are those of a first packet.
pub fn tcp_opens(flags: u8) -> bool {
    // SAFETY: numbers only.
    unsafe { host_tcp_opens(flags) }
}

/// The flow table key of a packet.
pub fn flow_key(packet: &Packet, vni: u32) -> FlowKey {
    let mut key = FlowKey::default();
    // SAFETY: both pointers are to live values of the sizes asserted on both sides.
    unsafe { host_flow_key(packet, vni, &raw mut key) };
    key
}

/// The state after a packet.
pub fn flow_step(state: u32, from_high: bool, proto: u8, tcp_flags: u8) -> u32 {
    // SAFETY: numbers only.
    unsafe { host_flow_step(state, from_high, proto, tcp_flags) }
}

/// True while the flow's state admits packets.
pub fn flow_alive(now_ns: u64, seen_ns: u64, state: u32, proto: u8) -> bool {
    // SAFETY: numbers only.
    unsafe { host_flow_alive(now_ns, seen_ns, state, proto) }
}

/// True if the record of a flow admits the packet from the device.
pub(crate) fn flow_carries(flow: &Flow, packet: &Packet, ifindex: u32, now_ns: u64) -> bool {
    // SAFETY: both pointers are to live values of the sizes asserted on both sides.
    unsafe { host_flow_carries(flow, packet, ifindex, now_ns) }
}

/// The input of a gate for a packet without a flow.
pub fn question_of(packet: &Packet, ends: &GroupSets, gate: u8) -> GateQuestion {
    let mut question = GateQuestion::default();
    // SAFETY: all pointers are to live values of the sizes asserted on both sides.
    unsafe { host_question_of(&raw mut question, packet, ends, gate) };
    question
}

/// True if the owner may take the row of the flow when it gets no more.
pub fn flow_unanswered(state: u32) -> bool {
    // SAFETY: numbers only.
    unsafe { host_flow_unanswered(state) }
}

/// True if an interface that holds `own` of the `taken` shared rows may take one more.
pub fn may_share(own: i32, taken: i32, shared_max: u32) -> bool {
    // SAFETY: numbers only.
    unsafe { host_may_share(own, taken, shared_max) }
}

/// True if the first entry of an ACL that is in both rows admits.
#[cfg(test)]
pub(crate) fn first_match_admits(address: Option<&AclRow>, port: Option<&AclRow>) -> bool {
    let pointer = |row: Option<&AclRow>| row.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: each pointer is null, which the function checks, or to a live row.
    unsafe { host_first_match_admits(pointer(address), pointer(port)) }
}

/// True for an address that no route leads to.
pub fn never_routed(address: std::net::Ipv4Addr) -> bool {
    // SAFETY: numbers only.
    unsafe { host_never_routed(u32::from_ne_bytes(address.octets())) }
}

/// The port of a NAT gateway to try.
pub fn nat_port(own: u16, probe: u32, random: u32) -> u16 {
    // SAFETY: numbers only.
    unsafe { host_nat_port(own, probe, random) }
}

/// True while a translated connection has its port.
pub(crate) fn translation_alive(now_ns: u64, seen_ns: u64, state: u32, durations: &Control) -> bool {
    // SAFETY: the pointer is to a live value of the size asserted on both sides.
    unsafe { host_translation_alive(now_ns, seen_ns, state, durations) }
}

/// True if the row of the flow may be reused.
pub fn flow_reclaimable(now_ns: u64, seen_ns: u64, state: u32, proto: u8) -> bool {
    // SAFETY: numbers only.
    unsafe { host_flow_reclaimable(now_ns, seen_ns, state, proto) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;

    /// The state after packets given as (from the high end, flags).
    fn tcp(packets: &[(bool, u8)]) -> u32 {
        packets.iter().fold(0, |state, (from_high, flags)| flow_step(state, *from_high, 6, *flags))
    }

    /// Seconds without packets after which a flow is removed.
    #[track_caller]
    fn check_timeout(state: u32, proto: u8, seconds: u64) {
        assert!(flow_alive(seconds * SECOND_NS, 1, state, proto));
        assert!(!flow_alive(seconds * SECOND_NS, 0, state, proto));
    }

    #[test]
    fn idle_flows_are_forgotten_when_aws_forgets_them() {
        check_timeout(tcp(&[(false, SYN)]), 6, 60);
        check_timeout(tcp(&[(false, SYN), (true, SYN | ACK)]), 6, 432_000);
        check_timeout(tcp(&[(false, SYN), (true, SYN | ACK), (true, FIN | ACK)]), 6, 120);
        check_timeout(tcp(&[(false, SYN), (true, SYN | ACK), (true, FIN), (false, FIN)]), 6, 30);
        check_timeout(tcp(&[(false, SYN), (true, RST | ACK)]), 6, 30);
        check_timeout(flow_step(0, false, 17, 0), 17, 30);
        check_timeout(flow_step(flow_step(0, false, 17, 0), true, 17, 0), 17, 180);
        check_timeout(0, 1, 30);
        check_timeout(0, 47, 600);
    }

    #[test]
    fn a_translated_connection_has_its_port_as_long_as_the_durations_say() {
        let durations = Control { epoch: 0, tick_ns: 0, nat_idle_ns: 350, nat_closed_ns: 60, rest: [0; 4] };
        let closed = tcp(&[(false, SYN), (true, SYN | ACK), (true, FIN), (false, FIN)]);
        let cases = [(tcp(&[(false, SYN)]), 350), (flow_step(0, false, 17, 0), 350), (closed, 60)];
        for (state, limit) in cases {
            assert!(translation_alive(limit, 1, state | TRANSLATED, &durations));
            assert!(!translation_alive(limit, 0, state | TRANSLATED, &durations));
        }
    }

    #[test]
    fn link_local_and_loopback_addresses_are_never_routed() {
        for address in [[169, 254, 169, 254], [169, 254, 0, 1], [127, 0, 0, 1], [0, 0, 0, 0]] {
            assert!(never_routed(address.into()), "{address:?}");
        }
        for address in [[169, 253, 0, 1], [10, 0, 0, 1], [198, 18, 0, 1], [1, 0, 0, 127]] {
            assert!(!never_routed(address.into()), "{address:?}");
        }
    }

    #[test]
    fn a_gateway_keeps_a_port_of_its_range_and_has_as_many_as_aws_allows() {
        assert_eq!((nat_port(40_000, 0, 7), nat_port(65_535, 0, 7)), (40_000, 65_535));
        let ports = |probe| (0..55_000).map(move |random| nat_port(1024, probe, random));
        for probe in [0, 1] {
            assert_eq!((ports(probe).min(), ports(probe).max()), (Some(10_536), Some(65_535)));
            assert_eq!(ports(probe).collect::<std::collections::BTreeSet<_>>().len(), 55_000);
        }
    }

    #[test]
    fn a_clock_that_lags_keeps_a_flow_alive() {
        assert!(flow_alive(5, 9, 0, 17));
        assert!(!flow_reclaimable(5, 9, tcp(&[(false, RST)]), 6));
    }

    #[test]
    fn only_a_bare_syn_opens() {
        assert!(tcp_opens(SYN));
        for flags in [0, ACK, SYN | ACK, SYN | RST, SYN | FIN, FIN] {
            assert!(!tcp_opens(flags));
        }
    }

    #[test]
    fn shares_shrink_as_the_table_fills_and_leave_something_for_the_next_one() {
        const MAX: u32 = 100_000;
        for greedy in [1, 2, 17] {
            let (mut own, mut taken) = (vec![0; greedy], 0);
            while let Some(held) = own.iter_mut().find(|held| may_share(**held, taken, MAX)) {
                *held += 1;
                taken += 1;
            }
            let left = MAX as i32 - taken;
            let fair = f64::from(MAX) * 0.8f64.powi(greedy as i32);
            assert!((f64::from(left) - fair).abs() <= 4.0 * greedy as f64, "{greedy} leave {left}");
            assert!(may_share(0, taken, MAX));
        }
        assert!(!may_share(0, MAX as i32, MAX));
        assert!(!flow_unanswered(flow_step(0, true, 17, 0)) && flow_unanswered(0));
    }

    fn reverse(p: &Packet) -> Packet {
        let mut reply = Packet { src: p.dst, dst: p.src, sport: p.dport, dport: p.sport, ..*p };
        if p.proto == 1 && p.icmp_type == 8 {
            reply.icmp_type = 0;
        }
        reply
    }

    proptest! {
        #[test]
        fn both_directions_share_a_key_and_vpcs_do_not(
            src: [u8; 4], dst: [u8; 4], sport: [u8; 2], dport: [u8; 2], icmp_id: [u8; 2],
            proto in prop_oneof![Just(1u8), Just(6), Just(17), any::<u8>()], vni in 1u32..0x00ff_ffff,
        ) {
            prop_assume!(src != dst);
            let packet = Packet { src, dst, sport, dport, icmp_id, icmp_type: 8, proto, ..Packet::default() };
            prop_assert_eq!(flow_key(&packet, vni), flow_key(&reverse(&packet), vni));
            prop_assert_ne!(flow_key(&packet, vni), flow_key(&packet, vni + 1));
            if proto == 1 {
                // An echo request of the other end is not a reply to this one.
                let question = Packet { icmp_type: 8, ..reverse(&packet) };
                prop_assert_ne!(flow_key(&packet, vni), flow_key(&question, vni));
            }
        }
    }
}
