#!/usr/bin/env bash
# The first process of a node: gives it a root file system, then stays, and reaps what lost its parent.
# usage: unshare --mount --uts --pid --fork --kill-child root.sh FOLDER NAME [FOLDER-SEEN-INSIDE …]
#
# What the machine has is seen inside; what is written stays inside. /var is FOLDER/var, since images and pods need a disk;
# /run, and what is written to /etc, /opt and /usr, is memory; so are new folders of the root. FOLDER/rootfs, where it is
# there, is laid over the rest: it has what only this node has (a driver's files).
set -euo pipefail
folder=$1 name=$2
shift 2
mount --make-rprivate /
echo "$name" >/proc/sys/kernel/hostname
root=$folder/tree layers=$folder/tree/.layers
mkdir -p "$root" "$folder/var" "$folder/rootfs"
mount -t tmpfs -o mode=755 root "$root"
for path in /*; do
  at=$root$path
  if [ -L "$path" ]; then cp -P "$path" "$at"; continue; fi
  [ -d "$path" ] || continue
  mkdir "$at"
  case $path in
    /proc | /run) ;;
    /dev | /sys) mount --rbind "$path" "$at" ;;
    /var) mount --bind "$folder/var" "$at" ;;
    /etc | /opt | /usr)
      mkdir -p "$layers$path/upper" "$layers$path/work" "$folder/rootfs$path"
      mount -t overlay -o "lowerdir=$folder/rootfs$path:$path,upperdir=$layers$path/upper,workdir=$layers$path/work" node "$at" ;;
    *) mount --bind "$path" "$at" ;;
  esac
done
for path in "$folder" "$@"; do
  mkdir -p "$root$path"
  mount --bind "$path" "$root$path"
done
mount -t tmpfs -o mode=755 run "$root/run"
mkdir -p "$root/run/lock" "$root/var/tmp" "$root/.old"
ln -s /run "$root/var/run"
cd "$root"
pivot_root . .old
mount -t proc proc /proc
# As large as its vendor's machines are: cAdvisor reads these, and nobody here would notice the truth.
mount --bind "$folder/meminfo" /proc/meminfo
mount --bind "$folder/cpu" /sys/devices/system/cpu
[ ! -d /sys/devices/system/node ] || mount -t tmpfs none /sys/devices/system/node
umount -l /.old
rmdir /.old
mount --make-rshared /
echo ready
while :; do sleep infinity & wait $!; done
