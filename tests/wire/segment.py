#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""One Ethernet frame with one TCP segment, on stdout or sent. It goes to all stations, so no host's TCP takes it for its own.

segment.py [--send IFACE] [--vlan ID]... FLAGS SOURCE SPORT DESTINATION DPORT [SEQ [ACK [PAYLOAD]]]

FLAGS are letters of FSRPAUEC (as in "SA"), or - for none. The outermost VLAN comes first.
"""
import argparse
import socket
import sys

from packets import ETH_P_8021AD, ETH_P_8021Q, MAC, flag_bits, frame, ip, packed, tcp

ALL_STATIONS = b"\xff" * 6


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
    source, destination = (packed(a.source), a.sport), (packed(a.destination), a.dport)
    segment = tcp(source, destination, flag_bits(a.flags), a.seq, a.ack, a.payload.encode())
    vlans = [(ETH_P_8021AD, outer) for outer in a.vlan[:-1]] + [(ETH_P_8021Q, inner) for inner in a.vlan[-1:]]
    data = frame(ip(source[0], destination[0], segment), vlans=vlans, mac=(ALL_STATIONS, MAC[1]))
    if not a.send:
        sys.stdout.buffer.write(data)
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((a.send, 0))
        link.send(data)


if __name__ == "__main__":
    main()
