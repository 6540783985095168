#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A TCP server that keeps its client waiting for a reason of its own, or lets it wait for the network; and its client.

held.py serve PORT                  accept connections, IPv4, until killed
held.py connect ADDRESS PORT WHY [SECONDS]
                                    connect, have WHY happen for SECONDS (1), print the source port

WHY, which the first line to the server says, is what holds the connection back:
    think     the server, which answers a request only after so long, with little
    sleep     the client, which leaves its small receive buffer full and reads late, while the server has more to send
    late      the server, which does so while the client has more to send
    buffer    the server's send buffer, which is small beside what could be on its way
    small     likewise the client's
    download  nothing at the ends: the server sends as fast as the network takes it
    upload    likewise the client
    chat      likewise, with small requests and answers, each at once behind the other
"""
import socket
import sys
import threading
import time

LINE = 64
SMALL = 4096  # the kernel doubles it
CHUNK = bytes(65536)


def line(connection):
    return connection.recv(LINE, socket.MSG_WAITALL).decode().split()


def send_for(connection, seconds):
    """Send for so long, without looking whether it arrives."""
    until = time.monotonic() + seconds
    connection.settimeout(0.01)
    while time.monotonic() < until:
        try:
            connection.send(CHUNK)
        except TimeoutError:
            pass
    connection.settimeout(None)


def receive(connection):
    while connection.recv(len(CHUNK)):
        pass


def read_late(connection, seconds):
    """What comes in that time is read in four goes."""
    for _ in range(4):
        time.sleep(seconds / 4)
        connection.recv(SMALL)
    receive(connection)


def treat(connection):
    words = line(connection)
    why, seconds = words[0], float(words[1])
    if why == "think":
        connection.recv(1)
        time.sleep(seconds)
        connection.send(b"answer")
    elif why == "late":
        read_late(connection, seconds)
    elif why in ("upload", "small"):
        receive(connection)
    elif why == "chat":
        while connection.recv(1):
            connection.send(b"!")
    else:
        if why == "buffer":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        send_for(connection, seconds)
    connection.close()


def serve(port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", int(port)))
    server.listen(128)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=treat, args=(connection,), daemon=True).start()


def connect(address, port, why, seconds="1"):
    connection = socket.socket()
    if why == "sleep":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    elif why == "small":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    connection.connect((address, int(port)))
    print(connection.getsockname()[1], flush=True)
    connection.send(f"{why} {seconds}".encode().ljust(LINE))
    if why == "think":
        connection.send(b"?")
        receive(connection)
    elif why == "sleep":
        read_late(connection, float(seconds))
    elif why in ("late", "upload", "small"):
        send_for(connection, float(seconds))
    elif why == "chat":
        until = time.monotonic() + float(seconds)
        while time.monotonic() < until:
            connection.send(b"?")
            connection.recv(1)
    else:
        receive(connection)
    connection.close()


if __name__ == "__main__":
    verbs = {"serve": serve, "connect": connect}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
