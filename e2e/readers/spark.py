"""Reads with Spark what the sink wrote, by its reader of whole vectors and by its reader of single rows.

spark.py same FOLDER FILE        the rows of the table in FOLDER are those of FILE, value by value; prints {"rows": n}
spark.py count FOLDER            prints {"rows": n, "ids": n, "distinct": n} of the column `event_id`, event-0 to event-n; in each
                                 row `stamp` must be the id with o % 37 times an x

The version is one whose reader fails on texts in DELTA_LENGTH_BYTE_ARRAY: what it reads, others read.
"""

import json
import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

# All digits of a time; the default has three.
FORMATS = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"}


def start():
    # Neither the driver nor its block manager is for others to reach.
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        # Days before 1582 and times before 1900 are what they are; without this Spark asks who wrote them.
        "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
        "spark.sql.shuffle.partitions": "2",
        # What folders say is text; whoever knows better casts it.
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("reader")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def same(spark, folder, file):
    golden = spark.read.parquet(file)
    now = spark.read.parquet(folder)
    if set(now.columns) != set(golden.columns):
        raise SystemExit(f"Spark sees other columns: {sorted(set(now.columns) ^ set(golden.columns))}")
    # Keys of partitions come as text; all else has its type from the files.
    types = {name: kind for name, kind in golden.dtypes}
    keys = [name for name in now.columns if f"/{name}=" in now.inputFiles()[0]]
    now = now.select([F.col(name).cast(types[name]) if name in keys else F.col(name) for name in golden.columns])
    if now.dtypes != golden.dtypes:
        raise SystemExit(f"Spark sees other types: {sorted(set(now.dtypes) ^ set(golden.dtypes))}")
    texts = [frame.select(F.to_json(F.struct(*golden.columns), FORMATS).alias("row")) for frame in (now, golden)]
    for one, other, where in [(*texts, "now"), (*reversed(texts), "in the golden file")]:
        differing = one.exceptAll(other).limit(5).collect()
        if differing:
            raise SystemExit(f"Spark sees rows that are only {where}:\n" + "\n".join(row["row"] for row in differing))
    return {"rows": now.count()}


def count(spark, folder):
    ids = F.substring("event_id", 7, 20).cast("long")
    table = spark.read.parquet(folder).withColumn("id", ids)
    wrong = table.filter("NOT (stamp <=> concat(event_id, repeat('x', CAST(o % 37 AS INT))))")
    if not wrong.isEmpty():
        raise SystemExit(f"Spark sees another stamp in {wrong.count()} rows: {wrong.first()}")
    counts = [F.count("*").alias("rows"), F.sum("id").alias("ids"), F.countDistinct("event_id").alias("distinct")]
    return table.agg(*counts).first().asDict()


def main():
    verb, *paths = sys.argv[1:]
    spark = start()
    seen = []
    for vectors in ["true", "false"]:
        spark.conf.set("spark.sql.parquet.enableVectorizedReader", vectors)
        seen.append({"same": same, "count": count}[verb](spark, *paths))
    if seen[0] != seen[1]:
        raise SystemExit(f"the readers of Spark differ: {seen}")
    print(json.dumps(seen[0]))


if __name__ == "__main__":
    main()
