"""A host that a restart takes out of traffic comes back into it, whatever the probe before the run saw."""

from __future__ import annotations

from pathlib import Path

from ops.inventory.load import load
from ops.plan.bind import bind
from ops.plan.bound import Ask
from ops.plan.facts import Answer, Facts, questions
from ops.plan.model import OPS, Computed
from ops.procedures.restart import restart

ROOT = Path(__file__).resolve().parents[2]


def test_who_is_taken_out_is_put_back() -> None:
    found = load("lab", folder=ROOT / "inventories", root=ROOT)
    plan = restart(found.inventory, found.compose)
    answers: dict[str, dict[str, Answer]] = {}
    for machine in plan.hosts:
        own = {q.key: Answer(code=0) for q in questions(plan, machine)}  # all in traffic, all else in place
        own |= {f"value:{v.name}": Answer(code=0, output="v1") for v in plan.vars if isinstance(v.source, Computed)}
        answers[machine] = own
    for host in found.inventory.app_hosts:
        answers[OPS][f"done:roll.out@{host}"] = Answer(code=1)
    bound = bind(plan, Ask(answers={}), Facts(answers=answers), "r1")
    for host in found.inventory.app_hosts:
        (row,) = [
            row
            for st in bound.stages()
            if st.id == "roll"
            for w in st.waves
            for row in bound.works(st, w)
            if row[0].host == host
        ]
        ids = [work.step.id for work in row]
        assert "out" in ids
        assert ids.index("in") > ids.index("recreate") > ids.index("out")
