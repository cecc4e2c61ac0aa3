"""`inv status` and `inv releases` as calm tables and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ops.observe import unfinished
from ops.observe.columns import age, columns
from ops.observe.drift import Drift, Expected
from ops.observe.fleet import out
from ops.observe.standing import Container, Kept, Standing
from ops.observe.texts import listed
from ops.observe.unfinished import Open

# ---------------------------------------------------------------- status


def status_text(
    found: Mapping[str, Standing],
    drift: Iterable[Drift],
    unreachable: Mapping[str, str],
    expected: Expected,
    runs: Sequence[Open] = (),
) -> str:
    """What is live where, how its containers do, who holds the lease, what is unfinished, and the drift with its
    remedies. While a run is unfinished, what it may explain is no drift: it is told, and the run comes first."""
    lines = [f"{expected.slug} ({expected.environment})", ""]
    rows: list[tuple[str, ...]] = [("HOST", "LIVE", "PREVIOUS", "PROXY", "CONTAINERS", "DISK FREE")]
    for host in expected.hosts:
        if host in found:
            rows.append(_row(host, found[host]))
        else:
            rows.append((host, "?", "?", "?", "could not be asked", ""))
    lines.append(columns(rows))
    holders = sorted({(x.resource, x.run, x.owner, x.purpose) for s in found.values() for x in s.held()})
    lines += [f"  {what} is held by {who} for {why} (run {run})" for what, run, who, why in holders]
    left = out(found)
    for host, record in left.items():
        lines.append(f"  {host} is out since {record.at} by {record.owner}: {record.reason or 'no reason given'}")
        lines.append(f"    -> inv host.in {host} --env {expected.environment}")
    if runs:
        lines += ["", "Unfinished:", *unfinished.lines(runs, expected.environment)]
    told, meanwhile = apart(drift, runs)
    if meanwhile:
        lines += ["", "Not as recorded while that is unfinished:", *(f"  {d.host}: {d.what}" for d in meanwhile)]
    if told:
        lines += ["", "Drift (a run is at work, some of this may be its doing):" if holders else "Drift:"]
        for d in told:
            lines += [f"  {d.host}: {d.what}", f"    -> {d.remedy}"]
    for host, why in sorted(unreachable.items()):
        lines += ["", f"{host} could not be asked: {why}"]
    if not told and not meanwhile and not runs and not set(unreachable) - set(left):
        live = {found[h].live for h in expected.hosts if h in found and h not in left}
        nothing = "Nothing is live yet: inv deploy --env " + expected.environment + " --version VERSION"
        well = f"As recorded, and well, but for {listed(left)}." if left else "As recorded, and well."
        lines += ["", well if live != {""} else nothing]
    return "\n".join(lines)


def apart(drift: Iterable[Drift], runs: Sequence[Open]) -> tuple[list[Drift], list[Drift]]:
    """What is drift, and what an unfinished run may explain."""
    known = list(drift)
    return [d for d in known if d.own or not runs], [d for d in known if runs and not d.own]


def _row(host: str, s: Standing) -> tuple[str, ...]:
    mine = [c for c in s.containers if c.release == s.live and not c.oneoff]
    served = "serves it" if s.live and s.served == s.live else f"serves {s.served or 'nothing'}"
    proxy = s.proxy if s.proxy != "running" else served if s.live else "running"
    disk = f"{s.disk_mb / 1024:.1f} GB" if s.disk_mb is not None else "?"
    live = s.live or "nothing"
    return (host, live, s.previous or "—", proxy if s.engine else "?", _containers(mine, bool(s.engine)), disk)


def _containers(mine: Sequence[Container], asked: bool) -> str:
    if not asked:
        return "engine down"
    well = sum(c.well for c in mine)
    ill = [f"{c.service} {c.health if c.state == 'running' else c.state}" for c in mine if not c.well]
    return f"{well} of {len(mine)} well" + (f" ({', '.join(ill)})" if ill else "") if mine else "none"


def status_json(
    found: Mapping[str, Standing],
    drift: Iterable[Drift],
    unreachable: Mapping[str, str],
    expected: Expected,
    runs: Sequence[Open] = (),
) -> str:
    """The same for machines. ``live`` is null where hosts disagree or nothing is live."""
    left = out(found)
    lives = {found[h].live for h in expected.hosts if h in found and h not in left}
    live = lives.pop() if len(lives) == 1 else ""
    kept = next((k for s in found.values() if (k := s.kept(live))), None) if live else None
    told, meanwhile = apart(drift, runs)
    data: dict[str, Any] = {
        "app": expected.slug.removesuffix(f"-{expected.environment}"),
        "environment": expected.environment,
        "live": live or None,
        "version": kept.record.version if kept and kept.record else None,
        "hosts": {host: _host_data(standing) for host, standing in sorted(found.items())},
        "out": {host: record.model_dump(exclude={"host"}) for host, record in left.items()},
        "unfinished": unfinished.data(runs),
        "meanwhile": [{"host": d.host, "what": d.what} for d in meanwhile],
        "drift": [{"host": d.host, "what": d.what, "remedy": d.remedy} for d in told],
        "unreachable": dict(unreachable),
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def _host_data(standing: Standing) -> dict[str, Any]:
    data = standing.model_dump(mode="json", exclude={"releases", "leases", "boot", "uptime", "now"})
    data["containers"] = [{**c.model_dump(mode="json"), "well": c.well} for c in standing.containers]
    return {**data, "leases": [x.model_dump(mode="json", exclude={"boot"}) for x in standing.held()]}


# ---------------------------------------------------------------- releases


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release as the hosts know it.

    ``hosts``: where its directory is (none: only its mark is left); ``live``, ``previous``: where it is that.
    """

    release: str
    version: str
    digest: str
    """The first 12 hex digits of its first image's digest."""
    at: str
    by: str
    why: str
    head: str
    compatible: bool | None
    verdict: str
    hosts: tuple[str, ...]
    live: tuple[str, ...]
    previous: tuple[str, ...]


def releases(found: Mapping[str, Standing]) -> tuple[Release, ...]:
    """The releases on the hosts, newest first."""
    kept: dict[str, dict[str, Kept]] = {}
    for host, standing in found.items():
        for k in standing.releases:
            kept.setdefault(k.release, {})[host] = k
    made = [_release(name, where, found) for name, where in kept.items()]
    return tuple(sorted(made, key=lambda r: (r.at, r.release), reverse=True))


def _release(name: str, where: Mapping[str, Kept], found: Mapping[str, Standing]) -> Release:
    record = next((k.record for k in where.values() if k.record), None)
    gone = not any(k.kept for k in where.values())
    verdicts = {k.verdict for k in where.values()}
    image = next(iter(record.images.values()), "") if record else ""
    return Release(
        release=name,
        version=record.version if record else name.rpartition("-")[0] or name,
        digest=image.rpartition("sha256:")[2][:12],
        at=record.at if record else "",
        by=record.by if record else "",
        why=record.why if record else "its directory is gone" if gone else "release.json is missing or unreadable",
        head=record.migration.head if record else "",
        compatible=record.migration.compatible if record else None,
        verdict=verdicts.pop() if len(verdicts) == 1 else "mixed",
        hosts=tuple(sorted(h for h, k in where.items() if k.kept)),
        live=tuple(sorted(h for h, s in found.items() if s.live == name)),
        previous=tuple(sorted(h for h, s in found.items() if s.previous == name)),
    )


def releases_text(found: Sequence[Release], now: datetime | None = None) -> str:
    """The table for people."""
    if not found:
        return "No release is kept on any host yet."
    when = now or datetime.now(UTC)
    rows = [("", "RELEASE", "VERSION", "DIGEST", "AGE", "BY", "MIGRATION", "VERDICT", "HOSTS", "WHY")]
    for r in found:
        mark = "live" if r.live else "prev" if r.previous else ""
        compatible = {True: "", False: " incompatible", None: ""}[r.compatible]
        rows.append(
            (
                mark,
                r.release,
                r.version,
                r.digest,
                _age(r.at, when),
                r.by,
                f"{r.head}{compatible}",
                r.verdict,
                listed(r.hosts),
                r.why,
            )
        )
    return columns(rows)


def _age(at: str, now: datetime) -> str:
    try:
        return age((now - datetime.fromisoformat(at)).total_seconds())
    except (ValueError, TypeError):
        return ""


def releases_json(found: Iterable[Release]) -> str:
    """The same for machines."""
    return json.dumps([asdict(r) for r in found], indent=2, ensure_ascii=False)
