"""What a person types at ops to remove things from the store, beside what `ops.stores.hand` gives."""

from __future__ import annotations

import shlex
from typing import assert_never

from ops.s3 import command, path_word
from ops.stores.hand import ACCESS_KEY, SECRET_KEY
from ops.stores.settings import FileStore, S3Store, Store
from ops.stores.tree import PARTS


def functions(store: Store) -> str:
    """``listed PREFIX`` prints ``old KEY`` or ``new KEY`` for each object, old ones being of a day ago or earlier, and
    fails where nothing is listed: nothing may be concluded then. ``drop KEY`` removes one."""
    match store:
        case S3Store():
            return (
                f'aws3() {{ {command(store, ACCESS_KEY, SECRET_KEY)} "$@" </dev/null; }}\n'
                f'listed() {{ aws3 s3 ls --recursive "s3://{store.bucket}/$1" |\n'
                '  awk -v day="$(date -d \'1 day ago\' \'+%F %T\')" \'{ print ($1 " " $2 < day ? "old" : "new"), $4 }\'; }\n'
                f'drop() {{ aws3 s3 rm --only-show-errors "s3://{store.bucket}/$1"; }}'
            )
        case FileStore(path=path):
            place = path_word(path)
            kinds = "-mmin +1440 -printf 'old %p\\n' -o -printf 'new %p\\n'"
            return (
                f"listed() {{ (cd {place} && find \"$1\" -type f '(' {kinds} ')'); }}\n"
                f'drop() {{ rm -f {place}/"$1"; }}'
            )
        case _:
            assert_never(store)


def uploads(store: Store) -> str:
    """``dropped_uploads PREFIX`` throws away the open uploads of a day ago or earlier; after `functions`."""
    match store:
        case S3Store():
            bucket = shlex.quote(store.bucket)
            begun = "'.Uploads // [] | .[] | select(.Initiated < $day) | \"\\(.Key) \\(.UploadId)\"'"
            return (
                f'dropped_uploads() {{ aws3 s3api list-multipart-uploads --bucket {bucket} --prefix "$1" --output json |\n'
                f"  jq -r --arg day \"$(date -ud '1 day ago' +%FT%T)\" {begun} |\n"
                "  while read -r key id; do\n"
                f'    aws3 s3api abort-multipart-upload --bucket {bucket} --key "$key" --upload-id "$id"; echo "thrown away: $key"\n'
                "  done; }"
            )
        case FileStore(path=path):
            return (
                f'dropped_uploads() {{ (cd {path_word(path)} || exit 1; if [ -d "{PARTS}/$1" ]; then\n'
                f'  find "{PARTS}/$1" -name open -mmin +1440 -printf \'%h\\n\' | while read -r at; do rm -r "$at"; echo "thrown away: $at"; done\n'
                "fi); }"
            )
        case _:
            assert_never(store)
