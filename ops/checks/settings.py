"""Settings of smoke tests: HTTP, TLS expiry, or a command with a typed expectation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ops.settings import Exact, Line, Settings

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]


class Test(Settings):
    """What every smoke test has."""

    id: Identifier
    """Public name; becomes the step's id."""
    title: Line = ""
    """What it shows, for page and screen; empty: made from the test."""
    retry: Annotated[int, Field(ge=0, le=3600)] = 30
    """Seconds to keep trying."""
    deadline: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds after which it is ended."""


class HttpTest(Test):
    """One HTTP request and what must be true of the answer."""

    kind: Literal["http"] = "http"
    """An HTTP request."""
    via: Literal["host", "balancer"] = "host"
    """``host``: sent on each host to the new release's own container before the switch; ``balancer``: sent from the ops
    machine to ``url`` after all hosts switched."""
    service: str = ""
    """With ``via: host``: which service is asked (it needs a ``port``)."""
    url: Annotated[str, Field(pattern=r"^(https?://[^\s'\"]+)?$")] = ""
    """With ``via: balancer``: scheme, host and port. ``path`` is appended."""
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] = "GET"
    """HTTP method."""
    path: Annotated[str, Field(pattern=r"^/[^\s'\"]*$")] = "/"
    """Path and query."""
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Line] = {}
    """Request headers."""
    body: Exact = ""
    """Request body, sent as it stands."""
    status: Annotated[int, Field(ge=100, le=599)] = 200
    """Status that the answer must have."""
    json_path: dict[Annotated[str, Field(pattern=r"^\.[^\n]*$")], Exact | int | bool] = {}
    """jq paths and the values they must have, e.g. ``.database: up``. ``$VERSION`` as a value means the version that is
    deployed."""
    matches: str = ""
    """Regular expression (jq's, Oniguruma) that the body must match."""
    max_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None
    """Latency limit in milliseconds."""
    ca: str = ""
    """File with the certificate authority for https, relative to the repository; empty: the system's."""


class TlsTest(Test):
    """The certificate at ``address`` is valid for at least ``days`` more days."""

    kind: Literal["tls"] = "tls"
    """A certificate's expiry."""
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$")]
    """``host:port``, reached from the ops machine."""
    name: str = ""
    """Server name to ask for; empty: the address's."""
    days: Annotated[int, Field(ge=0, le=3650)] = 14
    """Days that the certificate must still be good for."""
    ca: str = ""
    """File with the certificate authority, relative to the repository; empty: the system's."""


class CommandTest(Test):
    """A command and its typed expectation: exactly one of ``equals``, ``matches``, ``json_filter``, ``at_least``,
    ``at_most``; none: exit status 0."""

    kind: Literal["command"] = "command"
    """A command."""
    via: Literal["host", "ops"] = "host"
    """``host``: on each host before its switch; ``ops``: on the ops machine after all hosts switched."""
    run: Annotated[str, Field(min_length=1)]
    """Shell text; it must only read."""
    equals: str | None = None
    """What it prints must be exactly this."""
    matches: str | None = None
    """A line it prints must match this (grep -E)."""
    json_filter: str | None = None
    """A jq filter that must hold for the JSON it prints."""
    at_least: int | None = None
    """It prints a whole number not below this."""
    at_most: int | None = None
    """It prints a whole number not above this."""


SmokeTest = Annotated[HttpTest | TlsTest | CommandTest, Field(discriminator="kind")]
