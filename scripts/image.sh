#!/usr/bin/env bash
# Makes the image: image.sh FOLDER-OF-BINARIES NAME:TAG. Lays out a root file system with `sluice`, `sluice-operator` and what
# they need to run, checks that they do run in it, and writes $SLUICE_CACHE/image/sluice.tar, an OCI archive.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/steps.sh"
binaries=$1
name=$2
made=$cache/image
root=$made/root

packages() {
  local missing=()
  command -v buildah >/dev/null || missing+=(buildah)
  command -v objcopy >/dev/null || missing+=(binutils)
  [ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  "$here/apt-install.sh" "${missing[@]}"
}

# The libraries of a program, its loader among them, at the paths where the loader looks for them.
libraries() {
  ldd "$1" | sed -n -E 's|.*=> (/[^ ]+) .*|\1|p; s|^[[:space:]]*(/[^ ]+) .*|\1|p'
}

stage() {
  local program library package
  rm -rf "$root"
  mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/usr/share/doc/sluice"
  for program in sluice sluice-operator; do
    # Names of functions stay, for the backtrace of a panic; line numbers are most of the size and go.
    objcopy --strip-debug "$binaries/$program" "$root/usr/bin/$program"
  done
  for library in $(libraries "$binaries/sluice"; libraries "$binaries/sluice-operator"); do
    install -D -m 0755 "$library" "$root$library"
    # Their licences travel with them.
    package=$(dpkg -S "*/$(basename "$library")" 2>/dev/null | head -n 1 | cut -d: -f1)
    install -D -m 0644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
  done
  install -m 0644 "$here/../LICENSE" "$root/usr/share/doc/sluice/copyright"
  install -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  printf 'root:x:0:0:root:/:/nonexistent\nsluice:x:65532:65532:sluice:/tmp:/nonexistent\n' >"$root/etc/passwd"
  printf 'root:x:0:\nsluice:x:65532:\n' >"$root/etc/group"
  # Names of hosts: what a pod's /etc/hosts says, then DNS.
  printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
  mkdir -m 1777 "$root/tmp"
}

# A library that was forgotten shows here and not in a cluster.
check() {
  [ "$(id -u)" -eq 0 ] || { echo "image: not root, so the programs are not tried in their root file system" >&2; return 0; }
  chroot --userspec=65532:65532 "$root" /usr/bin/sluice --version
  chroot --userspec=65532:65532 "$root" /usr/bin/sluice-operator --version
  local shell
  shell=$(find "$root" \( -name sh -o -name bash -o -name busybox \) -print -quit)
  [ -z "$shell" ] || { echo "image: there is a shell in it: $shell" >&2; return 1; }
}

# The time of the last commit, so that the same files make the same image.
time_of_commit() {
  git -C "$here/.." log -1 --format=%ct 2>/dev/null || echo 0
}

build() {
  local store=(--root "$made/storage" --runroot "$made/run" --storage-driver overlay)
  buildah "${store[@]}" build --isolation chroot --timestamp "$(time_of_commit)" \
    --label org.opencontainers.image.title=Sluice --label org.opencontainers.image.licenses=Apache-2.0 \
    --label org.opencontainers.image.version="${name##*:}" \
    --tag "$name" --file "$here/../Containerfile" "$root"
  rm -f "$made/sluice.tar"
  buildah "${store[@]}" push --quiet "$name" "oci-archive:$made/sluice.tar:$name"
  # What is kept is the archive.
  buildah "${store[@]}" rmi --all --force >/dev/null
}

packages
stage
check
build
echo "image: $name, $(du -h "$made/sluice.tar" | cut -f1) in $made/sluice.tar"
