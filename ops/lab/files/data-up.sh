#!/bin/sh
# Makes or mends PostgreSQL, Redis and MongoDB on the data host; says something only if there was something to do.
set -eu
# Root's alone; inside the containers the servers' own users read the secrets. On the disk that outlives the host's container: the
# services start at boot, before this script could put their files anywhere.
install -d -m 700 /disk/lab-data
cd /disk/lab-data
install -d -m 755 secrets
put() {
    if [ "$(cat "$2" 2>/dev/null)" = "$1" ]; then return; fi
    printf '%s\n' "$1" >"$2.new"
    chmod 644 "$2.new"
    mv "$2.new" "$2"
    echo changed
}
changed=$(
    put "${COMPOSE:?}" compose.yaml
    put "${POSTGRES_PASSWORD:?}" secrets/postgres-password
    put "${REDIS_CONF:?}" secrets/redis.conf
    put "${MONGODB_PASSWORD:?}" secrets/mongodb-password
)
# MongoDB's password lies in its data, and nobody who lacks the old one can change it.
opens() {
    printf 'password: "%s"\n' "${MONGODB_PASSWORD:?}" |
        docker exec -i mongodb mongodump --quiet --username=shop --authenticationDatabase=admin --config=/dev/stdin --db=nothing --archive \
            >/dev/null 2>&1
}
health=$(docker inspect -f '{{.State.Health.Status}}' postgres redis mongodb 2>/dev/null | sort | uniq -c | tr -s ' ')
if [ -z "$changed" ] && [ "$health" = " 3 healthy" ] && opens; then exit 0; fi
for name in postgres redis mongodb; do
    if [ "$(docker inspect -f '{{.State.Paused}}' $name 2>/dev/null)" = true ]; then docker unpause $name; fi
done
export DOCKER_CONFIG=/run/lab-docker
printf %s "${REGISTRY_PASSWORD:?}" | docker login -u deploy --password-stdin "${REGISTRY:?}" >/dev/null 2>&1
start() { docker compose up -d --wait --wait-timeout 90 --quiet-pull --remove-orphans "$@" 2>&1; }
# New passwords (another checkout made this lab): the servers read their files at the start only, and PostgreSQL keeps its own.
if [ -n "$changed" ]; then start --force-recreate; else start || start --force-recreate; fi
printf "alter role shop password '%s'\n" "$POSTGRES_PASSWORD" | docker exec -i postgres psql -qX -U shop -d shop
# What another checkout left and nobody can open is made anew.
if ! opens; then
    docker rm -fv mongodb >/dev/null
    docker volume rm mongodb >/dev/null
    start mongodb
    opens || { echo "MongoDB refuses the password it was made with" >&2; exit 1; }
    echo 'MongoDB made anew: its data was that of another checkout'
fi
rm -rf /run/lab-docker
