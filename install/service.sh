# shellcheck shell=bash
# The daemon's user, configuration, unit and process.

UNIT=postern-auditd.service
UNIT_FILE=/etc/systemd/system/$UNIT
DROP_INS=$UNIT_FILE.d
CONFIG=/etc/postern-auditd/config.yml
LINK=/usr/local/bin/postern-auditd
# Manual pages and shell completions, in the local directories that man, bash-completion, zsh and fish search.
SHARE=/usr/local/share
MANUALS=(postern-auditd.1 postern-auditd.yml.5)
declare -A COMPLETIONS=([bash]=$SHARE/bash-completion/completions/postern-auditd [zsh]=$SHARE/zsh/site-functions/_postern-auditd
  [fish]=$SHARE/fish/vendor_completions.d/postern-auditd.fish)
CONFIG_WRITTEN=no # yes if this run wrote the configuration
RESTART=no        # yes after a change that the daemon reads only at its start

declare -A FACTS=() # from the configuration: database, state, control, fail2ban, jail, banaction, bans, auth, auth_mode, auth_group, archive, notify
LOGS=()             # its log directories; that of the fail2ban files is last

# config_to_read: the installed configuration file, or the shipped one if none is installed.
config_to_read() { if [ -e "$CONFIG" ]; then echo "$CONFIG"; else echo "${PROGRAM:-$HERE}/config/config.yml"; fi; }

REFUSED=1 # the exit code after a configuration that the program rejects

# read_facts CONFIG: reads the configuration with the program that is being installed.
read_facts() {
  local text
  if ! text=$(postern facts --config "$1"); then
    if ! postern --version >/dev/null 2>&1; then
      die "the program in $PROGRAM can't be run (see above). The installed program is unchanged." \
        "$(next_step "check that this release is built for this machine ($(uname -m)), then run $ME again.")"
    fi
    EXIT_CODE=$REFUSED
    if [ "$ONLY_SETTINGS" = yes ]; then
      die "this version rejects the configuration (see above)." "correct $1, then run $ME again; $PROGRAM/config/config.yml has every key of this version."
    fi
    die 'the new program rejects the configuration (see above). The installed program is unchanged.' \
      "correct $1, then run $ME again; $CONFIG.example has every key of the installed version."
  fi
  take_facts "$text"
}

# check_state CONFIG: stops if a newer program has written the state of this configuration: a daemon of this version would not start.
check_state() {
  if [ ! -e "$1" ] || postern facts --config "$1" --check-state >/dev/null; then return 0; fi
  die "this version can't take over the state of the installed one (see above). Nothing has been changed." "install that version or a later one again."
}

# take_facts TEXT: stores lines of a name and a value in FACTS and LOGS.
take_facts() {
  local name value
  FACTS=() LOGS=()
  while read -r name value; do
    if [ "$name" = logs ]; then LOGS+=("$value"); else FACTS[$name]=$value; fi
  done <<<"$1"
  if [ -n "${FACTS[auth]:-}" ]; then LOGS+=("${FACTS[auth]}"); fi
}

# default_facts: the facts of the shipped configuration, for a host where no program can read it yet.
default_facts() {
  FACTS=([database]=$DEFAULT_DATABASE [state]=$UNIT_STATE [control]=$UNIT_CONTROL/control.sock [fail2ban]=yes [jail]=$JAIL_NAME
    [banaction]=iptables-multiport [bans]=$UNIT_BANS/bans.log [auth]=${UNIT_LOGS#* } [archive]=$UNIT_STATE/archive [notify]=yes)
  LOGS=("${UNIT_LOGS% *}" "${UNIT_LOGS#* }")
}

make_user() {
  if getent passwd "$OWN" >/dev/null; then
    unchanged "user $OWN"
  else
    change "create the user $OWN" useradd --system --user-group --no-create-home --home-dir "$UNIT_STATE" --shell /usr/sbin/nologin "$OWN"
  fi
}

# make_config: installs the shipped configuration; an existing one is kept, with the new example beside it.
make_config() {
  local shipped=${PROGRAM:-$HERE}/config/config.yml
  if [ -n "$INSTANCE" ]; then
    instance_config >"$WORK/instance.yml"
    shipped=$WORK/instance.yml
  fi
  put_file "$shipped" "$CONFIG.example" 0644
  if [ -e "$CONFIG" ]; then
    unchanged "$CONFIG (kept)"
  else
    change "write $CONFIG" write_file "$shipped" "$CONFIG" 0644
    CONFIG_WRITTEN=yes
  fi
}

# edit_config: writes the options of the command line into the configuration: database, never_ban, ban action, fail2ban.enabled.
edit_config() {
  local arguments=(--config "$CONFIG") changes line networks=("${ADMIN_NETS[@]}") address=''
  # A setup repeats itself at each upgrade, which is no reason to change the configuration.
  if [ "$ONLY_SETTINGS" = no ] || [ "$CONFIG_WRITTEN" = yes ]; then address=$(ssh_address); fi
  if [ -n "$address" ]; then networks=("$address" "${networks[@]}"); fi
  if [ "$DATABASE" != "${FACTS[database]}" ]; then arguments+=(--database "$DATABASE"); fi
  if [ -n "$GIVEN_BANACTION" ] && [ "$GIVEN_BANACTION" != "${FACTS[banaction]}" ]; then arguments+=(--banaction "$GIVEN_BANACTION"); fi
  if [ "$REMEMBER" = yes ] && [ "${FACTS[fail2ban]:-yes}" = no ]; then arguments+=(--fail2ban); fi
  if [ "$REMEMBER" = no ] && [ "${FACTS[fail2ban]:-yes}" = yes ]; then arguments+=(--no-fail2ban); fi
  if [ ${#networks[@]} -gt 0 ] && [ "$WITH_FAIL2BAN" = yes ]; then arguments+=(--never-ban "${networks[@]}"); fi
  if [ ${#arguments[@]} -eq 2 ]; then return 0; fi
  if [ "$DRY_RUN" = yes ] && { [ -z "$PROGRAM" ] || [ ! -e "$CONFIG" ]; }; then
    change "set in $CONFIG: ${arguments[*]:2}" true
    return 0
  fi
  changes=$(postern configure "${arguments[@]}" --dry-run) || die "the configuration can't be changed (see above)." "correct $CONFIG or the arguments, then run $ME again."
  if [ -z "$changes" ]; then
    unchanged "$CONFIG (has the options of the command line)"
    return 0
  fi
  if [ "$DRY_RUN" = no ]; then
    cp -p "$CONFIG" "$WORK/config.before"
    postern configure "${arguments[@]}" >/dev/null
  fi
  while read -r line; do change "set in $CONFIG: $line" true; done <<<"$changes"
  RESTART=yes
}

# give_identity: chooses the daemon's user and groups, and writes the drop-ins.
give_identity() {
  local database=$1 directory=${1%/*} setfacl=no group='' in_database='' in_directory='' before
  if command -v setfacl >/dev/null; then setfacl=yes; fi
  if [ -e "$database" ]; then
    in_database=$(stat_of "$database") in_directory=$(stat_of "$directory")
  fi
  if getent group posternproxy >/dev/null; then group=posternproxy; fi
  decide_identity "$in_database" "$in_directory" "$(closed_parents "$directory")" "$setfacl" "$group"
  if [ "$CASE" = acl ] && ! grant_access "$database"; then
    decide_identity "$in_database" "$in_directory" "$(closed_parents "$directory")" no "$group"
  fi
  say "  identity   ${RUN_USER}${RUN_GROUPS:+ with the group $RUN_GROUPS}: $WHY"
  before=$(run_user_of_unit)
  render_identity "$database" >"$WORK/identity.conf"
  drop_in identity.conf
  render_places "$directory" "${FACTS[state]}" "${FACTS[control]%/*}" "${FACTS[bans]%/*}" "${LOGS[@]}" >"$WORK/places.conf"
  drop_in places.conf
  # retention.conf sorts after places.conf, which resets the list of ExecStartPre=. Earlier releases called it archive.conf.
  render_archive "${FACTS[archive]:-}" "${FACTS[state]}" >"$WORK/retention.conf"
  drop_in retention.conf
  : >"$WORK/archive.conf"
  drop_in archive.conf
  if [ "${FACTS[notify]}" != yes ]; then
    printf '# Written by %s: node-unix-socket, the package that notifies systemd, is not\n# available for this machine.\n[Service]\nType=exec\nWatchdogSec=0\n' "$WRITER"
  fi >"$WORK/notify.conf"
  drop_in notify.conf
  if [ -n "$before" ] && [ "$before" != "$RUN_USER" ]; then own_logs; fi
}

run_user_of_unit() { if [ -f "$DROP_INS/identity.conf" ]; then sed -n 's/^User=//p' "$DROP_INS/identity.conf"; fi; }

# drop_in NAME: installs $WORK/NAME as a drop-in of the unit, or removes the drop-in if $WORK/NAME is empty.
drop_in() {
  if [ -s "$WORK/$1" ]; then
    put_file "$WORK/$1" "$DROP_INS/$1" 0644
  elif [ -e "$DROP_INS/$1" ]; then
    remove_path "$DROP_INS/$1"
  else
    return 0
  fi
  if [ "$LAST" = changed ]; then RESTART=yes; fi
}

# own_logs: gives log files and archives to the new user, who has to continue them (systemd does this for the state directory).
# The group of the archives lets the purge read them.
own_logs() {
  local directory archive=${FACTS[archive]:-}
  for directory in "${LOGS[@]}"; do
    if [ -d "$directory" ]; then change "give $directory to $RUN_USER" chown -R --no-dereference "$RUN_USER:adm" "$directory"; fi
  done
  case $archive/ in '/' | "$UNIT_STATE"/* | "${FACTS[state]}"/*) return 0 ;; esac
  if [ -d "$archive" ]; then change "give $archive to $RUN_USER" chown -R --no-dereference "$RUN_USER:${RUN_GROUP:-root}" "$archive"; fi
}

install_unit() {
  local template fresh=no
  for template in "${TEMPLATES[@]}"; do
    put_unit "$template"
    if [ "$LAST" = changed ]; then fresh=yes; fi
  done
  if [ "$fresh" = yes ]; then reload_units; fi
  put_file "${PROGRAM:-$HERE}/systemd/$UNIT" "$UNIT_FILE" 0644
  if [ "$LAST" = changed ]; then RESTART=yes; fi
  if [ "$(readlink "$LINK" 2>/dev/null)" = "$PREFIX/bin/postern-auditd" ]; then
    unchanged "$LINK"
  elif [ -n "$(why_unwritable "${LINK%/*}")" ]; then
    warn "${LINK%/*} is read-only, so the link to the command is left out; run $PREFIX/bin/postern-auditd"
  elif [ -e "$LINK" ] || [ -L "$LINK" ]; then
    warn "$LINK belongs to another program and is kept; run $PREFIX/bin/postern-auditd"
  else
    change "link $LINK" ln -s "$PREFIX/bin/postern-auditd" "$LINK"
  fi
}

# install_manual: installs the manual pages and the completions, which the program prints.
install_manual() {
  local shell page
  if [ -n "$(why_unwritable "$SHARE")" ]; then
    warn "$SHARE is read-only, so manual pages and completions are left out; the pages are in $PREFIX/docs"
    return 0
  fi
  for page in "${MANUALS[@]}"; do put_manual "${PROGRAM:-$HERE}/docs/$page" "$(manual_at "$page")"; done
  if [ -z "$PROGRAM" ]; then return 0; fi
  for shell in bash zsh fish; do
    postern completion "$shell" >"$WORK/completion"
    put_manual "$WORK/completion" "${COMPLETIONS[$shell]}"
  done
}

# put_manual SOURCE DESTINATION: a failure is only a warning, because the daemon runs without these files.
put_manual() {
  local directory=${2%/*}
  if [ "$DRY_RUN" = no ] && [ ! -d "$directory" ]; then install -d -m 0755 -o root -g root "$directory" 2>/dev/null || true; fi
  if { [ "$DRY_RUN" = no ] && [ ! -d "$directory" ]; } || [ -n "$(why_unwritable "$directory")" ]; then
    warn "$2 is left out: its directory is read-only or can't be created"
  else
    put_file "$1" "$2" 0644
  fi
}

# remove_manual: removes these files and empty directories below SHARE, except SHARE/man, which belongs to the distribution.
remove_manual() {
  local page file directory files=("${COMPLETIONS[@]}")
  for page in "${MANUALS[@]}"; do files+=("$(manual_at "$page")"); done
  for file in "${files[@]}"; do
    if [ ! -e "$file" ]; then continue; fi
    if [ -n "$(why_unwritable "$file")" ]; then
      warn "$file is kept, because its directory is read-only"
      continue
    fi
    remove_path "$file"
    directory=${file%/*}
    while [ "$DRY_RUN" = no ] && [ "$directory" != "$SHARE" ] && [ "$directory" != "$SHARE/man" ] &&
      rmdir "$directory" 2>/dev/null; do directory=${directory%/*}; done
  done
}

# manual_at PAGE: the path of a manual page.
manual_at() { printf '%s/man/man%s/%s\n' "$SHARE" "${1##*.}" "$1"; }

# command_name: the command as the administrator calls it on this host.
command_name() { if [ "$(readlink -f "$(command -v postern-auditd)" 2>/dev/null)" = "$PREFIX/bin/postern-auditd" ]; then echo postern-auditd; else echo "$PREFIX/bin/postern-auditd"; fi; }

# run_unit: starts the daemon, or restarts it if RESTART is yes.
run_unit() {
  if [ "$RESTART" = yes ]; then change 'reload the units of systemd' systemctl daemon-reload; fi
  if systemctl -q is-enabled "$UNIT" 2>/dev/null; then unchanged "$UNIT is enabled"; else change "enable $UNIT" systemctl -q enable "$UNIT"; fi
  if [ "$RESTART" = no ] && systemctl -q is-active "$UNIT"; then
    unchanged "$UNIT is active"
    # The daemon has to use the configuration that the jail was written from.
    if [ "$ACTION" = reconfigure ]; then change 'reload the configuration of the daemon' systemctl reload "$UNIT"; fi
    return 0
  fi
  systemctl reset-failed "$UNIT" 2>/dev/null || true
  change "start $UNIT" start_unit
}

daemon_is_wanted() { systemctl -q is-active "$UNIT" || systemctl -q is-enabled "$UNIT" 2>/dev/null; }

start_unit() {
  local since
  since=$(date '+%Y-%m-%d %H:%M:%S')
  # unit_runs decides, not the exit status.
  systemctl restart "$UNIT" || true
  if wait_until 8 unit_runs; then return 0; fi
  journalctl --unit "$UNIT" --since "$since" --lines 15 --output cat --no-pager >&2 || true
  die "$UNIT did not start." "see journalctl -u ${UNIT%.service}, then run $ME again."
}

# unit_runs: true if the unit is active, and a Type=exec unit still is 2 s later: it is active before it reads its configuration.
unit_runs() { systemctl -q is-active "$UNIT" && { [ "${FACTS[notify]}" = yes ] || { sleep 2 && systemctl -q is-active "$UNIT"; }; }; }

# wait_until SECONDS CMD…: waits until CMD succeeds; returns false after SECONDS.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    if [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
    sleep 0.2
  done
}
