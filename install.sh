#!/usr/bin/env bash
set -Eeuo pipefail

# install.sh runs as root and ignores the caller's directory and search path, where others may have put programs. find_node
# also searches the caller's path, and accepts a Node.js only if root alone can write it.
CALLED_FROM=$PWD CALLER_PATH=${PATH:-}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset CDPATH ENV BASH_ENV PYTHONPATH PYTHONHOME NODE_OPTIONS NODE_PATH

usage() {
  cat <<'TEXT'
Install postern-auditd, the audit daemon of Postern Proxy, and let fail2ban ban clients after failed logins.

  sudo ./install.sh [options]

The release tarball needs only Debian packages, which are installed if they are missing. A clone needs Node.js 20.19 or
later and npm. You can run install.sh again at any time: it changes only what differs, and never overwrites your
configuration.

  --database PATH     set the path of Postern's database (default: /var/lib/posternproxy/posternproxy.db)
  --trust-owner USER  with --database: accept that USER can write there, besides root and service accounts; whoever
                      can write there decides which clients fail2ban bans
  --admin-net NET     never ban this address or network, nor that of this SSH session; can be given several times
  --no-fail2ban       install no jail and no filter, now and in later runs (fail2ban.enabled in the configuration); an
                      existing jail stays unchanged
  --remove-jail       like --no-fail2ban, and remove an existing jail and its bans from fail2ban
  --fail2ban          set up bans again, after --no-fail2ban or --remove-jail
  --banaction NAME    set fail2ban's ban action, such as nftables-multiport; stored in the configuration
  --reconfigure       only choose the daemon's user again, and write units and jail for the current configuration
  --instance NAME     set up the daemon of another database, postern-auditd@NAME, for the installed program; --database names
                      the database. With --uninstall or --purge: remove only this one
  --dry-run           print the changes without making them
  --uninstall         remove the program, its units and the jail; keep data, logs and configuration, and keep fail2ban
                      running
  --purge             like --uninstall, and remove data, logs, configuration and user
  --help              print this help

Places: program /opt/postern-auditd, configuration /etc/postern-auditd, state /var/lib/postern-auditd,
logs /var/log/posternproxy. The installation puts a copy of install.sh into /opt/postern-auditd.
TEXT
}

HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
cd /
# shellcheck source=install/parts.sh
. "$HERE/install/parts.sh"

ARGUMENTS=("$@")
ACTION=install
PROGRAM=''
KIND=$(kind_of "$HERE")

while [ $# -gt 0 ]; do
  case $1 in
    --database | --trust-owner | --admin-net | --banaction | --instance)
      if [ $# -lt 2 ] || [ -z "$2" ]; then die "$1 requires a value." './install.sh --help'; fi
      case $1 in
        --database) GIVEN_DATABASE=$2 ;;
        --trust-owner) TRUSTED_OWNER=$2 ;;
        --banaction) GIVEN_BANACTION=$2 ;;
        --instance)
          if ! is_instance_name "$2"; then die "--instance $2: a name has up to 12 lower-case letters, digits and dashes, and begins with a letter." './install.sh --help'; fi
          use_instance "$2"
          ;;
        *)
          if ! is_network "$2"; then die "--admin-net $2 is neither an address nor a network such as 192.0.2.0/24." './install.sh --help'; fi
          ADMIN_NETS+=("$2")
          ;;
      esac
      shift
      ;;
    --no-fail2ban) WITH_FAIL2BAN=no ;;
    --remove-jail) WITH_FAIL2BAN=no REMOVE_JAIL=yes ;;
    --fail2ban) WITH_FAIL2BAN=yes REMEMBER=yes ;;
    --reconfigure) ACTION=reconfigure ;;
    --dry-run) DRY_RUN=yes ;;
    --uninstall) ACTION=uninstall ;;
    --purge) ACTION=purge ;;
    --help | -h) usage; exit 0 ;;
    *) die "unknown option $1." './install.sh --help' ;;
  esac
  shift
done

# facts_now: reads the configuration with any program that runs already, before anything is changed.
facts_now() {
  local candidate text
  for candidate in "$HERE" "$PREFIX"; do
    PROGRAM=$candidate
    if [ ! -f "$candidate/dist/cli.js" ]; then continue; fi
    if text=$(postern facts --config "$(config_to_read)" 2>/dev/null); then
      take_facts "$text"
      return
    fi
    # The program runs and rejects the configuration, so it reports why. A clone's build and an installed program may be older.
    if [ "$KIND" != clone ] && postern facts --config "$candidate/config/config.yml" >/dev/null 2>&1; then read_facts "$(config_to_read)"; fi
  done
  PROGRAM=''
  default_facts
}

begin() {
  step 'checking this host' './install.sh --help'
  check_host
  if [ "$LOCKED" = yes ]; then return 0; fi
  exec 9>/run/postern-auditd-install.lock
  flock -n 9 || die 'another install.sh is running.' 'wait until it has finished, then run install.sh again.'
  recover_program
}

install_all() {
  local configured=''
  if [ "$ACTION" = reconfigure ]; then
    if [ ! -d "$PREFIX" ]; then die 'postern-auditd is not installed here.' 'run install.sh without --reconfigure.'; fi
    KIND=installed
  fi
  case $KIND in
    nothing) die "$HERE is neither a release nor a clone." 'unpack the release tarball and run its install.sh.' ;;
    clone) find_node ;;
  esac
  look_at_places
  facts_now
  if [ -e "$CONFIG" ]; then configured=${FACTS[database]}; fi
  choose_database "$GIVEN_DATABASE" "$configured"
  decide_fail2ban
  if [ -e "$DATABASE" ]; then say "Postern's database is $DATABASE"; else say "Postern's database does not exist yet: $DATABASE"; fi

  step 'checking Debian packages' 'see the message above.'
  if [ "$KIND" = release ]; then
    local name
    while read -r name; do want_package "$name"; done <"$HERE/node/REQUIRES"
  fi
  if [ "$WITH_FAIL2BAN" = yes ]; then want_fail2ban; fi
  fetch_packages

  step 'preparing the program' "$(case $KIND in
    clone) echo 'see the message above. If npm could not compile SQLite, run apt-get install build-essential python3, or use the release tarball, which needs no compiler.' ;;
    *) echo 'run install.sh again.' ;;
  esac)"
  stage_program
  if [ "$PROGRAM" != "$PREFIX" ]; then
    RESTART=yes
    if [ -n "$PROGRAM" ]; then
      check_instances
      if [ -e "$CONFIG" ]; then read_facts "$CONFIG"; fi
      check_state "$CONFIG"
    fi
  fi

  step 'installing Debian packages' 'fix the error that apt-get reports, then run install.sh again.'
  install_packages

  step 'installing the program' 'run install.sh again.'
  make_user
  make_config
  edit_config
  if [ -n "$PROGRAM" ] && [ "$LAST" = changed ] && [ -e "$CONFIG" ]; then read_facts "$CONFIG"; fi
  swap_program

  step 'setting up the service' 'see journalctl -u postern-auditd, then run install.sh again.'
  install_unit
  install_manual
  set_up_service
  if [ -n "$(instances)" ]; then
    step 'setting up the instances' "see above, then run $ME again."
    for_each_instance instances "${PROGRAM:-$PREFIX}/install.sh" --reconfigure ||
      die 'an instance does not run with this version (see above).' "follow what it says, then run $ME again."
  fi
  if [ "$DRY_RUN" = no ]; then rm -rf --one-file-system "$OLD"; fi
}

# install_instance: the daemon of another database, for the installed program.
install_instance() {
  if [ ! -x "$PREFIX/bin/postern-auditd" ]; then die 'postern-auditd is not installed here.' 'run install.sh without --instance, which sets up the first database.'; fi
  if [ "$HERE" != "$PREFIX" ] && ! cmp -s "$HERE/MANIFEST" "$PREFIX/MANIFEST"; then
    die '--instance is for the installed program, and this is another version.' "run $PREFIX/install.sh with the same options; install.sh without --instance upgrades all daemons."
  fi
  KIND=installed PROGRAM=$PREFIX
  if [ "${POSTERN_AUDITD_RENEWED:-}" = yes ]; then RESTART=yes; fi
  look_at_places
  read_instance
  choose_database "$GIVEN_DATABASE" "$([ ! -e "$CONFIG" ] || echo "${FACTS[database]}")"
  check_instance
  decide_fail2ban
  step 'checking Debian packages' 'see the message above.'
  if [ "$WITH_FAIL2BAN" = yes ]; then want_fail2ban; fi
  fetch_packages
  step 'installing Debian packages' "fix the error that apt-get reports, then run $ME again."
  install_packages
  step 'setting up the service' "see journalctl -u ${UNIT%.service}, then run $ME again."
  make_config
  edit_config
  if [ -e "$CONFIG" ]; then read_facts "$CONFIG"; fi
  set_up_service
}

# set_up_service: identity, jail and helpers of the daemon, and the daemon itself.
set_up_service() {
  give_identity "$DATABASE"
  # When the first daemon is installed again, an instance that the administrator has stopped stays so.
  if [ "$LOCKED" = yes ] && ! daemon_is_wanted; then
    say "  kept       $UNIT is stopped and disabled"
    return 0
  fi
  # An upgrade replaces the jail before it starts the new daemon: the new daemon may write events that the old jail rejects,
  # such as networks for an nftables set of addresses. The new jail accepts events of the old daemon.
  if [ "$WITH_FAIL2BAN" = yes ]; then install_log_files; fi
  if [ "$WITH_FAIL2BAN" = yes ] && [ -e "$FAIL2BAN/$JAIL_FILE" ] && pair_is_there "${FACTS[auth]}"; then
    setup_fail2ban
    run_unit
  else
    run_unit
    if [ "$WITH_FAIL2BAN" = yes ]; then setup_fail2ban; fi
  fi
  install_purge "$DATABASE"

  if [ "$WITH_FAIL2BAN" = yes ]; then
    install_helper
    install_logrotate
  elif [ "$REMOVE_JAIL" = yes ]; then
    step 'removing the jail from fail2ban' 'run install.sh --remove-jail again.'
    remove_bans
  fi
}

# remove_all: with --instance only that one.
remove_all() {
  local list=instances
  if [ -n "$INSTANCE" ]; then
    remove_instance
  else
    if [ "$ACTION" = purge ]; then list=all_instances; fi
    for_each_instance "$list" "$HERE/install.sh" "--$ACTION" ||
      die 'an instance could not be removed (see above).' "run $ME --$ACTION again."
    uninstall
  fi
  if [ "$ACTION" = purge ]; then purge; fi
}

report() {
  if [ "$LOCKED" = yes ]; then return; fi
  if [ "$DRY_RUN" = yes ]; then
    say 'Nothing has been changed (--dry-run).'
    return
  fi
  if [ "$TOTAL_CHANGES" -eq 0 ]; then say 'Everything is up to date: nothing has been changed.'; fi
  case $ACTION:$INSTANCE in
    uninstall:?*) say "The instance $INSTANCE is removed. ${CONFIG%/*}, $UNIT_STATE and $LOG_HOME are kept (--purge removes them)." ;;
    purge:?*) say "The instance $INSTANCE is removed, with its data, logs and configuration." ;;
    uninstall:) say 'postern-auditd is removed. /etc/postern-auditd, /var/lib/postern-auditd and /var/log/posternproxy are kept (--purge removes them).' ;;
    purge:) say 'postern-auditd is removed, with its data, logs and configuration.' ;;
    *)
      postern status --config "$CONFIG" 2>/dev/null | sed -n 's/^source postern: /Postern: /p' || true
      if [ ! -e "$DATABASE" ]; then
        say "When Postern has created its database, run $PREFIX/$RECONFIGURE: it chooses the daemon's user by the owner and mode of the database."
      fi
      say_next
      ;;
  esac
}

command_line() { printf '%s/install.sh' "$HERE"; if [ ${#ARGUMENTS[@]} -gt 0 ]; then printf ' %q' "${ARGUMENTS[@]}"; fi; }

PUT_BACK=(put_back_fail2ban put_back_program)
AFTERWARDS=(clear_stage)
catch_the_end

begin
case $ACTION in
  install | reconfigure) if [ -n "$INSTANCE" ]; then install_instance; else install_all; fi ;;
  *) remove_all ;;
esac
report
