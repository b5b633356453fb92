#!/usr/bin/env bash
# Disposable Debian hosts with systemd as PID 1, for the tests in this directory (driven by host.ts).
#
#   host.sh build SUITE                make the root file system of bookworm or trixie, if it is not there yet
#   host.sh boot SUITE NAME [BIND…]    boot a guest on a throw-away overlay; BIND is SRC:DST or SRC:DST:ro
#   host.sh exec NAME CMD…             run CMD as root inside the guest, standard input and status passed through
#   host.sh outside NAME NET CMD…      run CMD of this machine in the network namespace NET of NAME: host, client, …
#   host.sh put NAME SRC DST           copy a file, or the contents of a directory, into the guest, owned by root
#   host.sh reboot NAME [SECONDS]      shut down in order and boot again, with all that is on its disk; SECONDS is its uptime then
#   host.sh log NAME                   print the guest's console output
#   host.sh stop NAME                  power off (at once) and remove every trace; does nothing if there is none
#   host.sh prune                      remove root file systems that no current package list asks for
#
# A guest has a network of its own: 10.77.0.2/16 and fd77::2/16 on eth0, connected with the namespace `client` at
# 10.77.0.1 and fd77::1. Neither reaches another network, and no address exists outside the two namespaces.
# Environment: POSTERN_TEST_HOSTS (default ~/.cache/postern-auditd-test-hosts), POSTERN_TEST_MIRROR,
# POSTERN_TEST_PACKAGES (additional guest packages, separated by spaces), POSTERN_TEST_BARE (if set, bare-packages.txt
# in place of guest-packages.txt), POSTERN_TEST_UPPER (size of the overlay, 2g).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
store=${POSTERN_TEST_HOSTS:-$HOME/.cache/postern-auditd-test-hosts}

die() { echo "host.sh: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is missing: apt-get install --no-install-recommends $(sed '/^#/d' "$here/packages.txt" | tr '\n' ' ')"; }

# ---- root file systems -------------------------------------------------------------------------------------

more_packages() { tr ' ' '\n' <<<"${POSTERN_TEST_PACKAGES:-}"; }

guest_packages() { # SUITE
  local lists=guest-packages.txt
  if [ -n "${POSTERN_TEST_BARE:-}" ]; then lists=bare-packages.txt; fi
  { sed -e '/^#/d' -e "s/^$1://" "$here/$lists" | grep -v ':'; more_packages; } | sed '/^$/d' | sort -u
}

root_of() { # SUITE; the number is the version of what build does besides the package list
  echo "$store/roots/$1-$( { echo 3; guest_packages "$1"; } | sha256sum | cut -c1-12)"
}

mirror() {
  local m=${POSTERN_TEST_MIRROR:-}
  [ -n "$m" ] || m=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
  echo "${m:-http://deb.debian.org/debian}"
}

build() { # SUITE
  local suite=$1 root; root=$(root_of "$suite")
  case $suite in bookworm|trixie) ;; *) die "unknown suite $suite: bookworm or trixie" ;; esac
  local kind=$suite; if [ -n "${POSTERN_TEST_BARE:-}" ]; then kind=$suite-bare; fi
  mkdir -p "$store/roots" "$store/debs/$kind"
  exec 9>"$store/build-$kind.lock"; flock 9
  if [ -d "$root" ]; then exec 9>&-; return; fi
  need debootstrap
  local new=$root.new log=$store/build-$kind.log
  # apt installs these into a bare host, because debootstrap fails at packages that depend on each other, such as npm's.
  local included later=()
  included=$(guest_packages "$suite")
  if [ -n "${POSTERN_TEST_BARE:-}" ]; then
    included=$(sed '/^#/d' "$here/bare-packages.txt")
    mapfile -t later < <(more_packages | sed '/^$/d')
  fi
  rm -rf --one-file-system "$new"
  # Without dpkg's fsync of each file and without documentation, this takes about a third less time.
  mkdir -p "$new/etc/dpkg/dpkg.cfg.d"
  printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
    'path-exclude=/usr/share/locale/*' 'path-exclude=/usr/share/info/*' >"$new/etc/dpkg/dpkg.cfg.d/test-host"
  debootstrap --variant=minbase --cache-dir="$store/debs/$kind" --include="$(paste -sd, <<<"$included")" \
    "$suite" "$new" "$(mirror)" >"$log" 2>&1 9>&- || { tail -n 30 "$log" >&2; die "debootstrap $suite failed, see $log"; }
  if [ ${#later[@]} -gt 0 ]; then
    # shellcheck disable=SC2016 # expanded by the inner shell
    chroot "$new" env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get -q update && apt-get -qy install --no-install-recommends "$@"' _ \
      "${later[@]}" >>"$log" 2>&1 9>&- || { tail -n 30 "$log" >&2; die "apt-get install in $suite failed, see $log"; }
  fi
  settle "$new"
  mv "$new" "$root"
  exec 9>&-
}

# Differences from a freshly installed Debian: only services that a test requested run.
settle() { # ROOT
  local root=$1
  chroot "$root" systemctl -q disable fail2ban.service e2scrub_reap.service 2>/dev/null || true
  chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    logrotate.timer man-db.timer systemd-networkd-wait-online.service systemd-udevd.service systemd-udev-trigger.service 2>/dev/null || true
  : >"$root/etc/machine-id"
  echo guest >"$root/etc/hostname"
  printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$root/etc/hosts"
  rm -f "$root/etc/resolv.conf"; : >"$root/etc/resolv.conf"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
}

prune() {
  local dir
  for dir in "$store"/roots/*; do
    case $dir in "$(root_of bookworm)" | "$(root_of trixie)") ;; *) rm -rf --one-file-system "$dir" ;; esac
  done
}

# ---- guests ------------------------------------------------------------------------------------------------

# A process is recorded as "pid starttime", so that a reused pid is never signalled.
start_time() { local stat; stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; read -ra stat <<<"${stat##*) }"; echo "${stat[19]}"; }
remember() { echo "$2 $(start_time "$2")" >"$run/$1.pid"; }
recall() { # KIND
  local pid started
  { read -r pid started <"$run/$1.pid"; } 2>/dev/null || return 1
  [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

select_guest() { # NAME
  [[ $1 =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "a guest's name is lower-case letters, digits and dashes, not '$1'"
  name=$1; run=$store/run/$name; cgroup=/sys/fs/cgroup
  if [ -d /sys/fs/cgroup/unified ]; then cgroup=/sys/fs/cgroup/unified; fi
}

netns() { echo "pa-$name.$1"; }

# The child of systemd-nspawn that is process 1 of its namespace. Another child precedes it and ends soon.
init_of() { # PID
  local child children
  read -ra children 2>/dev/null <"/proc/$1/task/$1/children" || true
  for child in "${children[@]}"; do
    if grep -q '^NSpid:.*[[:space:]]1$' "/proc/$child/status" 2>/dev/null; then echo "$child"; return; fi
  done
  return 1
}

network() {
  local ns
  for ns in host client; do
    ip netns add "$(netns $ns)"
    ip -n "$(netns $ns)" link set lo up
  done
  ip -n "$(netns host)" link add eth0 type veth peer name eth0 netns "$(netns client)"
  for ns in host client; do
    ip netns exec "$(netns $ns)" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0
    local n=1; if [ $ns = host ]; then n=2; fi
    ip -n "$(netns $ns)" addr add 10.77.0.$n/16 dev eth0
    ip -n "$(netns $ns)" addr add fd77::$n/16 dev eth0 nodad
    ip -n "$(netns $ns)" link set eth0 up
  done
}

boot() { # SUITE NAME BIND…
  local suite=$1; select_guest "$2"; shift 2
  need systemd-nspawn
  local root; root=$(root_of "$suite")
  build "$suite"
  stop
  mkdir -p "$run/upper" "$run/root"
  mount -t tmpfs -o "size=${POSTERN_TEST_UPPER:-2g}" "pa-$name" "$run/upper"
  mkdir "$run/upper/u" "$run/upper/w"
  mount -t overlay "pa-$name" -o "lowerdir=$root,upperdir=$run/upper/u,workdir=$run/upper/w" "$run/root"
  network
  local bind options=()
  for bind in "$@"; do
    case $bind in *:ro) options+=("--bind-ro=${bind%:ro}") ;; *) options+=("--bind=$bind") ;; esac
  done
  printf '%s\n' "${options[@]}" >"$run/options"
  start_guest ''
}

# start_guest: starts process 1 on the overlay, and waits until it has booted.
start_guest() { # SECONDS
  local options=() past=() by
  # A separate time namespace, in which CLOCK_MONOTONIC and CLOCK_BOOTTIME have an offset: for every program
  # in the guest, the machine has this uptime. CLOCK_REALTIME stays this machine's.
  if [ -n "$1" ]; then
    by=$(python3 -c 'import sys, time; print(int(sys.argv[1]) - int(time.clock_gettime(time.CLOCK_MONOTONIC)))' "$1")
    past=(unshare --time --monotonic "$by" --boottime "$by" --)
  fi
  mapfile -t options < <(sed '/^$/d' "$run/options")
  mkdir -p "$cgroup/pa-$name"
  # A separate session and cgroup: otherwise nspawn would build its tree in the caller's cgroup.
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid bash -c 'echo $$ >"$1/cgroup.procs"; shift; export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1; exec "$@"' _ "$cgroup/pa-$name" \
    "${past[@]}" systemd-nspawn --quiet --boot --directory="$run/root" --machine="pa-$name" --hostname=guest \
    --register=no --keep-unit --settings=no --resolv-conf=off --timezone=off --link-journal=no --console=pipe \
    --network-namespace-path="/run/netns/$(netns host)" \
    --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_ADMIN,CAP_BPF,CAP_PERFMON --system-call-filter=bpf \
    "${options[@]}" </dev/null >>"$run/console.log" 2>&1 &
  local pid=$! leader='' i; disown; remember nspawn "$pid"
  for ((i = 0; i < 2400; i++)); do
    if ! kill -0 "$pid" 2>/dev/null; then tail -n 20 "$run/console.log" >&2; stop; die "systemd-nspawn ended"; fi
    if [ -z "$leader" ]; then
      if leader=$(init_of "$pid"); then remember leader "$leader"; fi
    elif inside test -S /run/dbus/system_bus_socket 2>/dev/null; then break; fi
    sleep 0.05
  done
  if [ "$i" = 2400 ]; then tail -n 20 "$run/console.log" >&2; stop; die "$name did not come up"; fi
  inside systemctl is-system-running --wait >/dev/null || true
}

# With --keep-unit systemd-nspawn does not restart a guest that reboots.
reboot() { # SECONDS
  if ! recall leader >/dev/null; then die "no guest $name runs"; fi
  inside systemctl --no-block poweroff
  if ! wait_gone leader 120 || ! wait_gone nspawn 15; then die "$name does not go down"; fi
  start_guest "$1"
}

inside() { # CMD…
  local leader; leader=$(recall leader) || die "no guest $name runs"
  nsenter -t "$leader" -m -u -i -n -p -C -r -w -- /usr/bin/env -i \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb "$@"
}

# Uses the guest's own namespaces: /tmp, /run and binds are mounts that the overlay does not show.
# shellcheck disable=SC2016,SC2094 # expanded by the inner shell; stat does not read
put() { # SRC DST
  if [ -d "$1" ]; then
    tar -C "$1" --owner=0 --group=0 -ch . | inside sh -c 'mkdir -p "$1" && tar -C "$1" -x' _ "$2"
  else
    inside sh -c 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"' _ "$2" "$(stat -Lc %a "$1")" <"$1"
  fi
}

wait_gone() { local i; for ((i = 0; i < $2 * 10; i++)); do recall "$1" >/dev/null || return 0; sleep 0.1; done; return 1; }

stop() {
  local pid i ns
  if pid=$(recall leader); then
    kill -s RTMIN+14 "$pid" 2>/dev/null || true # systemd(1): power off at once, nothing in the guest is kept
    wait_gone leader 15 || kill -KILL "$pid" 2>/dev/null || true
  fi
  if ! wait_gone nspawn 3 && pid=$(recall nspawn); then kill -KILL "$pid" 2>/dev/null || true; wait_gone nspawn 2 || true; fi
  for i in 1 2 3 4 5; do
    mountpoint -q "$run/root" || break
    umount -R "$run/root" 2>/dev/null || { sleep 0.3; if [ "$i" = 5 ]; then umount -R -l "$run/root"; fi; }
  done
  if mountpoint -q "$run/upper"; then umount "$run/upper" || umount -l "$run/upper"; fi
  for ns in /run/netns/pa-"$name".*; do if [ -e "$ns" ]; then ip netns del "${ns##*/}"; fi; done
  for i in "$cgroup/pa-$name" "/sys/fs/cgroup/systemd/pa-$name"; do
    if [ -d "$i" ]; then find "$i" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
  done
  rm -rf --one-file-system "$run"
}

verb=${1:-help}; shift || true
case $verb in
  build) build "${1:?suite}" ;;
  boot) boot "${1:?suite}" "${2:?name}" "${@:3}" ;;
  exec) select_guest "${1:?name}"; shift; inside "$@" ;;
  outside) select_guest "${1:?name}"; exec ip netns exec "$(netns "${2:?net}")" "${@:3}" ;;
  put) select_guest "${1:?name}"; put "${2:?source}" "${3:?destination}" ;;
  reboot) select_guest "${1:?name}"; reboot "${2:-}" ;;
  log) select_guest "${1:?name}"; cat "$run/console.log" ;;
  stop) select_guest "${1:?name}"; stop ;;
  prune) prune ;;
  *) sed -n '2,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
