#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""More half-closed connections in one set of syn_map than it has places for.

crowd.py serve PORT                    answer each connection with as many bytes as its first line says, then close
crowd.py connect ADDRESS PORT BYTES…   open a connection for each BYTES, all of one set, and read its bytes to their end; print the
                                       source ports, and keep our directions open until killed

The set is chosen by the hash in tracker/tuple.h.
"""
import collections
import signal
import socket
import struct
import sys


def set_of(source, destination, sport, dport):
    words = struct.unpack("=I", socket.inet_aton(source))[0] ^ struct.unpack("=I", socket.inet_aton(destination))[0]
    sport, dport = socket.htons(sport), socket.htons(dport)
    ports = (sport + dport & 0xFFFF) << 16 | sport ^ dport
    return (((words << 32 | ports) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF) >> 51


def serve(port):
    with socket.create_server(("", int(port))) as server:
        while True:
            connection, _ = server.accept()
            connection.sendall(bytes(int(connection.makefile().readline())))
            connection.close()


def connect(address, port, *sizes):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, int(port)))
        source = probe.getsockname()[0]
    ports = collections.defaultdict(list)
    for sport in range(10000, 60000):
        ports[set_of(source, address, sport, int(port))].append(sport)
    crowd = max(ports.values(), key=len)
    if len(crowd) < len(sizes):
        sys.exit(f"crowd.py: no set has {len(sizes)} tuples")
    connections = []
    for sport, size in zip(crowd, sizes):
        connection = socket.create_connection((address, int(port)), source_address=(source, sport))
        connection.sendall(f"{size}\n".encode())
        while connection.recv(65536):
            pass
        connections.append(connection)
        print(sport, flush=True)
    signal.pause()


if __name__ == "__main__":
    verbs = {"serve": serve, "connect": connect}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
