# shellcheck shell=bash
# The unit that removes archived rows from Postern's table: as the owner of the database, and the only one that can.

PURGE_SOCKET=postern-auditd-purge.socket
PURGE_SERVICE=postern-auditd-purge.service

# render_purge DATABASE OWNER DIRECTORY STATE CONTROL ARCHIVE: the drop-in identity.conf of the service.
#   OWNER      `stat -Lc '%u %U %g %G'` of the database
#   DIRECTORY  where it really is
#   CONTROL    the daemon's socket, which its group may use: hidden
#   ARCHIVE    where archives are: the group that the daemon runs with may read them, and the unit has that group
render_purge() {
  local database=$1 uid user gid group directory=$3 state=$4 control=$5 archive=$6
  read -r uid user gid group <<<"$2"
  if [ "$user" = UNKNOWN ]; then user=$uid; fi
  if [ "$group" = UNKNOWN ]; then group=$gid; fi
  printf '# Written by install.sh: the owner of %s.\n# install.sh --reconfigure decides anew.\n' "$database"
  printf '[Service]\nUser=%s\nGroup=%s\n' "$user" "$group"
  if hidden_by_home "$directory" || hidden_by_home "$archive"; then printf 'ProtectHome=tmpfs\n'; fi
  if hidden_by_home "$directory"; then printf 'BindPaths=%s\n' "$(unit_word "-$directory")"; fi
  printf 'ReadWritePaths=%s\n' "$(unit_word "-$directory")"
  if [ "$state" != "$UNIT_STATE" ]; then printf 'TemporaryFileSystem=%s\n' "$(unit_word "$state:ro")"; fi
  # What the unit hides anyway can't be bound into it.
  case $archive/ in
    "$UNIT_STATE/archive/") ;;
    /var/log/*)
      printf 'InaccessiblePaths=\nInaccessiblePaths=-/run/postern-auditd -/etc/shadow -/etc/ssh\nTemporaryFileSystem=/var/log:ro\n'
      printf 'BindReadOnlyPaths=%s\n' "$(unit_word "-$archive")"
      ;;
    ?*) printf 'BindReadOnlyPaths=%s\n' "$(unit_word "-$archive")" ;;
  esac
  if [ "${control%/*}" != "$UNIT_CONTROL" ]; then printf 'InaccessiblePaths=%s\n' "$(unit_word "-$control")"; fi
}

# render_archive ARCHIVE STATE: the drop-in retention.conf of the daemon for RUN_USER; nothing if archives are in its state.
render_archive() {
  case $1/ in '/' | "$UNIT_STATE"/* | "$2"/*) return 0 ;; esac
  printf '# Written by install.sh from the configuration: where archives are.\n[Service]\n'
  if hidden_by_home "$1"; then printf 'ProtectHome=tmpfs\nBindPaths=%s\n' "$(unit_word "-$1")"; fi
  printf '%s\nReadWritePaths=%s\n' "$(directory_line 0750 "$RUN_USER" "${RUN_GROUP:-root}" "$1")" "$(unit_word "-$1")"
}

# install_purge DATABASE
install_purge() {
  local database=$1 name fresh=no
  if [ ! -e "$database" ]; then
    if [ -e "/etc/systemd/system/$PURGE_SERVICE" ]; then remove_purge; fi
    return 0
  fi
  render_purge "$database" "$(stat -Lc '%u %U %g %G' -- "$database")" "$(dirname -- "$(realpath -- "$database")")" \
    "${FACTS[state]}" "${FACTS[control]}" "${FACTS[archive]:-}" >"$WORK/purge-identity"
  printf '# Written by install.sh: who the daemon runs as.\n[Socket]\nSocketUser=%s\n' "$RUN_USER" >"$WORK/purge-socket"
  for name in "$PURGE_SOCKET" "$PURGE_SERVICE"; do
    put_file "${PROGRAM:-$HERE}/systemd/$name" "/etc/systemd/system/$name" 0644
    if [ "$LAST" = changed ]; then fresh=yes; fi
  done
  helper_drop_in "$PURGE_SERVICE" identity "$WORK/purge-identity" needed
  helper_drop_in "$PURGE_SOCKET" identity "$WORK/purge-socket" "$([ "$RUN_USER" = "$OWN" ] || echo needed)"
  if [ "$fresh" = yes ]; then change 'make systemd read its units again' systemctl daemon-reload; fi
  if [ "$fresh" = no ] && systemctl -q is-active "$PURGE_SOCKET" && systemctl -q is-enabled "$PURGE_SOCKET" 2>/dev/null; then
    unchanged "$PURGE_SOCKET is active"
  else
    change "enable and start $PURGE_SOCKET" start_purge
  fi
}

# A purge that goes on is ended: it reads its identity at its start, and what it has left is done by the next run.
start_purge() {
  systemctl -q enable "$PURGE_SOCKET"
  systemctl stop "$PURGE_SERVICE" 2>/dev/null || true
  systemctl restart "$PURGE_SOCKET" || die "$PURGE_SOCKET does not start." "look at journalctl -u $PURGE_SOCKET, and run install.sh again."
}

remove_purge() {
  local name
  if systemctl -q is-active "$PURGE_SOCKET" || systemctl -q is-enabled "$PURGE_SOCKET" 2>/dev/null; then
    change "stop and disable $PURGE_SOCKET" systemctl -q disable --now "$PURGE_SOCKET"
  fi
  for name in "$PURGE_SOCKET.d/identity.conf" "$PURGE_SERVICE.d/identity.conf" "$PURGE_SOCKET" "$PURGE_SERVICE"; do
    remove_path "/etc/systemd/system/$name"
  done
  if [ "$DRY_RUN" = no ]; then rmdir "/etc/systemd/system/$PURGE_SOCKET.d" "/etc/systemd/system/$PURGE_SERVICE.d" 2>/dev/null || true; fi
}
