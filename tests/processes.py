#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A process that does to a TCP connection what it is told, step by step, to see who is named for it.

processes.py STEP…

am,LABEL             this process is LABEL: its name is, and its number is beside the label in the trace ($TRACE), which has the
                     numbers of the initial namespace
listen,PORT          on all addresses. Many accept from one listener; the next steps are of a single connection
accept               take one
connect,ADDRESS,PORT print the source port; a refusal ends it, with status 1
send,N  sendfile,N   so many bytes; what the peer does not want any more is no error
receive,N            so many bytes
readable             wait until the peer has sent something, and leave it
drain                receive until the peer has closed or reset it
shutdown             our direction
linger               close() resets
buffer,N             what is sent may wait in the socket, so many bytes of it
alive                keepalive: without an answer for two seconds it is given up
unspec               connect() to nowhere: the connection is taken down, and the socket remains
close  kill          the socket; this very process, with SIGKILL
fork  fork-holding   the rest is the child's; its parent waits for it and has closed the socket, or has it until its end
thread,NAME          the rest is done by a thread of this name
exec,PATH            the rest is done by another program, by a link PATH to python3
pass,PATH  take,PATH the socket is handed over to the process that waits for it at PATH
lose                 the socket is on its way to a process, and never arrives: only the kernel can close it
until,PATH           wait until this file is there
touch,PATH           make it
"""
import array
import ctypes
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

PR_SET_NAME = 15
LIBC = ctypes.CDLL(None, use_errno=True)


class Actor:
    def __init__(self, connection=None):
        self.connection = connection
        self.listener = None

    def am(self, label):
        """The name of the whole group, also from a thread."""
        with open("/proc/self/comm", "wb", buffering=0) as comm:
            comm.write(os.fsencode(label))
        with open(os.environ["TRACE"] + "/trace_marker", "w", encoding="ascii") as marker:
            marker.write(f"process {ascii(label)}\n")

    def listen(self, port):
        self.listener = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)

    def accept(self):
        self.connection, _ = self.listener.accept()

    def connect(self, address, port):
        try:
            self.connection = socket.create_connection((address, int(port)))
        except ConnectionRefusedError as refusal:
            sys.exit(f"processes.py: {refusal}")
        print(self.connection.getsockname()[1], flush=True)

    def send(self, count):
        try:
            self.connection.sendall(bytes(int(count)))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def sendfile(self, count):
        with tempfile.TemporaryFile() as file:
            file.truncate(int(count))
            self.connection.sendfile(file)

    def receive(self, count):
        self.connection.recv(int(count), socket.MSG_WAITALL)

    def readable(self):
        self.connection.recv(1, socket.MSG_PEEK)

    def drain(self):
        try:
            while self.connection.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def shutdown(self):
        self.connection.shutdown(socket.SHUT_WR)

    def linger(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def buffer(self, count):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, int(count))

    def alive(self):
        for option, value in (socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 1):
            self.connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def unspec(self):
        if LIBC.connect(self.connection.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16):
            raise OSError(ctypes.get_errno(), "connect")

    def close(self):
        self.connection.close()

    def kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def pass_(self, path):
        with socket.socket(socket.AF_UNIX) as way:
            way.connect(path)
            socket.send_fds(way, [b"x"], [self.connection.fileno()])
            self.connection.close()
            way.recv(1)  # it has been taken

    def take(self, path):
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path)
            door.listen()
            way, _ = door.accept()
            with way:
                _, descriptors, _, _ = socket.recv_fds(way, 1, 1)
                self.connection = socket.socket(fileno=descriptors[0])
                way.send(b"x")

    def lose(self):
        """Both ends of the way are on that way themselves: nobody has them any more."""
        near, far = socket.socketpair()
        descriptors = array.array("i", [self.connection.fileno(), near.fileno(), far.fileno()])
        near.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        for end in self.connection, near, far:
            end.close()
        socket.socket(socket.AF_UNIX).close()  # the collector comes by when such a socket is closed

    def until(self, path):
        while not os.path.exists(path):
            time.sleep(0.01)

    def touch(self, path):
        with open(path, "w", encoding="ascii"):
            pass

    # Those that hand the rest over to somebody.

    def fork(self, rest, holding=False):
        closed, closes = os.pipe()
        child = os.fork()
        if not child:
            os.close(closes)
            os.read(closed, 1)  # the parent has closed the socket by then
            self.do(rest)
            os._exit(0)
        if not holding and self.connection:
            self.connection.close()
        os.close(closes)
        os.waitpid(child, 0)

    def thread(self, rest, name):
        def work():
            LIBC.prctl(PR_SET_NAME, os.fsencode(name), 0, 0, 0)
            self.do(rest)

        worker = threading.Thread(target=work)
        worker.start()
        worker.join()

    def exec(self, rest, path):
        self.connection.set_inheritable(True)
        os.execv(path, [path, __file__, f"socket={self.connection.fileno()}", *rest])

    def do(self, steps):
        for i, step in enumerate(steps):
            verb, *arguments = step.split(",")
            rest = steps[i + 1:]
            if verb == "fork-holding":
                return self.fork(rest, holding=True)
            if verb in ("fork", "thread", "exec"):
                return getattr(self, verb)(rest, *arguments)
            getattr(self, {"pass": "pass_"}.get(verb, verb))(*arguments)
        return None


def main():
    steps = sys.argv[1:]
    if not steps:
        sys.exit(__doc__)
    actor = Actor()
    if steps[0].startswith("socket="):
        actor.connection = socket.socket(fileno=int(steps.pop(0).split("=")[1]))
    actor.do(steps)


if __name__ == "__main__":
    main()
