"""The dead man's URL: asked after each check that found all well, so that whoever waits there notices when none does.

The URL grants access. No message holds it, nor what an exception says of it.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request

TIMEOUT = 10
"""Seconds for connecting and for each answer."""


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the URL would be told to whomever it leads to, TLS or not."""

    def redirect_request(self, *_: object) -> None:
        return None


class PingFailed(Exception):
    """The URL did not answer as it should; the message says how, and what to do, without it."""


def ping(url: str, context: ssl.SSLContext | None = None) -> None:
    """Asks the URL. ``context``: whom to trust, by default the system's authorities. Raises PingFailed."""
    try:
        if not url.lower().startswith(("https://", "http://")):
            raise ValueError
        request = urllib.request.Request(url, headers={"User-Agent": "opsbook"})
        opener = urllib.request.build_opener(_Straight, urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=TIMEOUT) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        raise PingFailed(f"it answered {error.code}. Does it still exist, over there?") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise PingFailed(f"{_why(error)}. Can this machine reach it?") from None
    except (ValueError, UnicodeError):
        raise PingFailed("this is no URL that can be asked. Look at what the reference gives") from None


def _why(error: BaseException) -> str:
    """What happened, of an error whose own words may hold the URL."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {reason.verify_message}"
    if isinstance(reason, TimeoutError):
        return f"it did not answer within {TIMEOUT} s"
    if isinstance(reason, OSError) and reason.strerror:
        return f"it can't be reached: {reason.strerror}"
    return "it did not answer as a web server does"
