#!/usr/bin/env bash
# Creates a release commit and its annotated tag: sets the version in package.json and the compose file and the heading in CHANGELOG.md,
# runs the checks, commits and tags. Pushes nothing.
#
#   scripts/release.sh VERSION [--no-check]
#
# VERSION is MAJOR.MINOR.PATCH, above or equal to that in package.json, and not tagged yet. --no-check skips `npm run check`. Run the
# full tests first (npm test, npm run test:release).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { echo "release.sh: $*" >&2; exit 1; }

version=${1:-}
[[ "$version" =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
check=true
case ${2:-} in
  --no-check) check=false ;;
  '') ;;
  *) die "unknown option $2" ;;
esac

[ -z "$(git status --porcelain)" ] || die 'there are uncommitted changes: commit or discard them'
git rev-parse -q --verify "refs/tags/v$version" >/dev/null && die "the tag v$version exists already: choose a higher version"
current=$(node -p "require('./package.json').version")
[ "$(printf '%s\n' "$current" "$version" | sort -V | tail -n 1)" = "$version" ] || die "$version is below the current version $current"
unreleased=$(awk '/^## \[Unreleased\]/ { on = 1; next } /^## \[/ { on = 0 } on && NF' CHANGELOG.md)
[ -n "$unreleased" ] || die 'CHANGELOG.md has nothing under [Unreleased]: describe the changes that users notice'
grep -qF "## [$version]" CHANGELOG.md && die "CHANGELOG.md has a section for $version already"

trap 'git checkout -q -- package.json package-lock.json CHANGELOG.md packaging/container/compose.yaml' ERR
[ "$current" = "$version" ] || npm version --no-git-tag-version "$version" >/dev/null
sed -i "s,\(image: .*/postern-auditd:\).*,\1$version," packaging/container/compose.yaml
date=$(date -u +%F)
sed -i "s/^## \[Unreleased\]\$/## [Unreleased]\n\n## [$version] - $date/" CHANGELOG.md
if "$check"; then npm run --silent check; fi
git commit -qam "Release $version" -m "CHANGELOG.md lists the changes."
trap - ERR
git tag -a "v$version" -m "postern-auditd $version"

cat <<EOF
v$version is committed and tagged here. Next:
  git push --follow-tags
  scripts/package.sh            builds the tarball of this commit
  scripts/deb.sh                builds its Debian package
  scripts/image.sh              builds its container image
EOF
