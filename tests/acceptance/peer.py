# SPDX-License-Identifier: Apache-2.0
"""Runs inside a task's network namespace (by nsenter) and does what standard input says, one line at a time.

    connect HOST PORT     opens a TCP connection, kept until the end
    say TEXT              sends a line on it and reads it back
    rtt COUNT             that many lines there and back; answers the median in microseconds
    frame DEVICE HEX      sends one raw Ethernet frame
    sink PORT             accepts connections, one after the other, and discards their data
    blast SECONDS         sends as much as it can on the connection; answers MiB a second, counted when all has arrived

Every line is answered by one line: `ok ...` or `failed ...`. The connection has a time limit of 3 s for each step.
"""

import socket
import statistics
import sys
import threading
import time


class Peer:
    def __init__(self):
        self.connection = None

    def connect(self, host, port):
        self.connection = socket.create_connection((host, int(port)), timeout=3)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return "%s:%s" % self.connection.getsockname()[:2]

    def say(self, text):
        line = text.encode() + b"\n"
        self.connection.sendall(line)
        got = b""
        while len(got) < len(line):
            more = self.connection.recv(4096)
            if not more:
                raise ConnectionError("closed by the other end")
            got += more
        return got.decode().strip()

    def rtt(self, count):
        times = []
        for number in range(int(count)):
            began = time.perf_counter()
            self.say(str(number))
            times.append(time.perf_counter() - began)
        return "%.1f" % (statistics.median(times) * 1e6)

    def frame(self, device, text):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind((device, 0))
        raw.send(bytes.fromhex(text))
        return "sent"

    def sink(self, port):
        listener = socket.create_server(("0.0.0.0", int(port)))
        threading.Thread(target=swallow, args=[listener], daemon=True).start()
        return "listening"

    def blast(self, seconds):
        data, sent, began = bytes(1 << 18), 0, time.perf_counter()
        self.connection.settimeout(10)
        while time.perf_counter() - began < float(seconds):
            sent += self.connection.send(data)
        self.connection.shutdown(socket.SHUT_WR)
        if self.connection.recv(1) != b".":
            raise ConnectionError("closed by the other end")
        return "%.1f" % (sent / (1 << 20) / (time.perf_counter() - began))


def swallow(listener):
    buffer = bytearray(1 << 18)
    while True:
        connection, _ = listener.accept()
        with connection:
            while connection.recv_into(buffer):
                pass
            connection.sendall(b".")


peer = Peer()
for line in sys.stdin:
    word, *arguments = line.split()
    try:
        print("ok", getattr(peer, word)(*arguments), flush=True)
    except (OSError, AttributeError) as error:
        print("failed", type(error).__name__, error, flush=True)
