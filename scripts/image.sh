#!/usr/bin/env bash
# Builds release/postern-auditd-VERSION-image-ARCH.tar: a container image that `podman load` and `docker load` take, as an OCI layout with
# a manifest.json. Its layers are the libraries of Debian 13 that Node.js needs, Node.js, and the program of scripts/release-tree.sh. It
# has no shell and no package manager. The same commit, dependencies, Node.js and Debian packages give the same bytes.
#
#   scripts/image.sh [DIRECTORY [ARCH]]    default: release, this machine's architecture (amd64 or arm64)
#
# Environment: SOURCE_DATE_EPOCH (default: the commit's time), IMAGE (name without a tag, docker.io/posternproxy/postern-auditd), TREE (a
# finished tree of that architecture, which is copied), SNAPSHOT (20261201T000000Z: Debian's packages of that day, of snapshot.debian.org),
# LEVEL (of gzip: 6).
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RELEASE=trixie
PACKAGES=(base-files ca-certificates libc6 libgcc-s1 libstdc++6)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# The daemon's user, and the group adm of Debian, which reads logs.
USER_ID=65532
GROUP_ID=4

die() { echo "image.sh: $*" >&2; exit 1; }

case ${2:-$(uname -m)} in
  x64 | amd64 | x86_64) arch=amd64 ;;
  arm64 | aarch64) arch=arm64 ;;
  *) die "there is no image for ${2:-$(uname -m)}: amd64 or arm64" ;;
esac
for program in apt-get dpkg-deb npm; do
  command -v "$program" >/dev/null || die "$program is missing: build the image on Debian or Ubuntu, with npm"
done
[ -r "$KEYRING" ] || die "$KEYRING is missing: apt-get install debian-archive-keyring"
output=$(realpath -m "${1:-$clone/release}")
version=$(node -p "require('$clone/package.json').version")
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$clone" log -1 --format=%ct 2>/dev/null || stat -c %Y "$clone/package.json")}

mkdir -p "$output"
work=$(mktemp -d -p "$output" .image-XXXXXX)
trap 'rm -rf "$work"' EXIT
umask 022

# apt of its own, so that nothing depends on what this machine has or trusts. The lists are kept: they are 10 MB.
fetch_packages() {
  local apt=$clone/.cache/image-apt/$arch${SNAPSHOT:+-$SNAPSHOT} host=http://deb.debian.org suite
  mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial "$apt"/etc/preferences.d
  if [ -n "${SNAPSHOT:-}" ]; then host=http://snapshot.debian.org/archive; fi
  for suite in "debian${SNAPSHOT:+/$SNAPSHOT} $RELEASE" "debian${SNAPSHOT:+/$SNAPSHOT} $RELEASE-updates" "debian-security${SNAPSHOT:+/$SNAPSHOT} $RELEASE-security"; do
    echo "deb [signed-by=$KEYRING] $host/$suite main"
  done >"$apt/etc/sources.list"
  : >"$apt/status"
  local options=(-qq -o "Dir::State=$apt" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" -o "Dir::Etc=$apt/etc"
    -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" -o Acquire::Languages=none -o Acquire::Retries=3
    -o APT::Sandbox::User=root -o "Acquire::Check-Valid-Until=$([ -n "${SNAPSHOT:-}" ] && echo false || echo true)")
  (
    exec 8>"$apt/lock"
    flock 8
    apt-get "${options[@]}" update
    cd "$work/debs"
    apt-get "${options[@]}" download "${PACKAGES[@]}"
  ) >&2
}

# The libraries, and what tells scanners of vulnerabilities which packages they are of.
make_base() {
  local root=$1 deb package
  mkdir -p "$root/var/lib/dpkg/status.d"
  for deb in "$work"/debs/*.deb; do
    dpkg-deb --extract "$deb" "$root"
    package=$(dpkg-deb --field "$deb" Package)
    dpkg-deb --field "$deb" >"$root/var/lib/dpkg/status.d/$package"
  done
  mkdir -p "$root/etc/ssl/certs"
  LC_ALL=C find "$root/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | xargs cat >"$root/etc/ssl/certs/ca-certificates.crt"
  find "$root/usr/share/doc" -mindepth 2 ! -type d ! -name copyright -delete
  (
    cd "$root"
    rm -rf usr/share/{man,info,locale,lintian,bug,base-files,dict,misc,ca-certificates} usr/lib/*/{gconv,audit} usr/{bin,sbin}/* \
      etc/{dpkg,default,issue,issue.net,update-motd.d,profile.d,skel,ca-certificates} home root mnt media srv opt boot var/{backups,cache,local,lock,mail,opt,spool,tmp}
  )
  find "$root/usr/share" -type d -empty -delete
  printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' "postern-auditd:x:$USER_ID:$USER_ID:postern-auditd:/:/sbin/nologin" >"$root/etc/passwd"
  printf '%s\n' root:x:0: "adm:x:$GROUP_ID:" "postern-auditd:x:$USER_ID:" >"$root/etc/group"
  printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$root/etc/nsswitch.conf"
}

# Directories that volumes and tmpfs cover. An engine gives an empty named volume the owner and mode of the image's directory; runc
# gives a tmpfs that mode too, whatever `mode=` says.
make_places() {
  local root=$1
  install -d -m 0755 "$root"/{etc/postern-auditd,var/lib/posternproxy,usr/bin}
  install -d -m 1777 "$root/tmp"
  install -d -m 0750 "$root/var/lib/postern-auditd"
  install -d -m 2755 "$root/var/log/posternproxy"
}

# The program runs without a shell: Node.js is the interpreter of its command.
make_program() {
  local root=$1/usr/lib/postern-auditd
  cp -R --no-preserve=ownership "$tree"/{package.json,dist,node_modules,config,detections,fail2ban,web,LICENSE} "$root/"
  rm -r "$root"/fail2ban/{samples,postern-auditd-*}
  mkdir "$root/bin"
  {
    echo '#!/usr/lib/postern-auditd/node/bin/node --max-semi-space-size=4'
    echo "import '../dist/cli.js';"
  } >"$root/bin/postern-auditd"
  chmod 0755 "$root/bin/postern-auditd"
  echo container >"$root/front"
  ln -s ../lib/postern-auditd/bin/postern-auditd "$1/usr/bin/postern-auditd"
  cp "$clone/packaging/container/auditd.yml" "$1/etc/postern-auditd/config.yml"
}

# layer NAME: layers/NAME.tar.gz, and the hash of what it has unpacked. OWNED of its directories belong to the daemon.
layer() {
  local file=$work/layers/$1.tar format=(--format=gnu --numeric-owner "--mtime=@$epoch")
  tar -C "$work/$1" "${format[@]}" --sort=name --owner=0 --group=0 "${OWNED[@]/#/--exclude=}" -cf "$file" .
  if [ "$1" = program ]; then
    tar -C "$work/$1" "${format[@]}" --no-recursion "--owner=$USER_ID" "--group=$GROUP_ID" -rf "$file" "${OWNED[@]}"
  fi
  sha256sum <"$file" | cut -d ' ' -f 1 >"$work/layers/$1.diff"
  gzip -n "-${LEVEL:-6}" "$file"
}
OWNED=(./var/lib/postern-auditd ./var/log/posternproxy)

mkdir -p "$work"/{debs,base,node/usr/lib/postern-auditd,program/usr/lib/postern-auditd,layers}
tree=${TREE:-$work/tree}
if [ -z "${TREE:-}" ]; then "$clone/scripts/release-tree.sh" "$tree" "$arch" >&2; fi
fetch_packages
make_base "$work/base"
cp -R --no-preserve=ownership "$tree/node" "$work/node/usr/lib/postern-auditd/node"
make_places "$work/program"
make_program "$work/program"
for name in base node program; do layer "$name" & done
wait
packages=$(cd "$work/base/var/lib/dpkg/status.d" && grep -h '^Version: ' "${PACKAGES[@]}" | cut -d ' ' -f 2 | paste -d ' ' <(printf '%s\n' "${PACKAGES[@]}") - | paste -sd , -)
file=$output/postern-auditd-$version-image-$arch.tar
node "$clone/scripts/oci-image.js" "$work" "$work/oci" "${IMAGE:-docker.io/posternproxy/postern-auditd}:$version" "$arch" "$epoch" "$USER_ID:$GROUP_ID" "$packages"
tar -C "$work/oci" --format=gnu --sort=name --numeric-owner --owner=0 --group=0 --mtime="@$epoch" -cf "$work/image.tar" .
mv "$work/image.tar" "$file"
for name in base node program; do
  echo "$name: $(du -h --apparent-size "$work/layers/$name.tar.gz" | cut -f 1), $(du -sm "$work/$name" | cut -f 1) MB unpacked"
done
echo "$file ($(du -h "$file" | cut -f 1), $(du -smc "$work"/{base,node,program} | tail -n 1 | cut -f 1) MB unpacked; $packages, Node.js $(node -p "require('$clone/packaging/node.json').version"))"
