#!/bin/sh
# Says what is wrong with this host, a line each: what a fault or an accident can have changed. $SERVICES: containers that must run.
set -u
for unit in docker ssh; do systemctl is-active -q "$unit" || echo "$unit stopped"; done
if iptables -t raw -C PREROUTING -i eth0 -j DROP 2>/dev/null; then echo 'network cut'; fi
if [ -e /disk/lab-fill ]; then echo 'disk full'; fi
if [ -e /run/lab-slow ]; then echo 'services slowed'; fi
for service in ${SERVICES:-}; do
    is=$(docker inspect -f '{{.State.Status}}' "$service" 2>/dev/null) || is=missing
    [ "$is" = running ] || echo "$service $is"
done
echo looked # an answer that got lost on its way must not pass for health
