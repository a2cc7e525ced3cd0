# SPDX-License-Identifier: Apache-2.0
"""Packets: a peer inside a task, a recorder on an interface, hand-made frames."""

import contextlib
import ipaddress
import pathlib
import signal
import struct
import subprocess
import sys

PEER = pathlib.Path(__file__).with_name("peer.py")


class Peer:
    """`peer.py` inside a task."""

    def __init__(self, process):
        self.process = process

    def do(self, *words):
        """The answer to one line; a failure is an answer too."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def must(self, *words):
        answer = self.do(*words)
        assert answer.startswith("ok"), f"{words}: {answer}"
        return answer[3:]


@contextlib.contextmanager
def peer_in(task):
    """A peer inside the task's network namespace."""
    process = subprocess.Popen(
        task.net_command(sys.executable, PEER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Peer(process)
    finally:
        process.stdin.close()
        process.wait(timeout=10)


@contextlib.contextmanager
def recorded(task, expression, device=None):
    """Packets that pass the task's interface while the block runs: a list of lines, complete after the block."""
    lines = []
    command = task.net_command("tcpdump", "-l", "-n", "-e", "-U", "-i", device or task.device, expression)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "listening on" in line:
            break
    else:
        raise AssertionError(f"tcpdump did not start: {' '.join(command)}")
    try:
        yield lines
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        lines += filter(None, out.splitlines())


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def udp_frame(source_mac, target_mac, source, target, port=9):
    """A UDP datagram in an Ethernet frame."""
    data = b"spoofed"
    udp = struct.pack("!HHHH", 4000, port, 8 + len(data), 0) + data
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
        ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed,
    )  # fmt: skip
    total = sum(struct.unpack("!10H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    return (mac_bytes(target_mac) + mac_bytes(source_mac) + b"\x08\x00" + header + udp).hex()


def arp_reply_frame(source_mac, target_mac, claimed_ip, claimed_mac, target):
    """An ARP answer that says `claimed_ip` is at `claimed_mac`."""
    arp = struct.pack(
        "!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, mac_bytes(claimed_mac), ipaddress.ip_address(claimed_ip).packed,
        mac_bytes(target_mac), ipaddress.ip_address(target).packed,
    )  # fmt: skip
    return (mac_bytes(target_mac) + mac_bytes(source_mac) + b"\x08\x06" + arp).hex()
