"""What is kept of releases once their outcome is known: marks, good or bad, and what is too old to keep."""

from __future__ import annotations

import shlex

from ops.plan.model import Change, Keep, Repeat, Step
from ops.targets.compose.release import Facets


def mark(f: Facets, verdict: str) -> Step:
    """Marks the release good or bad in the state directory. The live release is never marked bad by its own redeploy."""
    other = "bad" if verdict == "good" else "good"
    run, done = _marked(f.state, verdict, other, "RELEASE")
    if verdict == "bad":
        run, done = f'[ "$RELEASE" = "$CURRENT" ] || {{ {run}; }}', f'test "$RELEASE" = "$CURRENT" || {{ {done}; }}'
    why = {"good": "a rollback may come back to it", "bad": "no rollback comes back to it by itself"}[verdict]
    return _record(f"mark-{verdict}", f"Mark the release {verdict}", why, run, done)


def mark_fled(f: Facets) -> Step:
    """Marks the release that a rollback returned to good, and the one it fled from bad; a host may have served none."""
    bad, good = _marked(f.state, "bad", "good", "CURRENT"), _marked(f.state, "good", "bad", "RELEASE")
    title, why = "Mark the release that was left bad", "no rollback comes back to it by itself"
    run, done = f'[ -z "$CURRENT" ] || {{ {bad[0]}; }}', f'{{ test -z "$CURRENT" || {{ {bad[1]}; }}; }}'
    return _record("mark", title, why, f"{run}\n{good[0]}", f"{done} && {good[1]}")


def _marked(state: str, verdict: str, other: str, release: str) -> tuple[str, str]:
    """(text, probe) of one mark."""
    this, that = f'"{state}/{verdict}/${release}"', f'"{state}/{other}/${release}"'
    run = f'mkdir -p "{state}/good" "{state}/bad"; rm -f {that}; touch {this}'
    done = f"test -e {this} && test ! -e {that}"
    if verdict == "good":  # the newest mark is the live release's, or a rollback would choose by an old order
        done += f' && test "$(ls -1t "{state}/good" | sed -n 1p)" = "${release}"'
    return run, done


def _record(step_id: str, title: str, why: str, run: str, done: str) -> Step:
    return Step(
        id=step_id,
        title=title,
        why=why,
        act=Change(run=run, done_when=done, undo=Keep(why="the verdict stands")),
        reads=("APP", "RELEASE", "CURRENT"),
    )


def prune(f: Facets, keep: int, repositories: tuple[str, ...]) -> Step:
    """Removes old releases and images that no kept release uses. Its failure only warns."""
    references = " ".join(f"--filter reference={shlex.quote(r)}" for r in repositories)
    run = (
        "{\n"
        f'ls -1t "{f.state}/good" | awk \'$0 != ENVIRON["RELEASE"] && $0 != ENVIRON["BEFORE"]\' | tail -n +{keep + 1} |\n'
        f'  while read -r old; do rm -rf "$APP/releases/$old" "{f.state}/good/$old"; done || true\n'
        f'for old in "$APP"/releases/*; do old=${{old##*/}}\n'
        f'  [ -e "{f.state}/good/$old" ] || [ "$old" = "$RELEASE" ] || [ "$old" = "$BEFORE" ] || rm -rf "$APP/releases/$old"\n'
        "done\n"
        f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.Tag}}}}' --filter reference='{f.slug}/*' |\n"
        "  while read -r image tag; do\n"
        "    case $tag in current|previous) continue ;; esac\n"
        '    [ -d "$APP/releases/$tag" ] || docker image rm --no-prune "$image" >/dev/null </dev/null\n'
        "  done\n"
        "kept=$(cat \"$APP\"/releases/*/release.json | jq -r '.images[]')\n"
        f"docker image ls --digests --format '{{{{.Repository}}}}@{{{{.Digest}}}}' {references} |\n"
        '  { grep -vxF "$kept" || true; } | while read -r image; do docker image rm "$image" >/dev/null </dev/null; done\n'
        "} || echo 'prune: not everything could be removed; the next deploy tries again' >&2"
    )
    return Step(
        id="prune",
        title="Remove what is too old to go back to",
        why=f"{keep} good releases stay besides the live one, never fewer than one; only our own images are touched",
        act=Change(
            run=run,
            done_when=Repeat(why="what is gone is gone"),
            undo=Keep(why="what was too old to go back to is not needed"),
        ),
        reads=("APP", "RELEASE", "BEFORE"),
        timeout=300,
    )
