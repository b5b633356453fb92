#!/usr/bin/env bash
# Makes the production tree that the tarball, the Debian package and the container image pack: the compiled program, production
# dependencies with SQLite's native module, the pinned Node.js (packaging/node.json) and install.sh. The same commit, dependencies and
# Node.js give the same bytes. Nothing of it runs on this machine if ARCH is another architecture.
#
#   scripts/release-tree.sh DIRECTORY [ARCH]    DIRECTORY is new or empty; ARCH: x64 (also amd64) or arm64; default: this machine's
#
# Requires binutils, and for another architecture also its strip, such as that of binutils-aarch64-linux-gnu.
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=install/program.sh
. "$clone/install/program.sh"

# The oldest supported system, Ubuntu 22.04, has glibc 2.35 and libstdc++ with GLIBCXX 3.4.30 (Debian 12: 2.36 and 3.4.30).
declare -A NEWEST=([GLIBC]=2.35 [GLIBCXX]=3.4.30)
LIBRARIES='ld-linux[^ ]*|libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s'

die() { echo "release-tree.sh: $*" >&2; exit 1; }

# runs_on_all FILE…: stops unless every supported system has the libraries and symbols that the files require.
runs_on_all() {
  local foreign name found
  foreign=$(for found in "$@"; do readelf -d "$found"; done | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE "^($LIBRARIES)\\.so" | sort -u || true)
  if [ -n "$foreign" ]; then die "$* need libraries that supported systems may lack: ${foreign//$'\n'/ }"; fi
  for name in GLIBC GLIBCXX; do
    found=$(grep -haoE "\\b${name}_[0-9]+(\\.[0-9]+)+" "$@" | sed "s/^${name}_//" | sort -Vu | tail -n 1)
    if [ "$(printf '%s\n' "$found" "${NEWEST[$name]}" | sort -V | tail -n 1)" != "${NEWEST[$name]}" ]; then
      die "$* need ${name}_$found, but the oldest supported system has ${NEWEST[$name]}"
    fi
  done
}

case ${2:-$(uname -m)} in
  x64 | amd64 | x86_64) arch=x64 machine=x86_64 ;;
  arm64 | aarch64) arch=arm64 machine=aarch64 ;;
  *) die "there is no release for ${2:-$(uname -m)}: x64 or arm64" ;;
esac
[ -n "${1:-}" ] || die 'DIRECTORY is missing'
tree=$(realpath -m "$1")
[ ! -e "$tree" ] || [ -z "$(ls -A "$tree")" ] || die "$tree is not empty"
strip='strip'
if [ "$machine" != "$(uname -m)" ]; then strip=$machine-linux-gnu-strip; fi
for program in npm readelf "$strip"; do
  command -v "$program" >/dev/null || die "$program is missing: apt-get install npm binutils$([ "$strip" = strip ] || echo " binutils-${machine//_/-}-linux-gnu")"
done

umask 022
mkdir -p "$tree"
chmod 0755 "$tree"
# The tree is built with the pinned Node.js, because npm leaves out the SQLite module that an older one can't load.
build_tree "$clone" "$tree" "$("$clone/scripts/pinned-node.sh")/bin/node" "$(command -v npm)" "$arch"
# Pictures of README.md, and what only those who change the code read.
rm -rf "$tree/docs/screenshots" "$tree/docs/internals" "$tree/docs/ARCHITECTURE.md"

node=$("$clone/scripts/pinned-node.sh" "$arch")
install -D -m 0755 "$node/bin/node" "$tree/node/bin/node"
install -m 0644 "$node/LICENSE" "$tree/node/LICENSE"
# Debian packages that the binaries need. Every Debian has them, except some container images.
printf '%s\n' libc6 libgcc-s1 libstdc++6 >"$tree/node/REQUIRES"

mapfile -t binaries < <(find "$tree" -type f \( -name '*.node' -o -path "$tree/node/bin/node" \) | LC_ALL=C sort)
"$strip" --strip-unneeded --remove-section=.comment --remove-section=.note "${binaries[@]}"
runs_on_all "${binaries[@]}"
if [ "$machine" = "$(uname -m)" ]; then
  version=$(node -p "require('$clone/package.json').version")
  [ "$("$tree/bin/postern-auditd" --version)" = "$version" ] || die "the packed program does not print its version, $version"
  sqlite_runs "$tree" "$tree/node/bin/node"
fi
find "$tree" -type d -exec chmod 0755 {} +
