#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A TCP peer that does to a connection what curl and nginx do not.

peer.py serve PORT [HOW]            accept connections on PORT, IPv4 and IPv6, until killed; treat each as HOW says
peer.py connect ADDRESS PORT [HOW]  connect, print "SOURCE-ADDRESS SOURCE-PORT", then do HOW; exit status 1 if refused

HOW: hold      keep it open until the peer closes it, then close it too (the default)
     close     close it at once
     reset     reset it at once
     half      close our direction, go on reading until the peer closes
"""
import socket
import struct
import sys
import threading


def treat(connection, how):
    if how == "hold":
        drain(connection)
    elif how == "reset":
        # Linger on, for 0 seconds: close() sends RST.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "half":
        connection.shutdown(socket.SHUT_WR)
        drain(connection)
    elif how != "close":
        sys.exit(f"peer.py: unknown treatment '{how}'")
    connection.close()


def drain(connection):
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass


def serve(port, how="hold"):
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=treat, args=(connection, how), daemon=True).start()


def connect(address, port, how="hold"):
    try:
        connection = socket.create_connection((address, int(port)))
    except ConnectionRefusedError as refusal:
        sys.exit(f"peer.py: {refusal}")
    print(*connection.getsockname()[:2], flush=True)
    treat(connection, how)


if __name__ == "__main__":
    verbs = {"serve": serve, "connect": connect}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    try:
        verbs[sys.argv[1]](*sys.argv[2:])
    except KeyboardInterrupt:
        pass
