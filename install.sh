#!/usr/bin/env bash
set -Eeuo pipefail

# As root nothing is taken from the caller's directory or search path: others may have put something there. Where the caller
# has Node.js is looked at by find_node, which takes it only if root alone can write it.
CALLED_FROM=$PWD CALLER_PATH=${PATH:-}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset CDPATH ENV BASH_ENV PYTHONPATH PYTHONHOME NODE_OPTIONS NODE_PATH

usage() {
  cat <<'TEXT'
Installs postern-auditd, the audit daemon of Postern Proxy, and has fail2ban ban who fails to log in.

  sudo ./install.sh [options]

From the release tarball it needs nothing but Debian packages that are missing; from a clone, Node.js 20.19 or later and
npm. Run it again at any time: what is right already stays untouched, your configuration is never overwritten.

  --database PATH     Postern's database, where it is not /var/lib/posternproxy/posternproxy.db
  --trust-owner USER  with --database: who else than root and service accounts may write there, and so decides whom
                      fail2ban bans
  --admin-net NET     an address or network that is never to be banned, besides that of this SSH session; more than once
  --no-fail2ban       without jail, filter and fail2ban, now and later (fail2ban.enabled in the configuration); a jail that is
                      there stays as it is
  --remove-jail       --no-fail2ban, and take a jail that is there out of fail2ban, with its bans
  --fail2ban          with bans again, after one of these
  --banaction NAME    fail2ban's action that bans, such as nftables-multiport; kept in the configuration
  --reconfigure       only: decide again who the daemon runs as, write units and jail for the configuration as it is now
  --dry-run           say what would be done, and change nothing
  --uninstall         remove the program, its units and the jail; data, logs and configuration stay, fail2ban runs on
  --purge             --uninstall, and remove data, logs, configuration and user
  --help              this

Places: program /opt/postern-auditd, configuration /etc/postern-auditd, state /var/lib/postern-auditd,
logs /var/log/posternproxy. After the installation install.sh is in /opt/postern-auditd too.
TEXT
}

HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
cd /
# shellcheck source=install/output.sh
. "$HERE/install/output.sh"
# shellcheck source=install/platform.sh
. "$HERE/install/platform.sh"
# shellcheck source=install/database.sh
. "$HERE/install/database.sh"
# shellcheck source=install/identity.sh
. "$HERE/install/identity.sh"
# shellcheck source=install/program.sh
. "$HERE/install/program.sh"
# shellcheck source=install/service.sh
. "$HERE/install/service.sh"
# shellcheck source=install/fail2ban.sh
. "$HERE/install/fail2ban.sh"
# shellcheck source=install/purge.sh
. "$HERE/install/purge.sh"
# shellcheck source=install/uninstall.sh
. "$HERE/install/uninstall.sh"

ARGUMENTS=("$@")
ACTION=install
WITH_FAIL2BAN='' # yes or no; empty: what the configuration says
REMOVE_JAIL=no
REMEMBER='' # yes or no: to be written into the configuration
GIVEN_BANACTION=''
GIVEN_DATABASE=''
TRUSTED_OWNER=''
ADMIN_NETS=()
SAVED=()
PROGRAM=''
KIND=$(kind_of "$HERE")

while [ $# -gt 0 ]; do
  case $1 in
    --database | --trust-owner | --admin-net | --banaction)
      if [ $# -lt 2 ] || [ -z "$2" ]; then die "$1 wants a value." './install.sh --help'; fi
      case $1 in
        --database) GIVEN_DATABASE=$2 ;;
        --trust-owner) TRUSTED_OWNER=$2 ;;
        --banaction) GIVEN_BANACTION=$2 ;;
        *)
          if ! is_network "$2"; then die "--admin-net $2: that is neither an address nor a network such as 192.0.2.0/24." './install.sh --help'; fi
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

# The file that the program is to be asked about: the shipped one as long as there is none.
config_to_read() { if [ -e "$CONFIG" ]; then echo "$CONFIG"; else echo "${PROGRAM:-$HERE}/config/config.yml"; fi; }

# facts_now: what the configuration says, asked of whatever program can be run before anything is changed.
facts_now() {
  local candidate text
  for candidate in "$HERE" "$PREFIX"; do
    PROGRAM=$candidate
    if [ ! -f "$candidate/dist/cli.js" ]; then continue; fi
    if text=$(postern facts --config "$(config_to_read)" 2>/dev/null); then
      take_facts "$text"
      return
    fi
    # The program runs, and refuses the configuration: it says why. What a clone has built, or what is installed, may be older.
    if [ "$KIND" != clone ] && postern facts --config "$candidate/config/config.yml" >/dev/null 2>&1; then read_facts "$(config_to_read)"; fi
  done
  PROGRAM=''
  default_facts
}

begin() {
  step 'looking at this host' './install.sh --help'
  check_host
  exec 9>/run/postern-auditd-install.lock
  flock -n 9 || die 'another install.sh runs.' 'wait until it has ended.'
  recover_program
}

install_all() {
  local configured=''
  if [ "$ACTION" = reconfigure ]; then
    if [ ! -d "$PREFIX" ]; then die 'postern-auditd is not installed here.' 'run install.sh without --reconfigure.'; fi
    KIND=installed
  fi
  case $KIND in
    nothing) die "$HERE is neither a release nor a clone." 'unpack the release tarball and run the install.sh in it.' ;;
    clone) find_node ;;
  esac
  look_at_places
  facts_now
  if [ -e "$CONFIG" ]; then configured=${FACTS[database]}; fi
  choose_database "$GIVEN_DATABASE" "$configured"
  decide_fail2ban
  if [ -e "$DATABASE" ]; then say "Postern's database is $DATABASE"; else say "Postern's database is not there yet: $DATABASE"; fi

  step 'looking for Debian packages' 'see above.'
  if [ "$KIND" = release ]; then
    local name
    while read -r name; do want_package "$name"; done <"$HERE/node/REQUIRES"
  fi
  if [ "$WITH_FAIL2BAN" = yes ]; then want_fail2ban; fi
  fetch_packages

  step 'making the program ready' "$(case $KIND in
    clone) echo 'see above. To compile SQLite npm needs apt-get install build-essential python3; the release tarball needs no compiler.' ;;
    *) echo 'run install.sh again.' ;;
  esac)"
  stage_program
  if [ "$PROGRAM" != "$PREFIX" ]; then
    RESTART=yes
    if [ -n "$PROGRAM" ] && [ -e "$CONFIG" ]; then read_facts "$CONFIG"; fi
  fi

  step 'installing Debian packages' 'mend what apt-get says, and run install.sh again.'
  install_packages

  step 'installing the program' 'run install.sh again.'
  make_user
  make_config
  edit_config
  if [ -n "$PROGRAM" ] && [ "$LAST" = changed ] && [ -e "$CONFIG" ]; then read_facts "$CONFIG"; fi
  swap_program

  step 'setting up the service' 'see journalctl -u postern-auditd, and run install.sh again.'
  install_unit
  install_manual
  give_identity "$DATABASE"
  # An upgrade: the jail is renewed before the new daemon writes what the old jail may not take, such as networks for
  # an nftables set of addresses. What the old daemon writes meanwhile, the new jail takes.
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
    step 'taking the jail out of fail2ban' 'run install.sh --remove-jail again.'
    remove_bans
  fi
  if [ "$DRY_RUN" = no ]; then rm -rf --one-file-system "$OLD"; fi
}

report() {
  if [ "$DRY_RUN" = yes ]; then
    say 'Nothing has been changed (--dry-run).'
    return
  fi
  if [ "$TOTAL_CHANGES" -eq 0 ]; then say 'All is as it should be: nothing has been changed.'; fi
  case $ACTION in
    uninstall) say 'postern-auditd is gone; /etc/postern-auditd, /var/lib/postern-auditd and /var/log/posternproxy are still there (--purge removes them).' ;;
    purge) say 'postern-auditd is gone, with its data, logs and configuration.' ;;
    *)
      postern status --config "$CONFIG" 2>/dev/null | sed -n 's/^source postern: /Postern: /p' || true
      if [ ! -e "$DATABASE" ]; then
        say "When Postern has made its database: $PREFIX/install.sh --reconfigure. By its owner and mode it is decided who the daemon runs as."
      fi
      say "Next: $(command_name) status$([ "$WITH_FAIL2BAN" != yes ] || echo "; fail2ban-client status ${FACTS[jail]}"). Configuration: $CONFIG"
      ;;
  esac
}

# shellcheck disable=SC2317 # the trap's
finish() {
  local status=$? line
  # What is put back now is not to be broken off half way, and nobody may be there to read.
  trap '' INT TERM HUP PIPE
  trap - EXIT ERR
  set +e
  if [ -n "$SIGNAL" ]; then tell_journal; fi
  if [ "$status" -ne 0 ] && [ "$STEP" != starting ]; then
    {
      if [ -n "$SIGNAL" ]; then
        printf '\ninstall.sh was broken off (%s) while %s.\n  next: run %s again: it goes on from what is there.\n' "$SIGNAL" "$STEP" "$(command_line)"
      else
        printf '\ninstall.sh stopped while %s.%s\n' "$STEP" "${FAILED:+ This failed: $FAILED}"
        if [ -n "$FAILED" ]; then printf '  next: %s\n' "$(next_step "$ADVICE")"; fi
      fi
      if [ ${#DONE[@]} -eq 0 ]; then
        echo '  Nothing has been changed.'
      else
        echo '  What has been done, and stays unless it says otherwise below:'
        for line in "${DONE[@]}"; do printf '    %s\n' "$line"; done
      fi
      put_back_fail2ban
      put_back_program
    } >&2
  elif [ "$STEP" != starting ]; then
    rm -rf --one-file-system "$STAGE"
  fi
  rm -rf "$WORK"
  exit "$status"
}

# tell_journal: for whoever comes back after a lost session, whose terminal is gone.
tell_journal() {
  logger -t postern-auditd-install -p user.warning "broken off (SIG$SIGNAL) while $STEP; run $(command_line) again: it goes on from what is there" 2>/dev/null || true
}

command_line() { printf '%s/install.sh' "$HERE"; if [ ${#ARGUMENTS[@]} -gt 0 ]; then printf ' %q' "${ARGUMENTS[@]}"; fi; }

# broken_off NAME NUMBER: the shell comes here when the program that runs has ended; EXIT alone would see a status of 0.
broken_off() {
  SIGNAL=$1
  exit $((128 + $2))
}

FAILED='' SIGNAL=''
WORK=$(mktemp -d) || die "no temporary directory can be made in ${TMPDIR:-/tmp}." 'make room there, or have TMPDIR name another directory.'
trap finish EXIT
trap 'FAILED="$BASH_COMMAND"' ERR
trap 'broken_off INT 2' INT
trap 'broken_off TERM 15' TERM
trap 'broken_off HUP 1' HUP

begin
case $ACTION in
  install | reconfigure) install_all ;;
  uninstall) uninstall ;;
  purge) uninstall; purge ;;
esac
report
