#!/bin/sh
# Runs the server as the official image does: `mongod` stands for it (its own options are not understood), its data is in /data/db.
set -eu
if [ "$1" != mongod ]; then exec "$@"; fi
set -- --handler=sqlite --sqlite-url=file:/data/db/ --state-dir=/data/db --listen-addr=:27017 --telemetry=disable --debug-addr=- --log-level=error
if [ -n "${MONGO_INITDB_ROOT_USERNAME:-}" ]; then
    # From the environment, where the server wants them: arguments would show the password in `ps`.
    FERRETDB_SETUP_USERNAME=$MONGO_INITDB_ROOT_USERNAME
    FERRETDB_SETUP_PASSWORD=$(cat "${MONGO_INITDB_ROOT_PASSWORD_FILE:?}")
    FERRETDB_SETUP_DATABASE='admin'
    export FERRETDB_SETUP_USERNAME FERRETDB_SETUP_PASSWORD FERRETDB_SETUP_DATABASE
    set -- "$@" --test-enable-new-auth
fi
exec ferretdb "$@"
