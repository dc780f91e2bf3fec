#!/usr/bin/env bash
# The node: the first process of its own process, mount and network namespaces. It starts the parts and waits. When it ends, or one of
# the parts does, the kernel ends everything in it, pods included, and with them go their mounts, bridges and rules.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
source "$here/control.sh"

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
etcd_server
api_server
# With the rates that it has by itself, the ServiceAccount of a new namespace comes seconds late.
controller_manager --kube-api-qps=200 --kube-api-burst=400
scheduler
node
ended=
wait -n -p ended || true
echo "${names[$ended]:-something} has ended; its log is $log/${names[$ended]:-}.log" >"$state/ended"
