// SPDX-License-Identifier: Apache-2.0
//! Hand-made frames that no ordinary socket sends.
#![allow(unsafe_code)]

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_fabric::kernel::Namespace;

/// More than the largest packet that TCP sends unsplit.
const FRAME_BYTES: usize = 256 * 1024;

pub const SYN: u16 = 2;
pub const ACK: u16 = 16;

/// A packet socket on a link.
pub struct Wire {
    socket: OwnedFd,
    index: i32,
}

impl Wire {
    pub fn open(namespace: &Namespace, link: &str) -> Self {
        let index = namespace.netlink().unwrap().link_by_name(link).unwrap().unwrap().index as i32;
        let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
        // SAFETY: no pointers; the descriptor is checked below.
        let fd = namespace.inside(|| unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol) }).unwrap();
        assert!(fd >= 0);
        // SAFETY: just opened, owned by no other value.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let wire = Self { socket, index };
        let to = wire.address();
        // SAFETY: `to` is a live address of the length given.
        let bound = unsafe { libc::bind(wire.socket.as_raw_fd(), (&raw const to).cast(), size_of_val(&to) as u32) };
        assert_eq!(bound, 0);
        wire
    }

    fn address(&self) -> libc::sockaddr_ll {
        // SAFETY: all zeroes is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = self.index;
        address
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the buffer is live and of the length given.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize);
    }

    /// The first matching frame of the kernel's inbound direction, or `None` after `patience`.
    pub fn await_frame(&self, patience: Duration, fits: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let until = Instant::now() + patience;
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one live pollfd.
            unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as i32 + 1) };
            let mut frame = vec![0; FRAME_BYTES];
            let mut from = self.address();
            let mut length = size_of_val(&from) as u32;
            // SAFETY: buffer and address are live and of the lengths given.
            let bytes = unsafe {
                let (fd, flags) = (self.socket.as_raw_fd(), libc::MSG_DONTWAIT);
                libc::recvfrom(
                    fd,
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    flags,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            if bytes < 0 || from.sll_pkttype == libc::PACKET_OUTGOING {
                continue;
            }
            frame.truncate(bytes as usize);
            if fits(&frame) {
                return Some(frame);
            }
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// An IPv4 packet to be put into a frame.
#[derive(Clone)]
pub struct Ip {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub proto: u8,
    /// Offset in units of 8 bytes, with `0x2000` for "more fragments".
    pub fragment: u16,
    pub id: u16,
    /// A multiple of four bytes.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Ip {
    pub fn udp(src: Ipv4Addr, dst: Ipv4Addr, ports: (u16, u16), text: &[u8]) -> Self {
        let mut payload = Vec::new();
        for field in [ports.0, ports.1, 8 + text.len() as u16, 0] {
            payload.extend(field.to_be_bytes());
        }
        payload.extend(text);
        Self { src, dst, proto: 17, fragment: 0, id: 7, options: Vec::new(), payload }
    }

    /// A segment without data.
    pub fn tcp(src: Ipv4Addr, dst: Ipv4Addr, ports: (u16, u16), flags: u16) -> Self {
        let mut payload = Vec::new();
        for field in [ports.0, ports.1, 0, 1, 0, 0, 0x5000 | flags, 1000, 0, 0] {
            payload.extend(field.to_be_bytes());
        }
        let mut summed = Vec::new();
        summed.extend(src.octets());
        summed.extend(dst.octets());
        summed.extend([0, 6, 0, payload.len() as u8]);
        summed.extend(&payload);
        payload[16..18].copy_from_slice(&checksum(&summed));
        Self { src, dst, proto: 6, fragment: 0, id: 7, options: Vec::new(), payload }
    }

    pub fn icmp(src: Ipv4Addr, dst: Ipv4Addr, kind: u8, code: u8, rest: &[u8]) -> Self {
        let mut payload = vec![kind, code, 0, 0];
        payload.extend(rest);
        let sum = checksum(&payload);
        payload[2..4].copy_from_slice(&sum);
        Self { src, dst, proto: 1, fragment: 0, id: 7, options: Vec::new(), payload }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let total = (words * 4 + self.payload.len()) as u16;
        let mut header = vec![0x40 | words as u8, 0];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([64, self.proto, 0, 0]);
        header.extend(self.src.octets());
        header.extend(self.dst.octets());
        header.extend(&self.options);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        header.extend(&self.payload);
        header
    }

    /// A frame whose IP header has this length, whatever follows.
    pub fn frame_of_length(&self, bytes: u16, src: [u8; 6], dst: [u8; 6]) -> Vec<u8> {
        let mut packet = self.bytes();
        let header = usize::from(packet[0] & 0xf) * 4;
        packet[2..4].copy_from_slice(&bytes.to_be_bytes());
        packet[10..12].fill(0);
        let sum = checksum(&packet[..header]);
        packet[10..12].copy_from_slice(&sum);
        ethernet(src, dst, 0x0800, &packet)
    }

    pub fn frame(&self, src: [u8; 6], dst: [u8; 6]) -> Vec<u8> {
        ethernet(src, dst, 0x0800, &self.bytes())
    }
}

pub fn ethernet(src: [u8; 6], dst: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(dst);
    frame.extend(src);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An ARP request with `sender` as its sender.
pub fn arp_request(src: [u8; 6], sender: ([u8; 6], Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(sender.0);
    arp.extend(sender.1.octets());
    arp.extend([0; 6]);
    arp.extend(target.octets());
    ethernet(src, [0xff; 6], 0x0806, &arp)
}

/// The hardware address in an ARP reply about `target`.
pub fn arp_answer(frame: &[u8], target: Ipv4Addr) -> Option<[u8; 6]> {
    let is_reply = frame.len() >= 42 && frame[12..14] == [8, 6] && frame[20..22] == [0, 2];
    (is_reply && frame[28..32] == target.octets()).then(|| frame[22..28].try_into().unwrap())
}
