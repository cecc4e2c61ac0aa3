#!/bin/sh
# What a host must have beyond its image: the login's key, the registry's authority, its services. Changes only what is not so: it also mends.
set -eu
put() {
    if [ "$(cat "$2" 2>/dev/null)" = "$1" ]; then return; fi
    mkdir -p "$(dirname "$2")"
    printf '%s\n' "$1" >"$2.new"
    mv "$2.new" "$2"
}
put "${KEY:?}" /home/deploy/.ssh/authorized_keys
chown -R deploy: /home/deploy/.ssh
chmod 600 /home/deploy/.ssh/authorized_keys
put "${CA:?}" /etc/docker/certs.d/registry.lab:5000/ca.crt
for unit in docker ssh nested-dns; do
    if systemctl is-active -q "$unit"; then continue; fi
    systemctl reset-failed "$unit" docker.socket 2>/dev/null || true
    systemctl start "$unit"
    echo "started $unit"
done
