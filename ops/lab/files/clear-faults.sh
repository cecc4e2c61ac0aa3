#!/bin/sh
# Undoes what faults did inside this host; says what it undid. Nothing to undo: says nothing.
set -u
while iptables -t raw -D PREROUTING -i eth0 -j DROP 2>/dev/null; do echo 'network restored'; done
while iptables -t mangle -D POSTROUTING -o eth0 -j DROP 2>/dev/null; do :; done
if [ -e /disk/lab-fill ]; then rm -f /disk/lab-fill && echo 'disk freed'; fi
for unit in docker ssh; do
    if systemctl is-active -q "$unit"; then continue; fi
    systemctl reset-failed "$unit" docker.socket 2>/dev/null
    systemctl start "$unit" && echo "$unit started"
done
for id in $(docker ps -q -f status=paused); do docker unpause "$id" >/dev/null && echo "container $id unpaused"; done
if [ -e /run/lab-slow ]; then
    for id in $(docker ps -q); do docker update --cpu-period 100000 --cpu-quota -1 "$id" >/dev/null; done
    rm -f /run/lab-slow && echo 'services at full speed'
fi
exit 0
