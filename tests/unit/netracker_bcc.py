# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What netracker-bcc makes of a record and of its command line. No root, no bcc, no kernel: python3 tests/unit/netracker_bcc.py"""
from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import unittest

sys.dont_write_bytecode = True
SCRIPTS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "scripts")
loader = importlib.machinery.SourceFileLoader("netracker_bcc", os.path.join(SCRIPTS, "netracker-bcc"))
spec = importlib.util.spec_from_loader("netracker_bcc", loader)
netracker_bcc = importlib.util.module_from_spec(spec)
loader.exec_module(netracker_bcc)

RECORD = {
    "ts": "2026-01-31T08:00:00.250000Z", "family": 4, "src": "192.0.2.1", "sport": 40000, "dst": "192.0.2.2", "dport": 80,
    "duration_ns": 1500000000, "state": "SF", "dir": "out", "syn_rtt_ns": 1000000, "ack_rtt_ns": 20000, "orig_bytes": 2048,
    "resp_bytes": 1023, "ifname": "eth0", "uid": 33, "pid": 711, "comm": "curl",
}  # fmt: skip


def row(*words, **changes):
    return netracker_bcc.Rows(netracker_bcc.parse(list(words))).row({**RECORD, **changes})


def wants(*words, interface=None, **changes):
    return netracker_bcc.Rows(netracker_bcc.parse(list(words))).wants({**RECORD, **changes}, interface)


class TheRow(unittest.TestCase):
    def test_of_an_outgoing_connection_has_the_originator_on_the_left(self):
        self.assertEqual(row().split(), ["711", "curl", "192.0.2.1", "40000", "192.0.2.2", "80", "2", "1", "1500.00", "SF", "1.020", "33"])

    def test_of_an_incoming_connection_has_the_responder_on_the_left(self):
        self.assertEqual(row(dir="in").split()[2:8], ["192.0.2.2", "80", "192.0.2.1", "40000", "1", "2"])

    def test_stands_under_its_heading(self):
        for words in ([], ["-w"], ["-T", "-t"], ["-w", "-T"]):
            rows = netracker_bcc.Rows(netracker_bcc.parse(words))
            self.assertEqual(rows.header().index("STATE"), rows.row(RECORD).index("SF"))

    def test_has_a_dash_for_what_is_not_known_and_csv_has_nothing(self):
        unknown = {"orig_bytes": None, "syn_rtt_ns": None, "uid": None, "pid": None, "comm": None}
        self.assertEqual(row(**unknown).split()[:2], ["-", "-"])
        self.assertEqual(row(**unknown).split()[6:], ["-", "1", "1500.00", "SF", "-", "-"])
        self.assertEqual(row("-s", **unknown), ",,4,192.0.2.1,40000,192.0.2.2,80,,1,1500.00,SF,,\n")

    def test_has_a_name_that_does_no_harm(self):
        name = 'a,"\x1b[2J\u202e\n'
        self.assertIn(' a,"?[2J?? ', row(comm=name))
        self.assertIn('711,"a,""?[2J??",4,', row("-s", comm=name))
        self.assertEqual(row(comm="\x00\x7f").split()[1], "??")

    def test_of_a_live_connection_has_its_age(self):
        live = {key: value for key, value in RECORD.items() if key != "duration_ns"}
        rows = netracker_bcc.Rows(netracker_bcc.parse([]))
        self.assertEqual(rows.row({**live, "age_ns": 7000000}).split()[8], "7.00")

    def test_has_seconds_since_the_end_of_the_first(self):
        rows = netracker_bcc.Rows(netracker_bcc.parse(["-t"]))
        rows.row(RECORD)
        self.assertEqual(rows.row({**RECORD, "duration_ns": 1750000000}).split()[0], "0.250000")

    def test_has_room_for_the_longest_address(self):
        long = "2001:db8:1234:5678:9abc:def0:1234:5678"
        self.assertEqual(row("-w", src=long, family=6).index("40000"), row("-w").index("40000"))


class TheChoice(unittest.TestCase):
    def test_of_ports_is_by_side(self):
        self.assertTrue(wants("-L", "1,40000"))
        self.assertFalse(wants("-L", "80"))
        self.assertTrue(wants("-D", "80"))
        self.assertTrue(wants("-L", "80", dir="in"))
        self.assertFalse(wants("-L", "80", "-D", "1", dir="in"))

    def test_of_family_failure_and_interface(self):
        self.assertFalse(wants("-6"))
        self.assertTrue(wants("-6", family=6))
        self.assertFalse(wants("--failed"))
        self.assertTrue(wants("--failed", state="S0"))
        self.assertFalse(wants(interface="eth1"))
        self.assertTrue(wants(interface="eth0"))

    def test_is_of_connections_that_have_ended(self):
        self.assertTrue(wants(interim=None))
        self.assertFalse(wants(interim=1, state="S1"))

    def test_of_a_process_is_by_its_id(self):
        self.assertTrue(wants("-p", "711"))
        self.assertFalse(wants("-p", "7"))
        self.assertFalse(wants("-p", "711", pid=None))

    def test_of_failures_is_that_of_the_tables(self):
        with open(os.path.join(SCRIPTS, "lib", "tables.tsv"), encoding="utf-8") as tables:
            rows = [line.split("\t") for line in tables]
        self.assertEqual(list(netracker_bcc.FAILED), [row[1] for row in rows if row[0] == "state" and row[2] == "FAILED"])


class TheCommandLine(unittest.TestCase):
    def refused(self, *words):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as end:
            netracker_bcc.parse(list(words))
        self.assertEqual(end.exception.code, 2)
        self.assertEqual(said.getvalue().count("\n"), 1)
        return said.getvalue()

    def test_is_refused_in_a_sentence(self):
        self.assertIn("not '70000'", self.refused("-L", "70000"))
        self.assertIn("not '1,,2'", self.refused("-D", "1,,2"))
        self.assertIn("not allowed with", self.refused("-4", "-6"))
        self.assertIn("a number from 1 to 4194304, not '4194305'", self.refused("-p", "4194305"))


if __name__ == "__main__":
    unittest.main()
