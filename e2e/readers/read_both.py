"""Reads two tables of the same records with two readers that are not ours, and prints as JSON what each of them sees.

read_both.py FOLDER FOLDER

Both folders must hold the same rows for both readers. What is printed is that of the rows, and for each folder the
encodings of its columns of text and of whole numbers.
"""

import json
import pathlib
import sys

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq

COLUMNS = ["event_id", "event_type", "amount", "p", "o", "stamp", "quarter"]


def by_pyarrow(folders):
    tables = [ds.dataset(folder, format="parquet", partitioning="hive").to_table(COLUMNS) for folder in folders]
    first, second = [table.sort_by([("p", "ascending"), ("o", "ascending")]).combine_chunks() for table in tables]
    if not first.equals(second):
        raise SystemExit("PyArrow sees other rows in the second folder")
    ids = first["event_id"].to_pylist()
    return {"rows": len(ids), "ids": sum(map(number, ids)), "distinct": len(set(ids))}


def number(event_id):
    return int(event_id.removeprefix("event-"))


def by_duckdb(folders):
    connection = duckdb.connect()
    first, second = [f"(SELECT {', '.join(COLUMNS)} FROM read_parquet('{folder}/**/*.parquet'))" for folder in folders]
    for left, right in [(first, second), (second, first)]:
        differing = connection.execute(f"FROM {left} EXCEPT ALL FROM {right} ORDER BY p, o LIMIT 5").fetchall()
        if differing:
            raise SystemExit(f"DuckDB sees rows in one folder only: {differing}")
    rows = f"SELECT count(*), sum(CAST(substr(event_id, 7) AS BIGINT)), count(DISTINCT event_id) FROM {first}"
    rows, ids, distinct = connection.execute(rows).fetchone()
    return {"rows": rows, "ids": int(ids), "distinct": distinct}


def encodings(folder):
    found = {"event_id": set(), "o": set()}
    for file in pathlib.Path(folder).rglob("*.parquet"):
        metadata = pq.ParquetFile(file).metadata
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                if column.path_in_schema in found:
                    found[column.path_in_schema].update(column.encodings)
    return {name: sorted(encodings) for name, encodings in found.items()}


def main():
    folders = sys.argv[1:]
    seen = {"pyarrow": by_pyarrow(folders), "duckdb": by_duckdb(folders)}
    print(json.dumps(seen | {"encodings": [encodings(folder) for folder in folders]}))


if __name__ == "__main__":
    main()
