"""Installing and removing timers: what the plans say, where, and that their pages can be pasted."""

from __future__ import annotations

import hashlib
import re

from plans import document
from schedule_parts import scheduled

from ops.plan.model import Back, Change
from ops.procedures.registry import procedures
from ops.procedures.schedules import schedule_install, schedule_remove
from ops.runbook.making import page
from ops.runbook.markdown import blocks, markdown
from ops.schedules import systemd
from ops.schedules.duties import duties


def test_each_host_gets_its_own_jobs_and_all_others_none() -> None:
    plan = schedule_install(scheduled(), document())
    assert [(s.id, s.hosts) for s in plan.stages] == [
        ("look-ops1", ("ops1",)),
        ("look-app2", ("app2",)),
        ("install-ops1", ("ops1",)),
        ("install-app2", ("app2",)),
        ("elsewhere", ("app1", "data1")),
    ]
    texts = {s.id: "\n".join(x.act.run for x in s.steps if isinstance(x.act, Change)) for s in plan.stages}
    assert "opsbook-shop-lab-backup.timer" in texts["install-ops1"]
    assert "--job check" not in texts["install-ops1"]
    assert "--job check" in texts["install-app2"]
    assert "--job backup" not in texts["install-app2"]


def test_the_units_stand_in_the_text_as_they_are_and_their_sums_in_the_probe() -> None:
    inventory = scheduled()
    own = systemd.units([d for d in duties(inventory) if d.host == "app2"])
    plan = schedule_install(inventory, document())
    (step,) = (s for st, s in plan.steps() if st.id == "install-app2" and s.id == "units")
    assert isinstance(step.act, Change)
    assert isinstance(step.act.done_when, str)
    for name, text in own.items():
        assert f"<<'UNIT'\n{text}UNIT\n" in step.act.run
        assert f"'{hashlib.sha256(text.encode()).hexdigest()}  {name}'" in step.act.done_when
    assert "opsbook-shop-lab-backup.timer" in step.act.done_when, "a job that moved away is surplus here"


def test_every_change_can_be_taken_back() -> None:
    for build in (schedule_install, schedule_remove):
        for _, step in build(scheduled(), document()).steps():
            if isinstance(step.act, Change):
                assert isinstance(step.act.undo, Back)


def test_what_was_taken_out_of_the_inventory_can_still_be_removed() -> None:
    inventory = scheduled()
    assert inventory.backup
    without = inventory.model_copy(update={"backup": inventory.backup.model_copy(update={"schedule": None})})
    (stage,) = schedule_remove(without, document()).stages
    assert stage.hosts == tuple(inventory.hosts)
    assert not procedures()["schedule-install"].applies(without)
    assert procedures()["schedule-install"].applies(inventory)


def test_pages_say_the_command_and_hold_every_block() -> None:
    inventory = scheduled()
    for name, command in (("schedule-install", "inv schedule.install"), ("schedule-remove", "inv schedule.remove")):
        plan = procedures()[name].build(inventory, document())
        made = page(plan, {host: f"ssh deploy@{host}" for host in inventory.hosts})
        assert made.command == command
        text = markdown(made)
        assert f"{command} --env lab" in text
        assert "[Undo](#undo)" in text
        assert any("OnCalendar" in block for block in blocks(text)) == (name == "schedule-install")
        assert not re.search(r"\{[{%]", text)
