"""Names that an inventory can't give to its own things, because plans and shells use them."""

from __future__ import annotations

import re

from ops.inventory.model import Variable

RESERVED = frozenset(
    "ACCEPT_DOWNTIME APP BACKUP BACKUP_FIRST BACKUP_YOUNG BAD_RELEASES BARRIER BEFORE COMPATIBLE CURRENT FLOOR"
    " FLOOR_NOW FORMER_RELEASE GOOD_RELEASES"
    " HEAD HEAD_BEFORE HOST IMAGES LIVE_RELEASE MEMBER MIGRATE_DOWN OWNER PREVIOUS PURPOSE REASON REGISTRY_PASSWORD"
    " RELEASE REVERSIBLE RUN SERVICE STATE STORE_ACCESS_KEY STORE_CA STORE_SECRET_KEY TO VERSION WITHOUT".split()
)
"""Variables of our plans. ``ABOUT_…``, ``IMAGE_…``, ``IDENTITY_…`` and ``REMOVE_…`` belong to them, too."""

SHELL = frozenset(
    "CDPATH DOCKER_CONFIG DOCKER_CONTEXT DOCKER_HOST ENV EUID FUNCNAME GROUPS HOME IFS LINENO MAIL OPTARG OPTIND PATH"
    " PGOPTIONS PPID PWD RANDOM SECONDS SHELL SHELLOPTS TMPDIR UID USER".split()
)
"""What a step's shell needs for itself: no value fetched at ops may stand there. ``BASH…`` and ``LD_…`` likewise."""

LOCALE = ("LC_", "LD_", "BASH")

OPS_HOST = "ops"
"""The operator's machine in plans; no host may be called so."""


def is_reserved(name: str) -> bool:
    """Whether a plan's own variables have that name."""
    return name in RESERVED or name.startswith(("ABOUT_", "IMAGE_", "IDENTITY_", "REMOVE_"))


def is_shells(name: str) -> bool:
    """Whether a shell, or what it starts, would act on a variable of that name."""
    return name in SHELL or name.startswith(LOCALE)


def secret_variable(name: str) -> str:
    """The variable that holds the PATH of a secret of the application, for steps and hooks."""
    return f"{name}_SECRET"


def readable(variables: dict[str, Variable]) -> dict[str, str]:
    """What hooks may read of the application's variables -> the variable it comes from."""
    return {secret_variable(n) if v.kind == "secret" else n: n for n, v in variables.items()}


def is_environment_name(name: str) -> bool:
    """Whether ``name`` can be an environment variable."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None
