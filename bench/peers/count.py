"""Counts what a run has left, and prints one line for each folder.

    $SLUICE_CACHE/venv/bin/python count.py OUT…

    {"rows": 1939739, "ids": 1939739, "files": 48, "bytes": 110000000, "sum_amount_cents": 48500000000, "misplaced": 0}

ids are the different values of event_id. A row is misplaced when its folders event_date=…/event_hour=… do not fit its time in
UTC: event_timestamp, as Sluice names it, or event_time. Each file below OUT counts as Parquet, unless a name on its path begins
with "." or "_", as all readers of such folders have it.
"""

import json
import sys
from pathlib import Path

import duckdb

FILES = """
SELECT * FROM read_parquet($files, hive_partitioning = true, hive_types = {'event_date': DATE, 'event_hour': INTEGER})
"""
# Timestamps of the old kind have no zone, and those of the new kind are in UTC: the zone of this process does not matter.
COUNT = """
SELECT
  count(*),
  count(DISTINCT event_id),
  coalesce(sum(round(amount * 100)::BIGINT), 0)::BIGINT,
  count(*) FILTER (
    epoch_us(TIME) // 3600000000 IS DISTINCT FROM (event_date - DATE '1970-01-01') * 24 + event_hour
  )
FROM written
"""


def visible(out):
    hidden = (".", "_")
    return [
        path
        for path in Path(out).rglob("*")
        if path.is_file() and not any(part.startswith(hidden) for part in path.relative_to(out).parts)
    ]


def count(out):
    paths = visible(out)
    rows = ids = cents = misplaced = 0
    if paths:
        written = duckdb.sql(FILES, params={"files": [str(path) for path in paths]})
        time = "event_timestamp" if "event_timestamp" in written.columns else "event_time"
        [(rows, ids, cents, misplaced)] = written.query("written", COUNT.replace("TIME", time)).fetchall()
    return {
        "rows": rows,
        "ids": ids,
        "files": len(paths),
        "bytes": sum(path.stat().st_size for path in paths),
        "sum_amount_cents": cents,
        "misplaced": misplaced,
    }


def main():
    for out in sys.argv[1:]:
        print(json.dumps(count(out)))


if __name__ == "__main__":
    main()
