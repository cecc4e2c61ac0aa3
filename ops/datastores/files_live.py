"""Files: a backup unpacked within the very tree, and swapped by moving what lies at its top."""

from __future__ import annotations

from ops.datastores import clients
from ops.datastores.files import EXTENDED, EXTRACT, OURS, TREE, Files, created, listing, loaded
from ops.datastores.live import Live

NEW = f"{TREE}/{OURS}/new"


def live(settings: Files, name: str) -> Live | None:
    """The texts of the datastore ``name``; None where something is left out of its backups: it would be gone from the
    live tree, and stand in no backup of the present either.

    Containers that have the tree mounted keep it, because its root stays: what lies in it moves.
    """
    if settings.exclude:
        return None
    tree = _at_tree(settings, name)
    begin = f"{clients.gone(name)}\n{tree}"
    return Live(
        free=f"{tree}\n{FREE}",
        empty=f"{tree}\n{EMPTY}",
        beside=f"""\
{clients.gone(name)}
{f"docker volume create {settings.volume} >/dev/null || exit 1" if settings.volume else ":"}
{tree}
{BEGUN}
(
{loaded("at_tree", NEW)}
) || exit 1
at_tree {ROOT} --directory={NEW} --file=- . </dev/null >"$W/root.new" || exit 1
at_tree sh -c 'echo loaded >{TREE}/{OURS}/phase' </dev/null""",
        fingerprint=(
            f"{tree}\n{listing(settings.fingerprint == 'exact')}\n"
            f"at_tree {created(settings, NEW)} </dev/null | listing | LC_ALL=C sort"
        ),
        swap=f"{begin}\n{SWAP}\n{_rooted('new')}",
        back=f"{begin}\n{BACK}\n{_rooted('old')}",
        drop=f'{begin}\n{DROP}\nrm -f "$W/twin" "$W/end" "$W/root.new"',
        cancel=clients.gone(name),
        rows=f"{tree}\nat_tree find {TREE} -path {TREE}/{OURS} -prune -o -type f -print0 </dev/null | tr -dc '\\0' | wc -c",
    )


def _at_tree(settings: Files, name: str) -> str:
    """The function ``at_tree``: a program in a container of the image that sees the live tree, and can change it."""
    if settings.volume:
        mount = f"type=volume,src={settings.volume},dst={TREE}"
        there = f"docker volume inspect {settings.volume} >/dev/null && "
    else:
        mount, there = f"type=bind,src={settings.path},dst={TREE}", ""
    run = f'docker run --rm -i --user 0:0 --network none {clients.label(name)} --mount {mount} --entrypoint "$1" "$IMAGE" "${{@:2}}"'
    return f"at_tree() {{ {there}{run}; }}"


ROOT = f"tar --create --no-recursion --format=pax --pax-option=delete=atime,delete=ctime {EXTENDED}"
"""A tar of a directory itself, without what lies in it: its mode, owner, time and attributes."""

FREE = f"""\
left=$(at_tree sh -c 'if [ -e {TREE}/{OURS} ]; then echo left; fi' </dev/null 2>&1) || left=none
if [ "$left" = left ]; then
  echo 'the tree has a directory {OURS}, left of an earlier restore: look at it (old holds former files), then remove it' >&2
  exit 1
fi"""

EMPTY = f"""\
found=$(at_tree find {TREE} -mindepth 1 -maxdepth 1 -print -quit </dev/null 2>/dev/null) || found=''
if [ -n "$found" ]; then
  echo 'the tree holds something: restore without --fresh, which backs it up first' >&2
  exit 1
fi"""

# The root's own mode, owner and time are noted before anything is made in it, which changes its time.
BEGUN = f"""\
if [ ! -e "$W/root.old" ]; then
  at_tree {ROOT} --directory={TREE} --file=- . </dev/null >"$W/root.old.new" || exit 1
  mv "$W/root.old.new" "$W/root.old"
fi
echo old >"$W/root"
at_tree sh -s <<'SH' || exit 1
set -eu
mkdir -p {TREE}/{OURS}
cd {TREE}/{OURS}
if [ -n "$(find old -mindepth 1 -print -quit 2>/dev/null)" ]; then
  echo 'former files lie in {OURS}/old: put them back, or remove them' >&2
  exit 1
fi
rm -rf new phase
chmod 700 .
mkdir -p new old
SH
room=$(at_tree df --output=avail -B1 {TREE} </dev/null | tail -n 1) || exit 1
need=$(jq -r .raw "$W/manifest.json" 2>/dev/null || echo 0)
if ((need > room)); then
  echo "a copy beside takes $need bytes, and $room are free: make room where the tree lies" >&2
  exit 1
fi"""

# What is about to happen is written down before it does: whoever comes after a torn run knows where each file belongs.
MOVES = f"""\
set -eu
cd {TREE}/{OURS}
moved() {{ find "$1" -mindepth 1 -maxdepth 1 ! -name {OURS} -exec mv -t "$2" -- {{}} +; }}
phase() {{ echo "$1" >phase.new; mv phase.new phase; }}
now=$(cat phase 2>/dev/null || echo none)
"""

SWAP = f"""\
at_tree sh -s <<'SH'
{MOVES}
case $now in
  loaded | leaving | restoring) phase leaving; moved .. old; phase coming; moved new ..; phase swapped ;;
  coming | returning) phase coming; moved new ..; phase swapped ;;
  swapped) ;;
  *) echo 'nothing lies beside: load the backup first' >&2; exit 1 ;;
esac
SH"""

BACK = f"""\
at_tree sh -s <<'SH'
if [ ! -d {TREE}/{OURS} ]; then exit 0; fi
{MOVES}
case $now in
  swapped | coming | returning) phase returning; moved .. new; phase restoring; moved old ..; phase loaded ;;
  leaving | restoring) phase restoring; moved old ..; phase loaded ;;
esac
SH"""


def _rooted(which: str) -> str:
    """Text that gives the tree's root the mode, owner and time that stand in ``$W/root.<which>``."""
    return (
        f'echo {which} >"$W/root"\n'
        f'if [ -e "$W/root.{which}" ]; then at_tree {EXTRACT} --directory={TREE} --file=- <"$W/root.{which}"; fi'
    )


DROP = f"""\
at_tree rm -rf {TREE}/{OURS} </dev/null
if [ -e "$W/root" ]; then
  root=$(cat "$W/root")
  if [ -e "$W/root.$root" ]; then at_tree {EXTRACT} --directory={TREE} --file=- <"$W/root.$root"; fi
fi"""
