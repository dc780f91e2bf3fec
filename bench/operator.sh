#!/usr/bin/env bash
# operator.sh FOLDER-OF-PROGRAMS [FLAGS…]: the benchmark of the operator, on an API server of its own; README.md says what is real in it.
# All of it has process, mount and network namespaces of its own: it takes no port from anybody, and ends with this script, however it
# ends. The flags are those of the program `operator`.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ "${1-}" != --inside ]; then
  # Whoever is not root is root in there.
  user=()
  [ "$(id -u)" -eq 0 ] || user=(--map-root-user)
  # It hears no other signal, and takes everything inside with it.
  setpriv --pdeathsig KILL -- \
    unshare "${user[@]}" --net --mount --pid --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" --inside "$@"
  exit
fi
programs=$2
shift 2

# A thousand workers need more addresses than one node of the tests has.
export SLUICE_PODS=10.244.0.0/16 SLUICE_KUBE_STATE=${SLUICE_CACHE:-$HOME/.cache/sluice}/bench-state
source "$bench/../e2e/cluster/kube/env.sh"
source "$here/pki.sh"
source "$here/control.sh"

[ -x "$parts/bin/kube-apiserver" ] || { echo "bench: no Kubernetes in $parts: run $here/setup.sh first" >&2; exit 1; }
exec 9>"$cache/bench.lock"
flock --nonblock 9 || { echo "bench: another one is under way; both would measure the other" >&2; exit 1; }

# The addresses of the API server and of all pods are this machine's, inside of here.
network() {
  ip link set lo up
  ip addr add "$node/32" dev lo
  ip route add local "$pods" dev lo
}

# One line for each request of the operator, and none for those of others.
audit() {
  cat >"$conf/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, users: ["system:serviceaccount:sluice-system:sluice-operator"]}
- {level: None}
YAML
}

# What `helm install` makes of the chart: definitions, ServiceAccount and rights. The operator itself is a process here.
install() {
  kubectl apply -f "$bench/../crds"
  kubectl wait --for=condition=Established --timeout=60s customresourcedefinition --all
  kubectl create namespace sluice-system
  kubectl create serviceaccount --namespace sluice-system sluice-operator
  kubectl auth reconcile -f "$bench/../charts/tests/snapshots/default.yaml"
  cp "$conf/admin.conf" "$conf/operator.conf"
  local config=(kubectl config --kubeconfig "$conf/operator.conf")
  "${config[@]}" set-credentials operator --token="$(kubectl create token --namespace sluice-system --duration 24h sluice-operator)"
  "${config[@]}" set-context --current --user=operator
}

rm -rf "$state"
mkdir -p "$log"
trap 'echo "bench: it failed; logs are in $log" >&2' ERR
network
keys
audit
etcd_server
# So large that it is never split: the benchmark reads it as it grows.
api_server --audit-policy-file="$conf/audit.yaml" --audit-log-path="$state/audit.log" --audit-log-maxsize=65536
controller_manager
export KUBECONFIG=$conf/admin.conf
install >>"$log/install.log" 2>&1
beside=()
for pid in "${!names[@]}"; do beside+=(--beside "${names[$pid]}=$pid"); done
"$programs/operator" "${beside[@]}" --program "$programs/sluice-operator" --program-kubeconfig "$conf/operator.conf" \
  --audit-log "$state/audit.log" --logs "$log" "$@"
rm -rf "$state"
