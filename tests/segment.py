#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""One Ethernet frame with one TCP segment, on stdout or sent.

segment.py [--send IFACE] [--vlan ID]... FLAGS SOURCE SPORT DESTINATION DPORT [SEQ [ACK [PAYLOAD]]]

FLAGS are letters of FSRPAUEC (as in "SA"), or - for none. The outermost VLAN comes first. Checksums are 0.
"""
import argparse
import ipaddress
import socket
import struct
import sys


def segment(flags, sport, dport, seq, ack, payload):
    bits = sum(1 << "FSRPAUEC".index(letter) for letter in flags if letter != "-")
    return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, bits, 65535, 0, 0) + payload


def packet(source, destination, payload):
    """The IP packet and its Ethernet type."""
    source, destination = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    if source.version == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, socket.IPPROTO_TCP, 0)
        return header + source.packed + destination.packed + payload, 0x0800
    header = struct.pack("!IHBB", 6 << 28, len(payload), socket.IPPROTO_TCP, 64)
    return header + source.packed + destination.packed + payload, 0x86DD


def frame(vlans, payload, ethertype):
    tags = b""
    for depth, vlan in enumerate(vlans):
        outer_of_two = depth < len(vlans) - 1
        tags += struct.pack("!HH", 0x88A8 if outer_of_two else 0x8100, vlan)
    return b"\xff" * 6 + b"\x02" + bytes(5) + tags + struct.pack("!H", ethertype) + payload


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--send")
    parser.add_argument("--vlan", type=int, action="append", default=[])
    parser.add_argument("flags")
    parser.add_argument("source")
    parser.add_argument("sport", type=int)
    parser.add_argument("destination")
    parser.add_argument("dport", type=int)
    parser.add_argument("seq", type=int, nargs="?", default=0)
    parser.add_argument("ack", type=int, nargs="?", default=0)
    parser.add_argument("payload", nargs="?", default="")
    a = parser.parse_args()
    tcp = segment(a.flags, a.sport, a.dport, a.seq, a.ack, a.payload.encode())
    data = frame(a.vlan, *packet(a.source, a.destination, tcp))
    if not a.send:
        sys.stdout.buffer.write(data)
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((a.send, 0))
        link.send(data)


if __name__ == "__main__":
    main()
