#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# zeek_cut.py [--open] [COLUMN…]: what zeek-cut prints of a log of Zeek's on standard input: these columns of each row, with tabs between. But where
# zeek-cut is lenient, as it takes what it gets, this is strict: it fails unless each line is as Zeek's ASCII writer writes it, head, rows and
# end, every value of the type that its column says. --open: the log may lack its last line, as one does that is still being written, or whose
# writer was killed.

import ipaddress
import re
import sys

TYPES = {
    "time": r"\d+\.\d{6}",
    "interval": r"\d+\.\d{6}",
    "string": r"[^\t]+",
    "addr": None,
    "port": None,
    "enum": r"[a-z][a-z0-9_]*",
    "count": r"\d{1,20}",
    "bool": r"[TF]",
    "set[string]": r"[^\t]+",
}
STAMP = r"\d{4}(-\d\d){5}"


def fail(number, why):
    sys.exit(f"line {number}: {why}")


def has_type(value, kind):
    if kind == "addr":
        try:
            return str(ipaddress.ip_address(value)) == value
        except ValueError:
            return False
    if kind == "port":
        return value.isdigit() and int(value) < 65536
    return re.fullmatch(TYPES[kind], value) is not None


def main():
    may_be_open = sys.argv[1:2] == ["--open"]
    wanted = sys.argv[2 if may_be_open else 1 :]
    text = sys.stdin.buffer.read().decode("ascii")
    if not text.endswith("\n"):
        fail(text.count("\n") + 1, "is not whole")
    lines = text[:-1].split("\n")
    head = [r"#separator \\x09", r"#set_separator\t,", r"#empty_field\t\(empty\)", r"#unset_field\t-", r"#path\tconn", rf"#open\t{STAMP}"]
    for number, pattern in enumerate(head, 1):
        if len(lines) < number or not re.fullmatch(pattern, lines[number - 1]):
            fail(number, f"is not {pattern}")
    fields = lines[6].split("\t")
    types = lines[7].split("\t")
    if fields[0] != "#fields" or types[0] != "#types" or len(fields) != len(types):
        fail(7, "names and types do not fit each other")
    fields, types = fields[1:], types[1:]
    if len(set(fields)) != len(fields):
        fail(7, "a name is there twice")
    for kind in types:
        if kind not in TYPES:
            fail(8, f"there is no type {kind}")
    rows = lines[8:]
    if rows and re.fullmatch(rf"#close\t{STAMP}", rows[-1]):
        rows.pop()
    elif not may_be_open:
        fail(len(lines), "is not #close")
    for number, row in enumerate(rows, 9):
        cells = row.split("\t")
        if len(cells) != len(fields):
            fail(number, f"has {len(cells)} cells for {len(fields)} columns")
        for name, kind, cell in zip(fields, types, cells):
            if cell != "-" and not has_type(cell, kind):
                fail(number, f"{name} is {cell!r}, which is no {kind}")
        print("\t".join(cells[fields.index(name)] for name in wanted or fields))


main()
