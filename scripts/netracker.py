# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""NeTracker for Python, by way of bcc: attach the tracker, read what it records, take it away again.

    import netracker

    with netracker.attach("eth0") as tracker:
        for record in tracker.records():
            print(record["src"], record["dst"], record["state"], record["duration_ns"] / 1e6, "ms")

Nothing is compiled and no kernel header is needed: libbpf, which comes with libbcc, loads the objects that `netracker attach` loads, on the
same pinned maps. So both see each other: what one has attached, the other one reads. Records and live connections come through the same BPF
iterators as `netracker log` and `netracker list`, in a copy of this process's own: nothing is pinned for it, and no record is taken away
from any other reader.

Units and byte order: times are nanoseconds, ports and all numbers are in this machine's byte order, addresses are text. What is not known
is None. What is read from a table by itself (`tracker["conn_map"]`) is as NeTracker.h has it; addresses are 16 bytes in network byte order.

Errors: every function raises Error, or one of its kinds, whose text is one sentence that names the thing, the cause and the remedy, and whose
`status` is the exit status that `netracker` has for it.
"""
from __future__ import annotations

import collections
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Deque, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, Type, TypedDict

__all__ = ["attach", "attached", "Tracker", "Record", "Connection", "Error", "NotAttached", "Missing"]

# What `make install` puts the places of the tracker's own files, and of the command, into: relative to this file.
_OWN_DIR = ""
_COMMAND = ""

_HERE = os.path.dirname(os.path.realpath(__file__))
_ROOT = os.path.dirname(_HERE)  # of the source tree
if _OWN_DIR:
    _OBJECTS = _LIBRARIES = os.path.normpath(os.path.join(_HERE, _OWN_DIR))
    _NETRACKER = os.path.normpath(os.path.join(_HERE, _COMMAND))
else:
    _OBJECTS, _LIBRARIES, _NETRACKER = _ROOT, os.path.join(_HERE, "lib"), os.path.join(_HERE, "netracker")

BPFFS = "/sys/fs/bpf"
PINS = BPFFS + "/tc/globals"  # where tc pins maps

_HOOKS = ("ingress", "egress")
_SECTIONS = {"ingress": "tc_ing", "egress": "tc_en"}
_PROGRAMS = {"ingress": "netracker_ingress", "egress": "netracker_egress"}
_PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}  # ffff:fff2, ffff:fff3: the two sides of clsact

# struct load of NeTracker.h, a load's .bss: iface_id, scope_id, answer, keeper, tick_us. keeper says that this module has hung it: whoever has
# `netracker attach` take it on writes 0 there, and then it is not ours to take away.
_LOAD = "=IIiII"
_KEEPER = 0x6263

_PAUSE = 0.1  # seconds between two looks for more
_LOCK_SECONDS = 60.0


class Error(Exception):
    """Something failed; the text says what, why and what to do. status: the exit status for it."""

    status = 1


class NotAttached(Error):
    """The tracker is not attached, or is not any more."""

    status = 3


class Missing(Error):
    """A prerequisite is missing: privileges, a package, a kernel that is new enough."""

    status = 4


class _Facts(TypedDict):
    ts: str
    family: int
    src: str
    sport: int
    dst: str
    dport: int
    state: str
    dir: str
    first_fin_ns: Optional[int]
    syn_rtt_ns: Optional[int]
    ack_rtt_ns: Optional[int]
    orig_bytes: Optional[int]
    resp_bytes: Optional[int]
    syn_retrans: Optional[int]
    ifname: Optional[str]
    uid: Optional[int]
    cgroup: Optional[int]
    srtt_us: Optional[int]
    min_rtt_us: Optional[int]
    retrans: Optional[int]
    orig_segs: Optional[int]
    resp_segs: Optional[int]
    cwnd: Optional[int]
    mss: Optional[int]
    pid: Optional[int]
    comm: Optional[str]
    reset_reason: Optional[str]
    held_by: Optional[str]
    held_pct: Optional[int]
    busy_us: Optional[int]
    rwnd_limited_us: Optional[int]
    sndbuf_limited_us: Optional[int]
    rcv_ooopack: Optional[int]
    reord_seen: Optional[int]
    dsack_dups: Optional[int]
    delivered_ce: Optional[int]
    bytes_retrans: Optional[int]
    delivery_rate: Optional[int]
    adopted: bool
    interim: Optional[int]
    user: None
    owner: None


class _Ended(_Facts):
    duration_ns: int


class Record(_Ended, total=False):
    """A connection that has ended: the keys of `netracker log --json --numeric`, docs/fields.md; more may come to be added.

    ts: time of the first SYN, RFC 3339, UTC. src, sport: originator, who sent the first SYN; dst, dport: responder. family: 4, 6.
    duration_ns, first_fin_ns, syn_rtt_ns, ack_rtt_ns: nanoseconds. orig_bytes, resp_bytes: payload, bytes. srtt_us, min_rtt_us, and
    all else that ends in _us: microseconds. delivery_rate: bytes a second. interim: for how many intervals it has lived, if it lives on
    (`netracker config interim=SECONDS`); None: it has ended. pid, comm: of the process that holds this host's socket.
    lost_before: only there if records before this one were overwritten before they were read; how many.
    """

    lost_before: int


class Connection(_Facts):
    """A live connection: what its record would say if nothing more came, with age_ns, the nanoseconds since its first SYN. pid and
    comm of one that came in are None until its server closes it."""

    age_ns: int


class _Hook(NamedTuple):
    """A place where a program on our maps hangs."""

    netns: int
    ifindex: int
    hook: str  # ingress or egress, of whatever kind
    program: int


program = "netracker"  # who speaks in notices


def say(sentence: str) -> None:
    """Where notices go: to stderr. A program that has another place for them may put a function of its own here."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"{program}: {sentence}", file=sys.stderr, flush=True)


#
# libbpf, as libbcc brings it along, and bcc's tables
#

_bpf_lib: Any = None
_bcc_table: Any = None


def _libbpf() -> Any:
    """bcc's handle of libbcc, through which libbpf's functions are found as well."""
    global _bpf_lib, _bcc_table
    if _bpf_lib:
        return _bpf_lib
    try:
        import bcc.table
        from bcc.libbcc import lib
    except ImportError as error:
        raise Missing(f"no module bcc for {sys.executable}; install the package python3-bpfcc") from error
    except OSError as error:
        raise Missing("libbcc cannot be loaded; install the package libbpfcc anew") from error
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("bpf_object__open_file", pointer, [text, pointer]),
        ("bpf_object__load", number, [pointer]),
        ("bpf_object__close", None, [pointer]),
        ("bpf_object__btf", pointer, [pointer]),
        ("bpf_object__next_map", pointer, [pointer, pointer]),
        ("bpf_object__next_program", pointer, [pointer, pointer]),
        ("bpf_object__find_map_by_name", pointer, [pointer, text]),
        ("bpf_object__find_program_by_name", pointer, [pointer, text]),
        ("bpf_program__set_type", number, [pointer, number]),
        ("bpf_program__fd", number, [pointer]),
        ("bpf_program__attach_iter", pointer, [pointer, pointer]),
        ("bpf_map__name", text, [pointer]),
        ("bpf_map__fd", number, [pointer]),
        ("bpf_map__pin_path", text, [pointer]),
        ("bpf_map__set_pin_path", number, [pointer, text]),
        ("bpf_map__reuse_fd", number, [pointer, number]),
        ("bpf_map__max_entries", ctypes.c_uint32, [pointer]),
        ("bpf_map__btf_key_type_id", ctypes.c_uint32, [pointer]),
        ("bpf_map__btf_value_type_id", ctypes.c_uint32, [pointer]),
        ("bpf_link__fd", number, [pointer]),
        ("bpf_link__destroy", number, [pointer]),
        ("bpf_iter_create", number, [number]),
        ("bpf_map_create", number, [number, text, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, pointer]),
        ("bpf_obj_get", number, [text]),
        ("bpf_prog_get_fd_by_id", number, [ctypes.c_uint32]),
        ("bpf_map_get_fd_by_id", number, [ctypes.c_uint32]),
        ("bpf_btf_get_fd_by_id", number, [ctypes.c_uint32]),
        ("bpf_obj_get_info_by_fd", number, [number, pointer, ctypes.POINTER(ctypes.c_uint32)]),
        ("bpf_map_lookup_elem", number, [number, pointer, pointer]),
        ("bpf_map_update_elem", number, [number, pointer, pointer, ctypes.c_uint64]),
        ("btf__raw_data", pointer, [pointer, ctypes.POINTER(ctypes.c_uint32)]),
        ("libbpf_set_print", pointer, [pointer]),
        ("libbpf_get_error", ctypes.c_long, [pointer]),
    ):
        try:
            function = getattr(lib, name)
        except AttributeError:
            raise Missing(f"this libbcc comes without libbpf's {name}; install the libbpfcc of Debian 12 or newer") from None
        function.restype, function.argtypes = result, arguments
    # What it has to say is for who knows libbpf; we say it in a sentence.
    lib.libbpf_set_print(None)
    _bpf_lib, _bcc_table = lib, bcc.table
    return lib


def _iproute() -> Any:
    """pyroute2's way to the kernel, for a `with`."""
    try:
        from pyroute2 import IPRoute
    except ImportError as error:
        raise Missing(f"no module pyroute2 for {sys.executable}; install the package python3-pyroute2") from error
    return IPRoute()


def _information(fd: int, size: int) -> bytes:
    """What the kernel tells of a map, program or BTF: the beginning of struct bpf_map_info, bpf_prog_info, bpf_btf_info."""
    info = ctypes.create_string_buffer(size)
    _ask(fd, info)
    return info.raw


def _ask(fd: int, info: Any) -> None:
    length = ctypes.c_uint32(len(info))
    if _libbpf().bpf_obj_get_info_by_fd(fd, info, ctypes.byref(length)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class _Map:
    """A map of the kernel's: its descriptor, which is closed with it, and what it is."""

    def __init__(self, fd: int):
        self.fd = fd
        try:
            info = _information(fd, 96)
        except OSError:
            self.close()
            raise
        self.kind, self.id, self.key_size, self.value_size, self.max_entries, _, name = struct.unpack_from("=6I16s", info)
        self.name = name.split(b"\0")[0].decode("ascii", "replace")
        self.btf, self.key_type, self.value_type = struct.unpack_from("=3I", info, 64)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def only_value(self) -> bytes:
        """The value under 0, of a map that is an array."""
        value = ctypes.create_string_buffer(self.value_size)
        if _libbpf().bpf_map_lookup_elem(self.fd, ctypes.byref(ctypes.c_uint32()), value) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return value.raw

    def write(self, key: int, value: Any) -> None:
        """Likewise set one. value: bytes, or a ctypes object."""
        data = bytes(value)[: self.value_size]
        if _libbpf().bpf_map_update_elem(self.fd, ctypes.byref(ctypes.c_uint32(key)), data, 0) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _maps_of_program(number: int) -> List[int]:
    """The numbers of the maps that a program uses; none if it has gone."""
    fd = _libbpf().bpf_prog_get_fd_by_id(number)
    if fd < 0:
        return []
    try:
        # struct bpf_prog_info: nr_map_ids at 52, map_ids at 56.
        count = struct.unpack_from("=I", _information(fd, 64), 52)[0]
        numbers = (ctypes.c_uint32 * count)()
        info = ctypes.create_string_buffer(64)
        struct.pack_into("=IQ", info, 52, count, ctypes.addressof(numbers))
        _ask(fd, info)
        return list(numbers)
    finally:
        os.close(fd)


class _Btf:
    """What the names and types in an object or a map are. The kernel keeps this with a map, of whatever version it is."""

    _INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FUNC, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = 1, 2, 3, 4, 5, 6, 12, 13, 14, 15, 17, 19
    _NAMES_FOR = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type tag

    def __init__(self, data: bytes):
        self._types: List[Tuple[str, int, bool, int, Any]] = [("", 0, False, 0, None)]
        self._made: Dict[int, Any] = {}
        header, types, types_length, strings = struct.unpack_from("=4xIIII", data)
        at, end, strings = header + types, header + types + types_length, header + strings

        def name_at(offset: int) -> str:
            return data[strings + offset : data.index(b"\0", strings + offset)].decode("utf-8", "replace")

        while at < end:
            name, info, size = struct.unpack_from("=III", data, at)
            kind, count, flag = info >> 24 & 31, info & 0xFFFF, bool(info >> 31)
            more: Any = None
            at += 12
            if kind in (self._STRUCT, self._UNION):
                more = [(name_at(a), b, c) for a, b, c in struct.iter_unpack("=III", data[at : at + 12 * count])]
            elif kind in (self._ARRAY, self._INT):
                more = struct.unpack_from("=III" if kind == self._ARRAY else "=I", data, at)
            at += {
                self._INT: 4, self._ARRAY: 12, self._STRUCT: 12 * count, self._UNION: 12 * count, self._ENUM: 8 * count,
                self._FUNC_PROTO: 8 * count, self._VAR: 4, self._DATASEC: 12 * count, self._DECL_TAG: 4, self._ENUM64: 12 * count,
            }.get(kind, 0)  # fmt: skip
            self._types.append((name_at(name), kind, flag, size, more))

    @classmethod
    def of_map(cls, number: int) -> _Btf:
        """What the kernel keeps under this number."""
        fd = _libbpf().bpf_btf_get_fd_by_id(number)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            size = struct.unpack_from("=8xI", _information(fd, 16))[0]
            data = ctypes.create_string_buffer(size)
            info = ctypes.create_string_buffer(struct.pack("=QII", ctypes.addressof(data), size, 0), 16)
            _ask(fd, info)
            return cls(data.raw)
        finally:
            os.close(fd)

    def is_trackers(self, name: str) -> bool:
        """Is it an object's that has the tracker's entries, and a map of this name?"""
        functions = {t[0] for t in self._types if t[1] == self._FUNC}
        return bool(functions & set(_PROGRAMS.values())) and any(t[0] == name and t[1] == self._VAR for t in self._types)

    def layout(self, number: int) -> Any:
        """What a type looks like in memory, and how its members are called: for comparison."""
        _, kind, flag, size, more = self._types[number]
        if kind in self._NAMES_FOR:
            return self.layout(size)
        if kind == self._ARRAY:
            return "array", self.layout(more[0]), more[2]
        if kind in (self._STRUCT, self._UNION):
            return kind, size, tuple((name, offset, self.layout(member)) for name, member, offset in more)
        return kind, size

    def type(self, number: int) -> Any:
        """The type for ctypes."""
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number]

    def _make(self, number: int) -> Any:
        name, kind, bitfields, size, more = self._types[number]
        if kind in self._NAMES_FOR:
            return self.type(size)
        if kind == self._ARRAY:
            return self.type(more[0]) * more[2]
        if kind == self._INT:
            if name == "char":
                return ctypes.c_char
            signed = more[0] >> 24 & 1
            wide = {1: (ctypes.c_uint8, ctypes.c_int8), 2: (ctypes.c_uint16, ctypes.c_int16), 4: (ctypes.c_uint32, ctypes.c_int32)}
            return wide.get(size, (ctypes.c_uint64, ctypes.c_int64))[signed]
        if kind not in (self._STRUCT, self._UNION):
            return ctypes.c_uint32 if kind == self._ENUM else ctypes.c_uint64
        base: Any = ctypes.Structure if kind == self._STRUCT else ctypes.Union
        fields: List[Any] = []
        unnamed = []
        for i, (member, member_type, offset) in enumerate(more):
            if not member:
                member = f"_unnamed{i}"
                unnamed.append(member)
            bits = offset >> 24 if bitfields else 0
            fields.append((member, self.type(member_type), bits) if bits else (member, self.type(member_type)))
        made = type(name or "unnamed", (base,), {"_anonymous_": unnamed, "_fields_": fields})
        if ctypes.sizeof(made) != size:
            raise Error(f"struct {name} has {size} bytes in the kernel and {ctypes.sizeof(made)} in Python; please report it")
        return made


class _OpenOptions(ctypes.Structure):
    """struct bpf_object_open_opts, as far as we need it."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
    ]


class _Object:
    """An ELF object in libbpf's hands. Its programs live as long as it does, or as they hang somewhere."""

    def __init__(self, path: str):
        lib = _libbpf()
        if not os.path.isfile(path) or not os.path.getsize(path):
            raise Missing(f"{path} is not there; 'make' builds it")
        options = _OpenOptions(pin_root_path=os.fsencode(PINS))
        options.sz = ctypes.sizeof(options)
        self.path = path
        self.handle = lib.bpf_object__open_file(os.fsencode(path), ctypes.byref(options))
        if not self.handle or lib.libbpf_get_error(self.handle):
            self.handle = None
            raise Error(f"{path} is no object that libbpf can read; 'make' builds it anew")
        self.maps: Dict[str, int] = {}
        handle = lib.bpf_object__next_map(self.handle, None)
        while handle:
            self.maps[lib.bpf_map__name(handle).decode()] = handle
            handle = lib.bpf_object__next_map(self.handle, handle)

    def pinned(self) -> Dict[str, int]:
        """The maps that are pinned by their names, or will be."""
        return {name: handle for name, handle in self.maps.items() if _libbpf().bpf_map__pin_path(handle)}

    def btf(self) -> _Btf:
        size = ctypes.c_uint32()
        data = _libbpf().btf__raw_data(_libbpf().bpf_object__btf(self.handle), ctypes.byref(size))
        return _Btf(ctypes.string_at(data, size.value))

    def load(self) -> None:
        result = _libbpf().bpf_object__load(self.handle)
        if result < 0:
            name, kernel = os.path.basename(self.path), platform.release()
            if -result == errno.EPERM:
                raise Missing(f"the kernel does not let this process load {name}; root needs CAP_SYS_ADMIN and CAP_NET_ADMIN for it")
            raise Error(f"this kernel ({kernel}) refuses {name}: {os.strerror(-result)}; 'netracker check' says what it lacks")

    def close(self) -> None:
        if self.handle:
            _libbpf().bpf_object__close(self.handle)
        self.handle = None


def _tracker_object() -> str:
    """The file of the tracker's programs: the one that a kernel takes that has no BTF, or lets no program read its memory, if it is such."""
    lockdown = ""
    with contextlib.suppress(OSError), open("/sys/kernel/security/lockdown", encoding="ascii") as state:
        lockdown = state.read()
    plain = os.path.exists("/sys/kernel/btf/vmlinux") and "[confidentiality]" not in lockdown
    return os.environ.get("NETRACKER_OBJ") or os.path.join(_OBJECTS, "" if plain else "no-btf", "NeTracker.bpf.o")


class _View:
    """A view of the tracker's (view/*.bpf.c), loaded for this process alone: it is gone with it, however that ends."""

    def __init__(self, name: str, maps: Dict[str, _Map], over: _Map):
        """maps: what it looks things up in, by name. over: what it iterates over."""
        lib = _libbpf()
        self._link = None
        self._object = _Object(os.path.join(_OBJECTS, "view", name + ".bpf.o"))
        try:
            for map_name, handle in self._object.maps.items():
                lib.bpf_map__set_pin_path(handle, None)
                if map_name in maps:
                    lib.bpf_map__reuse_fd(handle, maps[map_name].fd)
            self._object.load()
            # union bpf_iter_link_info with a map; struct bpf_iter_attach_opts: size, pointer, length.
            which = ctypes.create_string_buffer(struct.pack("=I", over.fd), 16)
            options = ctypes.create_string_buffer(struct.pack("@NPI4x", 24, ctypes.addressof(which), len(which)), 24)
            program = lib.bpf_object__next_program(self._object.handle, None)
            self._link = lib.bpf_program__attach_iter(program, options)
            if not self._link or lib.libbpf_get_error(self._link):
                self._link = None
                raise Error(f"this kernel ({platform.release()}) has no iterator for the view {name}; 'netracker check' says what it lacks")
        except Exception:
            self.close()
            raise

    def lines(self) -> Iterator[bytes]:
        """What it says, line by line. A reading that the kernel breaks off is no failure: the next one goes on there."""
        fd = _libbpf().bpf_iter_create(_libbpf().bpf_link__fd(self._link))
        if fd < 0:
            raise Error(f"the kernel opens no more views: {os.strerror(-fd)}")
        rest = b""
        try:
            while True:
                try:
                    piece = os.read(fd, 1 << 18)
                except BlockingIOError:
                    return
                if not piece:
                    return
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        finally:
            os.close(fd)

    def close(self) -> None:
        if self._link:
            _libbpf().bpf_link__destroy(self._link)
        self._link = None
        self._object.close()


def _new_array(name: str, value_size: int, entries: int) -> _Map:
    """An array that is nowhere but in this process."""
    fd = _libbpf().bpf_map_create(2, name.encode(), 4, value_size, entries, None)
    if fd < 0:
        raise Error(f"the kernel makes no map: {os.strerror(-fd)}; is there memory left?")
    return _Map(fd)


#
# This machine
#


def _require_root(*capabilities: Tuple[int, str, str]) -> None:
    """Root of a service or a container may have been left with less than all capabilities: number, name, and what it is for."""
    if os.geteuid():
        raise Missing("only root may do this; try sudo")
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    for number, name, purpose in capabilities:
        if not effective >> number & 1:
            raise Missing(f"root here lacks {name}, without which nobody may {purpose}; run it with more capabilities")


_NET_ADMIN = 12, "CAP_NET_ADMIN", "hang programs on interfaces"
_SYS_ADMIN = 21, "CAP_SYS_ADMIN", "open programs, maps and BTF by their numbers"


def has_bpffs() -> bool:
    """Is the BPF file system where it belongs?"""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
        return any(f" {BPFFS} " in line and " - bpf " in line for line in mounts)


def _netns() -> int:
    """The number of the network namespace where we are."""
    return os.stat("/proc/self/ns/net").st_ino


def _boottime_ns() -> int:
    """CLOCK_BOOTTIME as the kernel itself counts it; in a time namespace processes see another one."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with contextlib.suppress(OSError, ValueError):
        if os.stat("/proc/self/ns/time").st_ino == os.stat("/proc/self/ns/time_for_children").st_ino:
            with open("/proc/self/timens_offsets", encoding="ascii") as offsets:
                for line in offsets:
                    clock, seconds, nanoseconds = line.split()
                    if clock in ("boottime", "7"):
                        now -= int(seconds) * 10**9 + int(nanoseconds)
    return now


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One attach or detach at a time, of `netracker` as well."""
    path = os.environ.get("NETRACKER_LOCK", "/run/netracker.lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Error(f"cannot open the lock {path}: {error.strerror}; is its directory there, and can it be written to?") from None
    try:
        end = time.monotonic() + _LOCK_SECONDS
        waiting = False
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    say("another attach or detach is at work; waiting for it")
                waiting = True
                if time.monotonic() > end:
                    raise Error(f"{path} has been held for {_LOCK_SECONDS:.0f} s; 'fuser -v {path}' shows by whom") from None
                time.sleep(_PAUSE)
        os.utime(fd)
        yield
    finally:
        os.close(fd)


class _Users:
    """Who has attached to one interface by way of this module and still reads: a lock on a file that each of them shares."""

    def __init__(self, netns: int, ifindex: int):
        directory = os.environ.get("NETRACKER_RUN", "/run/netracker")
        self.path = os.path.join(directory, f"bcc-{netns}-{ifindex}")
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Error(f"cannot write {self.path}: {error.strerror}; is there room, and may root write there?") from None
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def leave(self) -> bool:
        """Be none of them any more. Returns whether nobody is. Who calls holds the lock."""
        last = True
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):
                os.unlink(self.path)
                os.rmdir(os.path.dirname(self.path))
        except BlockingIOError:
            last = False
        os.close(self._fd)
        return last


def find_interface(name: str) -> Tuple[int, int]:
    """The number of the interface of this network namespace that has this name, or has it beside its own; and that of the VRF that it is in,
    0 if it is in none. Error: there is no such interface. Missing: no pyroute2."""
    with _iproute() as ip:
        links = {link["index"]: link for link in ip.get_links()}
    found = 0
    with contextlib.suppress(OSError):
        found = socket.if_nametoindex(name)
    for index, link in links.items():
        names = link.get_attr("IFLA_PROP_LIST")
        if not found and names and name in names.get_attrs("IFLA_ALT_IFNAME"):
            found = index
    if not found:
        raise Error(f"{name}: no such interface; 'ip link' lists them")
    above, kind = found, None
    while above in links and kind != "vrf":
        above = links[above].get_attr("IFLA_MASTER") or 0
        information = links[above].get_attr("IFLA_LINKINFO") if above in links else None
        kind = information.get_attr("IFLA_INFO_KIND") if information else None
    return found, above if kind == "vrf" else 0


def interface_name(ifindex: int) -> Optional[str]:
    """The name of an interface as it is now; None if it has gone."""
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return None


#
# The tables
#


class _Tables(Dict[str, _Map]):
    """The tracker's pinned maps that are there, by name. Others' maps of the same names are in `foreign`."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: List[str] = []
        self._btf: Dict[int, _Btf] = {}
        names = os.listdir(PINS) if os.path.isdir(PINS) else []
        for name in sorted(names):
            if name not in ("conn_map", "syn_map") and not name.startswith("nt_"):
                continue
            try:
                fd = _libbpf().bpf_obj_get(os.fsencode(f"{PINS}/{name}"))
                if fd < 0:
                    raise OSError
                found = _Map(fd)
            except OSError:
                self.foreign.append(name)
                continue
            if found.btf and self.btf(found).is_trackers(name):
                self[name] = found
            else:
                found.close()
                self.foreign.append(name)

    def btf(self, table: _Map) -> _Btf:
        if table.btf not in self._btf:
            self._btf[table.btf] = _Btf.of_map(table.btf)
        return self._btf[table.btf]

    def value_type(self, name: str) -> Any:
        return self.btf(self[name]).type(self[name].value_type)

    def check(self, wanted: _Object, whole: bool) -> None:
        """See that what is pinned is the tracker's and of this version. whole: all of it has to be there."""
        lib, btf = _libbpf(), wanted.btf()
        for name, handle in wanted.pinned().items():
            if name in self.foreign:
                raise Error(f"{PINS}/{name} is not the tracker's; both cannot be there, so whoever made it has to take it away or pin it elsewhere")
            if name not in self:
                if whole:
                    raise Error(f"the pin {PINS}/{name} is gone, somebody has removed it; 'netracker attach' on the same interfaces makes it anew")
                continue
            here = self[name]
            ours, theirs = btf, self.btf(here)
            if (
                lib.bpf_map__max_entries(handle) != here.max_entries
                or ours.layout(lib.bpf_map__btf_key_type_id(handle)) != theirs.layout(here.key_type)
                or ours.layout(lib.bpf_map__btf_value_type_id(handle)) != theirs.layout(here.value_type)
            ):
                raise Error(
                    f"{PINS}/{name} holds records in the layout of another version;"
                    " 'netracker detach --all' ends and reports them, then attach again"
                )

    def ids(self) -> List[int]:
        return sorted(table.id for table in self.values())

    def close(self) -> None:
        for table in self.values():
            table.close()


class _NoModule:
    """In place of the class BPF, which compiles: bcc's tables ask it for nothing but its module, and take none for an answer."""

    module = None


class Tracker:
    """The tracker as it is attached, to read from; attach() and attached() make one. To be used with `with`, or closed.

    interface: the interface's name as it was given, None if all are meant. is_own: leaving takes the tracker away from it, unless somebody
    has `netracker attach` keep it meanwhile, or another user of this module still reads.
    """

    def __init__(self, interface: Optional[str], oldest: bool):
        self.interface = interface
        self.ifindex = 0
        self.is_own = False
        self._users: Optional[_Users] = None
        self._tables = _Tables()
        self._views: Dict[str, _View] = {}
        self._own_maps: List[_Map] = []
        self._cursor: Optional[_Map] = None
        self._netns = _netns()
        self._oldest = oldest
        self._boot_us = 0
        self._next = 0
        self._taken: Deque[bytes] = collections.deque()
        self._bcc: Dict[str, Any] = {}

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    #
    # What others read
    #

    def records(self, follow: bool = True) -> Iterator[Record]:
        """The connections that end, each once, in the order in which they end, from when this Tracker was made on.

        All interfaces that are tracked are in one log; a record's `ifname` says which one saw the first SYN. What was overwritten before it was
        read is told by the next record's `lost_before`. follow: wait for more, until the tracker is gone, which raises NotAttached; else end
        when all that is there has been read; the next call goes on there. No other reader of the log misses anything.
        """
        looked = 0.0
        while True:
            # What has been taken from the log and not been asked for yet is for the next call.
            while self._taken:
                yield json.loads(self._taken.popleft())
            if self._written() > self._next:
                self._take()
            elif not follow:
                return
            elif time.monotonic() - looked < 1:
                time.sleep(_PAUSE)
            elif self.is_attached():
                looked = time.monotonic()
            elif self._written() <= self._next:
                raise NotAttached(self._gone())

    def connections(self) -> Iterator[Connection]:
        """The live connections: those that are being opened or closed, from the sets, then those that are established, from conn_map.

        In no order. One that goes to rest while they are read is there once; one that leaves its rest then may not be there at all.
        """
        self._set_boot()
        moving: Set[bytes] = set()
        for name, over in (("handshake_records.json", "syn_map"), ("records.json", "conn_map")):
            for line in self._view(name, over).lines():
                # The first SYN and the two ends.
                first = line.partition(b',"family":')[0]
                if over == "syn_map":
                    moving.add(first)
                elif first in moving:
                    continue
                yield json.loads(line)

    def counters(self) -> Dict[str, int]:
        """What was counted since the tables were made, summed over the CPUs: docs/fields.md, "Counters". Records by state are `ended.SF`, …"""
        total: Dict[str, int] = {}
        states = _states()
        for one in self["nt_counters"][0]:
            for name, *_ in one._fields_:
                value = getattr(one, name)
                for key, number in zip((f"{name}.{state}" for state in states), value) if isinstance(value, ctypes.Array) else [(name, value)]:
                    total[key] = total.get(key, 0) + number
        return total

    def __getitem__(self, name: str) -> Any:
        """A table of the tracker's as bcc has tables, as `BPF(…)[name]` would be: a bcc.table.HashTable, Array, PerCpuArray.

        Its keys and values are ctypes structures with the members of NeTracker.h, taken from what the kernel knows of the map. Ports are in
        this machine's byte order, addresses are 16 bytes in network byte order, IPv4 as ::ffff:a.b.c.d. bcc's items_lookup_batch() finds
        nothing in it; iterate. KeyError: the tracker has no such table.
        """
        if name not in self._bcc:
            table = self._tables[name]
            btf = self._tables.btf(table)
            kinds = {1: "HashTable", 2: "Array", 5: "PerCpuHash", 6: "PerCpuArray"}
            if table.kind not in kinds:
                raise KeyError(name)
            # Of an array bcc wants a plain number for a key.
            key = ctypes.c_uint32 if "Array" in kinds[table.kind] else btf.type(table.key_type)
            made = getattr(_bcc_table, kinds[table.kind])(_NoModule, table.id, table.fd, key, btf.type(table.value_type), name=name)
            made.max_entries, made.ttype = table.max_entries, table.kind
            self._bcc[name] = made
        return self._bcc[name]

    def is_attached(self) -> bool:
        """Is the tracker still there, on the interface, or on any if there is none?"""
        try:
            hooks = self._hooks()
        except OSError:
            return False
        if not self.ifindex:
            return bool(hooks)
        return any(hook.netns == self._netns and hook.ifindex == self.ifindex for hook in hooks)

    def close(self) -> None:
        """Leave: detach if is_own, and let go of all that this process holds. More than once does no harm."""
        try:
            if self._users:
                self._detach()
        finally:
            for view in self._views.values():
                view.close()
            for table in self._own_maps:
                table.close()
            self._tables.close()
            self._views.clear()
            self._own_maps.clear()

    #
    # Views
    #

    def _view(self, name: str, over: str) -> _View:
        if name not in self._views:
            self._views[name] = _View(name, self._with_boot(), self._tables[over])
        return self._views[name]

    def _with_boot(self) -> Dict[str, _Map]:
        if not any(table.name == "nt_boot" for table in self._own_maps):
            self._own_maps.append(_new_array("nt_boot", 8, 1))
        return {**self._tables, **{table.name: table for table in self._own_maps}}

    def _set_boot(self) -> None:
        """Let the views tell the time of day by the clock on the wall as it is now."""
        wall = (time.time_ns() - _boottime_ns()) // 1000
        # What is read twice has the same time twice, unless the clock has been set.
        if abs(wall - self._boot_us) > 5000:
            self._boot_us = wall
            self._with_boot()["nt_boot"].write(0, ctypes.c_uint64(wall))

    def _written(self) -> int:
        """How many records there were since the tables were made."""
        return int(struct.unpack_from("=Q", self._tables["nt_log_head"].only_value())[0])

    def _log(self) -> _View:
        """The log as a consumer of our own reads it, whose cursor is in this process alone."""
        self._set_boot()
        if "log.json" not in self._views:
            log = self._tables["nt_log"]
            # What a reading has at most: a step for each piece of 32 KiB, of at least 16 records, and what it begins and ends with.
            plan, cursor = _new_array("nt_log_plan", 4, log.max_entries // 16 + 8), _new_array("nt_cursor", 80, 1)
            self._own_maps += [plan, cursor]
            cursor.write(0, struct.pack("=2Q64x", self._next, self._next))
            self._cursor = cursor
            self._views["log.json"] = _View("log.json", self._with_boot(), plan)
        return self._views["log.json"]

    def _take(self) -> None:
        """Read what the log has."""
        view = self._log()
        self._taken.extend(view.lines())
        assert self._cursor
        self._next = struct.unpack_from("=Q", self._cursor.only_value())[0]

    def _hooks(self) -> List[_Hook]:
        """All places where programs on our maps hang, in all network namespaces, as the kernel tells (view/hooks.bpf.c)."""
        with contextlib.suppress(Error):
            if "hooks" not in self._views:
                self._views["hooks"] = _View("hooks", self._tables, self._tables["nt_ifaces"])
            lines = [line.split() for line in self._views["hooks"].lines()]
            if lines and lines[0][:2] == [b"hooks", b"1"] and [b"incomplete"] not in lines:
                return [_Hook(int(word[0]), int(word[1]), word[2].decode().rpartition("_")[2], int(word[3])) for word in lines[1:]]
        return self._hooks_by_tc()

    def _hooks_by_tc(self) -> List[_Hook]:
        """Where the kernel cannot tell: those of the interface; without one, those that attach has noted, which may be gone."""
        if not self.ifindex:
            return [_Hook(entry.netns, entry.ifindex, hook, 0) for entry in self._entries() if entry.ifindex for hook in _HOOKS]
        name, hooks = interface_name(self.ifindex), []
        for hook in _HOOKS if name else ():
            shown = subprocess.run(["tc", "-json", "filter", "show", "dev", str(name), hook], capture_output=True, check=False).stdout
            for place in json.loads(shown or b"[]"):
                program = place.get("options", {}).get("prog", {}).get("id", 0)
                if program and self._tables["conn_map"].id in _maps_of_program(program):
                    hooks.append(_Hook(self._netns, self.ifindex, hook, program))
        return hooks

    def _here(self) -> List[_Hook]:
        return [hook for hook in self._hooks() if hook.netns == self._netns and hook.ifindex == self.ifindex]

    def _gone(self) -> str:
        if not self.ifindex:
            return "the last interface was detached"
        if not interface_name(self.ifindex):
            return f"{self.interface} is gone, and the tracker with it"
        return f"{self.interface}: somebody has detached the tracker"

    #
    # Attach and detach
    #

    def _begin(self) -> None:
        """From here on records are ours."""
        written, size = self._written(), self._tables["nt_log"].max_entries
        self._next = max(0, written - size) if self._oldest else written

    def _attach(self) -> None:
        """Hang the programs on the interface, unless the tracker is there. Who calls holds the lock."""
        assert self.interface
        self.ifindex, vrf = find_interface(self.interface)
        wanted = _Object(_tracker_object())
        try:
            self._tables.check(wanted, whole=bool(self._tables))
            here = self._here() if self._tables else []
            marked = [hook for hook in here if self._is_marked(hook.program)]
            lacking = [hook for hook in _HOOKS if hook not in {place.hook for place in here}]
            if here and len(marked) < len(here):
                if lacking:
                    say(f"{self.interface}: the tracker is at one of its two hooks only; 'netracker attach {self.interface}' puts that right")
                return
            self._users = _Users(self._netns, self.ifindex)
            self.is_own = True
            if lacking:
                self._hang(wanted, lacking, vrf)
        finally:
            wanted.close()

    def _hang(self, wanted: _Object, hooks: List[str], vrf: int) -> None:
        lib = _libbpf()
        programs = {}
        for hook in hooks:
            programs[hook] = lib.bpf_object__find_program_by_name(wanted.handle, _PROGRAMS[hook].encode())
        for hook in hooks:
            if not programs[hook]:
                raise Error(f"{wanted.path} has no program {_PROGRAMS[hook]}; 'make' builds it anew")
        program = lib.bpf_object__next_program(wanted.handle, None)
        while program:
            lib.bpf_program__set_type(program, 3)  # BPF_PROG_TYPE_SCHED_CLS, which their sections do not tell
            program = lib.bpf_object__next_program(wanted.handle, program)
        os.makedirs(PINS, 0o700, exist_ok=True)
        wanted.load()
        if not self._tables:
            self._tables = _Tables()
        with _iproute() as ip:
            needs_qdisc = self._needs_qdisc(ip)
            index, scope = self._enter(needs_qdisc, vrf)
            own = _Map(os.dup(lib.bpf_map__fd(wanted.maps[next(name for name in wanted.maps if name.endswith(".bss"))])))
            own.write(0, struct.pack(_LOAD, index, scope, 0, _KEEPER, 0))
            own.close()
            if needs_qdisc:
                self._netlink(ip, "add", "clsact", self.ifindex)
            for hook in hooks:
                self._add_filter(ip, hook, lib.bpf_program__fd(programs[hook]))
        self._limit_trace()

    def _needs_qdisc(self, ip: Any) -> bool:
        """Is there no clsact yet?"""
        for qdisc in ip.get_qdiscs(index=self.ifindex):
            if qdisc["parent"] != 0xFFFFFFF1:
                continue
            if qdisc.get_attr("TCA_KIND") == "clsact":
                return False
            raise Error(
                f"{self.interface}: somebody's ingress qdisc is in the place of clsact;"
                f" 'tc qdisc show dev {self.interface}' shows it, its owner has to give way"
            )
        return True

    def _add_filter(self, ip: Any, hook: str, fd: int) -> None:
        """Hang a program before all other filters, so that none of them can hide packets. It answers "no match", and never alone."""
        taken = {}
        for other in ip.get_filters(index=self.ifindex, parent=_PARENTS[hook]):
            taken[other["info"] >> 16] = other.get_attr("TCA_KIND"), socket.ntohs(other["info"] & 0xFFFF)
        # Left alone, the kernel takes the number below the lowest. Below 1 there is none, but of the bpf filters that share a number, the
        # newest comes first.
        prio = 0
        if 1 in taken:
            prio = 1 if taken[1] == ("bpf", 3) else next(i for i in range(1, 65536) if i not in taken)
        self._netlink(
            ip, "add-filter", "bpf", self.ifindex, 0, fd=fd, prio=prio, parent=_PARENTS[hook], name=f"NeTracker.bpf.o:[{_SECTIONS[hook]}]"
        )

    def _netlink(self, ip: Any, *words: Any, **more: Any) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            ip.tc(*words, **more)
        except NetlinkError as error:
            if error.code == errno.ENOENT and words[1] == "clsact" or error.code == errno.EOPNOTSUPP:
                raise Missing(
                    f"this kernel ({platform.release()}) has no clsact or no bpf filter; load its modules: 'modprobe -a sch_ingress cls_bpf'"
                ) from None
            reason = os.strerror(error.code) if error.code else "it gave no reason"
            raise Error(f"the kernel hangs no {words[1]} on {self.interface}: {reason}; 'netracker check' looks for what is missing") from None

    def _entries(self) -> List[Any]:
        """nt_ifaces."""
        table = self["nt_ifaces"]
        return [table[i] for i in range(len(table))]

    def _enter(self, owns_qdisc: bool, vrf: int) -> Tuple[int, int]:
        """Write the interface's entry in nt_ifaces, as `netracker attach` does. Returns its index and its scope."""
        entries = self._entries()
        name = os.fsencode(interface_name(self.ifindex) or self.interface or "")
        index = 0
        for i, entry in enumerate(entries):
            # Of an interface of this name that has gone, the same one.
            if entry.ifindex and entry.netns == self._netns and (entry.ifindex == self.ifindex or not index and entry.name == name):
                index = i
        owns = owns_qdisc or bool(index and entries[index].ifindex == self.ifindex and entries[index].owns_qdisc)
        index = index or next((i for i in range(1, len(entries)) if not entries[i].ifindex), 0)
        if not index:
            raise Error(f"{self.interface}: the table of interfaces is full; 'netracker status' lists them, detach one")
        known = {entry.scope: (entry.netns, entry.vrf) for entry in entries if entry.scope}
        taken = {entry.scope for entry in entries if entry.ifindex}
        numbers = range(1, len(entries))
        scope = next((scope for scope, place in known.items() if place == (self._netns, vrf)), 0)
        scope = scope or next((i for i in numbers if i not in known), 0) or next(i for i in numbers if i not in taken)
        entry = self._tables.value_type("nt_ifaces")(
            ifindex=self.ifindex, owns_qdisc=owns, netns=self._netns, attached_ns=_boottime_ns(), scope=scope, vrf=vrf
        )
        ctypes.memmove(ctypes.byref(entry), name.ljust(16, b"\0"), 16)
        self._tables["nt_ifaces"].write(index, entry)
        return index, scope

    def _limit_trace(self) -> None:
        """As `netracker attach` does: the log has all records, so unless somebody has set it otherwise, the trace gets what a person can read."""
        config = self["nt_config"][0]
        if config.trace == 0:
            config.trace = 2
            self._tables["nt_config"].write(0, config)

    def _own_map(self, program: int) -> Optional[_Map]:
        """The .bss of this load."""
        for number in _maps_of_program(program):
            fd = _libbpf().bpf_map_get_fd_by_id(number)
            if fd >= 0:
                found = _Map(fd)
                if found.name.endswith(".bss"):
                    return found
                found.close()
        return None

    def _is_marked(self, program: int) -> bool:
        own = self._own_map(program)
        if not own:
            return False
        try:
            return bool(struct.unpack_from(_LOAD, own.only_value())[3] == _KEEPER)
        finally:
            own.close()

    def _detach(self) -> None:
        """Take away what this module has hung there, unless others read there, or it is `netracker attach`'s by now."""
        assert self._users
        users, self._users = self._users, None
        self.is_own = False
        with _lock():
            if not users.leave():
                return
            # Somebody may have detached everything and attached anew meanwhile: that is not ours.
            pinned = _Tables()
            pinned.close()
            if not pinned or self._tables and pinned.ids() != self._tables.ids():
                return
            if not self._tables:
                self._tables = _Tables()
            here = self._here()
            if here and not all(self._is_marked(hook.program) for hook in here):
                return
            entries = [(entry.netns, entry.ifindex) for entry in self._entries() if entry.ifindex]
            if here or (self._netns, self.ifindex) in entries:
                _run_detach(interface_name(self.ifindex) or self.interface or "")
            elif not entries and not self._hooks():
                # An attach that came to nothing has left its tables.
                _run_detach("--all")


def _run_detach(whom: str) -> None:
    """`netracker detach` of an interface or --all, which knows all that belongs to it: records of what is alive, readers that wait, pins.

    The lock is ours, so it gets another one.
    """
    lock = os.memfd_create("netracker-lock", 0)
    try:
        environment = dict(os.environ, NETRACKER_LOCK=f"/proc/{os.getpid()}/fd/{lock}")
        done = subprocess.run(
            [_NETRACKER, "detach", "--quiet", *([whom] if whom == "--all" else ["--", whom])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C is for us
            check=False,
        )
    except OSError as error:
        raise Error(f"cannot run {_NETRACKER}: {error.strerror}; 'netracker detach {whom}' takes the tracker away") from None
    finally:
        os.close(lock)
    said = [line.replace("netracker: ", "", 1) for line in done.stderr.decode("utf-8", "replace").splitlines()]
    if done.returncode not in (0, NotAttached.status):
        raise Error(f"the tracker may still be there: {said[-1] if said else 'it gave no reason'}; 'netracker detach {whom}' tries again")
    for line in said:
        if not done.returncode:
            say(line)


def _states() -> List[str]:
    """The final states in the order of the counters."""
    path = os.path.join(_LIBRARIES, "tables.tsv")
    try:
        with open(path, encoding="utf-8") as table:
            return [row[1] for row in (line.split("\t") for line in table) if row[0] == "state"]
    except OSError:
        raise Missing(f"{path} is not there; 'make' builds it") from None


def _check_command() -> None:
    """What will be needed to take the tracker away again has to be there before it is hung."""
    if not os.access(_NETRACKER, os.X_OK):
        raise Missing(f"no command {_NETRACKER}, which takes the tracker away again; install netracker as a whole")
    for command, package in (("tc", "iproute2"), ("bpftool", "bpftool"), ("jq", "jq"), ("flock", "util-linux"), ("bash", "bash")):
        if not shutil.which(command, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"):
            raise Missing(f"no command {command}, which takes the tracker away again; install the package {package}")


def attach(interface: str, oldest: bool = False) -> Tracker:
    """Attach the tracker to an interface of this network namespace, or only read if it is there, and return what reads it.

    interface: its name. oldest: records() begins with the oldest that the log holds, not with those that end from now on. When the Tracker is
    closed, the tracker is taken away: filters, the clsact qdisc if it was made for them, and, with the last interface, the tables; what is alive
    gets its record. Not so if it was there before, if `netracker attach` on this interface came meanwhile, or while another process that has
    attached to it by way of this module still reads. A process that is killed (SIGKILL) leaves the tracker: the next attach() takes it on, and
    `netracker detach` takes it away.

    Error: no such interface, somebody's ingress qdisc, tables of another version, a kernel that refuses the programs. Missing: not root, no
    bcc, no pyroute2, no object, no `netracker` command.
    """
    _require_root(_NET_ADMIN, _SYS_ADMIN)
    _libbpf()
    _iproute().close()
    _check_command()
    if not has_bpffs() and subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Missing(f"no BPF file system on {BPFFS}; 'mount -t bpf bpf {BPFFS}' mounts it")
    tracker: Optional[Tracker] = None
    try:
        with _lock():
            tracker = Tracker(interface, oldest)
            tracker._attach()
            tracker._begin()
    except BaseException:
        # It has said why; what there is of it by now goes.
        if tracker:
            with contextlib.suppress(Error, OSError):
                tracker.close()
        raise
    return tracker


def attached(oldest: bool = False) -> Tracker:
    """Read what is attached, by whomever and to whatever interfaces. Nothing is attached or detached.

    oldest: as for attach(). NotAttached: the tracker is on no interface. Error: its tables are of another version. Missing: not root, no bcc.
    """
    _require_root(_SYS_ADMIN)
    _libbpf()
    tracker = Tracker(None, oldest)
    try:
        if not tracker._tables:
            raise NotAttached("not attached to any interface; 'netracker attach IFACE' does that")
        wanted = _Object(_tracker_object())
        try:
            tracker._tables.check(wanted, whole=True)
        finally:
            wanted.close()
        if not tracker.is_attached():
            raise NotAttached("not attached to any interface any more; 'netracker attach IFACE' does that")
        tracker._begin()
        return tracker
    except BaseException:
        tracker.close()
        raise
