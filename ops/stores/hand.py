"""What a person types at ops, in the repository, to put an object into the store and to get it out: the equivalent of
what the tool does through its own client. ``put KEY`` reads standard input, ``get KEY`` prints, ``have PREFIX`` lists.
"""

from __future__ import annotations

import shlex
from typing import assert_never

from ops.s3 import command, path_word
from ops.stores.settings import FileStore, S3Store, Store

ACCESS_KEY = "STORE_ACCESS_KEY"
SECRET_KEY = "STORE_SECRET_KEY"
"""The variables of the store's credentials: paths of files."""


def functions(store: Store) -> str:
    """``put``, ``get`` and ``have`` as shell functions."""
    match store:
        case S3Store():
            return _s3(store)
        case FileStore(path=path):
            place = path_word(path)
            return (
                f'put() {{ mkdir -p "$(dirname {place}/"$1")" && cat >{place}/"$1.new" && mv {place}/"$1.new" {place}/"$1"; }}\n'
                f'get() {{ cat {place}/"$1"; }}\n'
                f'have() {{ (cd {place} && find "$1" -type f); }}'
            )
        case _:
            assert_never(store)


def credentials(store: Store) -> tuple[tuple[str, str], ...]:
    """(variable, reference) of the store's credentials; none where the client finds its own."""
    match store:
        case S3Store(access_key=str(access), secret_key=str(secret)):
            return ((ACCESS_KEY, access), (SECRET_KEY, secret))
        case _:
            return ()


def _s3(store: S3Store) -> str:
    more = ""
    if store.storage_class:
        more += f" --storage-class {shlex.quote(store.storage_class)}"
    if store.encryption:
        more += f" --sse {shlex.quote(store.encryption)}"
    if store.kms_key:
        more += f" --sse-kms-key-id {shlex.quote(store.kms_key)}"
    root = f"s3://{store.bucket}"
    return (
        f's3() {{ {command(store, ACCESS_KEY, SECRET_KEY)} s3 "$@"; }}\n'
        f'put() {{ s3 cp --only-show-errors{more} - "{root}/$1"; }}\n'
        f'get() {{ s3 cp --only-show-errors "{root}/$1" -; }}\n'
        f'have() {{ s3 ls --recursive "{root}/$1"; }}'
    )
