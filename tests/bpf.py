# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""bpf(2), as much of it as the tests need, where bpftool has no word for it or would write megabytes of text.

Where the kernel refuses, all of it raises OSError with the kernel's errno.
"""
from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

PINS = "/sys/fs/bpf/tc/globals/"  # where tc pins maps

# enum bpf_cmd, enum bpf_attach_type
MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_GET_NEXT_KEY, OBJ_GET, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 1, 2, 4, 7, 13, 15
MAP_LOOKUP_BATCH, MAP_UPDATE_BATCH, LINK_CREATE = 24, 26, 28
TCX = {"ingress": 46, "egress": 47}

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}[platform.machine()]
ATTRIBUTES_SIZE = 128

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, layout: str, *values: int | ctypes.Array, no_failure: int | None = None) -> tuple[int, bytes]:
    """The system call, on a union bpf_attr that begins with values in the layout of struct.pack; of a buffer it has the address.

    no_failure: an errno that is none. Returns what the command does, 0 or a descriptor, and the union as the kernel left it.
    """
    numbers = (ctypes.addressof(value) if isinstance(value, ctypes.Array) else value for value in values)
    attributes = ctypes.create_string_buffer(struct.pack("=" + layout, *numbers), ATTRIBUTES_SIZE)
    result = libc.syscall(SYS_BPF, command, attributes, ATTRIBUTES_SIZE)
    if result < 0 and ctypes.get_errno() != no_failure:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, attributes.raw


def pinned(path: str) -> int:
    """A descriptor of the map, program or link that is pinned there."""
    return bpf(OBJ_GET, "QII", ctypes.create_string_buffer(os.fsencode(path)), 0, 0)[0]


def program(number: int) -> int:
    """A descriptor of the program with this id."""
    return bpf(PROG_GET_FD_BY_ID, "I", number)[0]


def fact(fd: int, name: str) -> str:
    """What the kernel says of a descriptor under this name, in /proc/self/fdinfo."""
    with open(f"/proc/self/fdinfo/{fd}") as info:
        return dict(line.split(None, 1) for line in info)[name + ":"].strip()


def attach_tcx(program_fd: int, ifindex: int, hook: str) -> int:
    """Hang a program on an interface without a filter. hook: ingress, egress. Returns the descriptor that keeps it there."""
    return bpf(LINK_CREATE, "IIIIIIQQ", program_fd, ifindex, TCX[hook], 0, 0, 0, 0, 0)[0]


class Map:
    """A map: fd, id, key_size, value_size, max_entries."""

    def __init__(self, path: str):
        """path: where it is pinned."""
        self.fd = pinned(path)
        info = ctypes.create_string_buffer(128)
        bpf(OBJ_GET_INFO_BY_FD, "IIQ", self.fd, len(info), info)
        self.id, self.key_size, self.value_size, self.max_entries = struct.unpack_from("=IIII", info, 4)

    def close(self) -> None:
        os.close(self.fd)

    def first(self) -> tuple[bytes, bytes]:
        """Key and value of the entry that comes first; FileNotFoundError if there is none."""
        key, value = ctypes.create_string_buffer(self.key_size), ctypes.create_string_buffer(self.value_size)
        bpf(MAP_GET_NEXT_KEY, "IIQQ", self.fd, 0, 0, key)
        bpf(MAP_LOOKUP_ELEM, "IIQQQ", self.fd, 0, key, value, 0)
        return key.raw, value.raw

    def dump(self) -> tuple[bytes, bytes]:
        """All keys in one string, all values in another."""
        keys = ctypes.create_string_buffer(self.key_size * self.max_entries)
        values = ctypes.create_string_buffer(self.value_size * self.max_entries)
        cursor = ctypes.create_string_buffer(max(self.key_size, 4))
        # ENOENT says that this was all; the count is right all the same.
        _, attributes = bpf(
            MAP_LOOKUP_BATCH, "QQQQIIQQ", 0, cursor, keys, values, self.max_entries, self.fd, 0, 0, no_failure=errno.ENOENT
        )
        count = struct.unpack_from("=I", attributes, 32)[0]
        return keys.raw[: count * self.key_size], values.raw[: count * self.value_size]

    def lookup(self, key: bytes) -> bytes:
        """The value of one key."""
        value = ctypes.create_string_buffer(self.value_size)
        bpf(MAP_LOOKUP_ELEM, "IIQQQ", self.fd, 0, ctypes.create_string_buffer(key), value, 0)
        return value.raw

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value of one key."""
        bpf(MAP_UPDATE_ELEM, "IIQQQ", self.fd, 0, ctypes.create_string_buffer(key), ctypes.create_string_buffer(value), 0)

    def update_all(self, keys: bytes, values: bytes) -> None:
        """Set as many as there are in keys and values, one behind the other."""
        count = len(keys) // self.key_size
        keys_buffer, values_buffer = (ctypes.create_string_buffer(data, len(data)) for data in (keys, values))
        bpf(MAP_UPDATE_BATCH, "QQQQIIQQ", 0, 0, keys_buffer, values_buffer, count, self.fd, 0, 0)
