# shellcheck shell=bash
# fail2ban: filter, actions and jail are tested before fail2ban loads them, and restored if a test fails.
#
# A running fail2ban is never reloaded as a whole: if the filter of another jail does not compile, `fail2ban-client reload` removes
# every jail, and `fail2ban-client -t` does not detect it (measured, 1.0.2 and 1.1.0). `add JAIL`, then `reload --restart JAIL`
# creates or replaces one jail, keeps its bans, and changes no other jail. (Without --restart, fail2ban drops actions that are
# new to the jail at the end of the reload.)
# The exit status of fail2ban-client is not trusted: fail2ban's status decides.

FAIL2BAN=/etc/fail2ban
JAIL_NAME=posternproxy # by default; fail2ban.jail of the configuration decides
JAIL_FILE=jail.d/posternproxy.conf
SHARED_FILES=(filter.d/posternproxy.conf action.d/posternproxy-forward.conf action.d/posternproxy-nftables.conf
  action.d/posternproxy-report.conf)
OUR_FILES=("${SHARED_FILES[@]}" "$JAIL_FILE")
# Sorts after defaults-debian.conf, which it corrects.
SSHD_JAIL=jail.d/postern-auditd-sshd.conf
LOGROTATE=/etc/logrotate.d/postern-auditd

F2B_STATE=absent # before the installation: absent, stopped or running
F2B_ENABLED=no
F2B_JAILS=''   # that ran before the installation
F2B_TROUBLE='' # the result of its own test, before any change
F2B_SKIPPED='' # jails that a start skips
F2B_OPEN=no    # yes while installed files are not yet verified
F2B_APPLIED=no # yes after fail2ban has loaded them

f2b() { timeout 60 fail2ban-client "$@" 2>&1 || true; }
f2b_runs() { [[ $(f2b ping) == *pong* ]]; }
f2b_jails() { jails_in "$(f2b status)"; }
f2b_has_jails() { [ -n "$(f2b_jails)" ]; }
jails_in() { sed -n 's/.*Jail list:[[:space:]]*//p' <<<"$1" | tr -d ' ' | tr ',' '\n'; }

# f2b_trouble: why fail2ban would not start with the configuration on disk; empty if it would. Its own test is stricter than a
# start: the test fails if a filter or an action of a jail is missing, but a start skips that jail. -d reads the configuration like
# a start, except for missing logs, and rejects it only if no jail remains (measured, 1.0.2 and 1.1.0).
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

# f2b_skipped: the jails that a start skips, one a line.
f2b_skipped() { f2b -t | sed -n "s/.*Errors in jail '\([^']*\)'.*/\1/p"; }

f2b_words() { printf '%s\n' "${1:-fail2ban-client -t printed no reason}" | sed '/WARNING/d; /ERROR: test configuration failed/d' | tail -n 3; }

# jail_file JAIL: the last file that configures it.
jail_file() {
  local file found=''
  for file in "$FAIL2BAN"/jail.conf "$FAIL2BAN"/jail.d/*.conf "$FAIL2BAN"/jail.local "$FAIL2BAN"/jail.d/*.local; do
    if grep -qF "[$1]" "$file" 2>/dev/null; then found=$file; fi
  done
  printf '%s\n' "${found:-$FAIL2BAN}"
}

# jail_without_log TROUBLE: the jail that TROUBLE reports a missing log file for; else empty.
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

# decide_fail2ban: sets WITH_FAIL2BAN from the command line, otherwise from the configuration.
decide_fail2ban() {
  local jail=$FAIL2BAN/$JAIL_FILE
  if [ -z "$WITH_FAIL2BAN" ]; then
    WITH_FAIL2BAN=${FACTS[fail2ban]:-yes}
    if [ "$WITH_FAIL2BAN" = no ]; then say "fail2ban is left out, because fail2ban.enabled is false in $CONFIG; --fail2ban sets it up."; fi
  elif [ "$WITH_FAIL2BAN" = no ] && [ "$REMOVE_JAIL" = no ] && [ -e "$jail" ]; then
    say "The jail ${FACTS[jail]} stays in fail2ban unchanged; --remove-jail removes it."
  elif [ "$WITH_FAIL2BAN" = no ]; then
    REMEMBER=no
  fi
  if [ -z "${FACTS[auth]:-}" ] && [ "$WITH_FAIL2BAN" = yes ]; then
    warn 'the configuration has no sink of type fail2ban, so fail2ban is not set up.'
    WITH_FAIL2BAN=no
  fi
}

# want_fail2ban: adds the Debian packages for bans that are missing.
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
    elif [ -n "$trouble" ] && [[ $trouble != *posternproxy* && $trouble != *"${FACTS[jail]}"* ]]; then
      refuse_fail2ban "$trouble"
    fi
  fi
  want_banaction
}

# want_banaction: the program of the ban action must be installed. A host with nftables and without iptables gets iptables only
# on request.
want_banaction() {
  local action=${GIVEN_BANACTION:-${FACTS[banaction]}}
  if [ -n "$GIVEN_BANACTION" ] && [ "$F2B_STATE" != absent ] && [ ! -e "$FAIL2BAN/action.d/${action%%[*}.conf" ]; then
    die "fail2ban has no action $action: $FAIL2BAN/action.d/${action%%[*}.conf does not exist." 'use nftables-multiport or iptables-multiport, which fail2ban includes.'
  fi
  if [ -z "$GIVEN_BANACTION" ] && [[ $action == iptables* ]] && ! command -v iptables >/dev/null && command -v nft >/dev/null; then
    if [ -e "$CONFIG" ]; then
      die "the jail bans with $action, but iptables is not installed (nftables is)." \
        "add --banaction nftables-multiport (or --banaction $action, which installs iptables)."
    fi
    say 'Bans use nftables-multiport, because iptables is not installed (--banaction iptables-multiport installs it).'
    GIVEN_BANACTION=nftables-multiport action=nftables-multiport
  fi
  case $action in
    iptables*) if ! command -v iptables >/dev/null; then MISSING+=(iptables); fi ;;
    nftables*) if ! command -v nft >/dev/null; then MISSING+=(nftables); fi ;;
  esac
}

setup_fail2ban() {
  local jail=${FACTS[jail]}
  step "setting up fail2ban" "fix the error above, then run $RECONFIGURE."
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
    change "load the jail $jail into fail2ban" true
  else
    renew_jail "$jail"
  fi
  if [ "$ONLY_SETTINGS" = no ] && ! systemctl -q is-enabled fail2ban 2>/dev/null; then change 'enable fail2ban.service' systemctl -q enable fail2ban; fi
}

renew_jail() {
  local trouble
  test_filter "$WORK/fail2ban/filter.d/posternproxy.conf"
  # apt-get has just started fail2ban, which answers before it has its jails.
  if [ "$F2B_STATE" = absent ]; then
    if wait_until 5 f2b_runs; then wait_until 10 f2b_has_jails || true; fi
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
    die "fail2ban's own test rejects the jail:"$'\n'"$trouble" "check the .local files about posternproxy in /etc/fail2ban, then run $RECONFIGURE."
  fi
  take_up "$1"
  F2B_OPEN=no
  if [ -n "$F2B_SKIPPED" ]; then warn "fail2ban skips the jails $(paste -sd ' ' <<<"$F2B_SKIPPED"), because a filter or an action is missing; fail2ban-client -t names it."; fi
  tell_overrides
}

# tell_overrides: the administrator's settings for all jails that this jail overrides.
tell_overrides() {
  local said
  said=$(postern jail --config "$CONFIG" --overrides "$FAIL2BAN" 2>/dev/null) || return 0
  if [ -n "$said" ]; then say "  note       ${said//$'\n'/$'\n             '}"; fi
}

# our_texts: writes the wanted files to $WORK/fail2ban.
our_texts() {
  local file
  for file in "${OUR_FILES[@]}"; do
    mkdir -p "$WORK/fail2ban/${file%/*}"
    if [ "$file" = "$JAIL_FILE" ]; then render_jail >"$WORK/fail2ban/$file"; else cp "${PROGRAM:-$HERE}/fail2ban/$file" "$WORK/fail2ban/$file"; fi
  done
}

texts_in_place() { local file; for file in "${OUR_FILES[@]}"; do cmp -s "$WORK/fail2ban/$file" "$FAIL2BAN/$file" || return 1; done; }

put_texts() { local file; for file in "${OUR_FILES[@]}"; do put_file "$WORK/fail2ban/$file" "$FAIL2BAN/$file" 0644; done; }

# wait_for_pair: fail2ban does not start without its log files, and counts lines twice in a file without a first line.
wait_for_pair() {
  local auth=${FACTS[auth]}
  if ! wait_until 15 pair_is_there "$auth"; then
    die "the daemon has not created fail2ban's log files in $auth." "see postern-auditd status and journalctl -u postern-auditd, then run $RECONFIGURE."
  fi
}
pair_is_there() { [ -s "$1/fail2ban.0.log" ] && [ -s "$1/fail2ban.1.log" ]; }

# test_filter FILTER: FILTER, a path or a name, has to find the addresses in two lines that the program itself writes.
test_filter() {
  local found
  postern jail --probe >"$WORK/probe.log"
  found=$(timeout 60 fail2ban-regex -o ip "$WORK/probe.log" "$1" 2>&1) || true
  if [ "$found" != $'192.0.2.1\n2001:db8::1' ]; then
    die "fail2ban's filter $1 does not match what the daemon writes:"$'\n'"$(tail -n 3 <<<"$found")" \
      "correct or remove $FAIL2BAN/filter.d/posternproxy.local, then run $RECONFIGURE."
  fi
}

# mend_sshd: Debian 12's sshd jail needs /var/log/auth.log, which a host without rsyslog does not have; without it fail2ban does
# not start. Only a fail2ban that is stopped is changed, and only this jail then reads the journal.
mend_sshd() {
  F2B_TROUBLE=$(f2b_trouble)
  if [ -z "$F2B_TROUBLE" ]; then return 0; fi
  if [ "$F2B_STATE" = running ]; then
    warn "fail2ban is running, but it would not start again, because its configuration on disk fails its own test:"$'\n'"$F2B_TROUBLE"
    return 0
  fi
  if [ "$(jail_without_log "$F2B_TROUBLE")" = sshd ] && /usr/bin/python3 -I -c 'import systemd.journal' 2>/dev/null; then
    printf '# Written by %s of postern-auditd: /var/log/auth.log does not exist here, and fail2ban does not start without it.\n[sshd]\nbackend = systemd\n' "$WRITER" >"$WORK/sshd.conf"
    save_file "$SSHD_JAIL"
    F2B_OPEN=yes
    put_file "$WORK/sshd.conf" "$FAIL2BAN/$SSHD_JAIL" 0644
    F2B_TROUBLE=$(f2b_trouble)
    if [ -z "$F2B_TROUBLE" ]; then return 0; fi
  fi
  # The error may be in our jail of an earlier run, which is replaced.
  if [[ $F2B_TROUBLE == *posternproxy* || $F2B_TROUBLE == *"${FACTS[jail]}"* ]]; then return 0; fi
  refuse_fail2ban "$F2B_TROUBLE"
}

refuse_fail2ban() {
  die "fail2ban is not running, and its configuration fails its own test, before any change by $ME:"$'\n'"$1" \
    "fix it (fail2ban-client -t), then run $ME again; --no-fail2ban installs without bans."
}

render_jail() {
  if [ -z "$PROGRAM" ]; then cat "$HERE/fail2ban/jail.d/posternproxy.conf"; return; fi
  local chain=INPUT
  # Docker creates DOCKER-USER: packets to published ports pass it and never reach INPUT.
  if command -v iptables >/dev/null && iptables -w 5 -n -L DOCKER-USER >/dev/null 2>&1; then chain=INPUT,DOCKER-USER; fi
  postern jail --config "$(config_to_read)" --chain "$chain"
}

# take_up JAIL: loads the jail into fail2ban, and checks that fail2ban runs it.
take_up() {
  local patience=15
  F2B_APPLIED=yes F2B_OPEN=yes
  if [ "$F2B_STATE" = running ]; then
    f2b add "$1" polling >/dev/null # fails if the jail exists already
    f2b reload --restart "$1" >"$WORK/reload"
    patience=5
  elif [ "$ONLY_SETTINGS" = yes ] && [ "$F2B_ENABLED" = no ]; then
    F2B_APPLIED=no
    say "  note       fail2ban is neither running nor enabled: the jail $1 works when you start fail2ban."
    return 0
  else
    systemctl restart fail2ban >"$WORK/reload" 2>&1 || true
  fi
  if ! wait_until "$patience" jail_works "$1"; then
    die "fail2ban does not run the jail $1:"$'\n'"$(why_not)" "see journalctl -u fail2ban and /var/log/fail2ban.log, then run $RECONFIGURE."
  fi
  local gone
  gone=$(comm -23 <(sort <<<"$F2B_JAILS") <(f2b_jails | sort))
  if [ -n "$gone" ]; then die "fail2ban no longer runs $gone." "see /var/log/fail2ban.log, then run $RECONFIGURE."; fi
  changed "load the jail $1 into fail2ban"
}

why_not() { { cat "$WORK/reload"; grep -hE ' (ERROR|CRITICAL) ' /var/log/fail2ban.log 2>/dev/null | tail -n 2; } | sed "/WARNING/d; /Command \\['status'/d" | cut -c 1-300; }

# jail_works JAIL: true if the jail reads both files and reports its bans.
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

# put_back_fail2ban: restores fail2ban's files and jails after a failure.
put_back_fail2ban() {
  if [ "$F2B_OPEN" = no ]; then return 0; fi
  F2B_OPEN=no
  local file jail=${FACTS[jail]}
  for file in "${SAVED[@]}"; do
    rm -f "$FAIL2BAN/$file"
    if [ -e "$WORK/saved/$file" ]; then cp -p "$WORK/saved/$file" "$FAIL2BAN/$file"; fi
  done
  say "  restored   $FAIL2BAN"
  if [ "$F2B_APPLIED" = no ]; then return 0; fi
  if [ "$F2B_STATE" = running ]; then
    if grep -qx "$jail" <<<"$F2B_JAILS"; then
      f2b add "$jail" polling >/dev/null
      f2b reload --restart "$jail" >/dev/null
    else
      f2b stop "$jail" >/dev/null
    fi
    if [ "$(f2b_jails | sort)" = "$(sort <<<"$F2B_JAILS")" ]; then
      say "  restored   fail2ban runs its previous jails: $(tr '\n' ' ' <<<"$F2B_JAILS")"
    else
      warn "fail2ban runs the jails $(f2b_jails | tr '\n' ' ')but ran $(tr '\n' ' ' <<<"$F2B_JAILS")before"
    fi
  else
    systemctl stop fail2ban || true
    say '  restored   fail2ban is stopped, as before'
  fi
}

# install_logrotate: fail2ban writes bans.log, which is small. The daemon finishes reading the renamed file, so it must not be
# compressed immediately.
install_logrotate() {
  if [ "$ONLY_SETTINGS" = yes ] && dpkg-query -S "$LOGROTATE" >/dev/null 2>&1; then
    unchanged "$LOGROTATE (of the package)"
    if ! grep -qF "${FACTS[bans]}" "$LOGROTATE"; then warn "$LOGROTATE does not rotate ${FACTS[bans]}, which the configuration names: add it there."; fi
    return 0
  fi
  printf '# Written by %s of postern-auditd.\n%s {\n\tmonthly\n\tmaxsize 10M\n\trotate 12\n\tmissingok\n\tnotifempty\n\tcompress\n\tdelaycompress\n\tcreate 0644 root root\n}\n' "$WRITER" "${FACTS[bans]}" >"$WORK/logrotate"
  put_file "$WORK/logrotate" "$LOGROTATE" 0644
}

LOGS_SERVICE=postern-auditd-logs.service

# render_log_files BANS_DIRECTORY AUTH_DIRECTORY LOG_DIRECTORY…: the drop-in places.conf, for RUN_USER, of the unit that creates the
# jail's files; empty if the shipped unit fits. AUTH_DIRECTORY is one of the LOG_DIRECTORIES. The files get the configured mode and group.
render_log_files() {
  local bans=$1 auth=$2 directory mode=${FACTS[auth_mode]:-0640} group=${FACTS[auth_group]:-adm} how=''
  shift 2
  if [ "$mode $group" != '0640 adm' ]; then how=" $mode $(unit_word "$group")"; fi
  if [ -z "$how" ] && [ "$RUN_USER" = "$OWN" ] && [ "$bans" = "$UNIT_BANS" ] && [ "$*" = "$UNIT_LOGS" ]; then return 0; fi
  printf '# Written by %s from the configuration; %s rewrites it.\n' "$WRITER" "$RECONFIGURE"
  printf '[Unit]\n'
  for directory in "$bans" "$@"; do printf 'RequiresMountsFor=%s\n' "$(unit_word "$directory")"; done
  printf '[Service]\nUser=%s\nGroup=%s\nExecStartPre=\n' "$RUN_USER" "$RUN_GROUP"
  for directory; do printf '%s\n' "$(directory_line 2750 "$RUN_USER" adm "$directory")"; done
  printf '%s\nExecStart=\nExecStart=/bin/sh %s/fail2ban/postern-auditd-log-files %s%s\nReadWritePaths=%s\n' \
    "$(directory_line 0755 root root "$bans")" "$PREFIX" "$(unit_word "$auth")" "$how" "$(unit_word "-$auth")"
}

# install_log_files: installs the unit that creates directories and files of the jail before each start of fail2ban. It is not
# started here, because the daemon creates them too.
install_log_files() {
  local fresh=no
  render_log_files "${FACTS[bans]%/*}" "${FACTS[auth]}" "${LOGS[@]}" >"$WORK/log-places"
  put_unit "$LOGS_SERVICE"
  if [ "$LAST" = changed ]; then fresh=yes; fi
  helper_drop_in "$LOGS_SERVICE" places "$WORK/log-places" "$([ ! -s "$WORK/log-places" ] || echo needed)"
  if [ "$fresh" = yes ]; then reload_units; fi
  if [ "$ONLY_SETTINGS" = yes ]; then return 0; fi
  if systemctl -q is-enabled "$LOGS_SERVICE" 2>/dev/null; then
    unchanged "$LOGS_SERVICE is enabled"
  else
    change "enable $LOGS_SERVICE, which creates the jail's log files before fail2ban starts" systemctl -q enable "$LOGS_SERVICE"
  fi
}

remove_log_files() {
  if [ "$ONLY_SETTINGS" = no ] && systemctl -q is-enabled "$LOGS_SERVICE" 2>/dev/null; then change "disable $LOGS_SERVICE" systemctl -q disable "$LOGS_SERVICE"; fi
  remove_path "/etc/systemd/system/$LOGS_SERVICE.d/places.conf"
  if [ "$ONLY_SETTINGS" = no ]; then remove_path "/etc/systemd/system/$LOGS_SERVICE"; fi
  if [ "$DRY_RUN" = no ]; then rmdir "/etc/systemd/system/$LOGS_SERVICE.d" 2>/dev/null || true; fi
}

HELPER_SOCKET=postern-auditd-fail2ban.socket
HELPER_SERVICE=postern-auditd-fail2ban@.service

# install_helper: installs the two units through which the unprivileged daemon lists and lifts the bans of its jail.
install_helper() {
  local name fresh=no
  printf '# Written by %s: the user of the daemon.\n[Socket]\nSocketUser=%s\n' "$WRITER" "$RUN_USER" >"$WORK/socket-user"
  printf '# Written by %s from the configuration.\n[Service]\nEnvironment=JAIL=%s\n' "$WRITER" "$(unit_word "${FACTS[jail]}")" >"$WORK/jail-name"
  for name in "$HELPER_SOCKET" "$HELPER_SERVICE"; do
    put_unit "$name"
    if [ "$LAST" = changed ]; then fresh=yes; fi
  done
  helper_drop_in "$HELPER_SOCKET" identity "$WORK/socket-user" "$([ "$RUN_USER" = "$OWN" ] || echo needed)"
  helper_drop_in "$HELPER_SERVICE" jail "$WORK/jail-name" "$([ "${FACTS[jail]}" = "$JAIL_NAME" ] || echo needed)"
  if [ "$fresh" = yes ]; then reload_units; fi
  if [ "$ONLY_SETTINGS" = yes ]; then
    if [ "$fresh" = yes ]; then renew_socket "$HELPER_SOCKET"; fi
    return 0
  fi
  if [ "$fresh" = no ] && systemctl -q is-active "$HELPER_SOCKET" && systemctl -q is-enabled "$HELPER_SOCKET" 2>/dev/null; then
    unchanged "$HELPER_SOCKET is active"
  else
    change "enable and start $HELPER_SOCKET" start_helper
  fi
}

# helper_drop_in UNIT NAME FILE NEEDED: sets fresh=yes after a change.
helper_drop_in() {
  local path=/etc/systemd/system/$1.d/$2.conf
  if [ -n "$4" ]; then put_file "$3" "$path" 0644; elif [ -e "$path" ]; then remove_path "$path"; else return 0; fi
  if [ "$LAST" = changed ]; then fresh=yes; fi
}

# remove_units SOCKET DROP_IN… -- UNIT…: removes drop-ins, and the units too unless ONLY_SETTINGS; the socket is then stopped first.
remove_units() {
  local socket=$1
  shift
  if [ "$ONLY_SETTINGS" = no ] && { systemctl -q is-active "$socket" || systemctl -q is-enabled "$socket" 2>/dev/null; }; then
    change "stop and disable $socket" systemctl -q disable --now "$socket"
  fi
  while [ $# -gt 0 ]; do
    if [ "$1" != -- ]; then remove_path "/etc/systemd/system/$1"; elif [ "$ONLY_SETTINGS" = yes ]; then return 0; fi
    shift
  done
}

start_helper() {
  systemctl -q enable "$HELPER_SOCKET"
  systemctl restart "$HELPER_SOCKET" || die "$HELPER_SOCKET did not start." "see journalctl -u $HELPER_SOCKET, then run $ME again."
}

remove_helper() {
  remove_units "$HELPER_SOCKET" "$HELPER_SOCKET.d/identity.conf" "$HELPER_SERVICE.d/jail.conf" -- "$HELPER_SOCKET" "$HELPER_SERVICE"
  if [ "$DRY_RUN" = no ]; then rmdir "/etc/systemd/system/$HELPER_SOCKET.d" "/etc/systemd/system/$HELPER_SERVICE.d" 2>/dev/null || true; fi
}
