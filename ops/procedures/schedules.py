"""Schedule: the jobs' timers on the hosts that the inventory names, and nowhere else; and off again."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import Back, Change, Check, Lease, Plan, Stage, Step
from ops.procedures import values
from ops.procedures.preflight import look
from ops.schedules import systemd
from ops.schedules.duties import REQUIREMENTS, Duty, duties, hosts, units

RESOURCE = "schedule"
"""The lease that installing and removing take: no deploy and no backup waits for it."""
FOLDER = systemd.FOLDER


def schedule_install(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. Raises Unscheduled for an inventory without a schedule."""
    found = duties(inventory)
    stages = []
    for host in hosts(found):
        own = tuple(d for d in found if d.host == host)
        stages.append(_looked(own))
    for host in hosts(found):
        own = tuple(d for d in found if d.host == host)
        stages.append(
            Stage(
                id=f"install-{_word(host)}",
                title=f"Install the timers on {host}",
                steps=(_written(inventory, own), _enabled(own), _waiting(own)),
                waves=((host,),),
                fleet=True,
            )
        )
    if others := tuple(h for h in inventory.hosts if h not in hosts(found)):
        stages.append(
            Stage(
                id="elsewhere",
                title="Remove what runs on hosts that are not named any more",
                steps=(_removed(inventory),),
                waves=(others,),
                fleet=True,
            )
        )
    return _plan(inventory, "schedule-install", "Install the timers", tuple(stages))


def schedule_remove(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. It needs no schedule in the inventory: one that was taken out of it may still run."""
    stage = Stage(
        id="remove",
        title="Remove the timers",
        steps=(_removed(inventory),),
        waves=(tuple(inventory.hosts),),
        fleet=True,
    )
    return _plan(inventory, "schedule-remove", "Remove the timers", (stage,))


def _plan(inventory: Inventory, name: str, title: str, stages: tuple[Stage, ...]) -> Plan:
    plan = Plan(
        procedure=name,
        title=title,
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=values.common(inventory, name.replace("-", ".")),
        stages=stages,
        lease=Lease(resources=(RESOURCE,), hosts=tuple(sorted(inventory.hosts))),
    )
    return with_hooks(plan, inventory.hooks, name, inventory.variables)


# ---------------------------------------------------------------- before the first change


def _looked(own: Sequence[Duty]) -> Stage:
    """Everything on the host that the jobs need."""
    one = own[0]
    there, env = shlex.quote(one.directory), one.environment
    wanted = hashlib.sha256(systemd.listing(systemd.units(own)).encode()).hexdigest()
    program = f"cd {there} && .venv/bin/inv"
    install = f".venv/bin/pip install -r {REQUIREMENTS}"
    update = f"Bring it up to date there: `cd {one.directory} && git pull && {install}`."
    steps = [
        look(
            "systemd",
            "systemd runs there, and lets us in",
            'state=$(systemctl is-system-running || true) && echo "systemd is $state" &&\n'
            '  case "$state" in running | degraded | starting) sudo -n true ;; *) false ;; esac',
            "Timers need systemd (`inv schedule.render --as cron` has lines for cron), and the login `sudo` without a"
            " password.",
        ),
        look(
            "repository",
            "The repository is there and fits",
            f'test -x {there}/.venv/bin/inv || {{ echo "there is no {one.directory}/.venv/bin/inv"; false; }} &&\n'
            f"  ( {program} inventory.check --env {env} --no-values )",
            f"Clone it there as {one.user}, then in it: `python3 -m venv .venv && {install}` (Opsbook, or what you install"
            " it from), and see what `inv inventory.check` says.",
        ),
        look(
            "same",
            "The repository there says the same schedule",
            f"said=$({program} schedule.render --env {env} --as systemd --host {one.host} | sha256sum | cut -d' ' -f1) &&\n"
            f'  {{ test "$said" = {wanted} || {{ echo "its units are others than ours"; false; }}; }}',
            update,
        ),
    ]
    if one.environment_file:
        steps.append(
            look(
                "variables",
                "The file with the jobs' variables is there",
                f"sudo -n test -r {shlex.quote(one.environment_file)}",
                f"Write {one.environment_file} there: lines NAME=value, readable by root alone.",
            )
        )
    steps.append(
        look(
            "clock",
            "Its clock is kept right",
            'test "$(timedatectl show -p NTPSynchronized --value)" = yes',
            "Install a time service, e.g. `sudo apt-get install systemd-timesyncd`: jobs go by this clock.",
            advice=True,
        )
    )
    return Stage(
        id=f"look-{_word(one.host)}",
        title=f"Look at {one.host}",
        steps=tuple(steps),
        waves=((one.host,),),
        fleet=True,
    )


# ---------------------------------------------------------------- on a host that is named


def _written(inventory: Inventory, own: Sequence[Duty]) -> Step:
    """Writes the units, checked before they are put where systemd reads them; others of ours go."""
    files = systemd.units(own)
    every = units(inventory.slug)
    surplus = [name for name in every if name not in files]
    texts = "\n".join(f"cat >\"$new/{name}\" <<'UNIT'\n{text}UNIT" for name, text in files.items())
    folders = " ".join(shlex.quote(path) for path in systemd.made(own))
    sums = " \\\n    ".join(f"'{hashlib.sha256(text.encode()).hexdigest()}  {name}'" for name, text in files.items())
    run = (
        f"{_former('units')}\n"
        'new="$APP/.opsbook/runs/$RUN/units"; mkdir -p "$new"\n'
        f"{texts}\n"
        'wrong=$(systemd-analyze verify --man=no "$new"/* 2>&1 | grep -F opsbook- || true)\n'
        '[ -z "$wrong" ] || { echo "$wrong" >&2; exit 1; }\n'
        f"{_saved(every)}\n"
        f"mkdir -p {folders}\n"
        f"{_taken_away(surplus)}"
        f"for name in {' '.join(files)}; do\n"
        f'  cmp -s "$new/$name" "{FOLDER}/$name" || sudo -n install -m 644 "$new/$name" "{FOLDER}/$name"\n'
        "done\n"
        "sudo -n systemctl daemon-reload"
    )
    timers = " ".join(name for name in files if name.endswith(".timer"))
    done = [
        f"printf '%s\\n' \\\n    {sums} |\n    ( cd {FOLDER} && sha256sum --check --status )",
        *(f"test -d {shlex.quote(path)}" for path in systemd.made(own)),
        f"! systemctl show -p NeedDaemonReload --value {timers} | grep -qx yes",
    ]
    if surplus:
        done.insert(1, f'test -z "$(cd {FOLDER} && ls {" ".join(surplus)} 2>/dev/null)"')
    return Step(
        id="units",
        title="Write the units",
        why="a service that may do little else than its job, and a timer that starts it, for each job",
        act=Change(run=run, done_when=" &&\n  ".join(done), undo=_restored(every)),
        reads=("APP", "RUN"),
        timeout=120,
        otherwise="`systemd-analyze verify` names the line; is the systemd there older than 247?",
    )


def _enabled(own: Sequence[Duty]) -> Step:
    """Starts the timers, now and at each boot."""
    timers = " ".join(f"{d.unit}.timer" for d in own)
    return Step(
        id="timers",
        title="Start the timers",
        why="from now on, and after each boot",
        act=Change(
            run=(
                f"{_former('timers')}\n"
                'if [ ! -e "$former/saved" ]; then\n'
                f'  mkdir -p "$former"\n  {_listed(timers)} >"$former/enabled"\n  touch "$former/saved"\n'
                "fi\n"
                f"sudo -n systemctl enable --now --quiet {timers}"
            ),
            done_when=(
                f'test "$(systemctl is-enabled {timers} 2>/dev/null | sort -u)" = enabled &&\n'
                f'  test "$(systemctl is-active {timers} | sort -u)" = active'
            ),
            undo=Back(
                run=(
                    f"{_former('timers')}\n"
                    f'timers="{timers}"; for t in $timers; do\n'
                    '  grep -qsxF "$t" "$former/enabled" || sudo -n systemctl disable --now --quiet "$t"\n'
                    "done"
                ),
                until=(
                    f'test ! -e "$APP/.opsbook/runs/$RUN/former-timers/saved" ||\n'
                    f'  test "$({_listed(timers)})" = "$(cat "$APP/.opsbook/runs/$RUN/former-timers/enabled")"'
                ),
            ),
        ),
        reads=("APP", "RUN"),
        look=f"systemctl --no-pager --full status {timers} 2>&1 || true",
        otherwise="`systemctl status` and `journalctl -u` of the timer say why.",
    )


def _waiting(own: Sequence[Duty]) -> Step:
    timers = " ".join(f"{d.unit}.timer" for d in own)
    return Step(
        id="next",
        title="Each timer has a next run",
        why="a timer without one is active and never fires",
        act=Check(
            run=(
                f"systemctl --no-pager list-timers {timers} &&\n"
                f'  test "$(systemctl show -p SubState --value {timers} | grep -cxE "waiting|running")" = {len(own)}'
            ),
            retry=10,
        ),
        otherwise="`systemd-analyze calendar` says what systemd makes of a timer's `OnCalendar`.",
    )


# ---------------------------------------------------------------- off a host


def _removed(inventory: Inventory) -> Step:
    """Stops and removes every unit of ours."""
    every = units(inventory.slug)
    return Step(
        id="remove",
        title="Stop and remove the timers",
        why="nothing runs by itself any more; a job that is at work comes to its end",
        act=Change(
            run=(
                f"{_former('units')}\n{_saved(every)}\n"
                f"{_taken_away(every)}"
                "sudo -n systemctl daemon-reload\n"
                f"sudo -n systemctl reset-failed {' '.join(n for n in every if n.endswith('.service'))} 2>/dev/null || true"
            ),
            done_when=f'test -z "$(cd {FOLDER} 2>/dev/null && ls {" ".join(every)} 2>/dev/null)"',
            undo=_restored(every),
        ),
        reads=("APP", "RUN"),
        timeout=120,
    )


# ---------------------------------------------------------------- what was there before


def _former(what: str) -> str:
    return f'former="$APP/.opsbook/runs/$RUN/former-{what}"'


def _listed(timers: str) -> str:
    """Prints those that are enabled, one a line."""
    return f'timers="{timers}"; for t in $timers; do ! systemctl is-enabled -q "$t" 2>/dev/null || echo "$t"; done'


def _saved(every: Sequence[str]) -> str:
    """Keeps what lies there in ``$former``, once: a second try must not keep what the first one wrote."""
    timers = " ".join(name for name in every if name.endswith(".timer"))
    return (
        'if [ ! -e "$former/saved" ]; then\n'
        '  mkdir -p "$former"\n'
        f'  for name in {" ".join(every)}; do [ ! -e "{FOLDER}/$name" ] || cp "{FOLDER}/$name" "$former/$name"; done\n'
        f'  {_listed(timers)} >"$former/enabled"\n'
        '  touch "$former/saved"\n'
        "fi"
    )


def _taken_away(names: Sequence[str]) -> str:
    """Stops the timers of these files and removes the files, where they are there."""
    if not names:
        return ""
    return (
        f"for name in {' '.join(names)}; do\n"
        f'  [ -e "{FOLDER}/$name" ] || continue\n'
        '  [ "$name" = "${name%.timer}" ] || sudo -n systemctl disable --now --quiet "$name"\n'
        f'  sudo -n rm -f "{FOLDER}/$name" "{systemd.STAMPS}/stamp-$name"\n'
        "done\n"
    )


def _restored(every: Sequence[str]) -> Back:
    """The units as they were, those that were enabled running."""
    timers = " ".join(name for name in every if name.endswith(".timer"))
    names = " ".join(every)
    where = '"$APP/.opsbook/runs/$RUN/former-units"'
    return Back(
        run=(
            f"{_former('units')}\n"
            f"for name in {names}; do\n"
            '  if [ -e "$former/$name" ]; then\n'
            f'    cmp -s "$former/$name" "{FOLDER}/$name" || sudo -n install -m 644 "$former/$name" "{FOLDER}/$name"\n'
            f'  elif [ -e "{FOLDER}/$name" ]; then\n'
            '    [ "$name" = "${name%.timer}" ] || sudo -n systemctl disable --now --quiet "$name"\n'
            f'    sudo -n rm -f "{FOLDER}/$name" "{systemd.STAMPS}/stamp-$name"\n'
            "  fi\n"
            "done\n"
            "sudo -n systemctl daemon-reload\n"
            'xargs -r sudo -n systemctl enable --now --quiet <"$former/enabled"'
        ),
        until=(
            f"test ! -e {where}/saved || {{\n"
            f'  test "$(cd {where} && sha256sum {names} 2>/dev/null)" = "$(cd {FOLDER} && sha256sum {names} 2>/dev/null)" &&\n'
            f'  test "$({_listed(timers)})" = "$(cat {where}/enabled)"; }}'
        ),
    )


def _word(host: str) -> str:
    """A host's name as part of a stage's id."""
    return re.sub(r"[^a-z0-9-]", "-", host)
