"""Runs inside a task's network namespace (by nsenter) and does what standard input says, one line at a time.

    connect HOST PORT     opens a TCP connection, kept until the end
    say TEXT              sends a line on it and reads it back
    rtt COUNT             that many lines there and back; answers the median in microseconds
    frame DEVICE HEX      sends one raw Ethernet frame

Every line is answered by one line: `ok ...` or `failed ...`. The connection has a time limit of 3 s for each step.
"""

import socket
import statistics
import sys
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


peer = Peer()
for line in sys.stdin:
    word, *arguments = line.split()
    try:
        print("ok", getattr(peer, word)(*arguments), flush=True)
    except (OSError, AttributeError) as error:
        print("failed", type(error).__name__, error, flush=True)
