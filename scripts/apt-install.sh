#!/usr/bin/env bash
# Installs the named Debian packages; does nothing when none is named. Works as root, or with sudo.
set -euo pipefail

[ $# -gt 0 ] || exit 0
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "please install as root: apt-get install $*" >&2; exit 1; }
  as_root=(sudo)
fi
command -v apt-get >/dev/null || { echo "no apt-get here; please install what these Debian packages hold: $*" >&2; exit 1; }
echo "installing: $*"
"${as_root[@]}" apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
