"""Compares the table of the odd records, and their dead letters, with the golden files, row by row.

golden.py TABLE DEAD CORPUS

TABLE and DEAD are folders with copies of the table and of the dead letters, CORPUS is a file with the records that were
sent. DuckDB compares, both ways; the first rows that differ are named with their columns. It prints {"rows": n, "dead": n}.

With UPDATE=1 the golden files are written anew: only after the table, as PyArrow reads it, and the dead letters are what this
script makes of the same records with Python's json, decimal and datetime.
"""

import base64
import datetime
import json
import math
import os
import pathlib
import struct
import sys
from decimal import Decimal
from fractions import Fraction

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
LETTER = {
    "partition": "INTEGER", "offset": "BIGINT", "stage": "VARCHAR", "code": "VARCHAR", "field": "VARCHAR", "message": "VARCHAR"
}


# What is read.


def relations(connection, table, dead):
    """Names of views, with the columns that name a row, and the golden file."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE VIEW rows AS SELECT * FROM read_parquet('{table}/**/*.parquet', hive_partitioning = true,"
        " hive_types = {'place': VARCHAR, 'event_day': DATE})"
    )
    connection.execute(
        # The folders of dead letters name the day of the run, which is another one each time.
        f"CREATE VIEW dead AS SELECT * FROM read_json('{dead}/**/*.jsonl', format = 'newline_delimited', columns = {LETTER},"
        " hive_partitioning = false)"
    )
    return [("rows", ["p", "o"], GOLDEN / "rows.parquet"), ("dead", ["partition", "offset"], GOLDEN / "dead.parquet")]


def compare(connection, view, key, file):
    """What is different between a view and its golden file, in words."""
    golden = f"read_parquet('{file}')"
    columns, before = ([row[:2] for row in connection.execute(f"DESCRIBE FROM {of}").fetchall()] for of in (view, golden))
    if columns != before:
        return f"{view}: other columns: {sorted(set(columns) ^ set(before))}"
    # Numbers that are equal may have another sign of zero: text shows it.
    texts = [f"CAST({name} AS VARCHAR)" for name, kind in columns if "FLOAT" in kind or "DOUBLE" in kind]
    names = ", ".join([f'"{name}"' for name, _ in columns] + texts)
    sides = {"now": f"(SELECT {names} FROM {view})", "golden": f"(SELECT {names} FROM {golden})"}
    places = ", ".join(f'"{name}"' for name in key)
    differing = set()
    for one, other in [("now", "golden"), ("golden", "now")]:
        query = f"SELECT {places} FROM (FROM {sides[one]} EXCEPT ALL FROM {sides[other]}) ORDER BY {places} LIMIT 5"
        differing.update(connection.execute(query).fetchall())
    return "\n".join(describe(connection, (view, golden), key, columns, place) for place in sorted(differing)[:5])


def describe(connection, sources, key, columns, place):
    where = " AND ".join(f'"{name}" = {value}' for name, value in zip(key, place))
    names = ", ".join(f'CAST("{name}" AS VARCHAR)' for name, _ in columns)
    now, golden = (connection.execute(f"SELECT {names} FROM {source} WHERE {where}").fetchall() for source in sources)
    if len(now) != 1 or len(golden) != 1:
        return f"{sources[0]} {where}: {len(now)} rows now, {len(golden)} in the golden file"
    pairs = zip((name for name, _ in columns), now[0], golden[0])
    return f"{sources[0]} {where}: " + "; ".join(f"{name} is {a!r}, golden {b!r}" for name, a, b in pairs if a != b)


# What it must be, from the records alone.


class Number(str):
    """A number as it stands in the text."""


class Unknown:
    """A value about which this script has no opinion."""

    def __eq__(self, other):
        return True


def document(value):
    def last_wins(pairs):
        found = {}
        for name, value in pairs:
            # It stands where the last one stood.
            found.pop(name, None)
            found[name] = value
        return found

    return json.loads(value, object_pairs_hook=last_wins, parse_int=Number, parse_float=Number)


def integer(value):
    whole = Decimal(value)
    assert whole == whole.to_integral_value(), value
    return int(whole)


def double(value):
    return float(value)


def single(value):
    """The nearest number of 32 bits; the standard library rounds to 64 bits first."""
    number = float(value)
    if not isinstance(value, Number) or number == 0:
        return number
    exact = Fraction(Decimal(value))
    bits = struct.unpack("<i", struct.pack("<f", number))[0]
    near = [struct.unpack("<f", struct.pack("<i", other))[0] for other in (bits, bits - 1, bits + 1)]
    near = [other for other in near if math.isfinite(other)]
    return min(near, key=lambda other: (abs(Fraction(other) - exact), struct.pack("<f", other)[0] & 1))


def text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else Unknown()


def instant(value):
    time = datetime.datetime.fromisoformat(value.upper())
    utc = datetime.timezone.utc
    return time.astimezone(utc) if time.tzinfo else time.replace(tzinfo=utc)


def array(element):
    return lambda value: [nullable(element)(it) for it in value]


def map_of(inner):
    return lambda value: [(key, nullable(inner)(it)) for key, it in value.items()]


def struct_of(**members):
    return lambda value: {name: nullable(member)(value.get(name)) for name, member in members.items()}


def nullable(kind):
    return lambda value: None if value is None else kind(value)


DETAILS = struct_of(e=array(Decimal), f=instant)
COLUMNS = {
    "seq": integer,
    "flag": bool,
    "tiny": integer,
    "small": integer,
    "num": integer,
    "big": integer,
    "f": single,
    "d": double,
    "dec": Decimal,
    "wide": Decimal,
    "text": text,
    "bytes": lambda value: base64.b64decode(value + "=="),
    "day": datetime.date.fromisoformat,
    "at": instant,
    "wall": datetime.datetime.fromisoformat,
    "list": array(integer),
    "scores": map_of(double),
    "deep": struct_of(a=integer, b=struct_of(c=text, d=DETAILS)),
    "items": array(struct_of(sku=text, qty=integer, tags=array(text))),
    "attrs": map_of(struct_of(when=instant, more=map_of(array(integer)))),
    "millis": integer,
    "odd": integer,
    "place": text,
}


def expected(partition, offset, index, value):
    """The row of a good record; None: the filter removes it."""
    record = document(value)
    row = {name: nullable(kind)(record.get(name)) for name, kind in COLUMNS.items()}
    if record.get("keep") is not True and row["seq"] % 7 != 0:
        return None
    words, millis, odd = row.pop("text"), row.pop("millis"), row.pop("odd")
    d, known = row["d"], words is None or isinstance(words, str)
    then = None if millis is None else instant("1970-01-01") + datetime.timedelta(milliseconds=millis)
    sums = None if row["tiny"] is None or row["small"] is None else row["tiny"] + row["small"]
    row |= {
        "p": partition,
        "o": offset,
        "kafka_key": f"key-{index}",
        "words": words,
        "then": then,
        "hour": then and then.hour,
        "event_day": then and then.date(),
        # Where a number is no number is a matter of taste; the golden file has it.
        "grade": "none" if d is None else Unknown() if d != d else "up" if d > 0 else "down" if d < 0 else "flat",
        "doubled": None if row["dec"] is None else row["dec"] * 2,
        "total": sums,
        "size": Unknown() if not known else None if words is None else len(words),
        "loud": Unknown() if not known else None if words is None else words[:5].upper(),
        "joined": f"n={'' if row['num'] is None else row['num']};{row['place'] or ''}",
        "share": None if odd is None else odd * 2,
        "narrow": odd,
        "label": f"r-{row['seq']}",
    }
    # Null and the empty text share a folder.
    row["place"] = row["place"] or None
    return row


def same(one, other):
    """Equal, with the sign of zero, and with NaN."""
    if isinstance(one, Unknown) or isinstance(other, Unknown):
        return True
    if isinstance(one, float) and isinstance(other, float):
        return (one != one and other != other) or (one == other and math.copysign(1, one) == math.copysign(1, other))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return type(one) is type(other) and one == other


def judge(table, dead, corpus):
    """Stops where the table or the dead letters are not what the records say."""
    keys = ds.partitioning(pa.schema([("place", pa.string()), ("event_day", pa.date32())]), flavor="hive")
    found = {(row["p"], row["o"]): row for row in ds.dataset(table, format="parquet", partitioning=keys).to_table().to_pylist()}
    letters = {}
    for file in pathlib.Path(dead).rglob("*.jsonl"):
        for letter in map(json.loads, file.read_text("utf-8").split("\n")[:-1]):
            letters[letter["partition"], letter["offset"]] = letter["code"]
    wrong = []
    for index, line in enumerate(open(corpus, encoding="utf-8")):
        record = json.loads(line)
        place = (record["partition"], record["offset"])
        if letters.pop(place, None) != record["code"]:
            wrong.append(f"{place} is not refused as it should be: {record}")
        row = None if record["code"] else expected(*place, index, base64.b64decode(record["value"]))
        seen = found.pop(place, None)
        if row is None or seen is None:
            wrong += [f"{place}: expected {row}, found {seen}"] if row is not seen else []
            continue
        names = [name for name in row.keys() | seen.keys() if not same(row.get(name), seen.get(name))]
        wrong += [f"{place} {name}: expected {row.get(name)!r}, found {seen.get(name)!r}" for name in names]
    wrong += [f"{place} was never sent" for place in [*found, *letters]]
    if wrong:
        raise SystemExit(f"{len(wrong)} values are not what the records say:\n" + "\n".join(wrong[:20]))


def main():
    table, dead, corpus = sys.argv[1:]
    connection = duckdb.connect()
    views = relations(connection, table, dead)
    if os.environ.get("UPDATE") == "1":
        judge(table, dead, corpus)
        for view, key, file in views:
            places = ", ".join(f'"{name}"' for name in key)
            connection.execute(f"COPY (FROM {view} ORDER BY {places}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
    differences = [difference for difference in (compare(connection, *view) for view in views) if difference]
    if differences:
        raise SystemExit("\n".join(differences))
    print(json.dumps({view: connection.execute(f"SELECT count(*) FROM {view}").fetchone()[0] for view, _, _ in views}))


if __name__ == "__main__":
    main()
