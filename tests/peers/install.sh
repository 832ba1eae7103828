#!/bin/sh
# Installs the programs that the tests talk to, and only those that are absent. Elsewhere than on Debian as root it says
# which are missing; the tests that need them then skip with one line, or fail where CI=true.
set -eu
missing=""
need() { # packages, test that they are there
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has() { command -v "$1" || [ -x "/usr/sbin/$1" ]; }
library() { ls /usr/lib/*/"$1" /usr/lib/"$1" 2>/dev/null | grep -q .; }
need mbpoll has mbpoll
need snmp has snmpget
need snmpd has snmpd
need prometheus has prometheus
need libmodbus5 library libmodbus.so.5
need openipmi has ipmi_sim
need libopenipmi-dev test -e /usr/include/OpenIPMI/mcserv.h
need ipmitool has ipmitool
need bpftrace has bpftrace
need chromium has chromium
need kubernetes-client has kubectl
need "gcc libc6-dev" has cc
if [ -z "$missing" ]; then
  echo "test peers: all are installed"
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "test peers: some tests will skip, missing are$missing (as root on Debian: apt-get install$missing)"
  exit 0
fi
# policy-rc.d keeps snmpd from being started as a service of this machine.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$guard"
  chmod +x "$guard"
  trap 'rm -f "$guard"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
install() { apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1; }
install || { apt-get update -qq >/dev/null && install; } || {
  echo "test peers: apt-get install$missing failed" >&2
  exit 1
}
echo "test peers: installed$missing"
