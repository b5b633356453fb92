#!/usr/bin/env bash
# Builds release/postern-auditd-VERSION-linux-ARCH.tar.gz, which installs on Debian or Ubuntu without Node.js, npm or a
# compiler. It contains the compiled code, production dependencies with SQLite's native module, this machine's Node.js and
# install.sh. The build is reproducible: the same commit, dependencies and Node.js give the same bytes.
#
#   scripts/package.sh [DIRECTORY]    default: release
#
# Environment: NODE (the Node.js to pack; default: the first in PATH), SOURCE_DATE_EPOCH (default: the commit's time).
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=install/program.sh
. "$clone/install/program.sh"

# The oldest supported system, Ubuntu 22.04, has glibc 2.35 and libstdc++ with GLIBCXX 3.4.30 (Debian 12: 2.36 and 3.4.30).
declare -A NEWEST=([GLIBC]=2.35 [GLIBCXX]=3.4.30)
LIBRARIES='linux-vdso|ld-linux[^ ]*|libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s'

die() { echo "package.sh: $*" >&2; exit 1; }

# newest SYMBOLS FILE…: the highest version of GLIBC or GLIBCXX that the files require.
newest() { local name=$1; shift; grep -haoE "\\b${name}_[0-9]+(\\.[0-9]+)+" "$@" | sed "s/^${name}_//" | sort -Vu | tail -n 1; }

# runs_on_all FILE…: stops unless every supported system has the libraries and symbols that the files require.
runs_on_all() {
  local foreign name found
  foreign=$(for found in "$@"; do ldd "$found"; done | awk '{ print $1 }' | sed 's,.*/,,' | grep -vE "^($LIBRARIES)\\.so" | sort -u || true)
  if [ -n "$foreign" ]; then
    die "$* need libraries that supported systems may lack: ${foreign//$'\n'/ }. Use a Node.js build of nodejs.org (NODE=…)."
  fi
  for name in GLIBC GLIBCXX; do
    found=$(newest $name "$@")
    if [ "$(printf '%s\n' "$found" "${NEWEST[$name]}" | sort -V | tail -n 1)" != "${NEWEST[$name]}" ]; then
      die "$* need ${name}_$found, but the oldest supported system has ${NEWEST[$name]}. Run package.sh on Debian 12 or Ubuntu 22.04."
    fi
  done
}

output=$(realpath -m "${1:-$clone/release}")
node=$(realpath "${NODE:-$(command -v node)}")
npm=$(command -v npm) || die 'npm is missing: install npm for this Node.js'
version=$("$node" -p "require('$clone/package.json').version")
name=postern-auditd-$version-linux-$("$node" -p process.arch)
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$clone" log -1 --format=%ct 2>/dev/null || stat -c %Y "$clone/package.json")}

mkdir -p "$output"
work=$(mktemp -d -p "$output" .package-XXXXXX)
trap 'rm -rf "$work"' EXIT
tree=$work/$name
mkdir -m 0755 "$tree"
umask 022

build_tree "$clone" "$tree" "$node" "$npm"
mkdir -p "$tree/node/bin"
cp "$node" "$tree/node/bin/node"
if command -v strip >/dev/null; then strip "$tree/node/bin/node"; fi
chmod 0755 "$tree/node/bin/node"
for licence in "${node%/bin/node}/LICENSE" /usr/share/doc/nodejs/copyright; do
  if [ -f "$licence" ]; then cp "$licence" "$tree/node/LICENSE"; break; fi
done
# Debian packages that the binaries need. Every Debian has them, except some container images.
printf '%s\n' libc6 libgcc-s1 libstdc++6 >"$tree/node/REQUIRES"

mapfile -t binaries < <(find "$tree" -type f \( -name '*.node' -o -path "$tree/node/bin/node" \))
runs_on_all "${binaries[@]}"
[ "$("$tree/bin/postern-auditd" --version)" = "$version" ] || die "the packed program does not print its version, $version"

write_manifest "$tree"
find "$tree" -type d -exec chmod 0755 {} +
tar -C "$work" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" | gzip -n -6 >"$work/$name.tar.gz"
mv "$work/$name.tar.gz" "$output/"
(cd "$output" && sha256sum ./*.tar.gz | sed 's, \./, ,' >SHA256SUMS)
echo "$output/$name.tar.gz ($(du -h "$output/$name.tar.gz" | cut -f 1), Node.js $("$node" --version), glibc ≥ $(newest GLIBC "${binaries[@]}"))"
