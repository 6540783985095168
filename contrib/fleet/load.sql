-- SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
--
-- From lines to records. A line that was cut off when its writer was killed is no JSON.
CREATE TEMP TABLE before AS SELECT count(*) AS records FROM record;

INSERT OR IGNORE INTO record (host, json) SELECT host, json FROM line WHERE json_valid(json);

SELECT printf('%d lines: %d new, %d repeated, %d broken', (SELECT count(*) FROM line),
    (SELECT count(*) FROM record) - before.records,
    (SELECT count(*) FROM line) - (SELECT count(*) FROM (SELECT DISTINCT host, json FROM line)),
    (SELECT count(*) FROM line WHERE NOT json_valid(json)))
FROM before;
