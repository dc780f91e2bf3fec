#!/usr/bin/env bash
# load.sh [ARCHIVE]: brings the image of Sluice into the running cluster, also under the tag `next`, to which tests upgrade.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
archive=${1:-$cache/image/sluice.tar}

[ -f "$archive" ] || { echo "cluster: no $archive: run \`make image\` first" >&2; exit 1; }
inside ctr --namespace k8s.io images import "$archive" >>"$log/images.log"
image=$(inside ctr --namespace k8s.io images ls -q | grep -E '/sluice:[^:]+$' | grep -v ':next$' | tail -n 1)
inside ctr --namespace k8s.io images tag --force "$image" "${image%:*}:next" >>"$log/images.log"
sed -i '/^export SLUICE_IMAGE/d' "$state/env"
echo "export SLUICE_IMAGE=$image SLUICE_IMAGE_NEXT=${image%:*}:next" >>"$state/env"
