"""Looking into the live release's containers: their logs as a stream from all hosts, and a command in one of them."""

from __future__ import annotations

import difflib
import getpass
import re
import secrets
import shlex
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from ops.engine.fleet import Links
from ops.engine.parallel import each
from ops.engine.redact import Redactor
from ops.engine.transport.base import Channel
from ops.engine.transport.errors import ConnectionLost, TransportError
from ops.engine.transport.pool import Connector
from ops.inventory.load import Loaded
from ops.proxies import steps as proxies
from ops.records.journal import Journal
from ops.records.runs import folder, now, process
from ops.tasks.machines import fleet, ops_state
from ops.tasks.redacting import masked, redactor
from ops.tasks.wish import run_id

COULD_NOT_LOOK = 2
INTERRUPTED = 130
SINCE = re.compile(r"[0-9]+(s|m|h)([0-9]+(s|m))*|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})?)?")

ERASE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Terminal codes, which compose prints even where there is no terminal."""

# The reader of standard input is the life line: when our end of the connection is gone, so is the follower.
FOLLOWED = r"""
set -m
exec 3<&0 </dev/null
@COMMAND@ 2>&1 &
work=$!
{ cat <&3 >/dev/null; kill -TERM -"$work"; } 2>/dev/null &
line=$!
wait "$work"
code=$?
kill -TERM -"$line" 2>/dev/null
exit "$code"
"""

ENDED = r"""for p in /proc/[0-9]*; do
  if tr '\0' '\n' 2>/dev/null <"$p/environ" | grep -qxF "OPSBOOK_EXEC=$0"; then kill -TERM "${p#/proc/}"; fi
done"""
"""Run in the container: ends what carries our mark. Killing docker's client would leave the command running."""


class BadPeek(ValueError):
    """There is no such service or host, or no command; the message says what there is."""


class Peek:
    """Which containers: of a service or all, on a host or all (``one``: exactly one)."""

    def __init__(self, loaded: Loaded, *, service: str, host: str, one: bool = False) -> None:
        """Raises BadPeek."""
        self.loaded = loaded
        self.service = service
        inventory = loaded.inventory
        services = inventory.target.services
        if one and not service:
            raise BadPeek(f"--service is missing; there are {', '.join(services)}")
        if service and service not in services:
            raise BadPeek(_unknown("service", service, tuple(services)))
        if host and host not in inventory.app_hosts:
            raise BadPeek(_unknown("host", host, inventory.app_hosts))
        home = services[service].singleton if service else ""
        if host and home and host != home:
            raise BadPeek(f"{service} runs on {home} alone: leave --host {host} out")
        hosts = (host,) if host else (home,) if home else inventory.app_hosts
        self.hosts = hosts[:1] if one else hosts

    def text(self, host: str, command: str) -> str:
        """Shell text that runs ``command`` with ``$APP``, ``$HOST`` and ``$LIVE``, the release that is live there."""
        inventory = self.loaded.inventory
        nothing = f"nothing is live on {host}: inv status --env {inventory.environment}"
        return (
            f"export APP={shlex.quote(inventory.app_dir)} HOST={shlex.quote(host)}\n"
            f"LIVE=$({proxies.live(inventory.proxy, inventory.slug)})\n"
            f'[ -n "$LIVE" ] || {{ echo {shlex.quote(nothing)} >&2; exit {COULD_NOT_LOOK}; }}\n'
            f"{command}\n"
        )

    def container(self) -> str:
        """The name of the service's live container, as a shell word."""
        return f'"{self.loaded.inventory.slug}-$LIVE-{self.service}-1"'

    def logs(self, since: str, tail: int, follow: bool) -> dict[str, str]:
        """By host, the text that prints the logs. Raises BadPeek for a time that is none."""
        if since and not SINCE.fullmatch(since):
            raise BadPeek(f"--since {since}: write a duration such as 10m or 2h, or a time such as 2026-01-31T10:00:00")
        lines = str(tail) if tail >= 0 else "all" if since else "100"
        words = ["docker", "compose", "-f", '"$APP/releases/$LIVE/compose.yaml"', "--profile", "workers"]
        words += ["--profile", '"on-$HOST"', "logs", "--no-color", "--tail", lines]
        words += ["--since", shlex.quote(since)] if since else []
        words += ["--follow"] if follow else []
        words += [shlex.quote(self.service)] if self.service else []
        return {h: self.text(h, FOLLOWED.replace("@COMMAND@", " ".join(words)).strip("\n")) for h in self.hosts}


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no {what} {name}; {hint}there are {', '.join(known)}"


def argv(text: str) -> str:
    """The exec's argv: the text itself, so that standard input stays free."""
    return f"exec bash --norc -c {shlex.quote(text)}"


@contextmanager
def _links(loaded: Loaded) -> Iterator[Links]:
    with Connector() as connector:
        links = Links(fleet(loaded, connector))
        try:
            yield links
        finally:
            links.close()


# ---------------------------------------------------------------- logs


def stream(peek: Peek, texts: Mapping[str, str]) -> int:
    """Prints what the texts print, each line with its host, until all end or Ctrl-C. Returns the exit code."""
    redact = redactor(peek.loaded, {})
    channels: dict[str, Channel] = {}
    printing, ended = threading.Lock(), threading.Event()

    def tell(host: str, line: str) -> None:
        with printing:
            print(f"{host:<8} {ERASE.sub('', redact(line))}", flush=True)

    def end() -> None:
        ended.set()
        for channel in list(channels.values()):
            channel.close()

    def one(host: str) -> int:
        channel = channels[host] = links.counted(host).open(argv(texts[host]))
        rest = b""
        try:
            while data := channel.read(65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    tell(host, line.decode("utf-8", "replace"))
            if rest:
                tell(host, rest.decode("utf-8", "replace"))
            code = channel.exit_status()
            if code and (said := channel.stderr().decode("utf-8", "replace").strip()):
                tell(host, said)
            return COULD_NOT_LOOK if code is None or code else 0
        except ConnectionLost:
            if ended.is_set():
                return 0
            raise
        finally:
            channel.close()

    with _links(peek.loaded) as links:
        failed = links.connect(peek.hosts)
        found = each([h for h in peek.hosts if h not in failed], one, interrupted=end)
    worst = 0
    for host, result in {**failed, **found}.items():
        if isinstance(result, TransportError):
            print(f"{host}: {result.cause}. {result.remedy}", file=sys.stderr)
            worst = COULD_NOT_LOOK
        elif isinstance(result, Exception):
            raise result
        else:
            worst = max(worst, result)
    return worst


# ---------------------------------------------------------------- exec


def remainder(argv_: Sequence[str]) -> tuple[str, ...]:
    """The command behind ``--``, word by word as the shell gave it. Raises BadPeek when there is none.

    Invoke keeps the remainder as one text in which the words' borders are lost, hence the process's own arguments.
    """
    words = tuple(argv_)
    command = words[words.index("--") + 1 :] if "--" in words else ()
    if not command:
        raise BadPeek("there is no command: inv exec --env lab --service api -- ls -l /")
    return command


def run_command(peek: Peek, command: Sequence[str], reason: str, stdin: BinaryIO | None) -> int:
    """Runs the command in the live container, journalled before and after; returns its exit status.

    What it prints is passed on as bytes (without the secrets we know); standard error comes at its end. Ctrl-C ends it.
    """
    host, run = peek.hosts[0], run_id()
    mask = masked(peek.loaded, {})
    mark = secrets.token_hex(8)
    interactive = "-i " if stdin else ""
    words = shlex.join(command)
    call = f"exec docker exec {interactive}-e OPSBOOK_EXEC={mark} {peek.container()} {words}"
    text = peek.text(host, call if stdin else f"{call} </dev/null")
    journal = Journal(folder(ops_state(peek.loaded), run).journal)
    try:
        with _links(peek.loaded) as links:
            links.link(host)
            _begin(journal, peek, run, host, mask.text(words.encode()).decode(), reason)
            code = _executed(links, host, text, stdin, mask)
            if code is None:
                _end(links, peek, host, mark)
                code = INTERRUPTED
    except TransportError as error:
        print(f"{host}: {error.cause}. {error.remedy}", file=sys.stderr)
        code = COULD_NOT_LOOK
    finally:
        journal.write("end", now(), exit=locals().get("code", COULD_NOT_LOOK), summary="")
        journal.close()
    return code


def _begin(journal: Journal, peek: Peek, run: str, host: str, words: str, reason: str) -> None:
    inventory = peek.loaded.inventory
    journal.write(
        "run",
        now(),
        run=run,
        procedure="exec",
        environment=inventory.environment,
        owner=f"{getpass.getuser()}@{socket.gethostname()}",
        purpose=reason or "exec",
        **process(),
    )
    journal.write("intent", now(), address="exec", host=host, service=peek.service, command=words)


def _executed(links: Links, host: str, text: str, stdin: BinaryIO | None, mask: Redactor) -> int | None:
    """The command's exit status; None after Ctrl-C. Raises ConnectionLost."""
    channel = links.counted(host).open(argv(text))
    if stdin is not None:
        threading.Thread(target=_feed, args=(channel, stdin), daemon=True).start()
    out, stream = sys.stdout.buffer, mask.fresh()
    try:
        while data := channel.read(65536):
            out.write(stream.feed(data))
            out.flush()
        out.write(stream.flush())
        out.flush()
        code = channel.exit_status()
        sys.stderr.buffer.write(mask.text(channel.stderr()))
        sys.stderr.flush()
    except KeyboardInterrupt:
        return None
    finally:
        channel.close()
    if code is None:
        raise ConnectionLost(host, "the connection broke before the command's exit status came", "It may still run")
    return code


def _feed(channel: Channel, stdin: BinaryIO) -> None:
    try:
        while data := stdin.read(32768):
            channel.write(data)
        channel.close_stdin()
    except ConnectionLost:
        pass  # the command ended without reading it all


def _end(links: Links, peek: Peek, host: str, mark: str) -> None:
    """Ends the command in its container."""
    text = peek.text(host, f"docker exec {peek.container()} sh -c {shlex.quote(ENDED)} {mark}")
    done = links.counted(host).run(argv(text), b"", timeout=20)
    if done.code:
        said = done.stderr.decode("utf-8", "replace").strip()
        print(f"{host}: the command may still run in {peek.service}: {said}", file=sys.stderr)
