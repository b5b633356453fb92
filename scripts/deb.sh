#!/usr/bin/env bash
# Builds release/postern-auditd_VERSION_ARCH.deb from the tree of scripts/release-tree.sh, with debhelper 13 (Debian 12 or later). The same
# commit, dependencies and Node.js give the same bytes.
#
#   scripts/deb.sh [DIRECTORY [ARCH]]    default: release, this machine's architecture (amd64 or arm64)
#
# Environment: SOURCE_DATE_EPOCH (default: the commit's time), DEB_REVISION (of this package of a version, 1), DEBFULLNAME and DEBEMAIL
# (the maintainer), TREE (a finished tree of that architecture, which is copied), COMPRESSION (for dpkg-deb, -Zxz).
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { echo "deb.sh: $*" >&2; exit 1; }

for program in dpkg-buildpackage dh; do
  command -v "$program" >/dev/null || die "$program is missing: apt-get install --no-install-recommends dpkg-dev debhelper"
done
output=$(realpath -m "${1:-$clone/release}")
case ${2:-$(uname -m)} in
  x64 | amd64 | x86_64) arch=amd64 ;;
  arm64 | aarch64) arch=arm64 ;;
  *) die "there is no package for ${2:-$(uname -m)}: amd64 or arm64" ;;
esac
version=$(node -p "require('$clone/package.json').version")-${DEB_REVISION:-1}
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$clone" log -1 --format=%ct 2>/dev/null || stat -c %Y "$clone/package.json")}

mkdir -p "$output"
work=$(mktemp -d -p "$output" .deb-XXXXXX)
trap 'rm -rf "$work"' EXIT
umask 022
source=$work/postern-auditd
mkdir "$source"
cp -R --no-preserve=ownership "$clone/packaging/debian" "$source/debian"
if [ -n "${TREE:-}" ]; then
  cp -R --no-preserve=ownership "$TREE" "$source/tree"
else
  "$clone/scripts/release-tree.sh" "$source/tree" "$arch"
fi
if [ -n "${DEBEMAIL:-}" ]; then sed -i "s/^Maintainer:.*/Maintainer: ${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>/" "$source/debian/control"; fi
cat >"$source/debian/changelog" <<TEXT
postern-auditd ($version) stable; urgency=medium

  * Version ${version%-*}: the changes are in changelog.gz.

 -- $(sed -n 's/^Maintainer: //p' "$source/debian/control")  $(LC_ALL=C date -u -R -d "@$epoch")
TEXT
mkdir "$source/completion"
node=$("$clone/scripts/pinned-node.sh")/bin/node
for shell in bash zsh fish; do "$node" "$source/tree/dist/cli.js" completion "$shell" >"$source/completion/$shell"; done

log=$work/log
(
  cd "$source"
  unset MAKEFLAGS MAKELEVEL DEB_BUILD_OPTIONS DEB_BUILD_PROFILES
  # The version of dpkg-deb decides about the compression; more threads would give other bytes.
  export SOURCE_DATE_EPOCH=$epoch LC_ALL=C.UTF-8 TZ=UTC COMPRESSION="${COMPRESSION:--Zxz} --threads-max=1"
  dpkg-buildpackage --build=binary --no-sign --no-pre-clean --no-check-builddeps --host-arch="$arch"
) >"$log" 2>&1 || { tail -n 30 "$log" >&2; die 'dpkg-buildpackage failed'; }
deb=postern-auditd_${version}_$arch.deb
mv "$work/$deb" "$output/"
echo "$output/$deb ($(du -h "$output/$deb" | cut -f 1), $(dpkg-deb -f "$output/$deb" Installed-Size | awk '{ printf "%.0f", $1 / 1024 }') MB installed)"
