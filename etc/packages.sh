#!/bin/bash
# Makes sure that Debian packages are installed: packages.sh NAME...
#
# Installs what is missing where it may (as root on Debian or Ubuntu), and says what to do where it
# may not. Services of installed packages are not started: the tests start their own.
set -eu

if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian system: make sure that the equivalents of these are installed: $*" >&2
    exit 0
fi

missing=()
for name in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "packages are missing; install them with: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi

# A policy file that forbids starting services, for the time of this installation.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    made=1
fi
trap '[ -z "$made" ] || rm -f $policy' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "installed: ${missing[*]}"
