#!/bin/sh
# Boots a machine with systemd in namespaces of its own: boot.sh IMAGE DIR CGROUP "" INIT… What it changes stays in DIR, so the same
# DIR booted again is the same machine after a reboot. It ends with whoever started it, and takes everything along.
set -eu
image=$1 dir=$2 cgroup=$3
if [ "$4" != inside ]; then
  mkdir -p "$cgroup" "$dir/upper" "$dir/work" "$dir/root"
  echo $$ >"$cgroup/cgroup.procs" # the namespace's root is the group in which it begins
  shift 4
  exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup "$0" "$image" "$dir" "$cgroup" inside "$@"
fi
mount --make-rprivate /
root=$dir/root
mount -t overlay -o "lowerdir=$image,upperdir=$dir/upper,workdir=$dir/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for d in null zero full random urandom tty; do
  : >"$root/dev/$d"
  mount --bind "/dev/$d" "$root/dev/$d"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
ip link set lo up
hostname boots
mkdir "$root/run/host"
cd "$root"
pivot_root . run/host
umount -l /run/host
shift 4
exec env -i container=boots PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null
