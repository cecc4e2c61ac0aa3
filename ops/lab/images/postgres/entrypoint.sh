#!/bin/sh
# Makes the cluster on first start, then runs the server; the same variables as the official image.
set -eu
if [ "$1" != postgres ]; then exec "$@"; fi
user=${POSTGRES_USER:-postgres}
db=${POSTGRES_DB:-$user}
run_as() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
chown -R postgres: "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    pw=$(mktemp)
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then cat "$POSTGRES_PASSWORD_FILE" >"$pw"; else printf '%s' "${POSTGRES_PASSWORD?}" >"$pw"; fi
    chown postgres "$pw"
    # An interrupted first start leaves files without PG_VERSION or a cluster without its database: begin anew beside, then move into place.
    find "$PGDATA" -mindepth 1 -delete
    install -d -o postgres -g postgres -m 700 "$PGDATA/new"
    run_as initdb -D "$PGDATA/new" -U "$user" --pwfile "$pw" --auth-local trust --auth-host scram-sha-256 --no-sync >/dev/null
    rm -f "$pw"
    { echo "listen_addresses = '*'"; echo "unix_socket_directories = '/var/run/postgresql'"; } >>"$PGDATA/new/postgresql.conf"
    echo 'host all all all scram-sha-256' >>"$PGDATA/new/pg_hba.conf"
    if [ "$db" != postgres ]; then printf 'CREATE DATABASE "%s"\n' "$db" | run_as postgres --single -D "$PGDATA/new" postgres >/dev/null; fi
    version=$PGDATA/new/PG_VERSION
    mv "$version" "$PGDATA/new/.version"
    find "$PGDATA/new" -mindepth 1 -maxdepth 1 ! -name .version -exec mv -t "$PGDATA" {} +
    mv "$PGDATA/new/.version" "$PGDATA/PG_VERSION"
    rmdir "$PGDATA/new"
fi
exec setpriv --reuid postgres --regid postgres --init-groups "$@"
