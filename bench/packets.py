#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Run the tracker's programs on crafted frames (BPF_PROG_TEST_RUN) and tell what they cost.

packets.py IFACE EMPTY cost                     every kind of packet that changes nothing, and the SYN of a new connection
packets.py IFACE EMPTY connection WHAT [FIRST]  whole connections: SYN, SYN-ACK, ACK, FIN, FIN. WHAT describes them in the output
packets.py IFACE EMPTY flood [FIRST]            forged SYNs, with the handshake table full
packets.py IFACE EMPTY establish N [FIRST]      make N connections and leave them open
packets.py IFACE EMPTY paced RATE SECONDS       RATE whole connections a second; prints how many a second they were
packets.py IFACE - send N                       send N segments on IFACE, each of another connection long since open

The tracker is attached to IFACE; FIRST (0) is the number of the first connection, each has a tuple of its own. EMPTY is a pinned
program that does nothing: each figure is the time above the time of that program, on the same frames, in turns with it. The kernel takes the times, inside the system call, around the program alone.
Each line of the output is a description, a tab and nanoseconds: the median of ROUNDS means.
"""
import ctypes
import json
import os
import platform
import socket
import statistics
import struct
import subprocess
import sys
import time

BPF_OBJ_GET, BPF_PROG_TEST_RUN, BPF_PROG_GET_FD_BY_ID = 7, 10, 13
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}[platform.machine()]
ROUNDS = 5
FIN, SYN, RST, ACK = 1, 2, 4, 16
IN, OUT = 0, 1
CLIENT, SERVER, PORT = 0xC6336401, 0xC6336402, 8000  # 198.51.100.1 and .2

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long


def bpf(command, attributes):
    result = libc.syscall(SYSCALL, command, ctypes.addressof(attributes), ctypes.sizeof(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Object(ctypes.Structure):
    """What BPF_OBJ_GET and BPF_PROG_GET_FD_BY_ID take of union bpf_attr."""

    _fields_ = [("pathname_or_id", ctypes.c_uint64), ("bpf_fd", ctypes.c_uint32), ("file_flags", ctypes.c_uint32)]


class Run(ctypes.Structure):
    """What BPF_PROG_TEST_RUN takes of union bpf_attr."""

    _fields_ = (
        [(name, ctypes.c_uint32) for name in ("prog_fd", "retval", "data_size_in", "data_size_out")]
        + [(name, ctypes.c_uint64) for name in ("data_in", "data_out")]
        + [(name, ctypes.c_uint32) for name in ("repeat", "duration", "ctx_size_in", "ctx_size_out")]
        + [(name, ctypes.c_uint64) for name in ("ctx_in", "ctx_out")]
    )


class Program:
    def __init__(self, fd, ifindex):
        # struct __sk_buff up to ifindex, which is its eleventh word: otherwise the frame comes from lo.
        self.context = ctypes.create_string_buffer(struct.pack("11I", *[0] * 10, ifindex))
        self.attributes = Run(prog_fd=fd, ctx_size_in=44, ctx_in=ctypes.addressof(self.context))

    def run(self, frame, repeat=1):
        """Nanoseconds that one of the runs took. frame: a ctypes buffer."""
        a = self.attributes
        a.data_in = ctypes.addressof(frame)
        a.data_size_in = len(frame)
        a.repeat = repeat
        a.data_size_out = a.ctx_size_out = 0  # the kernel has written there
        bpf(BPF_PROG_TEST_RUN, a)
        return a.duration


def pinned(path, ifindex):
    name = ctypes.create_string_buffer(os.fsencode(path))
    return Program(bpf(BPF_OBJ_GET, Object(ctypes.addressof(name))), ifindex)


def attached(iface, ifindex):
    """The tracker's two programs on an interface: for ingress, for egress."""
    hooks = json.loads(subprocess.check_output(["bpftool", "--json", "net", "show", "dev", iface]))[0]["tc"]
    ids = {hook["kind"]: hook["id"] for hook in hooks if hook["name"].startswith("NeTracker.bpf.o")}
    return [Program(bpf(BPF_PROG_GET_FD_BY_ID, Object(ids["clsact/" + hook])), ifindex) for hook in ("ingress", "egress")]


def ethernet(ethertype, payload, vlan=b""):
    return bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]) + vlan + struct.pack("!H", ethertype) + payload


def ipv4(source, destination, payload, protocol=socket.IPPROTO_TCP):
    return struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, source, destination) + payload


def ipv6(source, destination, payload):
    prefix = bytes.fromhex("20010db80051") + bytes(6)
    addresses = prefix + struct.pack("!I", source) + prefix + struct.pack("!I", destination)
    return struct.pack("!IHBB", 6 << 28, len(payload), socket.IPPROTO_TCP, 64) + addresses + payload


def tcp(sport, dport, flags, seq, ack=0, payload=b""):
    return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0) + payload


def buffer(frame):
    return (ctypes.c_char * len(frame)).from_buffer_copy(frame)


class Connection:
    """The frames of a connection over IPv4, client first. number() makes it another connection."""

    SOURCE, DESTINATION, SPORT, DPORT = 26, 30, 34, 36

    def __init__(self):
        self.syn, self.ack, self.client_fin = (
            self.segment(IN, SYN, 1000),
            self.segment(IN, ACK, 1001, 5001),
            self.segment(IN, FIN | ACK, 1001, 5001),
        )
        self.syn_ack, self.server_fin = self.segment(OUT, SYN | ACK, 5000, 1001), self.segment(OUT, FIN | ACK, 5001, 1002)

    @staticmethod
    def segment(direction, flags, seq, ack=0, payload=b""):
        ends = [(CLIENT, 1024), (SERVER, PORT)]
        (source, sport), (destination, dport) = ends if direction == IN else reversed(ends)
        return buffer(ethernet(0x0800, ipv4(source, destination, tcp(sport, dport, flags, seq, ack, payload))))

    def number(self, number):
        """60,000 ports of a client, then the next client."""
        address = struct.pack("!I", CLIENT + number // 60000 * 2)
        port = struct.pack("!H", 1024 + number % 60000)
        for frame in self.syn, self.ack, self.client_fin:
            frame[self.SOURCE : self.SOURCE + 4] = address
            frame[self.SPORT : self.SPORT + 2] = port
        for frame in self.syn_ack, self.server_fin:
            frame[self.DESTINATION : self.DESTINATION + 4] = address
            frame[self.DPORT : self.DPORT + 2] = port


class Bench:
    def __init__(self, iface, empty):
        self.ifindex = socket.if_nametoindex(iface)
        self.tracker = attached(iface, self.ifindex)
        self.empty = [pinned(empty, self.ifindex)] * 2
        self.connection = Connection()
        self.used = 0  # connections whose tuples have been used

    def in_place(self, what, direction, frame, repeat=2000000):
        """A packet that changes nothing can be run again and again inside the kernel."""
        rounds = []
        for _ in range(ROUNDS):
            base = self.empty[direction].run(frame, repeat)
            rounds.append(self.tracker[direction].run(frame, repeat) - base)
        result(what, statistics.median(rounds))

    def one_by_one(self, what, count, play):
        """Connections that are all new: play(programs) runs one connection's frames, once, and returns the time."""
        rounds = []
        for _ in range(ROUNDS):
            times = []
            for _ in range(count):
                self.next()
                times.append(play(self.tracker) - play(self.empty))
            rounds.append(statistics.fmean(times))
        result(what, statistics.median(rounds))

    def next(self):
        self.connection.number(self.used)
        self.used += 1

    def establish(self, programs):
        c = self.connection
        return programs[IN].run(c.syn) + programs[OUT].run(c.syn_ack) + programs[IN].run(c.ack)

    def close(self, programs):
        c = self.connection
        return programs[IN].run(c.client_fin) + programs[OUT].run(c.server_fin)

    def open_and_close(self, programs):
        return self.establish(programs) + self.close(programs)


def result(what, nanoseconds):
    print(f"{what}\t{nanoseconds:.1f}", flush=True)


def cost(bench):
    in_place = bench.in_place
    bench.next()
    bench.establish(bench.tracker)
    segment = tcp(1024, PORT, ACK, 1001, 5001, b"hello world\n")
    reply = tcp(PORT, 1024, ACK, 5001, 1013)
    in_place("data packet, IPv4", IN, buffer(ethernet(0x0800, ipv4(CLIENT, SERVER, segment))))
    in_place("data packet, IPv6", IN, buffer(ethernet(0x86DD, ipv6(CLIENT, SERVER, segment))))
    tag = struct.pack("!HH", 0x8100, 42)
    in_place("data packet, VLAN tag in the frame", IN, buffer(ethernet(0x0800, ipv4(CLIENT, SERVER, segment), tag)))
    in_place("pure ACK, ingress", IN, bench.connection.ack)
    in_place("pure ACK, egress", OUT, buffer(ethernet(0x0800, ipv4(SERVER, CLIENT, reply))))
    in_place("UDP packet", IN, buffer(ethernet(0x0800, ipv4(CLIENT, SERVER, struct.pack("!HHHH", 1024, 53, 8, 0), socket.IPPROTO_UDP))))
    in_place("not IP (ARP)", IN, buffer(ethernet(0x0806, bytes(46))))
    bench.one_by_one("SYN of a new connection", 2000, lambda programs: programs[IN].run(bench.connection.syn))


def connection(bench, what, first="0"):
    bench.used = int(first)
    bench.one_by_one(what, 20000, bench.open_and_close)


def flood(bench, first="0"):
    bench.used = int(first)
    for _ in range(400000):
        bench.next()
        bench.tracker[IN].run(bench.connection.syn)
    bench.one_by_one("forged SYN, handshake table full", 20000, lambda programs: programs[IN].run(bench.connection.syn))


def establish(bench, count, first="0"):
    bench.used = int(first)
    for _ in range(int(count)):
        bench.next()
        bench.establish(bench.tracker)


def paced(bench, rate, seconds):
    count, period, start = int(rate) * int(seconds), 1 / int(rate), time.monotonic()
    for i in range(count):
        while time.monotonic() < start + i * period:
            pass
        bench.next()
        bench.open_and_close(bench.tracker)
    print(f"{count / (time.monotonic() - start):.0f}")


def send(iface, count):
    broadcast = b"\xff" * 6  # the other end's address need not be known
    connection = Connection()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((iface, 0))
        for number in range(int(count)):
            connection.number(number)
            link.send(broadcast + bytes(connection.ack)[6:])


def main():
    verbs = {f.__name__: f for f in (cost, connection, flood, establish, paced)}
    match sys.argv[1:]:
        case iface, "-", "send", count:
            send(iface, count)
        case iface, empty, verb, *arguments if verb in verbs:
            verbs[verb](Bench(iface, empty), *arguments)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    main()
