// SPDX-License-Identifier: Apache-2.0
//! Turns the offloads of devices off: then the kernel splits packets and computes checksums before they reach the program.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use berth_fabric::kernel::Namespace;

use super::Lab;

/// Commands of `linux/ethtool.h` that set a value, and those that read it.
const OFFLOADS: [(&str, u32, u32); 6] = [
    ("receive checksums", 0x15, 0x14),
    ("transmit checksums", 0x17, 0x16),
    ("scatter and gather", 0x19, 0x18),
    ("segmentation of TCP", 0x1f, 0x1e),
    ("segmentation", 0x24, 0x23),
    ("joining of received packets", 0x2c, 0x2b),
];

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

fn ethtool(namespace: &Namespace, device: &str, command: u32, data: u32) -> u32 {
    let mut value = Value { command, data };
    // SAFETY: all zeroes is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = namespace.inside(|| std::net::UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    // SAFETY: request and value are live, and of the types that the command expects.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    assert_eq!(done, 0, "{device}: {}", std::io::Error::last_os_error());
    value.data
}

fn turn_off(namespace: &Namespace, device: &str) {
    for (_, set, _) in OFFLOADS {
        ethtool(namespace, device, set, 0);
    }
    for (name, _, get) in OFFLOADS {
        assert_eq!(ethtool(namespace, device, get, 0), 0, "{device} still has {name}");
    }
}

impl Lab {
    /// Turns offloads off on every device of the fabric, of its seats and of its host.
    pub fn turn_offloads_off(&mut self) {
        for seat in self.seats.values() {
            turn_off(&seat.namespace, "eth1");
        }
        let host = self.host.as_ref().map(|(host, _)| host);
        for namespace in host.into_iter().chain([self.fabric.as_ref().unwrap().namespace()]) {
            for link in namespace.netlink().unwrap().links().unwrap().iter().filter(|link| link.name != "lo") {
                turn_off(namespace, &link.name);
            }
        }
    }
}
