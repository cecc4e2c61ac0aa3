"""Moving the schema: once, before the first switch, from the image that brings the migrations."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ops.plan.model import Back, Change, Check, Irreversible, Keep, Repeat, Step


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What the migration steps need to know of an inventory."""

    slug: str
    state: str
    service: str
    up: str
    down: str
    head: str
    timeout: int
    lock_timeout: int


def head(m: Moves) -> str:
    """Text that prints the database's head, asked in the live container; else the last head we know of."""
    live = f'docker exec "{m.slug}-$CURRENT-{m.service}-1" sh -c {shlex.quote(m.head)}'
    known = f'grep -v pending "{m.state}/schema" | tail -n 1'
    return f"{{ {live} || {known}; }} 2>/dev/null | grep . || echo base"


def in_place(m: Moves) -> str:
    """Probe: the release's head was applied, and the database is at it or beyond."""
    live = f'docker exec "{m.slug}-$CURRENT-{m.service}-1" sh -c {shlex.quote(m.head)}'
    return f'sed "/^$({live})\\$/q" "{m.state}/schema" | grep -qxF "$HEAD"'


def command(m: Moves, release: str, text: str, *environment: str) -> str:
    """Text that runs ``text`` in a container of the release's image, named by run so that it can be ended."""
    given = "".join(f" -e {e}" for e in environment)
    lock = f"-e PGOPTIONS='-c lock_timeout={m.lock_timeout}s'"
    return (
        f'docker compose -f "$APP/releases/${release}/compose.yaml" run --rm -T --no-deps'
        f' --name "{m.slug}-migrate-$RUN" {lock}{given} \\\n  --entrypoint sh {m.service} -c {shlex.quote(text)}'
    )


def migrate(m: Moves) -> Step:
    """Moves the schema up."""
    ledger = f'"{m.state}/schema"'
    live = f'docker exec "{m.slug}-$CURRENT-{m.service}-1" sh -c {shlex.quote(m.head)} 2>/dev/null'
    down = command(m, "RELEASE", m.down, 'TO="$HEAD_BEFORE"')
    back = Back(
        # a down-migration would drop what the new release's processes may have written
        unless=f'test "$COMPATIBLE" = true && test -e "{m.state}/started/$RUN"',
        run=f'{down}\nsed -i -E "/^$HEAD( pending)?\\$/d" {ledger}',
        until=f'! grep -qsxE "$HEAD( pending)?" {ledger}',
    )
    return Step(
        id="migrate",
        title="Run the database migrations",
        why="once, before the first host switches: the old release still works on a compatible schema",
        act=Change(
            run=(
                # "pending" stands there before the first statement, so that an undo knows whether there was one
                f'grep -qsxE "$HEAD( pending)?" {ledger} || echo "$HEAD pending" >>{ledger}\n'
                f"{command(m, 'RELEASE', m.up)}\n"
                f'if [ "$HEAD" != "$HEAD_BEFORE" ] && [ "$({live})" = "$HEAD_BEFORE" ] && grep -qxF "$HEAD_BEFORE" {ledger}\n'
                # nothing moved: the database was ahead of this release already
                f'then sed -i -e "/^$HEAD pending\\$/d" -e "/^$HEAD_BEFORE\\$/i $HEAD" {ledger}\n'
                f'else sed -i "s/^$HEAD pending\\$/$HEAD/" {ledger}; fi'
            ),
            done_when=in_place(m),
            undo=Irreversible(
                why="this migration can't be taken back without losing data",
                when=f'test "$REVERSIBLE" = false && grep -qsxF "$HEAD" "{m.state}/schema"',
                otherwise=back,
            ),
            within=5,
        ),
        reads=("APP", "RUN", "RELEASE", "CURRENT", "HEAD", "HEAD_BEFORE", "COMPATIBLE", "REVERSIBLE"),
        timeout=m.timeout,
        cancel=f'docker kill "{m.slug}-migrate-$RUN"',
        otherwise="The migration's own output says what the database refused.",
    )


def opened(m: Moves) -> Step:
    """Notes that processes of the release may start from here on, so that an undo keeps a compatible schema."""
    return Step(
        id="open",
        title="Let the release start",
        why="from here on its processes may write, so a compatible schema stays whatever happens",
        act=Change(
            run=f'mkdir -p "{m.state}/started"; rm -f "{m.state}"/started/*; touch "{m.state}/started/$RUN"',
            done_when=Repeat(why="it says so once more", follows=True),
            undo=Keep(why="what the release wrote stays readable"),
        ),
        reads=("APP", "RUN"),
    )


def declared(m: Moves) -> Step:
    """Preflight: pending migrations come with a word on compatibility, and a downtime is accepted."""
    return Step(
        id="compatible",
        title="The migrations are declared compatible, or a downtime is accepted",
        why="nobody finds out in production that the old release does not work on the new schema",
        act=Check(
            run=(
                f"{{ {in_place(m)}; }} 2>/dev/null ||\n"
                '  case "$COMPATIBLE $ACCEPT_DOWNTIME" in\n'
                "    true*) ;; 'false yes') ;;\n"
                '    false*) echo "$VERSION brings an incompatible migration: the app is down while it runs"; false ;;\n'
                '    *) echo "$VERSION has pending migrations and nothing says whether they are compatible"; false ;;\n'
                "  esac"
            )
        ),
        reads=("APP", "CURRENT", "HEAD", "VERSION", "COMPATIBLE", "ACCEPT_DOWNTIME"),
        otherwise=(
            "Incompatible: repeat with --accept-downtime. Unknown: declare it under `migrations.releases` in the"
            " inventory or as the image label org.opsbook.migrations.compatible."
        ),
    )


def halt(slug: str, grace: int) -> Step:
    """Stops the running release: the planned downtime of an incompatible migration."""
    project = f'label=com.docker.compose.project="{slug}-$CURRENT"'
    return Step(
        id="halt",
        title="Stop the running release: planned downtime begins",
        why="neither release works while the schema is between them",
        act=Change(
            run=f"docker ps -q --filter {project} | xargs -r docker stop >/dev/null",
            done_when=f'test -z "$(docker ps -q --filter {project})"',
            undo=Back(
                run=f"docker ps -aq --filter {project} | xargs -r docker start >/dev/null",
                until=f'test "$(docker ps -q --filter {project} | wc -l)" = "$(docker ps -aq --filter {project} | wc -l)"',
                within=60,
            ),
            within=grace + 10,
        ),
        reads=("CURRENT",),
        timeout=grace + 60,
    )


def back(m: Moves) -> Step:
    """Takes the schema back to the head of the release that is returned to."""
    ledger = f'"{m.state}/schema"'
    down, up = command(m, "CURRENT", m.down, 'TO="$HEAD"'), command(m, "CURRENT", m.up)
    tidy = f'docker network rm "{m.slug}-${{CURRENT}}_default" >/dev/null 2>&1 || true'
    return Step(
        id="migrate-down",
        title="Take the migrations back",
        why="asked for: what customers wrote to the places that the migration added is lost",
        act=Change(
            run=f'{down}\n{tidy}\nsed -i "/^$HEAD\\$/q" {ledger}',
            done_when=f'test "$(tail -n 1 {ledger})" = "$HEAD"',
            undo=Back(
                run=f'{up}\n{tidy}\necho "$HEAD_BEFORE" >>{ledger}',
                until=f'test "$(tail -n 1 {ledger})" = "$HEAD_BEFORE"',
            ),
        ),
        reads=("APP", "RUN", "CURRENT", "HEAD", "HEAD_BEFORE"),
        timeout=m.timeout,
        cancel=f'docker kill "{m.slug}-migrate-$RUN"',
        otherwise="The migration's own output says what the database refused.",
    )
