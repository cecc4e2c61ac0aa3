"""Checks before the first change: everything that can be wrong is found together, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterable

from ops.inventory.model import Inventory
from ops.plan.bound import WITHOUT
from ops.plan.model import Check, Stage, Step
from ops.targets.compose import release
from ops.targets.compose.migrations import Moves, declared

TOOLS = ("curl", "docker", "flock", "jq", "sed", "tar")


def look(step_id: str, title: str, run: str, remedy: str, reads: tuple[str, ...] = (), *, advice: bool = False) -> Step:
    """One preflight check."""
    return Step(
        id=step_id,
        title=title,
        why="found before anything is touched",
        act=Check(run=run, advice=advice),
        reads=reads,
        timeout=30,
        otherwise=remedy,
    )


def tools(wanted: Iterable[str], remedy: str, title: str = "The host has the tools") -> Step:
    """The check that programs are there; says which are not."""
    run = (
        f'missing=$(for t in {" ".join(wanted)}; do command -v "$t" >/dev/null || printf "%s " "$t"; done) &&'
        ' echo "missing: ${missing:-none}" && test -z "$missing"'
    )
    return look("tools", title, run, remedy)


def host_checks(inventory: Inventory) -> tuple[Step, ...]:
    """What every deploy asks of a host."""
    space = inventory.deploy.min_disk_mb
    return (
        tools(TOOLS, "Install them, e.g. `sudo apt-get install curl jq util-linux docker.io docker-compose`."),
        look(
            "engine",
            "Docker answers and knows compose",
            "docker version --format 'docker {{.Server.Version}}' && docker compose version --short | tee /dev/stderr | grep -qE '^v?(2\\.([2-9][0-9])|[3-9]|[1-9][0-9])'",
            "Start the engine (`sudo systemctl start docker`), put the user into the group docker, install compose 2.20 or newer.",
        ),
        look(
            "directory",
            "The app's directory can be written",
            'test -w "$APP" || { test ! -e "$APP" && { test -w "$(dirname "$APP")" || sudo -n true; }; }',
            "Give the directory to the ssh user, or allow the user `sudo -n install`.",
            ("APP",),
        ),
        look(
            "disk",
            f"{space} MB are free for images",
            f"free=$(df -Pm \"$(docker info --format '{{{{.DockerRootDir}}}}')\" 2>/dev/null | awk 'NR == 2 {{print $4}}') && free=${{free:-$(df -Pm / | awk 'NR == 2 {{print $4}}')}} && echo \"$free MB free\" && test \"$free\" -ge {space}",
            "Remove what is not needed: `docker system df` shows what takes the space.",
        ),
    )


def not_bad() -> Step:
    """Warns when the release was marked bad."""
    return look(
        "verdict",
        "The release is not marked bad",
        'test ! -e "$APP/.opsbook/bad/$RELEASE"',
        "It failed before or was fled from; success clears the mark.",
        ("APP", "RELEASE"),
        advice=True,
    )


def deploy(inventory: Inventory, m: Moves | None) -> tuple[Stage, ...]:
    """The preflight of a deploy."""
    stages = [
        Stage(
            id="preflight",
            title="Look before touching anything",
            steps=(*host_checks(inventory), not_bad()),
            waves=(inventory.app_hosts,),
        )
    ]
    if m and inventory.migrations:
        stages.append(
            Stage(
                id="schema",
                title="Are the migrations declared?",
                steps=(declared(m),),
                waves=((inventory.migrations.host,),),
                fleet=True,
            )
        )
    return tuple(stages)


def rollback(inventory: Inventory) -> tuple[Stage, ...]:
    """The preflight of a rollback: there is a good release to go to, it is whole, and the schema allows it."""
    record = '"$APP/releases/$RELEASE/release.json"'
    # those that run here: nobody misses the image of a singleton that runs elsewhere
    images = (
        f"images=$({release.COMPOSE} {release.EVERYTHING} config --images 2>/dev/null) ||"
        f" images=$(jq -r '.images[]' {record})\n"
        '  sort -u <<<"$images" | xargs docker image inspect >/dev/null'
    )
    floors = (
        'record() { jq -r ".$1 // \\"\\"" "$APP/releases/$2/release.json"; }\n'
        f'if ! [ -s {record} ]; then echo "there is no release here to compare with"; false\n'
        f"{_migrates(inventory)}"
        'elif [ "$MIGRATE_DOWN" = yes ]; then\n'
        '  test "$(record barrier "$RELEASE")" = "$(record barrier "$CURRENT")" ||\n'
        '    { echo "migration $(record barrier "$CURRENT") of $CURRENT can not be taken back"; false; }\n'
        "else\n"
        '  test "$(record floor "$RELEASE")" = "$(record floor "$CURRENT")" ||\n'
        '    { echo "$RELEASE does not work on migration $(record floor "$CURRENT") of $CURRENT"; false; }\n'
        "fi"
    )
    return (
        Stage(
            id="preflight",
            title="Can it go back?",
            steps=(
                look(
                    "target",
                    "There is a good release to return to, and its images are here",
                    f"""test -s {record} || {{ echo "there is no release '$RELEASE' here"; false; }} && {{\n  {images}\n}}""",
                    "`inv releases` lists what is there; name one with --to. Missing images: pull them by the digests in"
                    " its release.json.",
                    ("APP", "HOST", "RELEASE"),
                ),
                look(
                    "schema",
                    "It works on the present schema",
                    floors,
                    "Reversible: --migrate-down takes the schema back (and loses what was written to it). Irreversible:"
                    " go forward with a fixed version, or `--restore-data`.",
                    ("APP", "RELEASE", "CURRENT", "MIGRATE_DOWN", WITHOUT),
                ),
            ),
            waves=(inventory.app_hosts,),
        ),
    )


def _migrates(inventory: Inventory) -> str:
    """Nobody else takes the migrations back: where that was asked for, their host must take part."""
    if inventory.migrations is None:
        return ""
    host = inventory.migrations.host
    return (
        f'elif [ "$MIGRATE_DOWN" = yes ] && [[ " ${WITHOUT} " = *" {host} "* ]]; then\n'
        f'  echo "the migrations run on {host}, which is left out"; false\n'
    )
