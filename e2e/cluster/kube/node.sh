#!/usr/bin/env bash
# The node: the first process of its own process, mount and network namespaces. It starts the parts and waits. When it ends, or one of
# the parts does, the kernel ends everything in it, pods included, and with them go their mounts, bridges and rules.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

declare -A names

# start NAME ARGUMENTS…
start() {
  "$@" >>"$log/$1.log" 2>&1 </dev/null &
  names[$!]=$1
}

# Container runtime and kubelet keep some things at fixed places. Those of this machine must not be touched.
# keep NAME ARGUMENTS…: starts it again whenever it ends, as a service manager does on a real node.
keep() {
  while :; do
    "$@" >>"$log/$1.log" 2>&1 </dev/null || true
    echo "$1 has ended and is started again" >>"$log/node.log"
    sleep 0.5
  done &
}

own_folders() {
  mount --make-rshared /
  local folder
  for folder in /run /var/log /var/lib/cni /var/lib/kubelet; do
    mount -t tmpfs -o mode=755 tmpfs "$folder"
  done
  mkdir -p /run/netns /run/lock
}

network() {
  echo 1 >/proc/sys/net/ipv4/ip_forward
  # Answers of a pod to its neighbour must come back through the rules that turned a Service's address into a pod's.
  [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
}

control_plane() {
  start etcd --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=default=http://127.0.0.1:2380
  start kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$node" --advertise-address="$node" \
    --service-cluster-ip-range="$services" --allow-privileged=true --anonymous-auth=false --profiling=false \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" --kubelet-client-key="$pki/apiserver-kubelet-client.key"
  # The controller manager ends for good when its first question is refused, as all are until the roles are made.
  until kubectl --kubeconfig "$conf/admin.conf" get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
  # Without the rates, the ServiceAccount of a new namespace comes seconds late.
  local as
  as() { printf -- '--%s=%s ' kubeconfig "$conf/$1.conf" authentication-kubeconfig "$conf/$1.conf" authorization-kubeconfig "$conf/$1.conf"; }
  start kube-controller-manager $(as kube-controller-manager) --bind-address=127.0.0.1 --leader-elect=false \
    --use-service-account-credentials=true --kube-api-qps=200 --kube-api-burst=400 \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
  start kube-scheduler $(as kube-scheduler) --bind-address=127.0.0.1 --leader-elect=false
}

node() {
  keep kubelet --config="$conf/kubelet.yaml" --kubeconfig="$conf/kubelet.conf" --root-dir="$state/kubelet" \
    --hostname-override="$name" --node-ip="$node"
  start kube-proxy --config="$conf/kube-proxy.yaml"
  kubectl --kubeconfig "$conf/admin.conf" apply -f "$conf/base.yaml" >>"$log/kubectl.log" 2>&1
  start coredns -conf "$conf/Corefile"
}

own_folders
network
start containerd --config "$conf/containerd.toml"
control_plane
node
ended=
wait -n -p ended || true
echo "${names[$ended]:-something} has ended; its log is $log/${names[$ended]:-}.log" >"$state/ended"
