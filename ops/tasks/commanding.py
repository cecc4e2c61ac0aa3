"""A command in a live container: journalled, its status passed on, ended with us."""

from __future__ import annotations

import getpass
import secrets
import shlex
import socket
import sys
import threading
from collections.abc import Sequence
from typing import BinaryIO

from ops.engine.fleet import Links
from ops.engine.redact import Redactor
from ops.engine.transport.base import Channel
from ops.engine.transport.errors import ConnectionLost, TransportError
from ops.records.journal import Journal
from ops.records.runs import folder, now, process
from ops.tasks.machines import linked, ops_state
from ops.tasks.peeking import BadPeek, Peek, argv
from ops.tasks.redacting import masked
from ops.tasks.running import COULD_NOT_LOOK
from ops.tasks.wish import run_id

INTERRUPTED = 130

ENDED = r"""for p in /proc/[0-9]*; do
  if tr '\0' '\n' 2>/dev/null <"$p/environ" | grep -qxF "OPSBOOK_EXEC=$0"; then kill -TERM "${p#/proc/}"; fi
done"""
"""Run in the container: ends what carries our mark. Killing docker's client would leave the command running."""


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
        with linked(peek.loaded) as links:
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
