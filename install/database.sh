# shellcheck shell=bash
# Postern's database: its path, owner, mode and access list.

DEFAULT_DATABASE=/var/lib/posternproxy/posternproxy.db

# find_databases: every posternproxy.db in the usual data directories of programs and containers.
find_databases() {
  local place places=()
  for place in /var/lib /opt /srv /home /root /data /mnt; do
    if [ -d "$place" ]; then places+=("$place"); fi
  done
  timeout 30 find "${places[@]}" -maxdepth 7 -name posternproxy.db -type f ! -path '*/overlay2/*' 2>/dev/null | sort || true
}

# choose_database GIVEN CONFIGURED: sets DATABASE to the path on the command line, else the configured path, else the default. A
# database found elsewhere is only suggested: anyone who can write a database decides as which user the daemon runs, and
# which clients fail2ban bans.
choose_database() {
  local given=$1 configured=$2 found
  if [ -n "$given" ]; then
    case $given in /*) ;; *) given=$CALLED_FROM/$given ;; esac
    case $given in
      /tmp/* | /var/tmp/*) die "$given is in a temporary directory; the daemon has its own /tmp and can't see it." 'move the database to another directory.' ;;
    esac
    if [ -d "$given" ]; then given=${given%/}/posternproxy.db; fi
    DATABASE=$(realpath -ms -- "$given")
    if [ "$DATABASE" != "$configured" ]; then must_be_trusted "$DATABASE"; fi
    return
  fi
  if [ -n "$configured" ] && { [ "$configured" != "$DEFAULT_DATABASE" ] || [ -e "$configured" ]; }; then
    DATABASE=$configured
    return
  fi
  DATABASE=$DEFAULT_DATABASE
  if [ -e "$DATABASE" ]; then return; fi
  found=$(find_databases)
  if [ -n "$found" ]; then
    warn "$DATABASE does not exist, but these files do:"$'\n'"$found"$'\n'"If one of them is Postern's database, run $ME again with --database PATH."
  fi
}

# must_be_trusted DATABASE: stops if anyone but root, a service account or --trust-owner can write it or a directory above it.
must_be_trusted() {
  local writer owner
  while read -r writer; do
    owner=${writer##* }
    if [ -n "$TRUSTED_OWNER" ] && [ "$owner" = "$TRUSTED_OWNER" ]; then continue; fi
    die "$1 can be changed by $writer. Anyone who can change it decides which clients fail2ban bans, and the daemon may run as that user." \
      "move Postern's data to a directory that only root or a service account can write, or add --trust-owner $owner."
  done < <(strange_writers "$1")
}

# strange_writers PATH: everyone except root and service accounts who can change the file or a directory above it, a line each:
# `the user NAME`, `the group NAME`, `everybody`.
strange_writers() {
  local kind id name first
  first=$(sed -n 's/^UID_MIN[[:space:]]*\([0-9]*\).*/\1/p' /etc/login.defs 2>/dev/null)
  while read -r kind id name; do
    case $kind in
      user | group) if [ "$id" -ge "${first:-1000}" ]; then printf 'the %s %s\n' "$kind" "$name"; fi ;;
      others | sticky) echo everybody ;;
    esac
  done < <(writers_of "$1") | awk '!seen[$0]++'
}

# stat_of PATH: `uid user gid group mode` of the target of PATH. With an access list the middle digit of the mode is the mask, so
# the entry of the group replaces it.
stat_of() {
  local uid user gid group mode own
  read -r uid user gid group mode < <(stat -Lc '%u %U %g %G %a' -- "$1" 2>/dev/null) || return 0
  if command -v getfacl >/dev/null && own=$(getfacl -cpL -- "$1" 2>/dev/null | sed -n 's/^group::\(...\).*/\1/p') && [ -n "$own" ]; then
    local digit=0
    if [[ $own == r* ]]; then digit=$((digit + 4)); fi
    if [[ $own == ?w* ]]; then digit=$((digit + 2)); fi
    if [[ $own == *x ]]; then digit=$((digit + 1)); fi
    mode=000$mode
    mode=${mode: -3:1}$digit${mode: -1}
  fi
  printf '%s %s %s %s %s\n' "$uid" "$user" "$gid" "$group" "$mode"
}

# closed_parents DIRECTORY: directories above it without search permission for everybody, except those that ProtectHome=tmpfs replaces.
closed_parents() {
  local at=${1%/*} mode
  while [ -n "$at" ]; do
    if ! hidden_by_home "$at"; then
      mode=$(stat -Lc %a -- "$at" 2>/dev/null || echo 755)
      if [ $((${mode: -1} & 1)) -eq 0 ]; then printf '%s\n' "$at"; fi
    fi
    at=${at%/*}
  done
}

# database_files DATABASE: the database and SQLite's files beside it.
database_files() {
  local name
  for name in "$1" "$1-wal" "$1-shm" "$1-journal"; do
    if [ -f "$name" ]; then printf '%s\n' "$name"; fi
  done
}

# grant_access DATABASE: lets the daemon's own user read through access lists; new files inherit the entry from the directory.
# Returns false if the file system does not support access lists.
grant_access() {
  local directory=${1%/*} file parent
  grant "$directory" rx
  if [ "$DRY_RUN" = no ] && ! has_entry "$directory" r-x; then return 1; fi
  while read -r parent; do
    if [ -n "$parent" ]; then grant "$parent" x; fi
  done < <(closed_parents "$directory")
  if getfacl -cp -- "$directory" 2>/dev/null | grep -q "^default:user:$OWN:r--"; then
    unchanged "access list for new files in $directory"
  else
    change "let $OWN read new files in $directory" setfacl -m "d:u:$OWN:r" -- "$directory"
  fi
  while read -r file; do grant "$file" r; done < <(database_files "$1")
}

# grant PATH RIGHTS: adds the entry, also where chmod has disabled it through the mask (getfacl then adds #effective).
grant() {
  local wanted
  case $2 in r) wanted=r-- ;; rx) wanted=r-x ;; x) wanted=--x ;; esac
  if has_entry "$1" "$wanted"; then
    unchanged "access list of $1"
  elif [ "$DRY_RUN" = yes ] || setfacl -m "u:$OWN:$2" -- "$1" 2>/dev/null; then
    change "let $OWN read $1 by an access list" true
  fi
}

has_entry() { getfacl -cp -- "$1" 2>/dev/null | grep -xE "user:${OWN}:$2[[:space:]]*" >/dev/null; }

KEEP_ACCESS=() # directories whose entries another daemon of this host needs

# revoke_access DATABASE: removes our entries, and an access list that has no other entries.
revoke_access() {
  local directory=${1%/*} path
  command -v getfacl >/dev/null || return 0
  while read -r path; do
    if [[ " ${KEEP_ACCESS[*]} " == *" $path "* ]]; then continue; fi
    if [ -e "$path" ] && getfacl -cp -- "$path" 2>/dev/null | grep -q "user:$OWN:"; then
      change "remove $OWN from the access list of $path" revoke "$path"
    fi
  done < <(printf '%s\n' "$directory"; database_files "$1"; closed_parents "$directory")
}

revoke() {
  setfacl -x "u:$OWN" -- "$1"
  if [ -d "$1" ]; then
    setfacl -x "d:u:$OWN" -- "$1" 2>/dev/null || true
    if ! getfacl -cp -- "$1" | grep -qE '^default:(user|group):[^:]'; then setfacl -k -- "$1"; fi
  fi
  if ! getfacl -cp -- "$1" | grep -qE '^(default:)?(user|group):[^:]'; then setfacl -b -- "$1"; fi
}
