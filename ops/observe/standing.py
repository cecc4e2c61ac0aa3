"""How things stand on a host: the models of what `ops.procedures.status` answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answered(BaseModel):
    """A part of a host's answer; unknown keys are ignored, so that an older ops reads a newer text."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Container(Answered):
    """A container of the app on a host."""

    name: str
    release: str
    service: str
    role: str
    image: str
    state: str
    health: str
    exit: int = 0
    restarts: int = 0
    started: str = ""
    oneoff: bool = False

    @property
    def well(self) -> bool:
        """Whether it runs and, where it has a health check, is healthy."""
        return self.state == "running" and self.health in ("", "healthy")


class Migration(Answered):
    """What a release's record says of its migrations."""

    head: str = ""
    compatible: bool | None = None
    reversible: bool | None = None


class Record(Answered):
    """``release.json``."""

    version: str
    release: str
    images: dict[str, str] = {}
    env_hash: str = ""
    migration: Migration = Migration()
    by: str = ""
    run: str = ""
    why: str = ""
    at: str = ""
    backup: str = ""
    """The backup made before its migration."""


class Kept(Answered):
    """A release on a host. ``kept``: its directory is there, not only its mark. ``good`` and ``bad``: when it was
    marked so (Unix seconds), or empty."""

    release: str
    kept: bool = True
    record: Record | None = None
    env_hash: str = ""
    good: str = ""
    bad: str = ""

    @property
    def verdict(self) -> str:
        """``good``, ``bad`` or ``—``."""
        return "bad" if self.bad else "good" if self.good else "—"


class Lease(Answered):
    """Who holds a resource of the environment on a host. ``until``: in seconds of the host's uptime."""

    resource: str
    run: str = ""
    owner: str = ""
    purpose: str = ""
    boot: str = ""
    until: str = ""


class Out(Answered):
    """A host that is recorded as out: why, by whom, since when, in which run."""

    host: str
    reason: str = ""
    owner: str = ""
    run: str = ""
    at: str = ""


class Standing(Answered):
    """One host's answer. ``configured``: what the proxy's file says is live; ``served``: what the proxy says."""

    engine: str
    proxy: str
    configured: str
    served: str
    live: str
    current: str
    previous: str
    containers: tuple[Container, ...]
    releases: tuple[Kept, ...]
    leases: tuple[Lease, ...]
    out: tuple[Out, ...] = ()
    ledger: tuple[str, ...]
    head: str
    boot: str
    uptime: int
    now: int
    disk_mb: int | None = None

    def kept(self, release: str) -> Kept | None:
        """The directory of a release here."""
        return next((k for k in self.releases if k.release == release), None)

    def held(self) -> tuple[Lease, ...]:
        """The leases that have not run out: a reboot ends them all."""
        return tuple(
            lease
            for lease in self.leases
            if lease.boot == self.boot and lease.until.isdigit() and int(lease.until) > self.uptime
        )
