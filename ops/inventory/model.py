"""The inventory: one app in one environment, reached by one ssh user. The typed union of the settings models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ops.checks.settings import Identifier, SmokeTest
from ops.inventory.backup import Backup
from ops.inventory.drills import Drills
from ops.inventory.notify import Channel
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
    """Login on every host: not root, with ``sudo`` without a password."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 22
    """TCP port of sshd."""
    identity: str = ""
    """Private key file; empty: the agent's keys and ssh's defaults."""
    known_hosts: str = ""
    """File with the hosts' keys; empty: ``~/.ssh/known_hosts``. An unknown or changed key is always refused."""
    gateway: Gateway = ""
    """``user@host:port`` of a bastion; empty: direct."""
    transport: Literal["fabric", "openssh"] = "fabric"
    """``openssh`` where only ``ssh HOST`` works: FIDO keys, Match rules, Teleport."""
    connect_timeout: Seconds = 10
    """Seconds for each of connecting, logging in and opening a channel."""


class HostSsh(Settings):
    """What differs from the inventory's ``ssh`` on one host."""

    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] | None = None
    """Another login."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Another port."""
    identity: str | None = None
    """Another private key file."""
    known_hosts: str | None = None
    """Another file with host keys."""
    gateway: Gateway | None = None
    """Another bastion; two quotes: direct."""
    transport: Literal["fabric", "openssh"] | None = None
    """Another transport."""


class Host(Settings):
    """One machine."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$")]
    """Name or IP address at which ssh reaches it."""
    groups: tuple[Word, ...] = ("app",)
    """``app`` hosts take releases; other names are yours."""
    ssh: HostSsh = HostSsh()
    """What differs here from the inventory's ``ssh``."""


class Registry(Settings):
    """Where images come from."""

    address: Annotated[str, Field(pattern=r"^[a-z0-9.-]+(:[0-9]{1,5})?$")]
    """As it stands in image names, e.g. ``ghcr.io`` or ``registry.example.com:5000``."""
    username: Annotated[str, Field(pattern=r"^[^\s:'\"]*$")] = ""
    """Empty: no login."""
    password: Reference | None = None
    """Reference to the password; never the password itself."""
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
    """Where the value comes from."""
    default: Exact | None = None
    """Used when ``from`` gives nothing (settings only)."""
    required: bool = True
    """``false``: a setting may be empty. Secrets are always required."""
    deliver: Literal["variable", "file"] = "variable"
    """``file``: mounted at ``/run/secrets/NAME``, with ``NAME_FILE`` naming it (secrets only)."""
    min_length: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Bytes that the value must have at least."""
    pattern: str = ""
    """Python regular expression that the whole value must match."""
    placeholder: bool = False
    """Allow values such as ``changeme``, ``xxx`` or ``TODO``."""


class Migration(Settings):
    """What one version's migrations are like, relative to the release before it."""

    head: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = ""
    """The migration at which this version's schema stands."""
    compatible: bool | None = None
    """Whether the release before still works on the new schema. No default: pending and unknown is refused."""
    reversible: bool | None = None
    """Whether ``down`` can take the migration back."""


class Migrations(Settings):
    """How the schema is moved: commands run in a container of ``service``, from the image that brings them."""

    service: Word
    """The service whose image brings the migrations."""
    host: Word
    """The host on which they run, once per deploy."""
    up: Shell
    """Applies all pending migrations; may be repeated."""
    down: Shell = "false"
    """Moves the schema back to ``$TO``."""
    head: Shell
    """Prints the database's current head, ``base`` or the like when empty."""
    timeout: Seconds = 600
    """Seconds after which a command is ended."""
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
    """How long old connections may last."""
    keep: Annotated[int, Field(ge=1, le=100)] = 5
    """Releases kept on each host for rollback, besides the live and the last good one."""
    max_failed_hosts: Annotated[int, Field(ge=0, le=100)] = 0
    """Hosts that may be lost on the way without the others being taken back. The run goes on without them and stays
    unfinished (exit 40) until `inv resume` finds them back, or leaves them out."""
    min_disk_mb: Annotated[int, Field(ge=0)] = 512
    """Free space for images that the preflight asks for."""


class Balancer(Settings):
    """How a host is taken out of traffic in front of the fleet. The texts read ``$HOST``."""

    at: str = "ops"
    """Where they run: ``ops`` or a host."""
    out: Shell
    """Takes the host out of traffic; may be repeated."""
    into: Shell = Field(alias="in")
    """Puts the host back into traffic; may be repeated."""
    probe: Shell
    """Exits 0 when the host takes traffic."""
    drained: str = ""
    """Exits 0 when the host takes no traffic because it was taken out, and no request of it is under way; empty: when
    ``probe`` does not hold."""


class Hook(Settings):
    """A step of the user's own, anchored before or after one of ours; has the Step's own fields.

    The text is plain shell, never a template. Give ``check`` for a step that only looks; else ``run``, ``done_when``
    and ``undo`` with ``undone_when`` (or ``keep: why``), or ``repeat: why`` instead of ``done_when``.
    """

    id: Identifier
    """Public name; becomes the step's id."""
    title: Annotated[Line, Field(min_length=1)]
    """What the step does, for page and screen."""
    why: str = ""
    """Why it is there, for the page."""
    after: Address = ""
    """Address of one of our steps, e.g. ``roll.smoke``."""
    before: Address = ""
    """Instead of ``after``."""
    procedures: tuple[str, ...] = ("deploy",)
    """Plans that get the step."""
    check: str = ""
    """Shell text that only looks; exit 0 is right."""
    run: str = ""
    """Shell text that changes something. The line that makes ``done_when`` true comes last."""
    done_when: str = ""
    """Probe: exit 0 exactly when it is done. Reads no secret."""
    repeat: str = ""
    """Why it is safe to do it again, instead of ``done_when``."""
    undo: str = ""
    """Shell text that takes it back; may be repeated."""
    undone_when: str = ""
    """Probe: exit 0 exactly when it is undone."""
    keep: str = ""
    """Why it stays when the run is undone, instead of ``undo``."""
    reads: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], ...] = ()
    """Variables that the texts read: a setting's ``NAME``, ``NAME_SECRET`` for the path of a secret's file, or the
    plan's own such as ``HOST``, ``VERSION``, ``RELEASE``."""
    timeout: Seconds = 60
    """Seconds after which the host ends it."""
    at: str = ""
    """Where it runs: ``ops`` or a host; empty: on each host whose turn it is."""
    root: bool = False
    """Run by ``sudo -n``."""
    retry: Annotated[int, Field(ge=0, le=3600)] = 0
    """Seconds to repeat a ``check`` until it holds."""
    within: Annotated[int, Field(ge=0, le=3600)] = 5
    """Seconds that ``done_when`` may take to become true."""


class Page(Settings):
    """Facts for the head of every runbook page."""

    owner: str = ""
    """Team that owns the app."""
    escalation: str = ""
    """Whom to call when the page does not help."""
    severity: str = ""
    """How bad it is when the app is down."""
    url: str = ""
    """Where the rendered pages are published, for alerts' links."""


class Inventory(Settings):
    """One app in one environment."""

    app: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
    """Name of the app: part of every container, network and tag of ours on a host."""
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
    """Name of the environment; equal to the file's name."""
    app_dir: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9]$")]
    """Directory of the app on every host; state lies in ``.opsbook`` below it."""
    hosts: Annotated[dict[Word, Host], Field(min_length=1)]
    """The machines by name. ``ops`` is the operator's own machine and can't be used as a name."""
    ssh: Ssh = Ssh()
    """How they are reached."""
    registry: Registry
    """Where images come from."""
    target: Compose
    """What a release is and how it runs on a host."""
    proxy: Proxy = Haproxy()
    """What stands before a release on each host."""
    variables: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=60)], Variable] = {}
    """The application's environment by name."""
    migrations: Migrations | None = None
    """How the schema is moved; empty: the app has none."""
    smoke_tests: tuple[SmokeTest, ...] = ()
    """What must hold before and after a switch."""
    deploy: Policy = Policy()
    """How a release is rolled out."""
    balancer: Balancer | None = None
    """How hosts leave and enter the traffic in front of the fleet; empty: Opsbook does not know."""
    backup: Backup | None = None
    """What is backed up, where to, and how it is proven to restore; empty: nothing is."""
    drills: Drills | None = None
    """What may be destroyed on purpose, to measure how long it takes to come back; empty: nothing."""
    notify: dict[Word, Channel] = {}
    """Who is told of what happens, by a name of your own."""
    hooks: tuple[Hook, ...] = ()
    """Steps of your own beside ours."""
    page: Page = Page()
    """Facts for the head of every runbook page."""

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
