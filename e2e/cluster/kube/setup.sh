#!/usr/bin/env bash
# Builds and installs the parts of a real Kubernetes of one node, from Go modules and Debian packages: no other registry is
# asked. Nothing is started. The first time takes ten processor-minutes, most of it the one program that is Kubernetes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

helm=helm.sh/helm/v3/cmd/helm@v3.22.0

packages() {
  local missing=()
  command -v go >/dev/null || missing+=(golang)
  command -v openssl >/dev/null || missing+=(openssl)
  command -v ip >/dev/null || missing+=(iproute2)
  command -v nft >/dev/null || missing+=(nftables)
  command -v containerd >/dev/null && command -v ctr >/dev/null || missing+=(containerd)
  command -v runc >/dev/null || missing+=(runc)
  [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
  "$here/../../../scripts/apt-install.sh" "${missing[@]}"
}

# build FOLDER FLAGS: the program of a module beside this script.
build() {
  local go
  go=$(go_tool)
  (cd "$here/$1" && CGO_ENABLED=0 GOTOOLCHAIN=auto GOFLAGS=-buildvcs=false \
    nice -n 10 "$go" build -trimpath -ldflags "-s -w ${2-}" -o "$parts/bin/$1" .)
}

sources() { cat "$here/$1"/* | sha256sum; }

# The parts refuse to work with others that cannot tell their version, which upstream's own build sets in the same way.
kubernetes() {
  local version package flags=
  version=$(sed -n 's|^[[:space:]]*k8s.io/kubernetes \(v.*\)$|\1|p' "$here/kubernetes/go.mod")
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
    flags+=" -X $package.gitTreeState=clean -X $package.gitCommit=$(printf '0%.0s' {1..40}) -X $package.buildDate=2026-01-01T00:00:00Z"
  done
  build kubernetes "$flags"
  for part in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
    ln -sf kubernetes "$parts/bin/$part"
  done
}

# An image of one file, as `docker save` would write it.
pause() {
  local folder
  build pause
  folder=$(mktemp -d)
  mkdir "$folder/root"
  mv "$parts/bin/pause" "$folder/root/pause"
  tar -C "$folder/root" --owner=0 --group=0 -cf "$folder/layer.tar" pause
  rm -r "$folder/root"
  cat >"$folder/config.json" <<JSON
{"architecture": "$(go env GOARCH)", "os": "linux", "config": {"Entrypoint": ["/pause"], "User": "65535"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum <"$folder/layer.tar" | cut -d ' ' -f 1)"]}}
JSON
  echo '[{"Config": "config.json", "RepoTags": ["docker.io/local/pause:1"], "Layers": ["layer.tar"]}]' >"$folder/manifest.json"
  tar -C "$folder" -cf "$parts/pause.tar" manifest.json config.json layer.tar
  rm -r "$folder"
}

packages
mkdir -p "$parts/bin"
step kubernetes "$(sources kubernetes)" kubernetes
step coredns "$(sources coredns)" build coredns
step pause-image "$(sources pause) 1" pause
step helm "$helm" go_program "$helm"
