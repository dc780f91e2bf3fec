# Sourced by the set-up scripts: where things are kept, and steps that are made once for each version.

cache=${SLUICE_CACHE:-$HOME/.cache/sluice}
stamps=$cache/stamps
mkdir -p "$stamps" "$cache/bin"
# What Go fetches and compiles, too: a run from another home need not begin anew.
export GOMODCACHE=${GOMODCACHE:-$cache/go/modules} GOCACHE=${GOCACHE:-$cache/go/build}

# The oldest toolchain that builds all the Go programs.
go_version=1.26.8

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
