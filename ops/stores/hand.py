"""What a person types at ops, in the repository, to put an object into the store and to get it out: the equivalent of
what the tool does through its own client. ``put KEY [BYTES]`` reads standard input (more than 50 GB go only where
BYTES says how many: the client's parts would be too small), ``get KEY`` prints, ``have PREFIX`` lists;
``begun PREFIX`` lists uploads that are open, ``clock`` prints the store's own Unix time.
"""

from __future__ import annotations

import shlex
from typing import assert_never

from ops.s3 import command, path_word
from ops.stores.keys import DATA, PROTECTED, RELEASE, VERIFICATION
from ops.stores.settings import FileStore, S3Store, Store

ACCESS_KEY = "STORE_ACCESS_KEY"
SECRET_KEY = "STORE_SECRET_KEY"
"""The variables of the store's credentials: paths of files."""


def functions(store: Store) -> str:
    """``put``, ``get`` and ``have`` as shell functions."""
    match store:
        case S3Store():
            return "\n".join((_s3(store), _s3_put(store), _s3_get(store)))
        case FileStore(path=path):
            place = path_word(path)
            return (
                f'put() {{ mkdir -p "$(dirname {place}/"$1")" && cat >{place}/"$1.new" && mv {place}/"$1.new" {place}/"$1"; }}\n'
                f"{_file_get(place)}"
            )
        case _:
            assert_never(store)


def reading(store: Store) -> str:
    """``get`` and ``have``, and nothing that writes."""
    match store:
        case S3Store():
            return "\n".join((_s3(store), _s3_get(store)))
        case FileStore(path=path):
            return _file_get(path_word(path))
        case _:
            assert_never(store)


def looking(store: Store) -> str:
    """``get``, ``have`` and ``clock``: what looking needs, and nothing that writes."""
    clock = _s3_clock(store) if isinstance(store, S3Store) else "clock() { date -u +%s; }"
    return f"{reading(store)}\n{clock}"


def begun(store: Store) -> str:
    """``begun``."""
    match store:
        case S3Store():
            api = command(store, ACCESS_KEY, SECRET_KEY)
            return f'begun() {{ {api} s3api list-multipart-uploads --bucket {store.bucket} --prefix "$1" --query "Uploads[].[Key]" --output text; }}'
        case FileStore(path=path):
            return f'begun() {{ (cd {path_word(path)}/.parts && find "$1" -type f) 2>/dev/null || true; }}'
        case _:
            assert_never(store)


def credentials(store: Store) -> tuple[tuple[str, str], ...]:
    """(variable, reference) of the store's credentials; none where the client finds its own."""
    match store:
        case S3Store(access_key=str(access), secret_key=str(secret)):
            return ((ACCESS_KEY, access), (SECRET_KEY, secret))
        case _:
            return ()


def _file_get(place: str) -> str:
    return f'get() {{ cat {place}/"$1"; }}\nhave() {{ (cd {place} && find "$1" -type f); }}'


def _s3(store: S3Store) -> str:
    return f's3() {{ {command(store, ACCESS_KEY, SECRET_KEY)} s3 "$@"; }}'


def _s3_put(store: S3Store) -> str:
    """What the tool asks for with each object: encryption; the storage class of the dumps, which manifests never have;
    the lock of all that stays as it is."""
    more = ""
    if store.encryption:
        more += f" --sse {shlex.quote(store.encryption)}"
    if store.kms_key:
        more += f" --sse-kms-key-id {shlex.quote(store.kms_key)}"
    send = f's3 cp --only-show-errors{more} ${{2:+--expected-size "$2"}}'
    to = f'- "s3://{store.bucket}/$1"'
    if not store.storage_class and not store.lock:
        return f"put() {{ {send} {to}; }}"
    lines = ["put() {"]
    if store.storage_class:
        lines.append(
            f"  case $1 in */{DATA}) {send} --storage-class {shlex.quote(store.storage_class)} {to} ;; *) {send} {to} ;; esac ||\n"
            "    return 1"
        )
    else:
        lines.append(f"  {send} {to} || return 1")
    if store.lock:
        until = f'"Mode={store.lock.mode},RetainUntilDate=$(date -u -d "+{store.lock.days} days" +%Y-%m-%dT%H:%M:%SZ)"'
        api = command(store, ACCESS_KEY, SECRET_KEY)
        lines += [
            f"  case $1 in */opened | */{VERIFICATION} | */{PROTECTED} | */{RELEASE}) return 0 ;; esac",
            f'  {api} s3api put-object-retention --bucket {store.bucket} --key "$1" --retention {until}',
        ]
    return "\n".join((*lines, "}"))


def _s3_get(store: S3Store) -> str:
    root = f"s3://{store.bucket}"
    return f'get() {{ s3 cp --only-show-errors "{root}/$1" -; }}\nhave() {{ s3 ls --recursive "{root}/$1"; }}'


def _s3_clock(store: S3Store) -> str:
    end = store.reach or store.endpoint or f"https://s3.{store.region}.amazonaws.com"
    trust = f" --cacert {path_word(store.ca)}" if store.ca else ""
    # every answer bears the server's time, a refusal as well
    asked = f"curl -sI --max-time 20{trust} {shlex.quote(end)} | sed -n 's/^[Dd]ate: //p' | tr -d '\\r'"
    return f'clock() {{ local said; said=$({asked}) && [ -n "$said" ] && date -d "$said" +%s; }}'
