#!/usr/bin/env bash
# setup.sh: installs the peers, below $SLUICE_CACHE/peers (default ~/.cache/sluice/peers). README.md says how they are run.
# A step whose result is there in the wanted version is skipped, so a second run takes no time. Nothing is started here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../scripts/steps.sh"
peers=$cache/peers

# The connector of Spark that spark-pom.xml names is of the same version.
spark=pyspark==3.5.7
# Nothing but Flink's own jars; the package that depends on it would bring Beam along.
flink=apache-flink-libraries==2.3.0
plain=(confluent-kafka==2.16.1 pyarrow==26.0.1)

packages() {
  local missing=()
  # The compiler, and with it the runtime.
  command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
  command -v mvn >/dev/null || missing+=(maven)
  # Which samples where the time of our own program goes.
  command -v perf >/dev/null || missing+=(linux-perf)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
  "$here/../../scripts/apt-install.sh" "${missing[@]}"
}

# venv FOLDER PACKAGE…
venv() {
  rm -rf "$1"
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --no-cache-dir "${@:2}"
}

# jars POM FOLDER
jars() {
  rm -rf "$2"
  mkdir -p "$2"
  mvn --batch-mode --quiet -Dstyle.color=never --file "$1" -Dmaven.repo.local="$peers/maven" \
    dependency:copy-dependencies -DoutputDirectory="$2"
  rm -rf "$peers/maven"
}

flink_libraries() {
  rm -rf "$peers/flink/lib" "$peers/flink/unpacked"
  venv "$peers/flink/unpacked" --no-deps "$flink"
  mv "$peers"/flink/unpacked/lib/python3*/site-packages/pyflink/lib "$peers/flink/lib"
  rm -rf "$peers/flink/unpacked"
}

# Compiled ahead: the time that a compiler takes is no time of Flink's.
flink_program() {
  rm -rf "$peers/flink/classes"
  javac -d "$peers/flink/classes" -classpath "$peers/flink/lib/*:$peers/flink/jars/*" "$here/FlinkPeer.java"
}

packages
mkdir -p "$peers/flink"
step peers-spark "$spark" venv "$peers/spark/venv" "$spark"
step peers-spark-jars "$(sha256sum <"$here/spark-pom.xml")" jars "$here/spark-pom.xml" "$peers/spark/jars"
step peers-flink "$flink" flink_libraries
step peers-flink-jars "$(sha256sum <"$here/flink-pom.xml")" jars "$here/flink-pom.xml" "$peers/flink/jars"
step peers-flink-program "$flink $(cat "$here/FlinkPeer.java" "$here/flink-pom.xml" | sha256sum)" flink_program
step peers-plain "${plain[*]}" venv "$peers/plain" "${plain[@]}"
