#!/bin/sh
# Makes the image that the machines of this package boot: a small Debian with systemd and cron, by debootstrap, as root. Where
# it is there already nothing is done. It is complete or not there; OMNITRON_BOOTS says where it goes.
set -eu
cache=${OMNITRON_BOOTS:-/var/cache/omnitron-boots}
image=$cache/bookworm-1 # another number where what is in it changes
if [ "${1:-}" = path ]; then echo "$image"; exit; fi
if [ -d "$image" ]; then exit; fi
if [ "$(id -u)" != 0 ]; then echo "$0: debootstrap has to be run by root" >&2; exit 1; fi
mkdir -p "$cache"
work=$(mktemp -d "$cache/.making-XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "making: $image"
if ! debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libpam-systemd,procps,iproute2,cron,man-db bookworm "$work/root" >"$work/log" 2>&1; then
  tail -20 "$work/log" >&2
  exit 1
fi
rm -rf "$work/root/var/cache/apt/archives" "$work/root/var/lib/apt/lists"
mkdir -p "$work/root/var/cache/apt/archives/partial" "$work/root/var/lib/apt/lists/partial"
for old in "$cache"/bookworm-*; do rm -rf "$old"; done
mv "$work/root" "$image"
