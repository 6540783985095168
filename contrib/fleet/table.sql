-- SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
--
-- The fleet's records as a table, a row a connection and host, and questions to it as views. `json` is the line; what has no column of its
-- own is asked for with json ->> 'key'. SQLite 3.38 or newer.
CREATE TABLE IF NOT EXISTS record (
    host TEXT NOT NULL,
    json TEXT NOT NULL,
    ts TEXT AS (json ->> 'ts') STORED,
    src TEXT AS (json ->> 'src') STORED,
    sport INTEGER AS (json ->> 'sport') STORED,
    dst TEXT AS (json ->> 'dst') STORED,
    dport INTEGER AS (json ->> 'dport') STORED,
    state TEXT AS (json ->> 'state') STORED,
    dir TEXT AS (json ->> 'dir') STORED,
    duration_ns INTEGER AS (json ->> 'duration_ns') STORED,
    syn_rtt_ns INTEGER AS (json ->> 'syn_rtt_ns') STORED,
    ack_rtt_ns INTEGER AS (json ->> 'ack_rtt_ns') STORED,
    orig_bytes INTEGER AS (json ->> 'orig_bytes') STORED,
    resp_bytes INTEGER AS (json ->> 'resp_bytes') STORED,
    ifname TEXT AS (json ->> 'ifname') STORED,
    user TEXT AS (json ->> 'user') STORED,
    owner TEXT AS (json ->> 'owner') STORED,
    pid INTEGER AS (json ->> 'pid') STORED,
    comm TEXT AS (json ->> 'comm') STORED
);

-- What RELP sends twice, or the log shows again after its reader was killed, is one record.
CREATE UNIQUE INDEX IF NOT EXISTS record_once
    ON record (host, ts, src, sport, dst, dport, duration_ns, coalesce(ifname, ''));

-- Services by the number of connections to them.
CREATE VIEW IF NOT EXISTS busiest AS
SELECT host, dir, dport, count(*) AS connections, sum(orig_bytes) + sum(resp_bytes) AS bytes
FROM record GROUP BY host, dir, dport ORDER BY connections DESC;

-- Handshakes, the slowest first: SYN to the ACK that established the connection.
CREATE VIEW IF NOT EXISTS slowest AS
SELECT host, ts, src, dst, dport, round((syn_rtt_ns + ack_rtt_ns) / 1e6, 3) AS handshake_ms
FROM record WHERE syn_rtt_ns + ack_rtt_ns > 0 ORDER BY syn_rtt_ns + ack_rtt_ns DESC;

-- What `netracker log --failed` shows, by service and host.
CREATE VIEW IF NOT EXISTS failures AS
SELECT host, dir, dport, state, count(*) AS connections
FROM record WHERE state IN ('S0', 'REJ', 'RSTO', 'RSTR', 'RSTOS0') GROUP BY host, dir, dport, state ORDER BY connections DESC;

-- By systemd unit or container; without a socket on its host a connection has no owner.
CREATE VIEW IF NOT EXISTS owners AS
SELECT host, owner, user, count(*) AS connections, sum(orig_bytes) + sum(resp_bytes) AS bytes
FROM record WHERE owner IS NOT NULL GROUP BY host, owner, user ORDER BY connections DESC;

-- Whom we have heard of, from when to when, and how many records were overwritten on the host before they were read.
CREATE VIEW IF NOT EXISTS hosts AS
SELECT host, count(*) AS records, min(ts) AS first, max(ts) AS last, coalesce(sum(json ->> 'lost_before'), 0) AS lost
FROM record GROUP BY host ORDER BY host;
