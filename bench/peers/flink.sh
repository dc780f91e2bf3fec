#!/usr/bin/env bash
# flink.sh BROKERS TOPIC OUT CHECKPOINTS INTERVAL_MS REPEATS: runs the program that setup.sh made of FlinkPeer.java, which says more.
# Becomes the JVM, so that who started it can measure it, and can end it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
flink=${SLUICE_CACHE:-$HOME/.cache/sluice}/peers/flink

# A cluster that ends with its process leaves its temporary files behind: they lie where the checkpoints do.
mkdir -p "$4"

# What Flink's own scripts open for Java 17, as far as a job of SQL needs it.
exec java -Xmx1g -Djava.io.tmpdir="$4" \
  --add-opens=java.base/java.lang=ALL-UNNAMED \
  --add-opens=java.base/java.time=ALL-UNNAMED \
  --add-opens=java.base/java.util=ALL-UNNAMED \
  --add-opens=java.base/java.util.concurrent=ALL-UNNAMED \
  -Dlog4j.configurationFile="$here/flink-log4j2.properties" \
  -classpath "$flink/classes:$flink/lib/*:$flink/jars/*" FlinkPeer "$@"
