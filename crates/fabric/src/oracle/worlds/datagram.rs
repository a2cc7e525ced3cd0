// SPDX-License-Identifier: Apache-2.0
//! Packets by their headers, and the frames that carry them.

use std::net::Ipv4Addr;

/// The protocols of conversations.
pub const ICMP: u8 = 1;
/// See [`ICMP`].
pub const TCP: u8 = 6;
/// See [`ICMP`].
pub const UDP: u8 = 17;
/// A protocol without ports.
pub const GRE: u8 = 47;

/// Types of echo messages.
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// TCP flags.
const SYN: u8 = 2;
const ACK: u8 = 16;

const ETHERNET_BYTES: usize = 14;
const IP_BYTES: usize = 20;
/// Where the checksum of the header behind the IP header is.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;
const ICMP_CHECKSUM: usize = 2;

/// The headers of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Datagram {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// IP protocol.
    pub protocol: u8,
    /// Source and destination port; of an echo message, its identifier twice.
    pub ports: (u16, u16),
    /// ICMP type.
    pub icmp_type: u8,
    /// TCP flags.
    pub flags: u8,
}

impl Datagram {
    /// The first packet of a conversation. `ports.0` is the identifier of an echo request.
    pub fn first(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, ports: (u16, u16)) -> Self {
        let ports = match protocol {
            TCP | UDP => ports,
            ICMP => (ports.0, ports.0),
            _ => (0, 0),
        };
        let (icmp_type, flags) = (if protocol == ICMP { ECHO } else { 0 }, if protocol == TCP { SYN } else { 0 });
        Self { src, dst, protocol, ports, icmp_type, flags }
    }

    /// The answer to this packet.
    pub fn reply(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            ports: (self.ports.1, self.ports.0),
            icmp_type: if self.protocol == ICMP { ECHO_REPLY } else { 0 },
            flags: if self.protocol == TCP { SYN | ACK } else { 0 },
            ..*self
        }
    }

    /// A later packet of the same conversation.
    pub fn later(&self) -> Self {
        Self { flags: if self.protocol == TCP { ACK } else { 0 }, ..*self }
    }

    /// True for a packet that can start a conversation.
    pub fn opens(&self) -> bool {
        match self.protocol {
            TCP => self.flags == SYN,
            ICMP => self.icmp_type == ECHO,
            _ => true,
        }
    }

    /// The port by which rules and entries know the packet.
    pub fn rule_port(&self) -> u16 {
        match self.protocol {
            TCP | UDP => self.ports.1,
            ICMP => u16::from(self.icmp_type) << 8,
            _ => 0,
        }
    }

    /// The same packet from another source port, or with another identifier.
    pub fn from_port(&self, port: u16) -> Self {
        Self { ports: (port, if self.protocol == ICMP { port } else { self.ports.1 }), ..*self }
    }

    /// The same packet to another destination port, or with another identifier.
    pub fn to_port(&self, port: u16) -> Self {
        Self { ports: (if self.protocol == ICMP { port } else { self.ports.0 }, port), ..*self }
    }

    /// A frame with this packet, `id` as its identification and valid checksums.
    pub fn frame(&self, id: u16, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let payload = self.payload();
        let mut ip = vec![0x45, 0];
        ip.extend(((IP_BYTES + payload.len()) as u16).to_be_bytes());
        ip.extend(id.to_be_bytes());
        ip.extend([0, 0, 64, self.protocol, 0, 0]);
        ip.extend(self.src.octets());
        ip.extend(self.dst.octets());
        let sum = (!folded(&ip, 0)).to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
        let mut frame = Vec::with_capacity(ETHERNET_BYTES + ip.len() + payload.len());
        frame.extend(to);
        frame.extend(from);
        frame.extend([8, 0]);
        frame.extend(ip);
        frame.extend(payload);
        frame
    }

    fn payload(&self) -> Vec<u8> {
        let [source, destination] = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()];
        let (mut payload, checksum) = match self.protocol {
            TCP => {
                let mut segment = [source, destination].concat();
                segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, self.flags, 4, 0, 0, 0, 0, 0]);
                (segment, TCP_CHECKSUM)
            }
            UDP => {
                let mut datagram = [source, destination].concat();
                datagram.extend([0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
                (datagram, UDP_CHECKSUM)
            }
            ICMP => {
                let mut message = vec![self.icmp_type, 0, 0, 0];
                message.extend(source);
                message.extend([0, 1, 9, 9]);
                (message, ICMP_CHECKSUM)
            }
            _ => return vec![0; 24],
        };
        let sum = (!folded(&payload, self.pseudo_header(payload.len()))).to_be_bytes();
        payload[checksum..checksum + 2].copy_from_slice(&sum);
        payload
    }

    /// Sum of the pseudo-header; 0 where there is none.
    fn pseudo_header(&self, bytes: usize) -> u32 {
        if self.protocol != TCP && self.protocol != UDP {
            return 0;
        }
        let pairs = |address: Ipv4Addr| (address.to_bits() >> 16) + (address.to_bits() & 0xffff);
        pairs(self.src) + pairs(self.dst) + u32::from(self.protocol) + bytes as u32
    }

    /// The packet in a frame. The error names a checksum that is wrong, or says that it is another kind of frame.
    pub fn in_frame(frame: &[u8]) -> Result<Self, &'static str> {
        let ip = frame.get(ETHERNET_BYTES..).filter(|ip| ip.len() >= IP_BYTES + 8).ok_or("the frame is short")?;
        if frame[12..14] != [8, 0] || ip[0] != 0x45 {
            return Err("not a plain IPv4 packet");
        }
        let bytes = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let payload = ip.get(IP_BYTES..bytes).ok_or("the packet is cut short")?;
        let word = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let mut datagram = Self::first(address(12), address(16), ip[9], (0, 0));
        match datagram.protocol {
            TCP => (datagram.ports, datagram.flags) = ((word(0), word(2)), payload[13]),
            UDP => datagram.ports = (word(0), word(2)),
            ICMP => (datagram.ports, datagram.icmp_type) = ((word(4), word(4)), payload[0]),
            _ => {}
        }
        if folded(&ip[..IP_BYTES], 0) != 0xffff {
            return Err("the checksum of the IP header is wrong");
        }
        let is_summed = [TCP, UDP, ICMP].contains(&datagram.protocol);
        if is_summed && folded(payload, datagram.pseudo_header(payload.len())) != 0xffff {
            return Err("the checksum behind the IP header is wrong");
        }
        Ok(datagram)
    }
}

/// The sum in one's complement.
fn folded(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = start + words.sum::<u32>();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
