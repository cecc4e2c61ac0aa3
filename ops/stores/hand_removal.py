"""What a person types at ops to remove things from the store, beside what `ops.stores.hand` gives: ``listed PREFIX``
prints ``old KEY`` or ``new KEY`` for each object, old ones being of the day before or older; ``drop KEY`` removes one;
``dropped_uploads PREFIX`` throws away the open uploads of a day ago or older.
"""

from __future__ import annotations

import shlex
from typing import assert_never

from ops.s3 import command, path_word
from ops.stores.hand import ACCESS_KEY, SECRET_KEY
from ops.stores.settings import FileStore, S3Store, Store
from ops.stores.tree import PARTS


def functions(store: Store) -> str:
    """The shell functions. A listing that fails or is empty has a status that says so: nothing may be concluded."""
    match store:
        case S3Store():
            return _s3(store)
        case FileStore(path=path):
            place = path_word(path)
            return (
                f"listed() {{ (cd {place} && find \"$1\" -type f '(' -mmin +1440 -printf 'old %p\\n' -o -printf 'new %p\\n' ')'); }}\n"
                f'drop() {{ rm -f {place}/"$1"; }}\n'
                f'dropped_uploads() {{ (cd {place} && if [ -d "{PARTS}/$1" ]; then find "{PARTS}/$1" -name open -mmin +1440 -printf \'%h\\n\' |\n'
                '  while read -r at; do rm -r "$at"; echo "thrown away: $at"; done; fi); }'
            )
        case _:
            assert_never(store)


def _s3(store: S3Store) -> str:
    bucket = shlex.quote(store.bucket)
    return (
        f'aws3() {{ {command(store, ACCESS_KEY, SECRET_KEY)} "$@" </dev/null; }}\n'
        f'listed() {{ aws3 s3 ls --recursive "s3://{store.bucket}/$1" |\n'
        '  awk -v day="$(date -d \'1 day ago\' \'+%F %T\')" \'{ print ($1 " " $2 < day ? "old" : "new"), $4 }\'; }\n'
        f'drop() {{ aws3 s3 rm --only-show-errors "s3://{store.bucket}/$1"; }}\n'
        f'dropped_uploads() {{ aws3 s3api list-multipart-uploads --bucket {bucket} --prefix "$1" --output json |\n'
        "  jq -r --arg day \"$(date -ud '1 day ago' +%FT%T)\" '.Uploads // [] | .[] | select(.Initiated < $day) | \"\\(.Key) \\(.UploadId)\"' |\n"
        f'  while read -r key id; do aws3 s3api abort-multipart-upload --bucket {bucket} --key "$key" --upload-id "$id"; echo "thrown away: $key"; done; }}'
    )
