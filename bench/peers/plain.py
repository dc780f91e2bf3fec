"""The sample job as somebody would write it who needs no guarantee: one Python process, confluent-kafka and pyarrow.

    $SLUICE_CACHE/peers/plain/bin/python plain.py BROKERS TOPIC OUT FLUSH STOP GROUP

After FLUSH records it writes one Parquet file for each hour into the folder OUT, then commits the offsets of the consumer group
GROUP; after STOP records it ends. A run that shall read all of the topic needs a group of its own. A kill between files and
commit makes duplicates, and one record that is no JSON ends it. At the end it prints one line, where cpu_s is user and system
time of all threads, without the start of Python:

    {"run": 1, "rows_in": 2000000, "wall_s": 7.1, "cpu_s": 5.9, "files": 10}
"""

import json
import os
import sys
import time
import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet
from confluent_kafka import Consumer, KafkaException

HOUR_MS = 3_600_000
COLUMNS = pa.schema([
    ("event_id", pa.string()),
    ("user_id", pa.string()),
    ("event_type", pa.string()),
    ("amount", pa.float64()),
    ("currency", pa.string()),
    ("event_time", pa.int64()),
])
# Columns that are not named are not even built. Larger blocks than a batch: one call parses all of it.
PARSE = pyarrow.json.ParseOptions(explicit_schema=COLUMNS, unexpected_field_behavior="ignore")
READ = pyarrow.json.ReadOptions(use_threads=False, block_size=16 << 20)


def parse(messages):
    for message in messages:
        if message.error():
            raise KafkaException(message.error())
    lines = pa.py_buffer(b"\n".join([message.value() for message in messages]))
    table = pyarrow.json.read_json(pa.BufferReader(lines), READ, PARSE)
    return table.filter(pc.and_(pc.is_valid(table["event_id"]), pc.greater(table["amount"], 0)))


def write(table, out):
    """Writes one file for each hour; answers how many."""
    hours = pc.divide(table["event_time"], HOUR_MS)
    time_column = table.column_names.index("event_time")
    table = table.set_column(time_column, "event_time", table["event_time"].cast(pa.timestamp("ms", "UTC")))
    present = pc.unique(hours).to_pylist()
    for hour in present:
        folder = time.strftime(f"{out}/event_date=%Y-%m-%d/event_hour=%H", time.gmtime(hour * 3600))
        os.makedirs(folder, exist_ok=True)
        name = f"{uuid.uuid4()}.parquet"
        pyarrow.parquet.write_table(table.filter(pc.equal(hours, hour)), f"{folder}/.{name}", compression="snappy")
        os.rename(f"{folder}/.{name}", f"{folder}/{name}")
    return len(present)


def run(brokers, topic, out, flush, stop, group):
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        # With a full queue librdkafka waits a second before it asks for more; a smaller queue costs no time, and less memory.
        "fetch.queue.backoff.ms": 5,
        "queued.max.messages.kbytes": 16_384,
        "queued.min.messages": 20_000,
    })
    consumer.subscribe([topic])
    read = written = files = 0
    tables = []
    while written < stop:
        messages = consumer.consume(20_000, timeout=0.5)
        if messages:
            tables.append(parse(messages))
            read += len(messages)
        if tables and (read - written >= flush or read >= stop):
            files += write(pa.concat_tables(tables), out)
            consumer.commit(asynchronous=False)
            tables, written = [], read
    consumer.close()
    return read, files


def main():
    brokers, topic, out, flush, stop, group = sys.argv[1:]
    wall, cpu = time.monotonic(), time.process_time()
    read, files = run(brokers, topic, out, int(flush), int(stop), group)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    print(json.dumps({"run": 1, "rows_in": read, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "files": files}))


if __name__ == "__main__":
    main()
