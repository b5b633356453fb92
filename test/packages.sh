#!/usr/bin/env bash
# Installs what the tests work against: the lists lie beside the tests that need them (packages.txt), one name a line.
# A list whose packages exclude those of another is unpacked by its own test and not named packages.txt.
set -euo pipefail
cd "$(dirname "$0")"
mapfile -t wanted < <(cat packages.txt ./*/packages.txt ./*/*/packages.txt 2>/dev/null | sed 's/#.*//; s/[[:space:]]//g' | grep . | sort -u)
missing=()
for name in "${wanted[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "all ${#wanted[@]} Debian packages of the tests are installed"
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "missing Debian packages: ${missing[*]}" >&2
  echo "next: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o Acquire::Retries=3 update -qq
# policy-rc.d: the tests start what they need themselves
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get -o Acquire::Retries=3 install -y --no-install-recommends "${missing[@]}"
