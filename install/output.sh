# shellcheck shell=bash
# What is printed, and how things are changed: each change goes through `change` or `put_file`, so that --dry-run changes
# nothing and the end can say what was done.

DRY_RUN=no
STEP='starting'
ADVICE=''
DONE=()
LAST=unchanged # what the last `change` or `put_file` did: changed or unchanged
TOTAL_CHANGES=0

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# step WHAT NEXT: what is going on, and what to do if it fails, for the report of a failure.
step() { STEP=$1 ADVICE=$2; }

# die WHY NEXT: the report of what was done follows when the shell exits.
die() {
  printf '\ninstall.sh: %s\n' "$1" >&2
  printf '  next: %s\n' "$2" >&2
  FAILED=''
  exit 1
}

unchanged() {
  LAST=unchanged
  printf '  unchanged  %s\n' "$1"
}

# change WHAT CMD…: runs CMD, or says that it would.
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

# changed WHAT: notes a change that was made.
changed() {
  LAST=changed
  printf '  done       %s\n' "$1"
  DONE+=("$1")
  TOTAL_CHANGES=$((TOTAL_CHANGES + 1))
}

# put_file SOURCE DESTINATION MODE: a root-owned file with the content of SOURCE, by rename, if it is not that already.
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

# remove_path PATH: a file, a link or a whole directory.
remove_path() {
  if [ -e "$1" ] || [ -L "$1" ]; then change "remove $1" rm -rf --one-file-system -- "$1"; fi
}
