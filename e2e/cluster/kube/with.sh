#!/usr/bin/env bash
# with.sh COMMAND…: runs a command against a cluster: against that of KUBECONFIG when it is set, else against one of our own that is
# brought up before and taken down after, however the command ends. SLUICE_KEEP=1 leaves it up.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [ -z "${KUBECONFIG:-}" ]; then
  [ -n "${SLUICE_KEEP:-}" ] || trap '"$here/down.sh"' EXIT
  trap 'exit 130' INT TERM
  start=$SECONDS
  "$here/up.sh" >/dev/null
  echo "cluster: up in $((SECONDS - start)) s"
  source "$state/env"
fi
"$@"
