# shellcheck shell=bash
# fail2ban: filter, actions and jail, tested before they count, and put back if a test fails.
#
# A running fail2ban is never reloaded as a whole: `fail2ban-client reload` with a jail of somebody else's whose filter on
# disk does not compile ends with no jail at all, and `fail2ban-client -t` does not see it (measured, 1.0.2 and 1.1.0).
# `add JAIL`, then `reload --restart JAIL` makes or renews one jail, keeps its bans, and touches no other. (Without
# --restart, actions that are new to the jail are thrown away at the end of the reload.)
# No exit status of fail2ban's is trusted: what counts is what it says when asked.

FAIL2BAN=/etc/fail2ban
JAIL_FILE=jail.d/posternproxy.conf
OUR_FILES=(filter.d/posternproxy.conf action.d/posternproxy-forward.conf action.d/posternproxy-nftables.conf
  action.d/posternproxy-report.conf "$JAIL_FILE")
# After defaults-debian.conf, which it corrects.
SSHD_JAIL=jail.d/postern-auditd-sshd.conf
LOGROTATE=/etc/logrotate.d/postern-auditd

F2B_STATE=absent # before we came: absent, stopped or running
F2B_ENABLED=no
F2B_JAILS=''   # that ran
F2B_TROUBLE='' # what its own test says, before anything of ours
F2B_SKIPPED='' # jails that a start leaves out
F2B_OPEN=no    # files of ours are there that have not proved themselves
F2B_APPLIED=no # and fail2ban has been told

f2b() { timeout 60 fail2ban-client "$@" 2>&1 || true; }
f2b_runs() { [[ $(f2b ping) == *pong* ]]; }
f2b_jails() { jails_in "$(f2b status)"; }
jails_in() { sed -n 's/.*Jail list:[[:space:]]*//p' <<<"$1" | tr -d ' ' | tr ',' '\n'; }

# f2b_trouble: why fail2ban would not start with the configuration on disk; nothing if it would. Its own test is stricter than a
# start: a jail whose filter or action is missing, which a start leaves out, makes it fail. Read as by a start, but for missing
# logs (-d), the configuration is refused only if no jail is left (measured, 1.0.2 and 1.1.0).
f2b_trouble() {
  local said
  said=$(f2b -t)
  if [[ $said == *'configuration test is successful'* ]]; then return 0; fi
  if [[ $said != *'Failed during configuration'* ]] && [[ $said == *"Errors in jail '"* ]] && timeout 60 fail2ban-client -d >/dev/null 2>&1; then
    return 0
  fi
  f2b_words "$said"
  said=$(jail_without_log "$said")
  if [ -n "$said" ]; then printf '(the jail %s is in %s)\n' "$said" "$(jail_file "$said")"; fi
}

# f2b_skipped: the jails that a start leaves out, a line each.
f2b_skipped() { f2b -t | sed -n "s/.*Errors in jail '\([^']*\)'.*/\1/p"; }

f2b_words() { printf '%s\n' "${1:-fail2ban-client -t says nothing}" | sed '/WARNING/d; /ERROR: test configuration failed/d' | tail -n 3; }

# jail_file JAIL: the last file that speaks of it.
jail_file() {
  local file found=''
  for file in "$FAIL2BAN"/jail.conf "$FAIL2BAN"/jail.d/*.conf "$FAIL2BAN"/jail.local "$FAIL2BAN"/jail.d/*.local; do
    if grep -qF "[$1]" "$file" 2>/dev/null; then found=$file; fi
  done
  printf '%s\n' "${found:-$FAIL2BAN}"
}

# jail_without_log TROUBLE: the jail whose log file is missing, if that is what it says.
jail_without_log() { sed -n 's/.*Have not found any log file for \([^ ]*\) jail.*/\1/p' <<<"$1" | tail -n 1; }

survey_fail2ban() {
  if ! command -v fail2ban-client >/dev/null; then return 0; fi
  F2B_STATE=stopped
  if systemctl -q is-enabled fail2ban 2>/dev/null; then F2B_ENABLED=yes; fi
  local said
  said=$(f2b status)
  if [[ $said == *'Jail list:'* ]]; then
    F2B_STATE=running
    F2B_JAILS=$(jails_in "$said")
  fi
}

# decide_fail2ban: whether this run sets up bans: by the command line, else by what the configuration has kept of an earlier one.
decide_fail2ban() {
  local jail=$FAIL2BAN/$JAIL_FILE
  if [ -z "$WITH_FAIL2BAN" ]; then
    WITH_FAIL2BAN=${FACTS[fail2ban]:-yes}
    if [ "$WITH_FAIL2BAN" = no ]; then say "fail2ban is left out, as fail2ban.enabled in $CONFIG says; --fail2ban sets it up."; fi
  elif [ "$WITH_FAIL2BAN" = no ] && [ "$REMOVE_JAIL" = no ] && [ -e "$jail" ]; then
    say "The jail ${FACTS[jail]} stays in fail2ban as it is; --remove-jail would take it out."
  elif [ "$WITH_FAIL2BAN" = no ]; then
    REMEMBER=no
  fi
  if [ -z "${FACTS[auth]:-}" ] && [ "$WITH_FAIL2BAN" = yes ]; then
    warn 'the configuration has no sink of type fail2ban: nothing is done about fail2ban.'
    WITH_FAIL2BAN=no
  fi
}

# want_fail2ban: what of Debian's is missing for bans.
want_fail2ban() {
  survey_fail2ban
  local trouble
  if [ "$F2B_STATE" = absent ]; then
    MISSING+=(fail2ban)
    # Debian 12 and 13 without rsyslog have no auth.log: fail2ban's sshd jail can then only read the journal.
    if [ ! -e /var/log/auth.log ]; then want_package python3-systemd; fi
  elif [ "$F2B_STATE" = stopped ]; then
    trouble=$(f2b_trouble)
    if [ "$(jail_without_log "$trouble")" = sshd ]; then
      want_package python3-systemd
    elif [ -n "$trouble" ] && [[ $trouble != *posternproxy* ]]; then
      refuse_fail2ban "$trouble"
    fi
  fi
  want_banaction
}

# want_banaction: what bans has to be there. A host that has nftables and no iptables gets no iptables unasked.
want_banaction() {
  local action=${GIVEN_BANACTION:-${FACTS[banaction]}}
  if [ -n "$GIVEN_BANACTION" ] && [ "$F2B_STATE" != absent ] && [ ! -e "$FAIL2BAN/action.d/${action%%[*}.conf" ]; then
    die "fail2ban has no action $action: there is no $FAIL2BAN/action.d/${action%%[*}.conf." 'nftables-multiport and iptables-multiport come with fail2ban.'
  fi
  if [ -z "$GIVEN_BANACTION" ] && [[ $action == iptables* ]] && ! command -v iptables >/dev/null && command -v nft >/dev/null; then
    if [ -e "$CONFIG" ]; then
      die "the jail bans by $action, and there is nftables here and no iptables." \
        "add --banaction nftables-multiport (or --banaction $action, which installs iptables)."
    fi
    say 'Bans go by nftables-multiport: there is no iptables here (--banaction iptables-multiport would install it).'
    GIVEN_BANACTION=nftables-multiport action=nftables-multiport
  fi
  case $action in
    iptables*) if ! command -v iptables >/dev/null; then MISSING+=(iptables); fi ;;
    nftables*) if ! command -v nft >/dev/null; then MISSING+=(nftables); fi ;;
  esac
}

setup_fail2ban() {
  local jail=${FACTS[jail]}
  step "setting up fail2ban" 'mend what is said above, then run install.sh --reconfigure.'
  if [ "$DRY_RUN" = yes ] && [ "$F2B_STATE" = absent ]; then
    change 'set up the jail, its filter and actions, and start fail2ban' true
    return 0
  fi
  if [ "$DRY_RUN" = no ]; then wait_for_pair; fi
  our_texts
  if texts_in_place && [ "$F2B_STATE" = running ] && jail_works "$jail"; then
    unchanged "fail2ban's jail $jail, its filter and actions"
  elif [ "$DRY_RUN" = yes ]; then
    put_texts
    change "make fail2ban take up the jail $jail" true
  else
    renew_jail "$jail"
  fi
  if ! systemctl -q is-enabled fail2ban 2>/dev/null; then change 'enable fail2ban.service' systemctl -q enable fail2ban; fi
}

renew_jail() {
  local trouble
  test_filter "$WORK/fail2ban/filter.d/posternproxy.conf"
  # apt-get has just started it.
  if [ "$F2B_STATE" = absent ]; then
    wait_until 5 f2b_runs || true
    survey_fail2ban
  fi
  mend_sshd
  save_files
  F2B_OPEN=yes
  put_texts
  test_filter posternproxy
  trouble=$(f2b_trouble) F2B_SKIPPED=$(f2b_skipped)
  if grep -qxF -- "$1" <<<"$F2B_SKIPPED"; then trouble=$(f2b_words "$(f2b -t)"); fi
  if [ -n "$trouble" ] && { [ -z "$F2B_TROUBLE" ] || [[ $trouble == *"$1"* ]]; }; then
    die "fail2ban's own test refuses the jail:"$'\n'"$trouble" 'see whether /etc/fail2ban has .local files about posternproxy, then run install.sh --reconfigure.'
  fi
  take_up "$1"
  F2B_OPEN=no
  if [ -n "$F2B_SKIPPED" ]; then warn "fail2ban leaves out $(paste -sd ' ' <<<"$F2B_SKIPPED"): a filter or an action is missing there. fail2ban-client -t says which."; fi
  tell_overrides
}

# tell_overrides: what of the administrator's settings for all jails does not hold for this one.
tell_overrides() {
  local said
  said=$(postern jail --config "$CONFIG" --overrides "$FAIL2BAN" 2>/dev/null) || return 0
  if [ -n "$said" ]; then say "  note       ${said//$'\n'/$'\n             '}"; fi
}

# our_texts: the files as they are to be, in $WORK/fail2ban.
our_texts() {
  local file
  for file in "${OUR_FILES[@]}"; do
    mkdir -p "$WORK/fail2ban/${file%/*}"
    if [ "$file" = "$JAIL_FILE" ]; then render_jail >"$WORK/fail2ban/$file"; else cp "${PROGRAM:-$HERE}/fail2ban/$file" "$WORK/fail2ban/$file"; fi
  done
}

texts_in_place() { local file; for file in "${OUR_FILES[@]}"; do cmp -s "$WORK/fail2ban/$file" "$FAIL2BAN/$file" || return 1; done; }

put_texts() { local file; for file in "${OUR_FILES[@]}"; do put_file "$WORK/fail2ban/$file" "$FAIL2BAN/$file" 0644; done; }

# A missing log keeps all of fail2ban from starting, and one without its first line is counted twice.
wait_for_pair() {
  local auth=${FACTS[auth]}
  if ! wait_until 15 pair_is_there "$auth"; then
    die "the daemon has not made fail2ban's log files in $auth." 'postern-auditd status says what it does; journalctl -u postern-auditd why.'
  fi
}
pair_is_there() { [ -s "$1/fail2ban.0.log" ] && [ -s "$1/fail2ban.1.log" ]; }

# test_filter FILTER: a path or a name; it has to find the addresses of two lines that the program itself has written.
test_filter() {
  local found
  postern jail --probe >"$WORK/probe.log"
  found=$(timeout 60 fail2ban-regex -o ip "$WORK/probe.log" "$1" 2>&1) || true
  if [ "$found" != $'192.0.2.1\n2001:db8::1' ]; then
    die "fail2ban's filter $1 does not match what the daemon writes:"$'\n'"$(tail -n 3 <<<"$found")" \
      "see whether $FAIL2BAN/filter.d/posternproxy.local is there and right, then run install.sh --reconfigure."
  fi
}

# Debian 12's sshd jail wants /var/log/auth.log, which a host without rsyslog does not have, and fail2ban does not start
# without it. Only where fail2ban does not run anyway, and only this one jail, is it given the journal.
mend_sshd() {
  F2B_TROUBLE=$(f2b_trouble)
  if [ -z "$F2B_TROUBLE" ]; then return 0; fi
  if [ "$F2B_STATE" = running ]; then
    warn "fail2ban runs, but its configuration on disk does not pass its own test, and it would not start again:"$'\n'"$F2B_TROUBLE"
    return 0
  fi
  if [ "$(jail_without_log "$F2B_TROUBLE")" = sshd ] && /usr/bin/python3 -I -c 'import systemd.journal' 2>/dev/null; then
    printf '# Written by install.sh of postern-auditd: there is no /var/log/auth.log here, and fail2ban does not start without it.\n[sshd]\nbackend = systemd\n' >"$WORK/sshd.conf"
    save_file "$SSHD_JAIL"
    F2B_OPEN=yes
    put_file "$WORK/sshd.conf" "$FAIL2BAN/$SSHD_JAIL" 0644
    F2B_TROUBLE=$(f2b_trouble)
    if [ -z "$F2B_TROUBLE" ]; then return 0; fi
  fi
  # What is wrong may be a jail of ours from before, which is written anew.
  if [[ $F2B_TROUBLE == *posternproxy* ]]; then return 0; fi
  refuse_fail2ban "$F2B_TROUBLE"
}

refuse_fail2ban() {
  die "fail2ban does not run, and its configuration does not pass its own test, without anything of ours:"$'\n'"$1" \
    'mend it (fail2ban-client -t), then run install.sh again; --no-fail2ban does without bans.'
}

render_jail() {
  if [ -z "$PROGRAM" ]; then cat "$HERE/fail2ban/jail.d/posternproxy.conf"; return; fi
  local chain=INPUT
  # There on hosts with Docker: published ports pass it and never INPUT.
  if command -v iptables >/dev/null && iptables -w 5 -n -L DOCKER-USER >/dev/null 2>&1; then chain=INPUT,DOCKER-USER; fi
  postern jail --config "$(config_to_read)" --chain "$chain"
}

# take_up JAIL: fail2ban reads it, and shows that it has.
take_up() {
  local patience=15
  F2B_APPLIED=yes F2B_OPEN=yes
  if [ "$F2B_STATE" = running ]; then
    f2b add "$1" polling >/dev/null # it may be there
    f2b reload --restart "$1" >"$WORK/reload"
    patience=5
  else
    systemctl restart fail2ban >"$WORK/reload" 2>&1 || true
  fi
  if ! wait_until "$patience" jail_works "$1"; then
    die "fail2ban does not run the jail $1:"$'\n'"$(why_not)" 'journalctl -u fail2ban and /var/log/fail2ban.log say more; then install.sh --reconfigure.'
  fi
  local gone
  gone=$(comm -23 <(sort <<<"$F2B_JAILS") <(f2b_jails | sort))
  if [ -n "$gone" ]; then die "fail2ban no longer runs $gone." 'see /var/log/fail2ban.log.'; fi
  changed "make fail2ban take up the jail $1"
}

why_not() { { cat "$WORK/reload"; grep -hE ' (ERROR|CRITICAL) ' /var/log/fail2ban.log 2>/dev/null | tail -n 2; } | sed "/WARNING/d; /Command \\['status'/d" | cut -c 1-300; }

# jail_works JAIL: it reads both files, and reports its bans.
jail_works() {
  local said
  said=$(f2b status "$1")
  [[ $said == *"${FACTS[auth]}/fail2ban.0.log"* && $said == *"${FACTS[auth]}/fail2ban.1.log"* ]] &&
    [[ $(f2b get "$1" actions) == *posternproxy-report* ]]
}

save_files() { local file; for file in "${OUR_FILES[@]}"; do save_file "$file"; done; }

save_file() {
  mkdir -p "$WORK/saved/${1%/*}"
  if [ -e "$FAIL2BAN/$1" ]; then cp -p "$FAIL2BAN/$1" "$WORK/saved/$1"; fi
  SAVED+=("$1")
}

# put_back_fail2ban: after a failure, as it was before we came.
put_back_fail2ban() {
  if [ "$F2B_OPEN" = no ]; then return 0; fi
  F2B_OPEN=no
  local file jail=${FACTS[jail]}
  for file in "${SAVED[@]}"; do
    rm -f "$FAIL2BAN/$file"
    if [ -e "$WORK/saved/$file" ]; then cp -p "$WORK/saved/$file" "$FAIL2BAN/$file"; fi
  done
  say "  put back   $FAIL2BAN"
  if [ "$F2B_APPLIED" = no ]; then return 0; fi
  if [ "$F2B_STATE" = running ]; then
    if grep -qx "$jail" <<<"$F2B_JAILS"; then
      f2b add "$jail" polling >/dev/null
      f2b reload --restart "$jail" >/dev/null
    else
      f2b stop "$jail" >/dev/null
    fi
    if [ "$(f2b_jails | sort)" = "$(sort <<<"$F2B_JAILS")" ]; then
      say "  put back   fail2ban runs its jails as before: $(tr '\n' ' ' <<<"$F2B_JAILS")"
    else
      warn "fail2ban runs $(f2b_jails | tr '\n' ' ')but before it ran $(tr '\n' ' ' <<<"$F2B_JAILS")"
    fi
  else
    systemctl stop fail2ban || true
    say '  put back   fail2ban is stopped, as it was'
  fi
}

# install_logrotate: bans.log is fail2ban's to write, and small; the daemon reads on in the renamed file, so it must not
# be compressed at once.
install_logrotate() {
  printf '# Written by install.sh of postern-auditd.\n%s {\n\tmonthly\n\tmaxsize 10M\n\trotate 12\n\tmissingok\n\tnotifempty\n\tcompress\n\tdelaycompress\n\tcreate 0644 root root\n}\n' "${FACTS[bans]}" >"$WORK/logrotate"
  put_file "$WORK/logrotate" "$LOGROTATE" 0644
}

LOGS_SERVICE=postern-auditd-logs.service

# render_log_files BANS_DIRECTORY AUTH_DIRECTORY LOG_DIRECTORY…: the drop-in places.conf of the unit that makes the jail's files, for
# RUN_USER; nothing if its own lines are right. AUTH_DIRECTORY is one of the LOG_DIRECTORIES. Mode and group of the files are those that
# the configuration has for them.
render_log_files() {
  local bans=$1 auth=$2 directory mode=${FACTS[auth_mode]:-0640} group=${FACTS[auth_group]:-adm} how=''
  shift 2
  if [ "$mode $group" != '0640 adm' ]; then how=" $mode $(unit_word "$group")"; fi
  if [ -z "$how" ] && [ "$RUN_USER" = "$OWN" ] && [ "$bans" = "$UNIT_BANS" ] && [ "$*" = "$UNIT_LOGS" ]; then return 0; fi
  printf '# Written by install.sh from the configuration; install.sh --reconfigure writes it anew.\n'
  printf '[Unit]\n'
  for directory in "$bans" "$@"; do printf 'RequiresMountsFor=%s\n' "$(unit_word "$directory")"; done
  printf '[Service]\nUser=%s\nGroup=%s\nExecStartPre=\n' "$RUN_USER" "$RUN_GROUP"
  for directory; do printf '%s\n' "$(directory_line 2750 "$RUN_USER" adm "$directory")"; done
  printf '%s\nExecStart=\nExecStart=/bin/sh %s/fail2ban/postern-auditd-log-files %s%s\nReadWritePaths=%s\n' \
    "$(directory_line 0755 root root "$bans")" "$PREFIX" "$(unit_word "$auth")" "$how" "$(unit_word "-$auth")"
}

# install_log_files: the unit that makes directories and files of the jail before each start of fail2ban. It is not started here: the
# daemon has made them.
install_log_files() {
  local fresh=no
  render_log_files "${FACTS[bans]%/*}" "${FACTS[auth]}" "${LOGS[@]}" >"$WORK/log-places"
  put_file "${PROGRAM:-$HERE}/systemd/$LOGS_SERVICE" "/etc/systemd/system/$LOGS_SERVICE" 0644
  if [ "$LAST" = changed ]; then fresh=yes; fi
  helper_drop_in "$LOGS_SERVICE" places "$WORK/log-places" "$([ ! -s "$WORK/log-places" ] || echo needed)"
  if [ "$fresh" = yes ]; then change 'make systemd read its units again' systemctl daemon-reload; fi
  if systemctl -q is-enabled "$LOGS_SERVICE" 2>/dev/null; then
    unchanged "$LOGS_SERVICE is enabled"
  else
    change "enable $LOGS_SERVICE, which makes the jail's log files before fail2ban starts" systemctl -q enable "$LOGS_SERVICE"
  fi
}

remove_log_files() {
  if systemctl -q is-enabled "$LOGS_SERVICE" 2>/dev/null; then change "disable $LOGS_SERVICE" systemctl -q disable "$LOGS_SERVICE"; fi
  remove_path "/etc/systemd/system/$LOGS_SERVICE.d/places.conf"
  remove_path "/etc/systemd/system/$LOGS_SERVICE"
  if [ "$DRY_RUN" = no ]; then rmdir "/etc/systemd/system/$LOGS_SERVICE.d" 2>/dev/null || true; fi
}

HELPER_SOCKET=postern-auditd-fail2ban.socket
HELPER_SERVICE=postern-auditd-fail2ban@.service

# install_helper: the two units by which the daemon, which may do nothing else, sees and lifts the bans of its jail.
install_helper() {
  local name fresh=no
  printf '# Written by install.sh: who the daemon runs as.\n[Socket]\nSocketUser=%s\n' "$RUN_USER" >"$WORK/socket-user"
  printf '# Written by install.sh from the configuration.\n[Service]\nEnvironment=JAIL=%s\n' "$(unit_word "${FACTS[jail]}")" >"$WORK/jail-name"
  for name in "$HELPER_SOCKET" "$HELPER_SERVICE"; do
    put_file "${PROGRAM:-$HERE}/systemd/$name" "/etc/systemd/system/$name" 0644
    if [ "$LAST" = changed ]; then fresh=yes; fi
  done
  helper_drop_in "$HELPER_SOCKET" identity "$WORK/socket-user" "$([ "$RUN_USER" = "$OWN" ] || echo needed)"
  helper_drop_in "$HELPER_SERVICE" jail "$WORK/jail-name" "$([ "${FACTS[jail]}" = posternproxy ] || echo needed)"
  if [ "$fresh" = yes ]; then change 'make systemd read its units again' systemctl daemon-reload; fi
  if [ "$fresh" = no ] && systemctl -q is-active "$HELPER_SOCKET" && systemctl -q is-enabled "$HELPER_SOCKET" 2>/dev/null; then
    unchanged "$HELPER_SOCKET is active"
  else
    change "enable and start $HELPER_SOCKET" start_helper
  fi
}

# helper_drop_in UNIT NAME FILE NEEDED: sets fresh=yes if something has changed.
helper_drop_in() {
  local path=/etc/systemd/system/$1.d/$2.conf
  if [ -n "$4" ]; then put_file "$3" "$path" 0644; elif [ -e "$path" ]; then remove_path "$path"; else return 0; fi
  if [ "$LAST" = changed ]; then fresh=yes; fi
}

start_helper() {
  systemctl -q enable "$HELPER_SOCKET"
  systemctl restart "$HELPER_SOCKET" || die "$HELPER_SOCKET does not start." "look at journalctl -u $HELPER_SOCKET, and run install.sh again."
}

remove_helper() {
  local name
  if systemctl -q is-active "$HELPER_SOCKET" || systemctl -q is-enabled "$HELPER_SOCKET" 2>/dev/null; then
    change "stop and disable $HELPER_SOCKET" systemctl -q disable --now "$HELPER_SOCKET"
  fi
  for name in "$HELPER_SOCKET.d/identity.conf" "$HELPER_SERVICE.d/jail.conf" "$HELPER_SOCKET" "$HELPER_SERVICE"; do
    remove_path "/etc/systemd/system/$name"
  done
  if [ "$DRY_RUN" = no ]; then rmdir "/etc/systemd/system/$HELPER_SOCKET.d" "/etc/systemd/system/$HELPER_SERVICE.d" 2>/dev/null || true; fi
}
