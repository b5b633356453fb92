#!/usr/bin/env bash
# Builds release/postern-auditd-VERSION-linux-ARCH.tar.gz, which installs on Debian or Ubuntu without Node.js, npm or a
# compiler: the tree of scripts/release-tree.sh. The build is reproducible: the same commit, dependencies and Node.js give the same bytes.
#
#   scripts/package.sh [DIRECTORY [ARCH]]    default: release, this machine's architecture (x64 or arm64)
#
# Environment: SOURCE_DATE_EPOCH (default: the commit's time).
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=install/program.sh
. "$clone/install/program.sh"

output=$(realpath -m "${1:-$clone/release}")
case ${2:-$(uname -m)} in x64 | amd64 | x86_64) arch=x64 ;; *) arch=arm64 ;; esac
name=postern-auditd-$(node -p "require('$clone/package.json').version")-linux-$arch
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$clone" log -1 --format=%ct 2>/dev/null || stat -c %Y "$clone/package.json")}

mkdir -p "$output"
work=$(mktemp -d -p "$output" .package-XXXXXX)
trap 'rm -rf "$work"' EXIT
"$clone/scripts/release-tree.sh" "$work/$name" "${2:-$arch}"
write_manifest "$work/$name"
tar -C "$work" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" | gzip -n -6 >"$work/$name.tar.gz"
mv "$work/$name.tar.gz" "$output/"
(cd "$output" && sha256sum ./*.tar.gz | sed 's, \./, ,' >SHA256SUMS)
echo "$output/$name.tar.gz ($(du -h "$output/$name.tar.gz" | cut -f 1), $(du -sm "$work/$name" | cut -f 1) MB unpacked, Node.js $(node -p "require('$clone/packaging/node.json').version"))"
