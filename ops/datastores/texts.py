"""What a datastore is to a procedure: a set of shell texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Shell texts of one datastore, for bash under ``set -euo pipefail``.

    They read ``$W`` (a scratch directory of mode 0700), ``$THROWAWAY`` (name of the throwaway container), ``$IMAGE``,
    ``$MEMORY`` (e.g. ``1g``) and the paths of the secrets' files. Source texts run on the datastore's host, texts of
    the copy wherever the throwaway runs.
    """

    secrets: tuple[tuple[str, str], ...]
    """(variable that holds the path of the secret's file, reference)."""
    tools: tuple[str, ...]
    """Programs that the datastore's host needs."""
    basis: Literal["snapshot", "bytes"]
    """Whether the fingerprint is that of the source's snapshot, or of the very bytes that were dumped."""
    gaps: tuple[str, ...]
    """What the copy does not hold, as sentences."""
    version: str
    """Prints the server's version, one line."""
    reachable: str
    """Exits 0 when the server answers, lets us in, shows us everything and is not newer than the client."""
    size: str
    """Prints about how many bytes the dump will have at most; 0: unknown."""
    dump: str
    """Writes the dump to standard output and the source's fingerprint to ``$W/fingerprint``.

    Exits non-zero whenever a part of it failed, however late; what it started at the server is ended then. It reads
    ``$THROWAWAY`` and ``$MEMORY`` where ``basis`` is ``bytes``.
    """
    cancel: str
    """Ends what a killed dump left at work."""
    serve: str
    """Starts the empty throwaway, without network, and waits until it answers. A throwaway of that name is replaced."""
    taker: str
    """Prints the version of the throwaway's server, which takes the copy, one line. Empty: there is no server."""
    running: str
    """Probe: the throwaway is up and answers."""
    gone: str
    """Removes the throwaway and its data."""
    load: str
    """Reads the dump on standard input into the empty throwaway; reads ``$W/fingerprint``, too. Exits non-zero on any
    error, and when the dump ends too early."""
    fingerprint: str
    """Prints the throwaway's fingerprint."""
    ask: str
    """Prints the throwaway's answer to ``$QUERY``, bare."""
    newest: str
    """Prints the time of the newest row in the throwaway, in unix seconds, or nothing. Empty: nobody said how."""
