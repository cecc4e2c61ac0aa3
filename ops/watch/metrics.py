"""What Prometheus is told of a check: a file for the textfile collector, text format 0.0.4. Pure.

Each file says when somebody looked and whether they could. One of a check that could not look keeps what the file
before it said of the datastores: their times go on ageing in Prometheus, so that a store which does not answer for a
moment is one alert and not one for each datastore and kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.watch.health import KINDS, Health, content

TIME, SUCCESS, WELL = "check_timestamp_seconds", "check_success", "check_well"
LAST, VERIFIED, FINDING = "last_success_timestamp_seconds", "last_verified_timestamp_seconds", "finding"

HELP = {
    TIME: "When backups were last checked, whether or not that worked, by the clock of the machine that did it.",
    SUCCESS: "Whether the last check could look at the store.",
    WELL: "Whether the last check found all well.",
    "finished": "Backups in the store.",
    LAST: "When the newest backup was finished. Missing where there is none.",
    VERIFIED: "When the last verification that held ended. Missing where none ever did.",
    "size_bytes": "Bytes that the newest backup takes in the store; of a bucket its index.",
    "content_bytes": "Bytes that the newest backup holds, before compression.",
    "rows": "Rows, documents, keys or files that the newest backup holds.",
    "duration_seconds": "How long the newest backup took.",
    "verify_duration_seconds": "How long the last verification took.",
    "rto_seconds": "How long the last restore took.",
    "rto_target_seconds": "How long a restore may take.",
    "rpo_seconds": "How old the newest row was in the backup verified last.",
    "rpo_target_seconds": "How old the newest backup may be.",
    FINDING: "Whether the last check found this, by kind.",
}
"""Every metric without its prefix, in the file's order."""
CHECK = (TIME, SUCCESS, WELL)


@dataclass(frozen=True, kw_only=True)
class Whose:
    """Which environment it is about."""

    app: str
    environment: str

    @property
    def labels(self) -> dict[str, str]:
        """As labels."""
        return {"app": self.app, "environment": self.environment}


def name(metric: str) -> str:
    """A metric's name in Prometheus."""
    return f"opsbook_backup_{metric}"


def labelled(labels: Mapping[str, str]) -> str:
    """Labels as they stand behind a name, in files and in queries; names and values of ours need no escaping."""
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def looked(whose: Whose, healths: Sequence[Health], at: float) -> str:
    """The file of a check that looked. ``at``: Unix time by this machine's clock."""
    well = all(health.well for health in healths)
    samples: list[tuple[str, dict[str, str], float]] = [(TIME, {}, at), (SUCCESS, {}, 1), (WELL, {}, int(well))]
    samples += [sample for health in healths for sample in _of(health)]
    return _text(_line(metric, whose.labels | more, value) for metric, more, value in samples)


def failed(whose: Whose, former: str, at: float) -> str:
    """The file of a check that could not look. ``former``: the text of the file before it, or nothing."""
    heads = [_line(metric, whose.labels, value) for metric, value in ((TIME, at), (SUCCESS, 0), (WELL, 0))]
    return _text([*heads, *_kept(whose, former)])


def _of(health: Health) -> Iterable[tuple[str, dict[str, str], float]]:
    newest = health.newest.manifest if health.newest else None
    proof = health.tried.verification if health.tried else None
    held = health.verified.verification if health.verified else None
    kinds = {finding.kind for finding in health.findings}
    values: dict[str, float | None] = {
        "finished": health.backups,
        LAST: newest.created_at.timestamp() if newest else None,
        VERIFIED: held.ended_at.timestamp() if held else None,
        "size_bytes": newest.size if newest else None,
        "content_bytes": content(newest) if newest else None,
        "rows": newest.fingerprint.rows if newest else None,
        "duration_seconds": newest.seconds if newest else None,
        "verify_duration_seconds": sum(proof.seconds.values()) if proof else None,
        "rto_seconds": health.rto.seconds,
        "rto_target_seconds": health.rto.target,
        "rpo_seconds": health.loss.seconds,
        "rpo_target_seconds": health.rpo,
    }
    own = {"datastore": health.datastore}
    for metric, value in values.items():
        if value is not None:
            yield metric, own, value
    for kind in KINDS:
        yield FINDING, own | {"kind": kind}, int(kind in kinds)


def _line(metric: str, labels: Mapping[str, str], value: float) -> str:
    exact = int(value) if float(value).is_integer() else round(value, 3)
    return f"{name(metric)}{labelled(labels)} {exact}"


def _kept(whose: Whose, former: str) -> Iterable[str]:
    """The lines about datastores of this environment's own file."""
    begins = tuple(f"{name(m)}{labelled(whose.labels)[:-1]},datastore=" for m in HELP if m not in CHECK)
    return (line for line in former.splitlines() if line.startswith(begins))


def _text(lines: Iterable[str]) -> str:
    """Lines in any order as a file: those of a metric together, below what it means."""
    every = tuple(lines)
    found: list[str] = []
    for metric, said in HELP.items():
        own = [line for line in every if line.startswith(name(metric) + "{")]
        if own:
            found += [f"# HELP {name(metric)} {said}", f"# TYPE {name(metric)} gauge", *own]
    return "\n".join(found) + "\n"
