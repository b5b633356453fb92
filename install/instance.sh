# shellcheck shell=bash
# Several databases on one host: the daemon of each further one is postern-auditd@NAME. Its places are those of the first with @NAME
# behind their first part; filter and actions of fail2ban are shared.

LOCKED=${POSTERN_AUDITD_LOCKED:-no} # yes: run by another install.sh or setup, which has the lock

# Units of all instances. The socket for bans has one for each: systemd would start the service of a template without its name.
TEMPLATES=(postern-auditd@.service postern-auditd-logs@.service postern-auditd-purge@.socket postern-auditd-purge@.service)

# is_instance_name NAME: as src/instance.ts; short enough for a jail postern-NAME.
is_instance_name() { [[ $1 =~ ^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$ ]]; }

# use_instance NAME: from now on all names and places are those of postern-auditd@NAME.
use_instance() {
  INSTANCE=$1
  export POSTERN_AUDITD_INSTANCE=$1
  ME="$ME --instance $1" RECONFIGURE="$RECONFIGURE --instance $1"
  CONFIG=/etc/postern-auditd@$1/config.yml
  UNIT=postern-auditd@$1.service UNIT_FILE=/etc/systemd/system/postern-auditd@.service
  DROP_INS=/etc/systemd/system/$UNIT.d
  JAIL_NAME=postern-$1 JAIL_FILE=jail.d/postern-$1.conf
  OUR_FILES=("${SHARED_FILES[@]}" "$JAIL_FILE")
  LOGROTATE=/etc/logrotate.d/postern-auditd@$1
  LOGS_SERVICE=postern-auditd-logs@$1.service
  HELPER_SOCKET=postern-auditd-fail2ban-$1.socket HELPER_SERVICE=postern-auditd-fail2ban-$1@.service
  PURGE_SOCKET=postern-auditd-purge@$1.socket PURGE_SERVICE=postern-auditd-purge@$1.service
  LOG_HOME=/var/log/posternproxy@$1
  UNIT_LOGS="$LOG_HOME/audit $LOG_HOME/auth" UNIT_BANS=$LOG_HOME/bans
  UNIT_STATE=/var/lib/postern-auditd@$1 UNIT_CONTROL=/run/postern-auditd@$1
}

# instances: the names of those that are set up, one a line.
instances() {
  local directory name
  for directory in /etc/systemd/system/postern-auditd@?*.service.d; do
    name=${directory##*/postern-auditd@}
    name=${name%.service.d}
    if [ -e "$directory/identity.conf" ] && is_instance_name "$name"; then printf '%s\n' "$name"; fi
  done
}

# shipped_unit NAME: the file of a unit, with the program or where a package put it.
shipped_unit() {
  local file
  for file in "${PROGRAM:-$HERE}/systemd/$1" "/usr/lib/systemd/system/$1" "/lib/systemd/system/$1"; do
    if [ -e "$file" ]; then printf '%s\n' "$file" && return; fi
  done
  return 1
}

# put_helper_unit NAME: writes a unit of this instance's helper, made of that of the first daemon.
put_helper_unit() {
  local socket=/run/postern-auditd-fail2ban-$INSTANCE.sock from
  from=$(shipped_unit "${1/-fail2ban-$INSTANCE/-fail2ban}") || die "a unit of the helper is missing." "install postern-auditd again, then run $ME again."
  sed -e "1i # Written by $WRITER for the instance $INSTANCE." -e "s,/run/postern-auditd-fail2ban\\.sock,$socket," \
    -e "s,^Environment=JAIL=posternproxy\$,Environment=JAIL=$JAIL_NAME SOCKET=$socket," \
    -e "s,^\\(InaccessiblePaths=.*\\)-/var/lib/postern-auditd ,\\1-/var/lib/postern-auditd -$UNIT_STATE ," \
    -e "s,^\\(Description=.*\\)\$,\\1 ($INSTANCE)," "$from" >"$WORK/unit"
  put_file "$WORK/unit" "/etc/systemd/system/$1" 0644
}

# instance_config: the shipped configuration with the places of this instance, and a port for its API that no other daemon names.
instance_config() {
  local port
  port=$(free_port)
  sed -e "s,/var/log/posternproxy/,$LOG_HOME/,g" -e "s,/var/lib/postern-auditd\\b,$UNIT_STATE,g" -e "s,/run/postern-auditd/,$UNIT_CONTROL/,g" \
    -e "s,/etc/postern-auditd/config\\.yml,$CONFIG,g" -e "s,systemctl reload postern-auditd\$,systemctl reload ${UNIT%.service}," \
    -e "s,^\\( *jail:\\) posternproxy\\b,\\1 $JAIL_NAME," -e "s,^\\( *listen:\\) \"127\\.0\\.0\\.1:8181\",\\1 \"127.0.0.1:$port\"," \
    "${PROGRAM:-$HERE}/config/config.yml"
}

# free_port: the first from 8182 on that no configuration of a daemon here names.
free_port() {
  local port=8182
  while grep -ls "listen:.*:$port\\b" /etc/postern-auditd/config.yml /etc/postern-auditd@*/config.yml | grep -vxF "$CONFIG" >/dev/null; do port=$((port + 1)); done
  printf '%s\n' "$port"
}

# other_databases: the databases of all daemons here but this one, one a line.
other_databases() {
  local name file
  for file in /etc/postern-auditd/config.yml $(instances | sed 's,.*,/etc/postern-auditd@&/config.yml,'); do
    if [ "$file" = "$CONFIG" ] || [ ! -e "$file" ]; then continue; fi
    postern facts --config "$file" 2>/dev/null | sed -n 's/^database //p'
  done
}

# all_instances: also those that are removed and have kept their data.
all_instances() {
  local file name
  {
    instances
    for file in /etc/postern-auditd@?*/config.yml; do
      name=${file#/etc/postern-auditd@}
      name=${name%/config.yml}
      if [ -e "$file" ] && is_instance_name "$name"; then printf '%s\n' "$name"; fi
    done
  } | sort -u
}

# read_instance: the facts of this instance's configuration, or of the one that it will have. Stops if its database is not named.
read_instance() {
  if [ -e "$CONFIG" ]; then
    read_facts "$CONFIG"
    return 0
  fi
  if [ -z "$GIVEN_DATABASE" ]; then die "the instance $INSTANCE is new, and its database is not named." "add --database PATH."; fi
  instance_config >"$WORK/instance.yml"
  read_facts "$WORK/instance.yml"
}

# check_instance: stops before any change if another daemon follows the database.
check_instance() {
  local database
  while read -r database; do
    if [ "$(realpath -m -- "$database")" = "$(realpath -m -- "$DATABASE")" ]; then
      die "$DATABASE is followed by another daemon of this host already." 'name another database with --database PATH.'
    fi
  done < <(other_databases)
}

# keep_others_access: access lists on directories that also lead to another daemon's database are kept.
keep_others_access() {
  local database
  while read -r database; do
    KEEP_ACCESS+=("${database%/*}")
    while read -r database; do KEEP_ACCESS+=("$database"); done < <(closed_parents "${database%/*}")
  done < <(other_databases)
}

# for_each_instance LIST COMMAND…: runs COMMAND… --instance NAME for each instance that LIST prints, in a process of its own, which needs
# no lock. Returns false if one of them failed, and goes on with the others.
for_each_instance() {
  local list=$1 name changes failed=no dry=()
  shift
  if [ "$DRY_RUN" = yes ]; then dry=(--dry-run); fi
  while read -r name; do
    say "instance $name"
    if ! POSTERN_AUDITD_LOCKED=yes POSTERN_AUDITD_RENEWED=${SWAPPED:-no} "$@" "${dry[@]}" --instance "$name" >"$WORK/instance"; then failed=yes; fi
    cat "$WORK/instance"
    changes=$(grep -c '^  done ' "$WORK/instance") || true
    TOTAL_CHANGES=$((TOTAL_CHANGES + changes))
  done < <("$list")
  [ "$failed" = no ]
}

# check_instances: stops if the program rejects configuration or state of an instance: its daemon would not start again.
check_instances() {
  local name
  while read -r name; do
    read_facts "/etc/postern-auditd@$name/config.yml"
    check_state "/etc/postern-auditd@$name/config.yml"
  done < <(instances)
}

# remove_instance: stops and disables its units and removes what the setup wrote; configuration, state and logs stay.
remove_instance() {
  step 'removing the jail from fail2ban' "run $ME again."
  facts_to_remove
  remove_jail
  step 'removing the instance' "run $ME again."
  if has_systemd && { systemctl -q is-active "$UNIT" || systemctl -q is-enabled "$UNIT" 2>/dev/null; }; then
    change "stop and disable $UNIT" systemctl -q disable --now "$UNIT"
  fi
  keep_others_access
  revoke_access "${FACTS[database]}"
  ONLY_SETTINGS=no
  remove_helper
  remove_log_files
  remove_purge
  remove_logrotate
  remove_drop_ins
  remove_path "$CONFIG.example"
  if [ "$TOTAL_CHANGES" -gt 0 ]; then reload_units; fi
}
