# shellcheck shell=bash
# Output and changes. Every change goes through `change` or `put_file`: --dry-run then changes nothing, and a failure can list
# the changes already made.

# install.sh and `postern-auditd setup` share these parts. The setup of a program that is installed already changes these names.
ME='install.sh'                        # the command of this run
RECONFIGURE='install.sh --reconfigure' # the command that writes identity, drop-ins and jail again on this host
WRITER='install.sh'                    # who wrote a file, in its first line
INSTANCE=''                            # the name of --instance; empty for the first database
ONLY_SETTINGS=no                       # yes: no packages, no units; nothing is enabled or disabled
EXIT_CODE=1                            # of the next `die`

DRY_RUN=no
STEP='starting'
ADVICE=''
DONE=()
LAST=unchanged # result of the last `change` or `put_file`: changed or unchanged
TOTAL_CHANGES=0

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# step WHAT NEXT: names the current step and the advice that a failure report gives for it.
step() { STEP=$1 ADVICE=$2; }

# die WHY NEXT: exits with an error; the EXIT trap then lists the changes already made.
die() {
  printf '\n%s: %s\n' "$ME" "$1" >&2
  printf '  next: %s\n' "$2" >&2
  FAILED=''
  exit "$EXIT_CODE"
}

unchanged() {
  LAST=unchanged
  printf '  unchanged  %s\n' "$1"
}

# change WHAT CMD…: runs CMD; with --dry-run only prints WHAT.
change() {
  local what=$1
  shift
  LAST=changed
  if [ "$DRY_RUN" = yes ]; then
    printf '  would      %s\n' "$what"
    return 0
  fi
  "$@"
  changed "$what"
}

# changed WHAT: records a change.
changed() {
  LAST=changed
  printf '  done       %s\n' "$1"
  DONE+=("$1")
  TOTAL_CHANGES=$((TOTAL_CHANGES + 1))
}

# put_file SOURCE DESTINATION MODE: installs SOURCE as a root-owned file by rename, unless it is installed already.
put_file() {
  local source=$1 destination=$2 mode=$3
  if [ -f "$destination" ] && [ ! -L "$destination" ] && cmp -s "$source" "$destination" &&
    [ "$(stat -c '%u %g %a' "$destination")" = "0 0 ${mode#0}" ]; then
    unchanged "$destination"
    return 0
  fi
  change "write $destination" write_file "$source" "$destination" "$mode"
}

write_file() {
  local source=$1 destination=$2 mode=$3
  [ -d "${destination%/*}" ] || install -d -m 0755 -o root -g root "${destination%/*}"
  install -m "$mode" -o root -g root "$source" "$destination.new-$$"
  mv -f -T "$destination.new-$$" "$destination"
}

# put_unit NAME: installs a unit; with ONLY_SETTINGS the unit is there already, and so are the templates of an instance.
put_unit() {
  LAST=unchanged
  if [ -n "$INSTANCE" ]; then
    case $1 in postern-auditd-fail2ban-*) put_helper_unit "$1" ;; esac
    return 0
  fi
  if [ "$ONLY_SETTINGS" = no ]; then put_file "${PROGRAM:-$HERE}/systemd/$1" "/etc/systemd/system/$1" 0644; fi
}

has_systemd() { [ -d /run/systemd/system ]; }

# reload_units: lets systemd read units and drop-ins again, if it runs; without it the next boot does.
reload_units() { if has_systemd; then change 'reload the units of systemd' systemctl daemon-reload; fi; }

# renew_socket SOCKET [SERVICE]: lets a running socket take changed drop-ins. A running service of it is stopped: its identity
# changes only at a start.
renew_socket() {
  if ! has_systemd || ! systemctl -q is-active "$1"; then return 0; fi
  if [ $# -gt 1 ]; then systemctl stop "$2" 2>/dev/null || true; fi
  change "restart $1" systemctl restart "$1"
}

# remove_path PATH: removes a file, a link or a directory tree.
remove_path() {
  if [ -e "$1" ] || [ -L "$1" ]; then change "remove $1" rm -rf --one-file-system -- "$1"; fi
}
