"""What a datastore that can take a backup back into the live service is to a procedure: a set of shell texts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Live:
    """Shell texts, for bash under ``set -euo pipefail`` on the datastore's host. They read ``$W``, ``$IMAGE``,
    ``$MEMORY``, ``$THROWAWAY`` and the paths of the secrets' files; ``free``, ``empty`` and ``rows`` no more than ``$W``
    and ``$IMAGE``."""

    free: str
    """Check: the server can take a backup in, and nothing of an earlier restore is in the way; says what is, and how
    it is removed."""
    empty: str
    """Check: there is nothing yet that a restore would replace. Asked where the present is not backed up first."""
    beside: str
    """Reads the dump on standard input and loads it beside the live data, which goes on serving. Begins anew. What the
    live service lacks to take it in (its database, its roles) is made."""
    fingerprint: str
    """Prints the fingerprint of what was loaded beside."""
    ignored: str = ""
    """Extended regular expression: how lines of the fingerprint begin that belong to the server and not to the data.
    Empty: none do."""
    swap: str
    """Puts what lies beside in the place of the live data, which stays beside from then on. Nobody may write meanwhile;
    whoever is still connected is thrown out. May be repeated, however it ended before."""
    back: str
    """Puts the former data back into its place. May be repeated, and run after a ``swap`` that ended anywhere."""
    drop: str
    """Removes what lies beside: the loaded copy before the swap, the former data after it."""
    cancel: str = ""
    """Ends what a killed text left at work."""
    rows: str = ""
    """Prints about how many rows there are now. Empty: nobody can say at once."""
