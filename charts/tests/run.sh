#!/usr/bin/env bash
# Checks the chart: run.sh. Writes what is generated anew: run.sh --update (README.md and snapshots/).
# setup.sh installs what it needs.
set -euo pipefail

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$tests/../.." && pwd)
source "$root/scripts/steps.sh"
export PATH=$cache/bin:$PATH
chart=$root/charts/sluice
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

update=
[ "${1:-}" = --update ] && update=yes
failed=
complain() {
  echo "chart: $*" >&2
  failed=yes
}

# same NAME COMMITTED MADE: the committed file is what is made now.
same() {
  if [ -n "$update" ]; then
    cp "$3" "$2"
  elif ! diff -u "$2" "$3" >&2; then
    complain "$1 is not what the chart says: look at the difference, then run \`make chart UPDATE=1\`"
  fi
}

render() {
  helm template sluice "$chart" --namespace sluice-system --kube-version 1.33.0 "$@"
}

# What Helm says after an install. It says so only where there is a cluster; in a copy of the chart it is a template like others.
notes() {
  if [ ! -d "$work/chart" ]; then
    cp -r "$chart" "$work/chart"
    mv "$work/chart/templates/NOTES.txt" "$work/chart/NOTES.txt"
    printf 'notes: |\n  {{- tpl (.Files.Get "NOTES.txt") . | nindent 2 }}\n' >"$work/chart/templates/notes.yaml"
  fi
  helm template sluice "$work/chart" --namespace sluice-system --kube-version 1.33.0 --show-only templates/notes.yaml "$@" |
    sed -n 's/^  //p'
}

versions() {
  local version
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
  [ "$(sed -n 's/^version: //p' "$chart/Chart.yaml")" = "$version" ] || complain "Chart.yaml: version is not $version, as Cargo.toml says"
  [ "$(sed -n 's/^appVersion: "\(.*\)"$/\1/p' "$chart/Chart.yaml")" = "$version" ] || complain "Chart.yaml: appVersion is not $version, as Cargo.toml says"
}

sets() {
  local values name
  for values in "$tests"/values/*.yaml; do
    name=$(basename "$values" .yaml)
    helm lint --quiet --strict "$chart" --values "$values" || complain "values/$name.yaml: helm lint"
    render --values "$values" >"$work/$name.yaml"
    same "snapshots/$name.yaml" "$tests/snapshots/$name.yaml" "$work/$name.yaml"
    notes --values "$values" >"$work/$name.txt"
    same "snapshots/$name.txt" "$tests/snapshots/$name.txt" "$work/$name.txt"
  done
}

# As an API server with strict field validation would look at it.
schemas() {
  kubeconform -strict -summary -schema-location "$cache/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$work"/*.yaml ||
    complain "an API server would refuse the objects above"
}

refused() {
  local values
  for values in "$tests"/refused/*.yaml; do
    if render --values "$values" >/dev/null 2>&1; then complain "refused/$(basename "$values"): values.schema.json lets this pass"; fi
  done
}

# What is installed is what crds/*.yaml says, and nothing more than labels and annotations.
definitions() {
  local file name missing
  for file in "$root"/crds/*.yaml; do
    name=$(basename "$file")
    render --show-only "templates/crds/$name" >"$work/crd-$name"
    # The first line of the one is a comment.
    diff <(tail -n +2 "$file") "$work/crd-$name" >"$work/diff" || true
    missing=$(grep '^<' "$work/diff" || true)
    [ -z "$missing" ] || complain "templates/crds/$name does not install all of crds/$name: $missing"
    grep '^>' "$work/diff" >>"$work/definitions.txt"
    if render --set crds.keep=false --show-only "templates/crds/$name" | grep -q resource-policy; then complain "crds.keep is not heard"; fi
  done
  same "snapshots/definitions.txt" "$tests/snapshots/definitions.txt" "$work/definitions.txt"
}

readme() {
  helm-docs --log-level warning --chart-search-root "$root/charts" --dry-run >"$work/README.md"
  # It prints an empty line in front.
  sed -i '1{/^$/d}' "$work/README.md"
  same "charts/sluice/README.md" "$chart/README.md" "$work/README.md"
}

versions
helm lint --quiet --strict "$chart" || complain "helm lint"
sets
refused
definitions
schemas
readme
[ -z "$failed" ] || exit 1
cd "$tests"
# Each run looks at files that Go's cache of results knows nothing of.
GOTOOLCHAIN=auto GOFLAGS=-buildvcs=false "$(go_tool)" test -count=1 ./...
