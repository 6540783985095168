#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A peer that sends so many bytes, and keeps the connection.

live_peer.py serve PORT BYTES               accept connections on PORT until killed; send BYTES on each, and then 1 for each "more\\n" that comes
live_peer.py connect ADDRESS PORT BYTES N   connect, send BYTES, wait until N have come, and print the port that it has connected from. Each
                                            line on standard input is sent
"""
import socket
import sys
import threading


def answer(connection, count):
    connection.sendall(b"r" * count)
    while data := connection.recv(65536):
        if data.endswith(b"more\n"):
            connection.sendall(b"m")


def serve(port, count):
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection, count), daemon=True).start()


def connect(address, port, count, wanted):
    connection = socket.create_connection((address, port))
    connection.sendall(b"o" * count)
    while wanted:
        wanted -= len(connection.recv(wanted))
    print(connection.getsockname()[1], flush=True)
    for line in sys.stdin:
        connection.sendall(line.encode())
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"] and len(sys.argv) == 4:
        serve(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["connect"] and len(sys.argv) == 6:
        connect(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        sys.exit(__doc__)
