# shellcheck shell=bash
# The unit that deletes archived rows from Postern's table. It runs as the owner of the database, and no other unit can write there.

PURGE_SOCKET=postern-auditd-purge.socket
PURGE_SERVICE=postern-auditd-purge.service

# render_purge DATABASE OWNER DIRECTORY STATE CONTROL ARCHIVE: the drop-in identity.conf of the service.
#   OWNER      `stat -Lc '%u %U %g %G'` of the database
#   DIRECTORY  its real directory, without symbolic links
#   CONTROL    the daemon's socket; hidden, because the unit's group could use it
#   ARCHIVE    directory of the archives; the unit has the daemon's group, which can read them
render_purge() {
  local database=$1 uid user gid group directory=$3 state=$4 control=$5 archive=$6
  read -r uid user gid group <<<"$2"
  if [ "$user" = UNKNOWN ]; then user=$uid; fi
  if [ "$group" = UNKNOWN ]; then group=$gid; fi
  printf '# Written by %s: the owner of %s.\n# %s chooses again.\n' "$WRITER" "$database" "$RECONFIGURE"
  printf '[Service]\nUser=%s\nGroup=%s\n' "$user" "$group"
  if hidden_by_home "$directory" || hidden_by_home "$archive"; then printf 'ProtectHome=tmpfs\n'; fi
  if hidden_by_home "$directory"; then printf 'BindPaths=%s\n' "$(unit_word "-$directory")"; fi
  printf 'ReadWritePaths=%s\n' "$(unit_word "-$directory")"
  if [ "$state" != "$UNIT_STATE" ]; then printf 'TemporaryFileSystem=%s\n' "$(unit_word "$state:ro")"; fi
  # A path below one that the unit hides can't be bound into it.
  case $archive/ in
    "$UNIT_STATE/archive/") ;;
    /var/log/*)
      printf 'InaccessiblePaths=\nInaccessiblePaths=-%s -/etc/shadow -/etc/ssh\nTemporaryFileSystem=/var/log:ro\n' "$UNIT_CONTROL"
      printf 'BindReadOnlyPaths=%s\n' "$(unit_word "-$archive")"
      ;;
    ?*) printf 'BindReadOnlyPaths=%s\n' "$(unit_word "-$archive")" ;;
  esac
  if [ "${control%/*}" != "$UNIT_CONTROL" ]; then printf 'InaccessiblePaths=%s\n' "$(unit_word "-$control")"; fi
}

# render_archive ARCHIVE STATE: the daemon's drop-in retention.conf for RUN_USER; empty if the archives are in its state directory.
render_archive() {
  case $1/ in '/' | "$UNIT_STATE"/* | "$2"/*) return 0 ;; esac
  printf '# Written by %s from the configuration: the directory of the archives.\n[Service]\n' "$WRITER"
  if hidden_by_home "$1"; then printf 'ProtectHome=tmpfs\nBindPaths=%s\n' "$(unit_word "-$1")"; fi
  printf '%s\nReadWritePaths=%s\n' "$(directory_line 0750 "$RUN_USER" "${RUN_GROUP:-root}" "$1")" "$(unit_word "-$1")"
}

# install_purge DATABASE
install_purge() {
  local database=$1 name fresh=no
  if [ ! -e "$database" ]; then
    if [ "$ONLY_SETTINGS" = no ] && [ -e "/etc/systemd/system/$PURGE_SERVICE" ]; then remove_purge; fi
    return 0
  fi
  render_purge "$database" "$(stat -Lc '%u %U %g %G' -- "$database")" "$(dirname -- "$(realpath -- "$database")")" \
    "${FACTS[state]}" "${FACTS[control]}" "${FACTS[archive]:-}" >"$WORK/purge-identity"
  printf '# Written by %s: the user of the daemon.\n[Socket]\nSocketUser=%s\n' "$WRITER" "$RUN_USER" >"$WORK/purge-socket"
  for name in "$PURGE_SOCKET" "$PURGE_SERVICE"; do
    put_unit "$name"
    if [ "$LAST" = changed ]; then fresh=yes; fi
  done
  helper_drop_in "$PURGE_SERVICE" identity "$WORK/purge-identity" needed
  helper_drop_in "$PURGE_SOCKET" identity "$WORK/purge-socket" "$([ "$RUN_USER" = "$OWN" ] || echo needed)"
  if [ "$fresh" = yes ]; then reload_units; fi
  if [ "$ONLY_SETTINGS" = yes ]; then
    if [ "$fresh" = yes ]; then renew_socket "$PURGE_SOCKET" "$PURGE_SERVICE"; fi
    return 0
  fi
  if [ "$fresh" = no ] && systemctl -q is-active "$PURGE_SOCKET" && systemctl -q is-enabled "$PURGE_SOCKET" 2>/dev/null; then
    unchanged "$PURGE_SOCKET is active"
  else
    change "enable and start $PURGE_SOCKET" start_purge
  fi
}

# start_purge stops a running purge: its identity changes only at a start, and the next run deletes the remaining rows.
start_purge() {
  systemctl -q enable "$PURGE_SOCKET"
  systemctl stop "$PURGE_SERVICE" 2>/dev/null || true
  systemctl restart "$PURGE_SOCKET" || die "$PURGE_SOCKET did not start." "see journalctl -u $PURGE_SOCKET, then run $ME again."
}

remove_purge() {
  remove_units "$PURGE_SOCKET" "$PURGE_SOCKET.d/identity.conf" "$PURGE_SERVICE.d/identity.conf" -- "$PURGE_SOCKET" "$PURGE_SERVICE"
  if [ "$DRY_RUN" = no ]; then rmdir "/etc/systemd/system/$PURGE_SOCKET.d" "/etc/systemd/system/$PURGE_SERVICE.d" 2>/dev/null || true; fi
}
