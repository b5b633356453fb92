# shellcheck shell=bash
# The daemon's user and groups, chosen by the owner and mode of Postern's database: they can read it, and nothing more.

OWN='postern-auditd'

# Groups whose members can become root or read confidential data: the daemon never gets them.
POWERFUL=' root sudo wheel admin docker lxd libvirt disk shadow kmem '

# decide_identity DATABASE DIRECTORY CLOSED SETFACL POSTERN: sets CASE, RUN_USER, RUN_GROUP, RUN_GROUPS, WHY.
#   DATABASE, DIRECTORY  `stat -Lc '%u %U %g %G %a'` of the database and its directory; empty before the database exists
#   CLOSED               directories above without search permission for everybody; may be empty
#   SETFACL              yes if setfacl is installed
#   POSTERN              the group of Postern's user; empty if it does not exist
decide_identity() {
  local database=$1 directory=$2 closed=$3 setfacl=$4 postern=$5
  local uid user gid group mode dir_gid dir_mode class=other rest
  RUN_USER=$OWN RUN_GROUP=$OWN RUN_GROUPS=''

  if [ -z "$database" ]; then
    CASE=waiting RUN_GROUPS=$postern
    WHY="the database does not exist yet; $RECONFIGURE chooses again when it does"
    return
  fi
  read -r uid user gid group mode <<<"$database"
  read -r _ _ dir_gid _ dir_mode <<<"$directory"

  if [ -z "$closed" ]; then
    if [ "$dir_gid" = "$gid" ]; then class=group; fi
    if may_read "$mode" group && may_list "$dir_mode" "$class" &&
      [ "$gid" != 0 ] && [ "$group" != UNKNOWN ] && [[ $POWERFUL != *" $group "* ]]; then
      CASE=group RUN_GROUPS=$group
      WHY="the group $group may read the database"
      return
    fi
    if may_read "$mode" other && may_list "$dir_mode" other; then
      CASE=world
      WHY='everybody may read the database'
      return
    fi
  fi
  if [ "$uid" != 0 ] && [ "$user" != UNKNOWN ]; then
    CASE=owner RUN_USER=$user RUN_GROUP=$group
    # Without Group= systemd uses the user's primary group.
    if [ "$group" = UNKNOWN ]; then RUN_GROUP=''; fi
    WHY="only its owner, $user, may read the database"
    return
  fi
  rest='root'
  if [ "$uid" != 0 ]; then rest="the unnamed user $uid"; fi
  if [ "$setfacl" = yes ]; then
    CASE=acl
    WHY="only $rest may read the database, so $OWN gets an access list entry; chmod or replacing the database removes it"
  elif [ "$uid" = 0 ]; then
    CASE=root RUN_USER=root RUN_GROUP=root
    WHY='only root may read the database, and setfacl (package acl) is not installed, so the daemon runs as root without capabilities'
  else
    CASE=none
    WHY="only $rest may read the database; install the package acl, then run $RECONFIGURE"
  fi
}

# may_read MODE CLASS, may_list MODE CLASS: octal modes of three or four digits; CLASS is group or other.
may_read() { [ $(($(digit "$1" "$2") & 4)) -ne 0 ]; }
may_list() { [ $(($(digit "$1" "$2") & 5)) -eq 5 ]; }
digit() {
  local mode=000$1
  if [ "$2" = group ]; then echo "${mode: -2:1}"; else echo "${mode: -1}"; fi
}

# render_identity DATABASE: the drop-in identity.conf for the result of decide_identity.
render_identity() {
  printf '# Written by %s, by the owner and mode of %s:\n' "$WRITER" "$1"
  printf '# %s.\n' "$WHY"
  printf '# %s chooses again.\n[Service]\nUser=%s\n' "$RECONFIGURE" "$RUN_USER"
  if [ -n "$RUN_GROUP" ]; then printf 'Group=%s\n' "$RUN_GROUP"; fi
  if [ -n "$RUN_GROUPS" ]; then printf 'SupplementaryGroups=%s\n' "$RUN_GROUPS"; fi
  # Root loses setpriority: its query threads then keep the normal priority.
  if [ "$RUN_USER" = root ]; then printf 'SystemCallFilter=~setpriority\n'; fi
}

# Paths in the shipped unit. places.conf holds those that the configuration changes.
LOG_HOME=/var/log/posternproxy
UNIT_LOGS='/var/log/posternproxy/audit /var/log/posternproxy/auth'
UNIT_BANS=/var/log/posternproxy/bans
UNIT_STATE=/var/lib/postern-auditd
UNIT_CONTROL=/run/postern-auditd
UNIT_DATABASE=/var/lib/posternproxy

# render_places DATABASE_DIRECTORY STATE CONTROL_DIRECTORY BANS_DIRECTORY LOG_DIRECTORY…: the drop-in places.conf for
# RUN_USER; empty if the shipped unit fits.
render_places() {
  local database=$1 state=$2 control=$3 bans=$4 directory
  local lines=()
  shift 4
  if [ "$RUN_USER" != "$OWN" ] || [ "$bans" != "$UNIT_BANS" ] || [ "$*" != "$UNIT_LOGS" ]; then
    lines+=('ExecStartPre=')
    for directory; do lines+=("$(directory_line 2750 "$RUN_USER" adm "$directory")"); done
    lines+=("$(directory_line 0755 root root "$bans")")
  fi
  for directory; do
    if [[ " $UNIT_LOGS " != *" $directory "* ]]; then lines+=("ReadWritePaths=$(unit_word "-$directory")"); fi
  done
  if [ "$state" != "$UNIT_STATE" ]; then
    lines+=("$(directory_line 0700 "$RUN_USER" "${RUN_GROUP:-root}" "$state")" "ReadWritePaths=$(unit_word "-$state")")
  fi
  if [ "$control" != "$UNIT_CONTROL" ]; then
    lines+=("$(directory_line 0750 "$RUN_USER" "${RUN_GROUP:-root}" "$control")" "ReadWritePaths=$(unit_word "-$control")")
  fi
  if hidden_by_home "$database"; then
    lines+=('ProtectHome=tmpfs' "BindReadOnlyPaths=$(unit_word "-$database")")
  elif [ "$database" != "$UNIT_DATABASE" ]; then
    lines+=("ReadOnlyPaths=$(unit_word "-$database")")
  fi
  if [ ${#lines[@]} -eq 0 ]; then return 0; fi
  printf '# Written by %s from the configuration; %s rewrites it.\n[Service]\n' "$WRITER" "$RECONFIGURE"
  printf '%s\n' "${lines[@]}"
}

# directory_line MODE USER GROUP DIRECTORY: the unit line that creates the directory as root before each start.
directory_line() { printf 'ExecStartPre=+/usr/bin/install -d -m %s -o %s -g %s %s' "$1" "$2" "$3" "$(unit_word "$4")"; }

# hidden_by_home PATH: true if ProtectHome=yes hides the path from the daemon.
hidden_by_home() {
  case $1/ in /home/* | /root/* | /run/user/*) return 0 ;; *) return 1 ;; esac
}

# unit_word PATH: the path quoted for a systemd unit file.
unit_word() {
  local word=${1//\\/\\\\}
  word=${word//%/%%}
  word=${word//\"/\\\"}
  case $word in *[[:space:]\"\'\\\;]*) printf '"%s"' "$word" ;; *) printf '%s' "$word" ;; esac
}
