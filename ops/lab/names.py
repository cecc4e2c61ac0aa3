"""What a lab is called and where it listens: every name and port of one lab follows from its name and nothing else."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ops.lab.errors import LabError

VARIABLE = "OPSBOOK_LAB"
DEFAULT = "opsbook"
LABEL = "org.opsbook.lab"
"""Label on every container, network and volume of a lab; its value is the lab's name."""

MAX_APP_HOSTS = 8
OPS_HOST = "ops1"
"""The machine that runs scheduled jobs."""
_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one lab."""

    ssh: int
    """First ssh port: app1. data1 comes third (`ssh + 2`), so that a third application host does not move it."""
    registry: int
    http: int
    stats: int
    https: int
    s3: int
    s3new: int

    def host(self, name: str) -> int:
        """The ssh port of a host."""
        if name == OPS_HOST:
            return self.ssh + MAX_APP_HOSTS + 1
        number = int(name.removeprefix("app").removeprefix("data"))
        if name.startswith("data"):
            return self.ssh + 2
        return self.ssh + (number - 1 if number <= 2 else number)


@dataclass(frozen=True)
class Lab:
    """One lab: `name` tells it from others on the same machine, `root` is the repository it belongs to."""

    name: str
    root: Path
    app_hosts: int = 2
    s3new: bool = False
    """Whether it has a second S3 server, of a newer version."""
    ops: bool = False
    """Whether it has a machine that runs scheduled jobs; no release and no data lies there."""

    @property
    def state(self) -> Path:
        """Folder with keys, passwords, known_hosts and logs; never committed."""
        return self.root / ".lab" / self.name

    @property
    def slot(self) -> int:
        """0 for the default lab, else 1…119 by the name: picks the block of ports and the subnet."""
        if self.name == DEFAULT:
            return 0
        return 1 + int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "big") % 119

    @property
    def ports(self) -> Ports:
        """Fixed ports for the default lab; others get a hundred of their own below the kernel's ephemeral range."""
        if self.slot == 0:
            return Ports(ssh=22011, registry=25000, http=28080, stats=28081, https=28443, s3=28444, s3new=28445)
        base = 10000 + 100 * self.slot
        return Ports(
            ssh=base + 11,
            registry=base + 50,
            http=base + 80,
            stats=base + 81,
            https=base + 43,
            s3=base + 44,
            s3new=base + 45,
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the hosts as the inventory knows them."""
        return (*(f"app{n}" for n in range(1, self.app_hosts + 1)), "data1")

    @property
    def stores(self) -> tuple[str, ...]:
        """Names of the S3 servers."""
        return ("s3", "s3new") if self.s3new else ("s3",)

    @property
    def parts(self) -> tuple[str, ...]:
        """All it consists of, a container each."""
        return ("registry", "balancer", *self.stores, *self.hosts, *((OPS_HOST,) if self.ops else ()))

    @property
    def network(self) -> str:
        """Name of the lab's bridge network."""
        return self.name

    @property
    def subnet(self) -> str:
        """The lab's subnet, from the block reserved for benchmarks (RFC 2544): no LAN or VPN uses it."""
        return f"198.18.{self.slot}.0/24"

    def ip(self, part: str) -> str:
        """The fixed address of a part on the lab's network."""
        fixed = {"registry": 2, "balancer": 3, "s3": 4, "s3new": 5, "data1": 13, OPS_HOST: 30}
        last = fixed.get(part) or 10 + int(part.removeprefix("app")) + (3 if part > "app2" else 0)
        return f"198.18.{self.slot}.{last}"

    def container(self, part: str) -> str:
        """Container name of a part (`app1`, `registry`, `balancer`)."""
        return f"{self.name}-{part}"

    def volume(self, part: str, purpose: str) -> str:
        """Volume name of a part."""
        return f"{self.name}-{part}-{purpose}"


def lab_from_environment(root: Path, app_hosts: int | None = None, s3new: bool = False, ops: bool = False) -> Lab:
    """The lab that `OPSBOOK_LAB` names (default `opsbook`), with its remembered size unless `app_hosts` says another.

    `s3new` adds the second S3 server, `ops` the machine that runs scheduled jobs; both are remembered too.

    Raises:
        LabError: the name is not usable, or the size is out of range.
    """
    name = os.environ.get(VARIABLE) or DEFAULT
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{VARIABLE}={name!r} is no name for a lab: use a letter, then at most 11 letters or digits (a-z, 0-9)"
        )
    remembered = root / ".lab" / name / "app-hosts"
    size = app_hosts if app_hosts is not None else int(remembered.read_text()) if remembered.exists() else 2
    if not 1 <= size <= MAX_APP_HOSTS:
        raise LabError(f"a lab has 1 to {MAX_APP_HOSTS} application hosts, not {size}")
    state = root / ".lab" / name
    return Lab(
        name=name,
        root=root,
        app_hosts=size,
        s3new=s3new or (state / "with-s3new").exists(),
        ops=ops or (state / "with-ops").exists(),
    )
