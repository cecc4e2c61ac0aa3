#!/bin/sh
# Fills this host's disk (/srv and the engine's folder) to the last block; says what is left.
set -u
if [ -e /var/lib/lab-disk/unbounded ]; then
    echo 'this host has no disk of its own: the machine offers no loop devices'
    exit 1
fi
free=$(df --output=avail -B1 /disk | tail -n 1)
fallocate -l "$free" /disk/lab-fill 2>/dev/null || fallocate -l $((free - 4194304)) /disk/lab-fill
dd if=/dev/zero bs=4096 of=/disk/lab-fill oflag=append conv=notrunc 2>/dev/null # fails at the last block, which is the point
df -h --output=avail /disk | tail -n 1
