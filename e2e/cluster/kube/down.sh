#!/usr/bin/env bash
# Takes the cluster down that up.sh brought up, and everything that it left. down.sh --keep-logs leaves logs where they are.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if alive; then
  read -r pid _ <"$state/pid"
  kill -KILL "$pid"
  # The kernel ends the first process of the node with it, and all others with that one.
  for ((i = 0; i < 300; i++)); do
    [ -n "$(ip netns pids "$name" 2>/dev/null)" ] || break
    sleep 0.1
  done
fi
ip netns del "$name" 2>/dev/null
# The wire goes with its other end; the kernel takes a moment for that.
ip link del "$name" 2>/dev/null
for file in "$state"/sysctl/*; do
  [ ! -f "$file" ] || cat "$file" >"/proc/sys/$(basename "$file" | tr . /)"
done
find /sys/fs/cgroup/"$cgroup" /sys/fs/cgroup/*/"$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
rmdir /var/lib/cni /var/lib/kubelet 2>/dev/null
if [ "${1-}" = --keep-logs ]; then
  find "$state" -mindepth 1 -maxdepth 1 ! -name log ! -name ended -exec rm -rf {} +
else
  rm -rf "$state"
fi
exit 0
