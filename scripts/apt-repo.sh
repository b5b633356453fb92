#!/usr/bin/env bash
# Adds packages to a signed apt repository: static files, for any web server. Its files:
#
#   pool/                     the packages, flat, and that of the key
#   dists/stable/             InRelease (signed), Release, Release.gpg, and the indices of amd64 and arm64
#   postern-archive-keyring.pgp   the key, for those who have no package of it yet
#
#   APT_KEY=FINGERPRINT scripts/apt-repo.sh DIRECTORY PACKAGE.deb…
#   scripts/apt-repo.sh --check-key FILE    fails if this public key expires too soon
#
# Environment: APT_KEY (of the secret key in GNUPGHOME that signs), MIN_DAYS (180: the least time before it expires, so that all hosts get a
# renewed key in time), APT_ORIGIN (Postern: what unattended-upgrades compares), DEBFULLNAME and DEBEMAIL.
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
origin=${APT_ORIGIN:-Postern}
keyring=postern-archive-keyring

die() { echo "apt-repo.sh: $*" >&2; exit 1; }

[ $# -ge 1 ] || { sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2; }
for program in gpg apt-ftparchive dpkg-deb xz; do
  command -v "$program" >/dev/null || die "$program is missing: apt-get install --no-install-recommends gnupg apt-utils dpkg xz-utils"
done

# check_key ARGUMENTS: stops if the key that these arguments of gpg list expires too soon; sets EXPIRY, in seconds, empty if there is none.
# Fields of gpg's DETAILS: 7 is the time of expiry, 12 are the capabilities. The primary key counts, and what can sign.
check_key() {
  local keys days
  keys=$(gpg --batch --with-colons "$@") || die "gpg has no key for: $*"
  EXPIRY=$(awk -F: '($1 ~ /^(pub|sec)$/ || ($1 ~ /^(sub|ssb)$/ && $12 ~ /s/)) && $7 != "" { print $7 }' <<<"$keys" | sort -n | head -n 1)
  if [ -z "$EXPIRY" ]; then return 0; fi
  days=$(((EXPIRY - $(date +%s)) / 86400))
  if [ "$days" -lt "${MIN_DAYS:-180}" ]; then
    die "the key expires in $days days; hosts that get its renewal too late refuse the repository. Renew it and its subkeys (gpg --quick-set-expire FINGERPRINT 3y, then the same with '*' at the end) and publish it again"
  fi
}

if [ "$1" = --check-key ]; then
  check_key --show-keys "${2:?FILE is missing}"
  exit
fi
[ -n "${APT_KEY:-}" ] || die 'APT_KEY is missing: the fingerprint of the secret key that signs (gpg --list-secret-keys)'
repository=$(realpath -m "$1")
shift
check_key --list-secret-keys "$APT_KEY"

umask 022
mkdir -p "$repository/pool"
work=$(mktemp -d -p "$repository" .apt-repo-XXXXXX)
trap 'rm -rf "$work"' EXIT

# ---- packages ----

# add PACKAGE: a published file never changes, because hosts compare it with the hash of an index that they have.
add() {
  local there=$repository/pool/${1##*/}
  [ ! -e "$there" ] || cmp -s "$1" "$there" || die "$there has other bytes than $1: build it with another DEB_REVISION"
  install -m 0644 "$1" "$there"
}

# The version of the keyring package is the time of the key's newest self-signature, which each renewal makes.
make_keyring() {
  local key=$work/$keyring tree=$work/keyring signed version maintainer
  gpg --batch --export --export-options export-minimal "$APT_KEY" >"$key.pgp"
  signed=$(gpg --batch --with-colons --list-sigs "$APT_KEY" | awk -F: '$1 == "sig" { print $6 }' | sort -n | tail -n 1)
  version=$(date -u -d "@$signed" +%Y.%m.%d.%H%M)
  maintainer=$(sed -n 's/^Maintainer: //p' "$clone/packaging/debian/control")
  if [ -n "${DEBEMAIL:-}" ]; then maintainer="${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>"; fi
  install -D -m 0644 "$key.pgp" "$tree/usr/share/keyrings/$keyring.pgp"
  install -D -m 0644 "$clone/packaging/keyring/copyright" "$tree/usr/share/doc/$keyring/copyright"
  printf '%s (%s) stable; urgency=medium\n\n  * The key as it was signed last.\n\n -- %s  %s\n' "$keyring" "$version" "$maintainer" \
    "$(LC_ALL=C date -u -R -d "@$signed")" | gzip -n9 >"$tree/usr/share/doc/$keyring/changelog.gz"
  mkdir "$tree/DEBIAN"
  sed -e "s/@VERSION@/$version/" -e "s/@MAINTAINER@/$maintainer/" "$clone/packaging/keyring/control" >"$tree/DEBIAN/control"
  echo "Installed-Size: $(du -sk --apparent-size "$tree/usr" | cut -f 1)" >>"$tree/DEBIAN/control"
  (cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
  SOURCE_DATE_EPOCH=$signed dpkg-deb --root-owner-group -Zxz --build "$tree" "$work/${keyring}_${version}_all.deb" >/dev/null
  add "$work/${keyring}_${version}_all.deb"
  mv "$key.pgp" "$repository/"
}

for package in "$@"; do add "$package"; done
make_keyring

# ---- indices ----

stable=$work/dists/stable
for arch in amd64 arm64; do
  indices=$stable/main/binary-$arch
  mkdir -p "$indices"
  (cd "$repository" && apt-ftparchive --arch "$arch" packages pool) >"$indices/Packages"
  gzip -n9 -k "$indices/Packages"
  xz -k "$indices/Packages"
  # By their hashes, old ones too: a host that has an older InRelease finds the indices that it names while they are replaced.
  mkdir -p "$indices/by-hash/SHA256"
  cp -p "$repository/dists/stable/main/binary-$arch/by-hash/SHA256"/* "$indices/by-hash/SHA256/" 2>/dev/null || true
  find "$indices/by-hash" -type f -mtime +30 -delete
  for file in "$indices"/Packages*; do cp "$file" "$indices/by-hash/SHA256/$(sha256sum "$file" | cut -d ' ' -f 1)"; done
done
option=APT::FTPArchive::Release
apt-ftparchive -o "$option::Origin=$origin" -o "$option::Label=postern-auditd" -o "$option::Suite=stable" -o "$option::Codename=stable" \
  -o "$option::Architectures=amd64 arm64" -o "$option::Components=main" -o "$option::Acquire-By-Hash=yes" \
  -o "$option::Description=Packages of postern-auditd" -o "$option::Patterns::=Packages*" release "$stable" >"$work/Release"
mv "$work/Release" "$stable/"
sign=(gpg --batch --yes --local-user "$APT_KEY" --digest-algo SHA512)
"${sign[@]}" --clearsign --output "$stable/InRelease" "$stable/Release"
"${sign[@]}" --armor --detach-sign --output "$stable/Release.gpg" "$stable/Release"

mkdir -p "$repository/dists"
rm -rf "$repository/dists/stable.old"
if [ -e "$repository/dists/stable" ]; then mv -T "$repository/dists/stable" "$repository/dists/stable.old"; fi
mv -T "$stable" "$repository/dists/stable"
rm -rf "$repository/dists/stable.old"
echo "$repository ($(find "$repository/pool" -name '*.deb' | wc -l) packages; the key $(if [ -n "$EXPIRY" ]; then date -u -d "@$EXPIRY" '+expires on %F'; else echo 'does not expire'; fi))"
