#!/bin/sh
# Runs the server as user redis, as the official image does.
set -eu
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    chown -R redis: /data
    exec setpriv --reuid redis --regid redis --init-groups "$@"
fi
exec "$@"
