#!/usr/bin/env bash
# Installs what the end-to-end tests run against: an Apache Kafka broker, two S3 servers, and three readers of Parquet.
# Everything but Debian's own packages goes below $SLUICE_CACHE (default ~/.cache/sluice). A step whose result is there
# in the wanted version is skipped, so a second run takes no time. Nothing is started here: the tests do that.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../scripts/steps.sh"

versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
# MinIO stopped tagging Go modules: the version names a commit.
minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
# A version of before 3.5.7, whose reader knows less than that of later ones; AWS Glue has such a one.
spark=pyspark==3.5.6

packages() {
  local missing=()
  command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
  command -v mvn >/dev/null || missing+=(maven)
  command -v go >/dev/null || missing+=(golang)
  command -v openssl >/dev/null || missing+=(openssl)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
  "$here/../../scripts/apt-install.sh" "${missing[@]}"
}

kafka_jars() {
  rm -rf "$cache/kafka/libs"
  mkdir -p "$cache/kafka/libs"
  mvn --batch-mode --quiet -Dstyle.color=never --file "$here/pom.xml" -Dmaven.repo.local="$cache/maven" \
    dependency:copy-dependencies -DoutputDirectory="$cache/kafka/libs"
  rm -rf "$cache/maven"
  # A class-data archive belongs to the jars that it was recorded with.
  rm -f "$cache/kafka/classes.jsa"
}

# One authority, a certificate for the broker, one for a client. Keys are PKCS#8 in PEM: what Kafka reads without a keytool.
certificates() {
  local dir=$cache/kafka/tls
  rm -rf "$dir"
  mkdir -p "$dir"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=sluice-e2e-authority" \
    -keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
  certificate "$dir" server "/CN=localhost" "extendedKeyUsage=serverAuth" "subjectAltName=DNS:localhost,IP:127.0.0.1"
  certificate "$dir" client "/CN=sluice-e2e-client" "extendedKeyUsage=clientAuth"
}

certificate() {
  local dir=$1 name=$2 subject=$3
  shift 3
  printf '%s\n' "basicConstraints=CA:FALSE" "$@" >"$dir/$name.ext"
  openssl req -newkey rsa:2048 -nodes -subj "$subject" -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
  openssl x509 -req -days 3650 -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial \
    -extfile "$dir/$name.ext" -out "$dir/$name.crt" 2>/dev/null
  cat "$dir/$name.key" "$dir/$name.crt" >"$dir/$name.pem"
}

readers() {
  rm -rf "$cache/venv"
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
}

spark_reader() {
  rm -rf "$cache/spark"
  python3 -m venv "$cache/spark"
  "$cache/spark/bin/pip" install --quiet --no-cache-dir "$spark"
}

packages
step kafka-jars "$(sha256sum <"$here/pom.xml")" kafka_jars
step kafka-certificates 1 certificates
step readers "$(sha256sum <"$here/requirements.txt")" readers
step reader-spark "$spark" spark_reader
step versitygw "$versitygw" go_program "$versitygw"
step minio "$minio" go_program "$minio"
