"""The lease as shell text: the page takes it by hand in its first change, the engine runs the same text.

A lease is a file ``<state>/lease/<resource>`` of ``key=value`` lines, on every host of the environment. It ends by the
host's uptime, never by a wall clock, and with a reboot. Take-over needs it expired.
"""

from __future__ import annotations

from ops.plan.model import Change, Keep, Lease, Plan, Step

HOLD = 900
"""Seconds for which a lease is taken; a running step and an open session extend it."""


def steps(plan: Plan, lease: Lease) -> tuple[Step, Step]:
    """(take, give) of a plan's lease."""
    return take(plan.state, lease.resources), give(plan.state, lease.resources)


def take(state: str, resources: tuple[str, ...]) -> Step:
    """Takes the lease on every resource, or says who holds it and exits 21."""
    names = " ".join(resources)
    run = (
        f'cd "{state}/lease"\n'
        "exec 9>.lock; flock -w 10 9\n"
        "now=$(cut -d. -f1 /proc/uptime); boot=$(boot)\n"
        f"for r in {names}; do\n"
        "  until=$(sed -n 's/^until=//p' \"$r\" 2>/dev/null || true)\n"
        '  if grep -qsx "boot=$boot" "$r" && [ "${until:-0}" -gt "$now" ] && ! grep -qx "run=$RUN" "$r"\n'
        '  then echo "locked: $r is held by:" >&2; cat "$r" >&2; exit 21; fi\n'
        "done\n"
        f"for r in {names}; do\n"
        "  token=$(sed -n 's/^token=//p' \"$r\" 2>/dev/null || true)\n"
        '  printf \'%s\\n\' "run=$RUN" "owner=$OWNER" "purpose=$PURPOSE" "boot=$boot" '
        f'"until=$((now + {HOLD}))" "token=$((${{token:-0}} + 1))" "at=$(date +%s)" >"$r.new"; mv "$r.new" "$r"\n'
        "done"
    )
    made = (
        f'mkdir -p "{state}/lease" 2>/dev/null ||\n'
        f'  sudo -n install -d -o "$(id -un)" -g "$(id -gn)" "$APP" "{state}" "{state}/lease"'
    )
    return Step(
        id="take",
        title="Take the lease",
        why="nobody else changes this environment meanwhile",
        act=Change(
            run=f"{made}\n{run}", done_when=held(state, resources), undo=Keep(why="it is given back at the end")
        ),
        reads=("APP", "RUN", "OWNER", "PURPOSE"),
        otherwise="Somebody is at work here: talk to the owner shown; `inv status` says more.",
    )


def retake(state: str, resources: tuple[str, ...]) -> str:
    """Takes the lease again for a run that somebody else began. A lease that is alive is taken over only when its token
    is the one that was seen: ``$SEEN`` holds ``resource=token`` words."""
    names = " ".join(resources)
    return (
        f'mkdir -p "{state}/lease"\n'
        f'cd "{state}/lease"\n'
        "exec 9>.lock; flock -w 10 9\n"
        "now=$(cut -d. -f1 /proc/uptime); boot=$(boot)\n"
        f"for r in {names}; do\n"
        "  until=$(sed -n 's/^until=//p' \"$r\" 2>/dev/null || true)\n"
        "  token=$(sed -n 's/^token=//p' \"$r\" 2>/dev/null || true)\n"
        '  case " $SEEN " in *" $r=${token:-0} "*) continue ;; esac\n'
        '  if grep -qsx "boot=$boot" "$r" && grep -qs "^run=." "$r" && [ "${until:-0}" -gt "$now" ]\n'
        '  then echo "locked: $r is held by:" >&2; cat "$r" >&2; exit 21; fi\n'
        "done\n"
        f"for r in {names}; do\n"
        "  token=$(sed -n 's/^token=//p' \"$r\" 2>/dev/null || true)\n"
        '  printf \'%s\\n\' "run=$RUN" "owner=$OWNER" "purpose=$PURPOSE" "boot=$boot" '
        f'"until=$((now + {HOLD}))" "token=$((${{token:-0}} + 1))" "at=$(date +%s)" >"$r.new"; mv "$r.new" "$r"\n'
        "done"
    )


def release(state: str, resources: tuple[str, ...]) -> str:
    """Gives back what another run holds, as long as every token is the one that was shown: ``$SEEN`` holds
    ``resource=token`` words. Who did it (``$OWNER``) and why (``$WHY``) stays in the lease until it is taken again, and
    in ``lease/.released``. Exits 21 when something changed meanwhile; nothing is given back then."""
    names = " ".join(resources)
    return (
        f'cd "{state}/lease"\n'
        "exec 9>.lock; flock -w 10 9\n"
        f"for r in {names}; do\n"
        "  token=$(sed -n 's/^token=//p' \"$r\" 2>/dev/null || true)\n"
        '  case " $SEEN " in *" $r=${token:-0} "*) continue ;; esac\n'
        '  echo "changed: $r is not as it was shown:" >&2; cat "$r" >&2 || true; exit 21\n'
        "done\n"
        "at=$(date +%s)\n"
        f"for r in {names}; do\n"
        '  grep -qs "^run=." "$r" || continue\n'
        "  token=$(sed -n 's/^token=//p' \"$r\")\n"
        # counted up, so that nothing of the former owner's is taken any more
        '  { sed "s/^until=.*/until=0/; s/^run=/last=/; s/^token=.*/token=$((${token:-0} + 1))/" "$r"; '
        'printf \'%s\\n\' "by=$OWNER" "why=$WHY" "when=$at"; } >"$r.new"\n'
        '  { echo "resource=$r"; cat "$r.new"; } | paste -sd "\\t" >>.released; mv "$r.new" "$r"\n'
        "done\n"
        "tail -qn 50 .released >.released.new 2>/dev/null || true; mv .released.new .released"
    )


def give(state: str, resources: tuple[str, ...]) -> Step:
    """Gives the lease back, if this run holds it."""
    names = " ".join(resources)
    gone = " && ".join(f'! grep -qsx "run=$RUN" "{state}/lease/{r}"' for r in resources)
    run = (
        f'cd "{state}/lease"\n'
        "exec 9>.lock; flock -w 10 9\n"
        f"for r in {names}; do\n"
        '  if grep -qsx "run=$RUN" "$r"; then sed -i \'s/^until=.*/until=0/; s/^run=/last=/\' "$r"; fi\n'
        "done"
    )
    return Step(
        id="give",
        title="Give the lease back",
        why="others may work here again",
        act=Change(run=run, done_when=gone, undo=Keep(why="it ends by itself")),
        reads=("RUN",),
    )


def held(state: str, resources: tuple[str, ...]) -> str:
    """Probe: this run holds every resource, on this boot."""
    tests = [f'grep -qsx "run=$RUN" "{state}/lease/{r}"' for r in resources]
    boots = [f'grep -qsxF "boot=$(boot)" "{state}/lease/{r}"' for r in resources]
    return " && ".join((*tests, *boots))
