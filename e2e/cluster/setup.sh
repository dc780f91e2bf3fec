#!/usr/bin/env bash
# Installs what the end-to-end tests run against: an Apache Kafka broker, two S3 servers, and two readers of Parquet.
# Everything but Debian's own packages goes below $SLUICE_CACHE (default ~/.cache/sluice). A step whose result is there
# in the wanted version is skipped, so a second run takes no time. Nothing is started here: the tests do that.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SLUICE_CACHE:-$HOME/.cache/sluice}
stamps=$cache/stamps

versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
# MinIO stopped tagging Go modules: the version names a commit.
minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
# The oldest toolchain that builds both.
go_version=1.26.8

mkdir -p "$stamps" "$cache/bin"

# step NAME VERSION COMMAND…: runs the command unless it went well before, for this version.
step() {
  local name=$1 version=$2
  shift 2
  if [ "$(cat "$stamps/$name" 2>/dev/null)" = "$version" ]; then return 0; fi
  echo "setup: $name"
  local start=$SECONDS
  "$@"
  printf '%s\n' "$version" >"$stamps/$name"
  echo "setup: $name took $((SECONDS - start)) s"
}

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

# Prints the path of a Go that is new enough. Since 1.21 Go fetches the toolchain that a module asks for by itself;
# an older one can still download that toolchain as a module, whose files then lack only the right to be run.
go_tool() {
  local minor
  minor=$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
  if [ "$minor" -ge 21 ]; then
    command -v go
    return
  fi
  local module="golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)"
  (cd "$cache" && go mod download "$module") >&2
  local root
  root=$(go env GOMODCACHE)/$module
  chmod -R u+wx "$root/bin" "$root/pkg/tool"
  echo "$root/bin/go"
}

go_program() {
  local go
  go=$(go_tool)
  # Low priority: these are minutes of compiling that nobody waits for as long as the tests are being compiled.
  GOBIN=$cache/bin CGO_ENABLED=0 GOTOOLCHAIN=auto GOFLAGS=-buildvcs=false \
    nice -n 10 "$go" install -trimpath -ldflags='-s -w' "$1"
}

packages
step kafka-jars "$(sha256sum <"$here/pom.xml")" kafka_jars
step kafka-certificates 1 certificates
step readers "$(sha256sum <"$here/requirements.txt")" readers
step versitygw "$versitygw" go_program "$versitygw"
step minio "$minio" go_program "$minio"
