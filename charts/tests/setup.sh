#!/usr/bin/env bash
# Installs what the chart is checked with: Helm, kubeconform, helm-docs, and the schemas of Kubernetes and of the Prometheus operator.
# Schemas come from the Go modules of these projects, so that nothing but a module proxy is asked.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../scripts/steps.sh"

helm=helm.sh/helm/v3/cmd/helm@v3.22.0
kubeconform=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
helm_docs=github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2
kubernetes=k8s.io/kubernetes@v1.34.4
prometheus_operator=github.com/prometheus-operator/prometheus-operator@v0.85.0

packages() {
  local missing=()
  command -v go >/dev/null || missing+=(golang)
  command -v python3 >/dev/null || missing+=(python3)
  "$here/../../scripts/apt-install.sh" "${missing[@]}"
}

schemas() {
  rm -rf "$cache/schemas"
  python3 "$here/schemas.py" "$cache/schemas" "$(module "$kubernetes")" "$(module "$prometheus_operator")"
}

# Prints the folder of a module.
module() {
  local go
  go=$(go_tool)
  (cd "$cache" && GOTOOLCHAIN=auto "$go" mod download -json "$1") | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'
}

packages
step helm "$helm" go_program "$helm"
step kubeconform "$kubeconform" go_program "$kubeconform"
step helm-docs "$helm_docs" go_program "$helm_docs"
step schemas "$kubernetes $prometheus_operator $(sha256sum <"$here/schemas.py")" schemas
