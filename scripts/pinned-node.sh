#!/usr/bin/env bash
# Prints the directory of the Node.js that all packages bring: bin/node and LICENSE. packaging/node.json pins its version and, for each
# architecture, the npm package with its hash. A package with another hash is not unpacked. The directory is kept in .cache/.
#
#   scripts/pinned-node.sh [ARCH]    x64 (also amd64) or arm64; default: this machine's
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pin=$clone/packaging/node.json

die() { echo "pinned-node.sh: $*" >&2; exit 1; }

case ${1:-$(uname -m)} in
  x64 | amd64 | x86_64) arch=x64 ;;
  arm64 | aarch64) arch=arm64 ;;
  *) die "there is no Node.js for ${1:-$(uname -m)}: x64 or arm64" ;;
esac
command -v npm >/dev/null || die 'npm is missing: install Node.js 20.19 or later with npm'
IFS=' ' read -r version package integrity < <(node -p 'const p = JSON.parse(fs.readFileSync(process.argv[1])); const a = p[process.argv[2]]; [p.version, a.package, a.integrity].join(" ")' "$pin" "$arch")

directory=$clone/.cache/pinned-node/$version-$arch
mkdir -p "${directory%/*}"
exec 9>"$directory.lock"
flock 9
if [ "$(cat "$directory/INTEGRITY" 2>/dev/null)" != "$integrity" ]; then
  work=$(mktemp -d "$directory.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  npm pack --silent --prefer-offline --pack-destination "$work" "$package@$version" >/dev/null || die "npm could not download $package $version"
  mv "$work"/*.tgz "$work/package.tgz"
  found=$(node -p '"sha512-" + crypto.createHash("sha512").update(fs.readFileSync(process.argv[1])).digest("base64")' "$work/package.tgz")
  [ "$found" = "$integrity" ] || die "$package $version has the hash $found, but $pin expects $integrity: find out why before you change the pin"
  tar -xzf "$work/package.tgz" -C "$work" --no-same-owner package/bin/node package/LICENSE
  printf '%s\n' "$integrity" >"$work/package/INTEGRITY"
  chmod -R u=rwX,go=rX "$work/package"
  rm -rf "$directory"
  mv -T "$work/package" "$directory"
fi
printf '%s\n' "$directory"
