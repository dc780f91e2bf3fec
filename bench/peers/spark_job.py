"""The sample job as Spark Structured Streaming, the engine of AWS Glue: Kafka to Parquet by day and hour, in micro-batches.

    $SLUICE_CACHE/peers/spark/venv/bin/python spark_job.py --brokers HOST:PORT --topic TOPIC --out OUT
        --jars $SLUICE_CACHE/peers/spark/jars [--max-offsets 250000] [--repeats 3] [--master 'local[2]']

Reads what the topic holds, and ends. Without --max-offsets all of it is one micro-batch. The same work is done --repeats times
in one JVM, from the second time on without the cost of its warming up. Run n writes the folder OUT-n, keeps its checkpoint in
OUT-n-checkpoint, and prints one line:

    {"run": 1, "rows_in": 2000000, "wall_s": 30.1, "cpu_s": 29.8, "files": 48}

cpu_s is user and system time of the JVM during the run, all threads. The start of the JVM and of the session is in neither
figure: whoever wants it measures this process with its children, for it ends after the JVM.
"""

import argparse
import json
import os
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

RECORD = T.StructType([
    T.StructField("event_id", T.StringType()),
    T.StructField("user_id", T.StringType()),
    T.StructField("event_type", T.StringType()),
    T.StructField("amount", T.DoubleType()),
    T.StructField("currency", T.StringType()),
    T.StructField("event_time", T.LongType()),
    T.StructField("metadata", T.MapType(T.StringType(), T.StringType())),
])


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--jars", required=True)
    parser.add_argument("--max-offsets", type=int)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--master", default="local[2]")
    return parser.parse_args()


def start(master, jars):
    # Neither the driver nor its block manager is for others to reach.
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = {
        "spark.driver.memory": "2g",
        "spark.jars": ",".join(map(str, sorted(Path(jars).glob("*.jar")))),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "snappy",
        # The records read are counted from these: none of them may be forgotten.
        "spark.sql.streaming.numRecentProgressUpdates": "100000",
    }
    spark = SparkSession.builder.master(master).appName("peer").config(map=settings).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def stop(spark):
    jvm = spark.sparkContext._gateway.proc
    spark.stop()
    jvm.stdin.close()
    jvm.wait()


def rows(records):
    event = records.select(F.from_json(F.col("value").cast("string"), RECORD).alias("event")).select("event.*")
    return (
        event.filter(F.col("event_id").isNotNull() & (F.col("amount") > 0))
        .withColumn("event_time", F.timestamp_millis("event_time"))
        .withColumn("event_date", F.date_format("event_time", "yyyy-MM-dd"))
        .withColumn("event_hour", F.date_format("event_time", "HH"))
        .drop("metadata")
    )


def run(spark, args, out):
    def write(batch, _number):
        rows(batch).write.mode("append").partitionBy("event_date", "event_hour").parquet(out)

    stream = spark.readStream.format("kafka").option("kafka.bootstrap.servers", args.brokers)
    stream = stream.option("subscribe", args.topic).option("startingOffsets", "earliest")
    if args.max_offsets:
        stream = stream.option("maxOffsetsPerTrigger", args.max_offsets)
    writer = stream.load().writeStream.foreachBatch(write).option("checkpointLocation", f"{out}-checkpoint")
    query = writer.trigger(availableNow=True).start()
    query.awaitTermination()
    return sum(progress["numInputRows"] for progress in query.recentProgress)


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main():
    args = arguments()
    spark = start(args.master, args.jars)
    jvm = spark._jvm.java.lang.ProcessHandle.current().pid()
    for number in range(1, args.repeats + 1):
        out = f"{os.path.abspath(args.out)}-{number}"
        wall, cpu = time.monotonic(), cpu_s(jvm)
        read = run(spark, args, out)
        wall, cpu = time.monotonic() - wall, cpu_s(jvm) - cpu
        files = sum(1 for _ in Path(out).rglob("*.parquet"))
        line = {"run": number, "rows_in": read, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "files": files}
        print(json.dumps(line), flush=True)
    stop(spark)


if __name__ == "__main__":
    main()
