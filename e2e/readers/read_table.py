"""Reads a table of the sample job with two readers that are not ours, and prints as JSON what each of them sees.

read_table.py ENDPOINT ACCESS_KEY SECRET_KEY BUCKET/PREFIX FOLDER

PyArrow reads from the S3 server; DuckDB reads a copy of the same objects in FOLDER, for its S3 client is an extension
that has to be fetched first.
"""

import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

KEYS = pa.schema([("event_date", pa.date32()), ("event_hour", pa.int32())])


def by_pyarrow(endpoint, access_key, secret_key, path):
    store = fs.S3FileSystem(
        access_key=access_key, secret_key=secret_key, endpoint_override=endpoint, scheme="http", region="us-east-1"
    )
    dataset = ds.dataset(path, filesystem=store, format="parquet", partitioning=ds.partitioning(KEYS, flavor="hive"))
    table = dataset.to_table()
    hour = pc.divide(table["event_timestamp"].cast(pa.int64()), 3_600_000_000)
    day = table["event_date"].cast(pa.int32()).cast(pa.int64())
    named = pc.add(pc.multiply(day, 24), table["event_hour"].cast(pa.int64()))
    groups = table.group_by(["event_date", "event_hour"]).aggregate([("amount", "sum"), ("amount", "count")])
    return {
        "rows": table.num_rows,
        "ids": pc.count_distinct(table["event_id"]).as_py(),
        "misplaced": pc.sum(pc.not_equal(hour, named)).as_py() or 0,
        "schema": {field.name: str(field.type) for field in dataset.schema},
        "partitions": sorted(
            [str(row["event_date"]), row["event_hour"], row["amount_count"], round(row["amount_sum"] * 100)]
            for row in groups.to_pylist()
        ),
    }


def by_duckdb(folder):
    files = f"{folder}/**/*.parquet"
    types = "{'event_date': DATE, 'event_hour': INTEGER}"
    connection = duckdb.connect()
    connection.execute(
        f"CREATE VIEW t AS SELECT * FROM read_parquet('{files}', hive_partitioning = true, hive_types = {types})"
    )
    rows, ids, misplaced = connection.execute(
        "SELECT count(*), count(DISTINCT event_id), count(*) FILTER (epoch_us(event_timestamp) // 3600000000"
        " <> (event_date - DATE '1970-01-01') * 24 + event_hour) FROM t"
    ).fetchone()
    groups = connection.execute(
        "SELECT event_date, event_hour, count(*), round(sum(amount) * 100) FROM t GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    return {
        "rows": rows,
        "ids": ids,
        "misplaced": misplaced,
        "schema": {name: kind for name, kind, *_ in connection.execute("DESCRIBE t").fetchall()},
        "partitions": [[str(day), hour, count, round(cents)] for day, hour, count, cents in groups],
    }


def main():
    endpoint, access_key, secret_key, path, folder = sys.argv[1:]
    seen = {"pyarrow": by_pyarrow(endpoint, access_key, secret_key, path), "duckdb": by_duckdb(folder)}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
