# shellcheck shell=bash
# --uninstall and --purge.

# facts_to_remove: the facts of the configuration, or the defaults if the program can't read it any more.
facts_to_remove() {
  default_facts
  if [ ! -e "$CONFIG" ] || [ ! -x "$PREFIX/bin/postern-auditd" ]; then return 0; fi
  PROGRAM=$PREFIX
  if postern facts --config "$CONFIG" >/dev/null 2>&1; then read_facts "$CONFIG"; fi
}

# uninstall: removes everything except data, logs and configuration. fail2ban keeps running.
uninstall() {
  step 'removing the jail from fail2ban' "run $ME --uninstall again."
  facts_to_remove
  remove_jail
  step 'removing the service' "run $ME --uninstall again."
  if systemctl -q is-active "$UNIT" || systemctl -q is-enabled "$UNIT" 2>/dev/null; then
    change "stop and disable $UNIT" systemctl -q disable --now "$UNIT"
  fi
  revoke_access "${FACTS[database]}"
  local template units=$TOTAL_CHANGES
  remove_helper
  remove_log_files
  remove_path "$LOGROTATE"
  remove_purge
  remove_drop_ins
  for template in "${TEMPLATES[@]}"; do remove_path "/etc/systemd/system/$template"; done
  remove_path "$UNIT_FILE"
  if [ "$TOTAL_CHANGES" -gt "$units" ]; then
    systemctl daemon-reload
    systemctl reset-failed "$UNIT" 2>/dev/null || true
  fi
  if [ "$(readlink "$LINK" 2>/dev/null)" = "$PREFIX/bin/postern-auditd" ]; then remove_path "$LINK"; fi
  remove_manual
  remove_path "$CONFIG.example"
  remove_path "$STAGE"
  remove_path "$OLD"
  remove_path "$PREFIX"
}

# remove_bans: removes jail, helper and log rotation, and keeps the installation.
remove_bans() {
  local units=$TOTAL_CHANGES
  remove_jail
  remove_helper
  remove_log_files
  remove_logrotate
  if [ "$TOTAL_CHANGES" -gt "$units" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
}

remove_logrotate() {
  if [ "$ONLY_SETTINGS" = yes ] && dpkg-query -S "$LOGROTATE" >/dev/null 2>&1; then return 0; fi
  remove_path "$LOGROTATE"
}

remove_drop_ins() {
  local name
  for name in identity places archive retention notify; do remove_path "$DROP_INS/$name.conf"; done
  if [ -d "$DROP_INS" ] && [ "$DRY_RUN" = no ]; then
    rmdir "$DROP_INS" 2>/dev/null || say "  kept       $DROP_INS, which holds drop-ins of the administrator"
  fi
}

remove_jail() {
  local file
  if command -v fail2ban-client >/dev/null && f2b_runs && f2b_jails | grep -x "${FACTS[jail]}" >/dev/null; then
    change "stop fail2ban's jail ${FACTS[jail]}, and lift its bans" stop_jail
  fi
  remove_path "$FAIL2BAN/$JAIL_FILE"
  # Jails of other databases on this host use the same filter and actions.
  if grep -lsx 'filter = posternproxy' "$FAIL2BAN"/jail.d/*.conf | grep -vxF "$FAIL2BAN/$JAIL_FILE" >/dev/null; then return 0; fi
  for file in "${SHARED_FILES[@]}"; do remove_path "$FAIL2BAN/$file"; done
  if [ -e "$FAIL2BAN/$SSHD_JAIL" ]; then
    if [ -e /var/log/auth.log ]; then
      remove_path "$FAIL2BAN/$SSHD_JAIL"
    else
      say "  kept       $FAIL2BAN/$SSHD_JAIL, because /var/log/auth.log does not exist and fail2ban would not start without this file"
    fi
  fi
}

# Bans are lifted first, because fail2ban would restore them with the next jail of this name. They are lifted one by one, because
# `unbanip --all` of fail2ban 1.0.2 lifts none.
stop_jail() {
  local jail=${FACTS[jail]} address left
  while read -r address; do
    if [ -n "$address" ]; then f2b set "$jail" unbanip "$address" >/dev/null; fi
  done < <(banned_in "$jail")
  left=$(banned_in "$jail")
  f2b stop "$jail" >/dev/null
  if f2b_jails | grep -x "$jail" >/dev/null; then die "fail2ban did not stop the jail $jail." "see /var/log/fail2ban.log, then run $ME again."; fi
  if [ -n "$left" ]; then
    warn "fail2ban did not lift these bans of the jail $jail and would restore them with a jail of that name:"$'\n'"$left"
  fi
}

# banned_in JAIL: the banned addresses and networks, one a line.
banned_in() { f2b status "$1" | sed -n 's/.*Banned IP list:[[:space:]]*//p' | tr -s ' ' '\n'; }

# purge: also removes data, logs, configuration and user.
purge() {
  step 'removing data, logs and configuration' "run $ME --purge again."
  local path
  remove_path "${CONFIG%/*}"
  remove_path "${FACTS[state]}"
  for path in "${LOGS[@]}" "${FACTS[bans]%/*}"; do remove_path "$path"; done
  if [ -d "$LOG_HOME" ] && [ "$DRY_RUN" = no ]; then rmdir "$LOG_HOME" 2>/dev/null || true; fi
  if [ -n "$INSTANCE" ]; then return 0; fi
  if getent passwd "$OWN" >/dev/null; then change "remove the user $OWN" userdel "$OWN"; fi
}
