#!/usr/bin/env bash
# Brings up a Kubernetes of one node, with etcd, API server, controller manager, scheduler, kubelet, containerd, CNI, kube-proxy and DNS.
# It has process, mount and network namespaces of its own: nothing of it touches what runs here, and ending one process ends all of it.
# A wire connects it to this machine, over which its pods reach Kafka and S3. Prints what to export. Does nothing when it is up.
set -Eeuo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
source "$here/pki.sh"
source "$here/conf.sh"

[ "$(id -u)" -eq 0 ] || { echo "cluster: a node needs root; give KUBECONFIG of a cluster that you have instead" >&2; exit 1; }
[ -x "$parts/bin/kubelet" ] || { echo "cluster: no Kubernetes in $parts: run $here/setup.sh first" >&2; exit 1; }

# What kubelet sets for the whole machine, and the number of watched folders that many containers need. down.sh puts it back.
machine_settings() {
  local setting
  mkdir -p "$state/sysctl"
  for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops fs/inotify/max_user_instances; do
    cat "/proc/sys/$setting" >"$state/sysctl/${setting//\//.}"
  done
  [ "$(cat /proc/sys/fs/inotify/max_user_instances)" -ge 1024 ] || echo 1024 >/proc/sys/fs/inotify/max_user_instances
}

# kubelet does not make the group that all its groups are in. Version 1 has a tree for each controller.
groups() {
  local tree
  for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -e "$tree/cgroup.procs" ] && [ ! "$tree" -ef /sys/fs/cgroup/unified ]; then
      if [ "$tree" = /sys/fs/cgroup ]; then sed -E 's/(\w+)/+\1/g' "$tree/cgroup.controllers" >"$tree/cgroup.subtree_control"; fi
      mkdir -p "$tree/$cgroup"
      # A new group of this tree has no processors until somebody says which.
      if [ -e "$tree/$cgroup/cpuset.cpus" ] && [ "$tree" != /sys/fs/cgroup ]; then
        cat "$tree/cpuset.cpus" >"$tree/$cgroup/cpuset.cpus"
        cat "$tree/cpuset.mems" >"$tree/$cgroup/cpuset.mems"
      fi
      [ "$tree" != /sys/fs/cgroup ] || break
    fi
  done
}

wire() {
  ip netns add "$name"
  ip link add "$name" type veth peer name eth0 netns "$name"
  ip addr add "$host/30" dev "$name"
  ip link set "$name" up
  ip -n "$name" link set lo up
  ip -n "$name" addr add "$node/30" dev eth0
  ip -n "$name" link set eth0 up
  ip -n "$name" route add default via "$host"
  ip route add "$pods" via "$node"
  ip route add "$services" via "$node"
}

start_node() {
  mkdir -p "$log" /var/lib/cni /var/lib/kubelet
  setsid nsenter --net="/run/netns/$name" unshare --mount --pid --fork --kill-child --mount-proc \
    "$here/node.sh" >>"$log/node.log" 2>&1 </dev/null &
  echo "$! $(started $!)" >"$state/pid"
}

node_is_ready() { kubectl get node "$name" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' | grep True; }

if ! alive; then
  "$here/down.sh"
  mkdir -p "$state"
  trap '"$here/down.sh" --keep-logs' ERR
  machine_settings
  groups
  wire
  keys
  settings
  start_node
  export KUBECONFIG=$conf/admin.conf
  until_ok 120 "a node that is ready" node_is_ready
  until_ok 60 "the default ServiceAccount" kubectl get serviceaccount default
  inside ctr --namespace k8s.io images import "$parts/pause.tar" >>"$log/images.log"
  # By this word tests recognise the kubelet among the processes of this machine.
  echo "export KUBECONFIG=$KUBECONFIG SLUICE_HOST=$host SLUICE_KUBELET=--hostname-override=$name PATH=$parts/bin:$cache/bin:\$PATH" >"$state/env"
fi
[ ! -f "$cache/image/sluice.tar" ] || "$here/load.sh"
cat "$state/env"
