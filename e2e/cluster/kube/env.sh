# Sourced by the scripts beside it. Every address can be set from outside, should one be taken.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../../scripts/steps.sh"

: "${SLUICE_NODE:=10.243.255.2}"      # the node, as this machine and the pods see it
: "${SLUICE_HOST:=10.243.255.1}"      # this machine, as the pods see it: the other end of the wire
: "${SLUICE_PODS:=10.244.0.0/22}"
: "${SLUICE_SERVICES:=10.96.0.0/16}"
node=$SLUICE_NODE host=$SLUICE_HOST pods=$SLUICE_PODS services=$SLUICE_SERVICES

# The name of the network namespace, of this machine's end of the wire, and of the node.
name=sluice-e2e
parts=$cache/kube            # what is built and kept
state=${SLUICE_KUBE_STATE:-$cache/kube-state} # of one cluster: keys, data, logs
pki=$state/pki
conf=$state/conf
log=$state/log
cgroup=sluice-e2e
export PATH=$parts/bin:$cache/bin:$PATH

# Root may be without the folders of administrators in its path.
export PATH=$PATH:/usr/sbin:/sbin

started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# Is the cluster up? A process that got the number of an older one started at another time.
alive() {
  local pid start
  read -r pid start 2>/dev/null <"$state/pid" && [ -n "$start" ] && [ "$(started "$pid")" = "$start" ]
}

# until SECONDS WHAT COMMAND…: tries the command until it goes well.
until_ok() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$limit" ] || { echo "cluster: not in time: $what; logs are in $log" >&2; return 1; }
    alive || { echo "cluster: it ended; $(cat "$state/ended" 2>/dev/null || echo "logs are in $log")" >&2; return 1; }
    sleep 0.1
  done
}

# inside COMMAND…: runs a command among the processes and mounts of the node.
inside() {
  local pid first
  read -r pid _ <"$state/pid"
  first=$(cat "/proc/$pid/task/$pid/children")
  nsenter --target "${first%% *}" --mount --pid --net -- "$@"
}
