#!/usr/bin/env bash
set -Eeuo pipefail

# The work of `postern-auditd setup`, which checks the options and runs this file as root: what install.sh writes, for a program
# and units that are installed already. It installs no packages and no units, and enables nothing.
# POSTERN_AUDITD_FRONT names how the program was installed (src/front.ts).
CALLED_FROM=$PWD CALLER_PATH=${PATH:-}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset CDPATH ENV BASH_ENV PYTHONPATH PYTHONHOME NODE_OPTIONS NODE_PATH

HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cd /
# shellcheck source=install/parts.sh
. "$HERE/install/parts.sh"

ARGUMENTS=("$@")
ACTION=setup
PURGE=no
ME='postern-auditd setup' ONLY_SETTINGS=yes REFUSED=78
PREFIX=$HERE PROGRAM=$HERE KIND=installed
if [ "${POSTERN_AUDITD_FRONT:-}" != installer ]; then RECONFIGURE=$ME WRITER=$ME; fi

while [ $# -gt 0 ]; do
  case $1 in
    --database) GIVEN_DATABASE=$2 && shift ;;
    --trust-owner) TRUSTED_OWNER=$2 && shift ;;
    --banaction) GIVEN_BANACTION=$2 && shift ;;
    --instance) use_instance "$2" && shift ;;
    --admin-net)
      if ! is_network "$2"; then EXIT_CODE=2 && die "--admin-net $2 is neither an address nor a network such as 192.0.2.0/24." "$ME --help"; fi
      ADMIN_NETS+=("$2")
      shift
      ;;
    --no-fail2ban) WITH_FAIL2BAN=no ;;
    --remove-jail) WITH_FAIL2BAN=no REMOVE_JAIL=yes ;;
    --fail2ban) WITH_FAIL2BAN=yes REMEMBER=yes ;;
    --prepare) ACTION=prepare ;;
    --remove) ACTION=remove ;;
    --purge) PURGE=yes ;;
    --dry-run) DRY_RUN=yes ;;
    *) EXIT_CODE=2 && die "unknown option $1." "$ME --help" ;;
  esac
  shift
done

command_line() { printf 'postern-auditd setup'; if [ ${#ARGUMENTS[@]} -gt 0 ]; then printf ' %q' "${ARGUMENTS[@]}"; fi; }

begin() {
  step 'checking this host' "$ME --help"
  if [ "$(id -u)" -ne 0 ]; then die "$ME needs root." "$(as_root "$(command_line)")"; fi
  if [ "$LOCKED" = yes ]; then return 0; fi
  exec 9>/run/postern-auditd-install.lock
  # A package's trigger may run while an administrator sets up.
  flock -w 60 9 || die 'another install.sh or setup is running.' "wait until it has finished, then run $ME again."
}

# settings: configuration, user, drop-ins and access lists: everything but the jail.
settings() {
  local configured=''
  if [ -n "$INSTANCE" ]; then
    shipped_unit "${TEMPLATES[0]}" >/dev/null || [ -e "/etc/systemd/system/${TEMPLATES[0]}" ] || die "the unit ${TEMPLATES[0]} is missing." 'install postern-auditd again.'
    read_instance
  elif [ -e "$CONFIG" ]; then
    read_facts "$CONFIG"
  else
    read_facts "$PROGRAM/config/config.yml"
  fi
  if [ -e "$CONFIG" ]; then configured=${FACTS[database]}; fi
  check_state "$CONFIG"
  choose_database "$GIVEN_DATABASE" "$configured"
  if [ -n "$INSTANCE" ]; then check_instance; fi
  decide_fail2ban
  if [ "$WITH_FAIL2BAN" = yes ]; then choose_banaction; fi
  if [ -e "$DATABASE" ]; then say "Postern's database is $DATABASE"; else say "Postern's database does not exist yet: $DATABASE"; fi

  step 'writing configuration and identity' "run $ME again."
  drop_templates
  make_user
  make_config
  edit_config
  if [ "$DRY_RUN" = no ]; then read_facts "$CONFIG"; fi
  give_identity "$DATABASE"
  if [ "$RESTART" = yes ]; then reload_units; fi
  if [ "$WITH_FAIL2BAN" = yes ]; then
    install_log_files
    install_helper
  fi
  install_purge "$DATABASE"
}

# drop_templates: removes the templates of an install.sh before this package: systemd prefers those in /etc.
drop_templates() {
  local name
  for name in "${TEMPLATES[@]}"; do
    if [ -e "/usr/lib/systemd/system/$name" ] && grep -qs /opt/postern-auditd "/etc/systemd/system/$name"; then
      remove_path "/etc/systemd/system/$name"
      RESTART=yes
    fi
  done
}

# choose_banaction: a new configuration on a host with nftables and without iptables bans with nftables. A package that is unpacked
# has no command yet (alternatives come with its configuration), but will have.
choose_banaction() {
  if [ -n "$GIVEN_BANACTION" ] || [ -e "$CONFIG" ] || [[ ${FACTS[banaction]} != iptables* ]]; then return 0; fi
  if command -v iptables >/dev/null || ! command -v nft >/dev/null; then return 0; fi
  case $(dpkg-query -W -f '${db:Status-Status}' iptables 2>/dev/null) in '' | not-installed | config-files) ;; *) return 0 ;; esac
  say 'Bans use nftables-multiport, because iptables is not installed.'
  GIVEN_BANACTION=nftables-multiport
}

# renew_daemon: a running daemon takes the new settings; one that is stopped stays stopped.
renew_daemon() {
  if ! has_systemd || ! systemctl -q is-active "$UNIT"; then return 0; fi
  if [ "$RESTART" = yes ] || program_was_replaced; then
    change "restart $UNIT" start_unit
  else
    # The daemon has to use the configuration that the jail is written from.
    change 'reload the configuration of the daemon' systemctl reload "$UNIT"
  fi
}

# program_was_replaced: true if the daemon runs a Node.js that a package has replaced, together with the program.
program_was_replaced() {
  local pid
  pid=$(systemctl show -P MainPID "$UNIT")
  [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == *' (deleted)' ]]
}

# daemon_runs: true if the unit is active, or soon is.
daemon_runs() {
  case $(systemctl is-active "$UNIT" || true) in
    active | reloading) ;;
    activating) wait_until 15 systemctl -q is-active "$UNIT" ;;
    *) return 1 ;;
  esac
}

# jail: sets up fail2ban if everything that it needs is there; says what is missing otherwise.
jail() {
  local missing=''
  if [ "$WITH_FAIL2BAN" != yes ]; then
    if [ "$REMOVE_JAIL" = yes ]; then
      step 'removing the jail from fail2ban' "run $ME --remove-jail again."
      remove_bans
    fi
    return 0
  fi
  step 'looking at fail2ban' "run $ME again."
  # A new instance, whose daemon was never started, gets its jail at once.
  if [ -n "$INSTANCE" ] && [ "$DRY_RUN" = no ] && has_systemd && ! pair_is_there "${FACTS[auth]}"; then systemctl start "$LOGS_SERVICE" || true; fi
  if ! has_systemd; then
    missing="systemd is not running here, so the jail is left out: run $ME once it is."
  elif ! command -v fail2ban-client >/dev/null; then
    missing="fail2ban is not installed, so nobody is banned: run apt-get install fail2ban, then $ME."
  elif ! pair_is_there "${FACTS[auth]}" && ! daemon_runs; then
    missing="$UNIT is not running and has not created fail2ban's log files yet, so the jail is left out: run systemctl start $UNIT, then $ME."
  fi
  if [ -n "$missing" ]; then
    warn "$missing"
    return 0
  fi
  # A fail2ban that was just started answers before it has its jails.
  if systemctl -q is-active fail2ban && wait_until 10 f2b_runs; then wait_until 10 f2b_has_jails || true; fi
  want_fail2ban
  if [ ${#MISSING[@]} -gt 0 ]; then die "these Debian packages are missing for bans: ${MISSING[*]}." "run apt-get install ${MISSING[*]}, then $ME again."; fi
  setup_fail2ban
  install_logrotate
}

# remove: jail, bans, access lists and drop-ins, as before a package is removed.
remove() {
  step 'removing the jail from fail2ban' "run $ME --remove again."
  facts_to_remove
  if [ -z "$INSTANCE" ] && [ "$PURGE" = yes ] && has_systemd && systemctl -q is-active "$UNIT"; then
    die "$UNIT is running and would write its data again." "run systemctl stop $UNIT, then $(command_line)."
  fi
  if [ -n "$INSTANCE" ]; then
    remove_instance
  else
    remove_instances
    remove_bans
    revoke_access "${FACTS[database]}"
    remove_purge
    remove_drop_ins
    remove_path "$CONFIG.example"
    if [ "$TOTAL_CHANGES" -gt 0 ]; then reload_units; fi
  fi
  if [ "$PURGE" = no ]; then return 0; fi
  step 'removing data, logs and configuration' "run $ME --remove --purge again."
  local path
  remove_state "${FACTS[state]}" "${FACTS[archive]:-}"
  for path in "${LOGS[@]}" "${FACTS[bans]%/*}"; do remove_path "$path"; done
  if [ -d "$LOG_HOME" ] && [ "$DRY_RUN" = no ]; then rmdir "$LOG_HOME" 2>/dev/null || true; fi
  # Last, because it names the others.
  remove_path "${CONFIG%/*}"
}

# remove_instances: without --instance those of all other databases too, as nothing of the program is left to remove them later.
remove_instances() {
  local list=instances options=(--remove)
  if [ "$PURGE" = yes ]; then list=all_instances options+=(--purge); fi
  for_each_instance "$list" "$HERE/install/setup.sh" "${options[@]}" || die 'an instance could not be removed (see above).' "run $ME --remove again."
}

# remove_state STATE ARCHIVE: the state directory, but never an archive: it may hold the only copy of rows that were deleted.
remove_state() {
  local state=$1 archive=$2 path
  if [ -z "$archive" ] || [ -z "$(find "$archive" -type f -print -quit 2>/dev/null)" ]; then
    remove_path "$state"
    return 0
  fi
  say "  kept       $archive, which holds archived entries; remove it yourself when nobody needs them"
  case $archive/ in "$state"/*) ;; *) remove_path "$state"; return 0 ;; esac
  for path in "$state"/* "$state"/.[!.]*; do
    case $archive/ in "$path"/*) ;; *) remove_path "$path" ;; esac
  done
}

# renew_instances: after an upgrade by a package, which knows only of the first daemon.
renew_instances() {
  if [ -n "$INSTANCE" ]; then return 0; fi
  for_each_instance instances "$HERE/install/setup.sh" || die 'an instance is not set up (see above).' "follow what it says, then run $ME again."
}

report() {
  if [ "$LOCKED" = yes ]; then return; fi
  if [ "$DRY_RUN" = yes ]; then
    say 'Nothing has been changed (--dry-run).'
    return
  fi
  if [ "$TOTAL_CHANGES" -eq 0 ]; then say 'Everything is up to date: nothing has been changed.'; fi
  case $ACTION:$PURGE in
    remove:yes) say 'Settings, data, logs and configuration of postern-auditd are removed.' ;;
    remove:no) say "The settings of postern-auditd are removed. ${CONFIG%/*}, ${FACTS[state]} and the log files are kept (--remove --purge removes them)." ;;
    *)
      if [ ! -e "$DATABASE" ]; then say "When Postern has created its database, run $RECONFIGURE: it chooses the daemon's user by the owner and mode of the database."; fi
      if has_systemd && [ "$ACTION" = setup ] && ! systemctl -q is-active "$UNIT"; then say "$UNIT is not running: systemctl enable --now $UNIT starts it."; fi
      say_next
      ;;
  esac
}

catch_the_end
begin
case $ACTION in
  prepare) settings ;;
  setup) settings; renew_daemon; jail; renew_instances ;;
  remove) remove ;;
esac
report
