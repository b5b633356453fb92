# shellcheck shell=bash
# Checks of the host: distribution, mounts, free space, Node.js, Debian packages and the administrator's address.

MISSING=() # Debian packages

# distribution_verdict ID VERSION_ID ID_LIKE: supported, untested (another version or a derivative) or foreign.
distribution_verdict() {
  case $1:$2 in
    debian:12 | debian:13 | ubuntu:22.04 | ubuntu:24.04) echo supported ;;
    *) case " $1 $3 " in *' debian '* | *' ubuntu '*) echo untested ;; *) echo foreign ;; esac ;;
  esac
}

check_host() {
  local ID='' VERSION_ID='' ID_LIKE='' PRETTY_NAME='this system'
  if [ "$(id -u)" -ne 0 ]; then die "$ME needs root." "$(as_root "$(command_line)")"; fi
  # shellcheck disable=SC1091 # a file of the host
  if [ -r /etc/os-release ]; then . /etc/os-release; fi
  case $(distribution_verdict "$ID" "$VERSION_ID" "$ID_LIKE") in
    supported) ;;
    untested) warn "$PRETTY_NAME is not a tested system (tested: Debian 12 and 13, Ubuntu 22.04 and 24.04)." ;;
    *) die "$PRETTY_NAME is not Debian or Ubuntu." 'install by hand, as docs/guide/INSTALL.md describes.' ;;
  esac
  if [ ! -d /run/systemd/system ]; then
    die 'systemd is not running here.' 'start "postern-auditd run" with your own process supervisor, as docs/guide/INSTALL.md describes.'
  fi
}

# as_root COMMAND: the command line that runs COMMAND as root on this host.
as_root() {
  if command -v sudo >/dev/null; then printf 'sudo %s\n' "$1"; else printf 'su -c %q\n' "$1"; fi
}

# ---- places --------------------------------------------------------------------------------------------------------

# existing PATH: the path, or its nearest existing parent.
existing() {
  local at=$1
  while [ ! -e "$at" ] && [ "$at" != / ]; do at=$(dirname -- "$at"); done
  printf '%s\n' "$at"
}

free_mb() { df --output=avail -k -- "$(existing "$1")" | awk 'NR == 2 { print int($1 / 1024) }'; }

# why_unwritable PATH: why root can't write there; empty if root can. `-w` is false for root too on a read-only file system.
why_unwritable() {
  local at
  at=$(existing "$1")
  if [ ! -w "$at" ]; then printf '%s is read-only (mounted at %s)\n' "$1" "$(findmnt -no TARGET -T "$at")"; fi
}

# mounted_noexec PATH: the mount point of PATH if it is mounted with noexec; else empty.
mounted_noexec() {
  local at
  at=$(existing "$1")
  if findmnt -no OPTIONS -T "$at" | tr ',' '\n' | grep -x noexec >/dev/null; then findmnt -no TARGET -T "$at"; fi
}

# needed_mb: the space that the program needs in ${PREFIX%/*}. The installed program stays until the new one runs. Measured: 118 MB
# for a release. A clone needs what npm downloads, and the build tools too if the clone is not built.
needed_mb() {
  case $KIND in
    release) if cmp -s "$HERE/MANIFEST" "$PREFIX/MANIFEST"; then echo 5; else du -sm -- "$HERE" | awk '{ print $1 + 5 }'; fi ;;
    clone) if [ -d "$HERE/node_modules/typescript" ]; then echo 100; else echo 300; fi ;;
    *) echo 5 ;;
  esac
}

# look_at_places: stops before any change if a directory is read-only, mounted with noexec or full.
look_at_places() {
  local place why free need=5
  for place in "${PREFIX%/*}" /etc/systemd/system "${CONFIG%/*}" /var/lib /var/log /run "${TMPDIR:-/tmp}"; do
    why=$(why_unwritable "$place")
    if [ -n "$why" ]; then die "$why." "mount it read-write (mount -o remount,rw), then run $ME again."; fi
  done
  why=$(mounted_noexec "${PREFIX%/*}")
  if [ -n "$why" ]; then
    die "${PREFIX%/*} is mounted with noexec (at $why), so the program can't run there." \
      "run mount -o remount,exec $why and remove noexec from /etc/fstab; or mount another file system there."
  fi
  need=$(needed_mb)
  free=$(free_mb "${PREFIX%/*}")
  if [ "$free" -lt "$need" ]; then die "${PREFIX%/*} has $free MB free, but the program needs $need MB there." "free some space, then run $ME again."; fi
  for place in /etc /var/lib "${TMPDIR:-/tmp}"; do
    free=$(free_mb "$place")
    if [ "$free" -lt 5 ]; then die "$place has $free MB free, but 5 MB are needed." "free some space, then run $ME again."; fi
  done
}

# next_step ADVICE: the next step after an unexpected failure: ADVICE, unless a disk is full or has become read-only.
next_step() {
  local place why places=("${PREFIX%/*}" /etc /var/lib /var/log "${LINK%/*}" "${TMPDIR:-/tmp}")
  if [ "$ONLY_SETTINGS" = yes ]; then places=(/etc /var/lib /var/log "${TMPDIR:-/tmp}"); fi
  for place in "${places[@]}"; do
    why=$(why_unwritable "$place")
    if [ -n "$why" ]; then
      printf '%s: mount it read-write (mount -o remount,rw), then run %s again.\n' "$why" "$ME"
      return
    fi
    if [ "$(free_mb "$place")" -lt 1 ]; then
      printf 'the disk of %s is full: free some space there, then run %s again.\n' "$place" "$ME"
      return
    fi
  done
  printf '%s\n' "$1"
}

# node_is_new_enough VERSION: true for 20.19 or later; VERSION as `node --version` prints it.
node_is_new_enough() {
  local major minor
  IFS=. read -r major minor _ <<<"${1#v}"
  [[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]] && { [ "$major" -gt 20 ] || { [ "$major" -eq 20 ] && [ "$minor" -ge 19 ]; }; }
}

# writers_of PATH: everyone except root who can change the path or a directory above it, a line each: `user ID NAME`, `group ID
# NAME`, `others`, and `sticky` for a directory above in which others can create files but not change existing ones.
writers_of() {
  local path at uid user gid group mode
  path=$(realpath -m -- "$1")
  at=$path
  while :; do
    if read -r uid user gid group mode < <(stat -c '%u %U %g %G %a' -- "$at" 2>/dev/null); then
      mode=000$mode
      if [ "$uid" != 0 ]; then printf 'user %s %s\n' "$uid" "$(name_or_id "$user" "$uid")"; fi
      if [ "$gid" != 0 ] && [ $((${mode: -2:1} & 2)) -ne 0 ]; then printf 'group %s %s\n' "$gid" "$(name_or_id "$group" "$gid")"; fi
      if [ $((${mode: -1} & 2)) -ne 0 ]; then
        if [ -d "$at" ] && [ $((${mode: -4:1} & 1)) -ne 0 ] && [ "$at" != "$path" ]; then echo sticky; else echo others; fi
      fi
    fi
    if [ "$at" = / ]; then return; fi
    at=${at%/*}
    if [ -z "$at" ]; then at=/; fi
  done
}

# who_may_write PATH: the first writer of a program that root runs: `the user NAME`, `the group NAME` or `everybody`; empty if only
# root can write it.
who_may_write() {
  local kind name
  while read -r kind _ name; do
    case $kind in
      user | group) printf 'the %s %s\n' "$kind" "$name" ;;
      others) echo everybody ;;
      *) continue ;;
    esac
    return
  done < <(writers_of "$1")
}

name_or_id() { if [ "$1" = UNKNOWN ]; then printf '%s' "$2"; else printf '%s' "$1"; fi; }

node_candidates() {
  type -aP node nodejs || true
  PATH=$CALLER_PATH type -aP node nodejs || true
}

# find_node: sets NODE to a Node.js that is new enough and visible to a service, or stops with advice. The caller's path is searched
# too, but root runs no program that others can change.
find_node() {
  local name path version writer old='' hidden='' open=''
  local next='install Node.js 20.19 or later with npm (Debian 13: apt-get install nodejs npm), or use the release tarball, which includes Node.js.'
  NODE=''
  while read -r name; do
    path=$(realpath -e -- "$name" 2>/dev/null) || continue
    writer=$(who_may_write "$path")
    if [ -n "$writer" ]; then
      open="$path can be changed by $writer"
      continue
    fi
    version=$("$path" --version 2>/dev/null) || continue
    if ! node_is_new_enough "$version"; then
      old="$path is $version"
    elif hidden_by_home "$path"; then
      hidden=$path
    else
      NODE=$path
      return
    fi
  done < <(node_candidates)
  if [ -n "$open" ]; then die "$open, so root must not run it." "$next"; fi
  if [ -n "$hidden" ]; then die "$hidden is in a home directory, which is hidden from the service." "$next"; fi
  if [ -n "$old" ]; then die "Node.js is too old: $old." "$next"; fi
  die 'Node.js is not installed.' "$next"
}

# ---- packages ------------------------------------------------------------------------------------------------------

has_package() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

want_package() { if ! has_package "$1"; then MISSING+=("$1"); fi; }

apt_get() { DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o Acquire::Retries=0 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"; }

# fetch_packages: downloads the missing packages into apt's cache, or stops before any change.
fetch_packages() {
  local log
  if [ ${#MISSING[@]} -eq 0 ]; then return 0; fi
  if [ "$DRY_RUN" = yes ]; then
    change "install the Debian packages ${MISSING[*]}" true
    return 0
  fi
  say "  fetching   the Debian packages ${MISSING[*]}"
  log=$(apt_get install --no-install-recommends --download-only "${MISSING[@]}" 2>&1) && return 0
  apt_get update >/dev/null 2>&1 || true
  log=$(apt_get install --no-install-recommends --download-only "${MISSING[@]}" 2>&1) && return 0
  printf '%s\n' "$log" | tail -n 5 >&2
  die "these Debian packages are missing and can't be downloaded: ${MISSING[*]}. Nothing has been changed." \
    "make a package source reachable or install them yourself, then run $ME again$( [ "$WITH_FAIL2BAN" = no ] || echo ' (--no-fail2ban installs without bans)')."
}

install_packages() {
  if [ ${#MISSING[@]} -eq 0 ] || [ "$DRY_RUN" = yes ]; then return 0; fi
  local log
  if ! log=$(apt_get install --no-install-recommends "${MISSING[@]}" 2>&1); then
    printf '%s\n' "$log" | tail -n 20 >&2
    die "apt-get could not install ${MISSING[*]}." "fix the error that apt-get reports, then run $ME again."
  fi
  changed "install the Debian packages ${MISSING[*]}"
}

# ---- administrator -------------------------------------------------------------------------------------------------

# is_network TEXT: true for an address, or a network such as 192.0.2.0/24.
is_network() {
  local address=${1%/*} bits=${1##*/} part parts
  # An address with a zone is rejected: plain_address removes the zone, so the two differ.
  if [ -z "$address" ] || [ "$(plain_address "$address")" != "$address" ] || [[ $1 == */*/* ]]; then return 1; fi
  if [[ $address == *:* ]]; then [[ $1 != */* || $bits =~ ^[0-9]+$ ]] && { [[ $1 != */* ]] || [ "$bits" -le 128 ]; }; return; fi
  IFS=. read -ra parts <<<"$address"
  for part in "${parts[@]}"; do if [ "$((10#$part))" -gt 255 ]; then return 1; fi; done
  [[ $1 != */* ]] || { [[ $bits =~ ^[0-9]+$ ]] && [ "$bits" -le 32 ]; }
}

# plain_address TEXT: the address without its zone; empty if TEXT is not an address.
plain_address() {
  local address=${1%%%*}
  if [[ $address =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ || $address =~ ^[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F.]*$ ]]; then printf '%s\n' "$address"; fi
}

# ssh_address: the client address of the SSH session that runs install.sh; empty without one. sudo and su remove SSH_CONNECTION
# from the environment, but the calling shell still has it.
ssh_address() {
  local pid=$$ found=${SSH_CONNECTION:-${SSH_CLIENT:-}}
  while [ -z "$found" ] && [ "${pid:-0}" -gt 1 ]; do
    found=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=//p') || found=''
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null) || break
  done
  if [ -z "$found" ]; then found=$(who -m 2>/dev/null | sed -n 's/.*(\(.*\))$/\1/p') || found=''; fi
  if [ -z "$found" ] && [ -n "${XDG_SESSION_ID:-}" ]; then
    found=$(loginctl show-session "$XDG_SESSION_ID" --property RemoteHost --value 2>/dev/null) || found=''
  fi
  plain_address "${found%% *}"
}
