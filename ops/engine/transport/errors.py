"""What can go wrong between us and a host's shell.

TransportError
├── Unreachable          no connection came about
│   └── HungUp           the server hung up before it said who it is
├── HostKeyError         the host's key is not the known one
├── AuthenticationError  the host does not accept our keys
└── ConnectionLost       a connection that stood is gone
"""

from __future__ import annotations


class TransportError(Exception):
    """A host cannot be talked to.

    Attributes:
        host: the host's name in the inventory.
        cause: what happened, one line.
        remedy: what to do about it, or the command to run next.
    """

    def __init__(self, host: str, cause: str, remedy: str) -> None:
        super().__init__(f"{host}: {cause}. {remedy}")
        self.host = host
        self.cause = cause
        self.remedy = remedy


class Unreachable(TransportError):
    """No connection came about: name, route, port, banner or gateway."""


class HungUp(Unreachable):
    """The server took the connection and hung up before it said who it is: too many logins at once (sshd's
    MaxStartups), or no sshd behind that port. Trying again a moment later helps against the former."""


HUNG_UP = (
    "Do many log in there at once, or did logins fail (MaxStartups, PerSourcePenalties in sshd_config)?"
    " Does sshd listen on that port?"
)
"""What to do about a server that hangs up."""


class AuthenticationError(TransportError):
    """The host accepts none of our keys; the cause lists those that were tried."""


class ConnectionLost(TransportError):
    """A connection that stood is gone. What runs on the host goes on; its end is kept there."""

    def __init__(
        self, host: str, cause: str, remedy: str = "What was running there goes on: resume attaches to it"
    ) -> None:
        super().__init__(host, cause, remedy)


class HostKeyError(TransportError):
    """The host's key is unknown, or another than the one on file.

    Attributes:
        fingerprint: of the offered key, `SHA256:…` as ssh-keygen prints it.
        line: the exact known_hosts line that would accept the offered key.
        known: fingerprint of the key on file; empty when there is none.
    """

    def __init__(self, host: str, kind: str, fingerprint: str, line: str, known: str = "", file: str = "") -> None:
        where = file or "known_hosts"
        if known:
            cause = f"the host key has CHANGED: offered is {kind} {fingerprint}, on file is {known} in {where}"
            remedy = f"If the host was rebuilt, replace its line in {where} by: {line}"
        else:
            cause = f"the host key is unknown: {kind} {fingerprint}"
            remedy = f"Compare the fingerprint with the host's own, then add to {where}: {line}"
        super().__init__(host, cause, remedy)
        self.fingerprint = fingerprint
        self.line = line
        self.known = known
