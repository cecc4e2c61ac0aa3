"""The inventory: one app in one environment, reached by one ssh user. The typed union of the settings models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ops.checks.settings import Identifier, SmokeTest
from ops.proxies.settings import Haproxy, Proxy
from ops.settings import Exact, Line, Settings
from ops.targets.compose.settings import Compose, Seconds, Word

Shell = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
Reference = Annotated[str, Field(pattern=r"^(env|file|cmd|aws-sm|aws-ssm):.+$")]
"""Where a value comes from: ``env:NAME``, ``file:PATH``, ``cmd:TEXT``, ``aws-sm:SECRET[#key]``, ``aws-ssm:NAME``."""

Gateway = Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]+@)?[A-Za-z0-9_.-]+(:[0-9]{1,5})?$|^$")]
Address = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9-]*)?$")]


class Ssh(Settings):
    """How hosts are reached. A host's own ``ssh`` overrides single keys."""

    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "deploy"
    port: Annotated[int, Field(ge=1, le=65_535)] = 22
    identity: str = ""
    """Private key file; empty: the agent's keys and ssh's defaults."""
    known_hosts: str = ""
    """File with the hosts' keys; empty: ``~/.ssh/known_hosts``. An unknown or changed key is always refused."""
    gateway: Gateway = ""
    """``user@host:port`` of a bastion; empty: direct."""
    transport: Literal["fabric", "openssh"] = "fabric"
    """``openssh`` where only ``ssh HOST`` works: FIDO keys, Match rules, Teleport."""
    connect_timeout: Seconds = 10


class HostSsh(Settings):
    """What differs from the inventory's ``ssh`` on one host."""

    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    identity: str | None = None
    known_hosts: str | None = None
    gateway: Gateway | None = None
    transport: Literal["fabric", "openssh"] | None = None


class Host(Settings):
    """One machine."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$")]
    groups: tuple[Word, ...] = ("app",)
    """``app`` hosts take releases; other names are yours."""
    ssh: HostSsh = HostSsh()


class Registry(Settings):
    """Where images come from."""

    address: Annotated[str, Field(pattern=r"^[a-z0-9.-]+(:[0-9]{1,5})?$")]
    """As it stands in image names, e.g. ``ghcr.io`` or ``registry.example.com:5000``."""
    username: Annotated[str, Field(pattern=r"^[^\s:'\"]*$")] = ""
    """Empty: no login."""
    password: Reference | None = None
    reach: Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]+:[0-9]{1,5})?$")] = ""
    """``host:port`` at which the ops machine reaches it when that differs from ``address``."""
    ca: str = ""
    """File with its certificate authority; empty: the system's."""


class Variable(Settings):
    """One environment variable of the application, and the rules its value must obey before any host is touched."""

    kind: Literal["setting", "secret"] = "setting"
    """A setting belongs to the release (changing it makes a new release id); a secret is always the current one."""
    value: Exact | None = None
    """A literal setting."""
    source: Reference | None = Field(default=None, alias="from")
    default: Exact | None = None
    """Used when ``from`` gives nothing (settings only)."""
    required: bool = True
    deliver: Literal["variable", "file"] = "variable"
    """``file``: mounted at ``/run/secrets/NAME``, with ``NAME_FILE`` naming it (secrets only)."""
    min_length: Annotated[int, Field(ge=0, le=100_000)] = 0
    pattern: str = ""
    """Python regular expression that the whole value must match."""
    placeholder: bool = False
    """Allow values such as ``changeme``, ``xxx`` or ``TODO``."""


class Migration(Settings):
    """What one version's migrations are like, relative to the release before it."""

    head: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = ""
    compatible: bool | None = None
    """Whether the release before still works on the new schema. No default: pending and unknown is refused."""
    reversible: bool | None = None


class Migrations(Settings):
    """How the schema is moved: commands run in a container of ``service``, from the image that brings the migrations."""

    service: Word
    host: Word
    """The host on which they run, once per deploy."""
    up: Shell
    down: Shell = "false"
    """Moves the schema back to ``$TO``."""
    head: Shell
    """Prints the database's current head, ``base`` or the like when empty."""
    timeout: Seconds = 600
    lock_timeout: Seconds = 10
    """Given to PostgreSQL through PGOPTIONS."""
    releases: dict[str, Migration] = {}
    """Per version: what its image's labels do not say."""


class Drain(Settings):
    """How long old connections may last after a switch."""

    max: Seconds = 30
    """Seconds after which even WebSockets are ended."""


class Policy(Settings):
    """How a release is rolled out."""

    canary: Annotated[int, Field(ge=0, le=100)] = 0
    """Hosts in the first wave; 0: no canary."""
    batch: Annotated[int, Field(ge=1, le=100)] = 1
    """Hosts in each further wave."""
    drain: Drain = Drain()
    keep: Annotated[int, Field(ge=1, le=100)] = 5
    """Releases kept on each host for rollback, besides the live and the last good one."""
    max_failed_hosts: Annotated[int, Field(ge=0, le=100)] = 0
    min_disk_mb: Annotated[int, Field(ge=0)] = 512
    """Free space for images that the preflight asks for."""


class Balancer(Settings):
    """How a host is taken out of traffic in front of the fleet. The texts read ``$HOST``."""

    at: str = "ops"
    """Where they run: ``ops`` or a host."""
    out: Shell
    into: Shell = Field(alias="in")
    probe: Shell
    """Exits 0 when the host takes traffic."""
    drained: str = "true"
    """Exits 0 when no request of the host is under way."""


class Hook(Settings):
    """A step of the user's own, anchored before or after one of ours; has the Step's own fields.

    The text is plain shell, never a template. Give ``check`` for a step that only looks; else ``run``, ``done_when``
    and ``undo`` with ``undone_when`` (or ``keep: why``), or ``repeat: why`` instead of ``done_when``.
    """

    id: Identifier
    title: Annotated[Line, Field(min_length=1)]
    why: str = ""
    after: Address = ""
    """Address of one of our steps, e.g. ``roll.smoke``."""
    before: Address = ""
    procedures: tuple[str, ...] = ("deploy",)
    check: str = ""
    run: str = ""
    done_when: str = ""
    repeat: str = ""
    undo: str = ""
    undone_when: str = ""
    keep: str = ""
    reads: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], ...] = ()
    timeout: Seconds = 60
    at: str = ""
    root: bool = False
    retry: Annotated[int, Field(ge=0, le=3600)] = 0
    within: Annotated[int, Field(ge=0, le=3600)] = 5


class Page(Settings):
    """Facts for the head of every runbook page."""

    owner: str = ""
    escalation: str = ""
    severity: str = ""
    url: str = ""
    """Where the rendered pages are published, for alerts' links."""


class Inventory(Settings):
    """One app in one environment."""

    app: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
    app_dir: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9]$")]
    """Directory of the app on every host; state lies in ``.opsbook`` below it."""
    hosts: Annotated[dict[Word, Host], Field(min_length=1)]
    ssh: Ssh = Ssh()
    registry: Registry
    target: Compose
    proxy: Proxy = Haproxy()
    variables: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=60)], Variable] = {}
    migrations: Migrations | None = None
    smoke_tests: tuple[SmokeTest, ...] = ()
    deploy: Policy = Policy()
    balancer: Balancer | None = None
    hooks: tuple[Hook, ...] = ()
    page: Page = Page()

    @property
    def app_hosts(self) -> tuple[str, ...]:
        """Names of the hosts that take releases, in the inventory's order."""
        return tuple(name for name, host in self.hosts.items() if "app" in host.groups)

    @property
    def state(self) -> str:
        """The state directory on every host."""
        return f"{self.app_dir}/.opsbook"

    @property
    def slug(self) -> str:
        """``app-environment``: the prefix of every name of ours on a host."""
        return f"{self.app}-{self.environment}"


def root_relative(root: Path, path: str) -> Path:
    """``path`` of an inventory, relative to the repository's root unless absolute or ``~``."""
    return (root / Path(path).expanduser()).resolve()
