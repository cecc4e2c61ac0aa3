#!/bin/sh
# Puts data worth backing up beside the shop's, where it is not there; says what it put. Nothing of it is the shop's.
set -eu
printf '%s\n' "${VAULT_SQL:?}" | docker exec -i postgres psql -qXAt -v ON_ERROR_STOP=1 -U shop -d shop

# shellcheck disable=SC2016  # for the shell in the container
login='REDISCLI_AUTH=$(sed -n "s/^requirepass //p" /run/secrets/redis.conf) redis-cli -e'
there=$(docker exec redis sh -c "$login exists vault:table")
if [ "$there" = 0 ]; then
    # All or nothing: a torn attempt leaves no key that the next would stumble over.
    printf 'MULTI\n%s\nEXEC\n' "${VAULT_REDIS:?}" | docker exec -i redis sh -c "$login" >/dev/null
    echo 'Redis filled'
fi
docker exec redis sh -c "$login set vault:session ada ex 864000 nx" >/dev/null

printf '%s\n' "${DOCUMENTS_SH:?}" | docker exec -i mongodb bash -s

if [ ! -e "$(docker volume inspect -f '{{.Mountpoint}}' archive 2>/dev/null)/whole" ]; then
    docker volume create archive >/dev/null
    printf '%s\n' "${ARCHIVE_SH:?}" | sh -s -- "$(docker volume inspect -f '{{.Mountpoint}}' archive)"
    echo 'the volume archive filled'
fi
