#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A server whose FIN leaves when nobody runs who has to do with it, and a client that lets it wait.

late.py serve PORT HOW [CONTROL-ADDRESS CONTROL-PORT]
    called `late`; opens a connection to the control address, if there is one, and closes it; accepts one connection, sends far more than
    the client takes, and does HOW with it:
      close    a thread of another name closes it, and the process ends
      hold     prints "written" and keeps it until it is killed
      pass     gives it to a process called `heir`, which closes it last
      unread   gives it to nobody: it goes down with a channel that it lies in, unread
late.py connect ADDRESS PORT FILE
    connects, and reads all there is once FILE is there
"""
import array
import os
import socket
import sys
import threading
import time

BYTES = 100_000


def call_myself(name):
    # The name of the thread that runs; the main one's is the process's.
    with open("/proc/thread-self/comm", "w", encoding="ascii") as comm:
        comm.write(name)


def in_thread(close):
    def run():
        call_myself("thread")
        close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def put_into(channel, connection):
    channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]))])


def inherit(channel):
    call_myself("heir")
    _, messages, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4))
    # The giver closes its own first, as the end of the channel tells.
    channel.recv(1)
    os.close(array.array("i", messages[0][2])[0])
    os._exit(0)


def give_away(connection):
    ours, theirs = socket.socketpair()
    heir = os.fork()
    if heir == 0:
        ours.close()
        connection.close()
        inherit(theirs)
    theirs.close()
    put_into(ours, connection)
    connection.close()
    ours.close()
    os.waitpid(heir, 0)


def leave_unread(connection):
    ours, theirs = socket.socketpair()
    put_into(ours, connection)
    connection.close()
    ours.close()
    theirs.close()


def serve(port, how, *control):
    call_myself("late")
    if control:
        socket.create_connection(control).close()
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        connection, _ = server.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * BYTES)
    connection.sendall(b"x" * BYTES)
    if how == "close":
        in_thread(connection.close)
    elif how == "hold":
        print("written", flush=True)
        time.sleep(600)
    elif how == "pass":
        give_away(connection)
    elif how == "unread":
        leave_unread(connection)
    else:
        sys.exit(__doc__)


def connect(address, port, file):
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address, int(port)))
    while not os.path.exists(file):
        time.sleep(0.02)
    size = 0
    while data := connection.recv(65536):
        size += len(data)
    connection.close()
    if size != BYTES:
        sys.exit(f"late.py: {size} bytes have come, not {BYTES}")


if __name__ == "__main__":
    {"serve": serve, "connect": connect}[sys.argv[1]](*sys.argv[2:])
