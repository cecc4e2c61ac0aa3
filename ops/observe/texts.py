"""Events as one calm line for people, and findings as paragraphs. Pure: no colours, no streams."""

from __future__ import annotations

from collections.abc import Iterable

from ops.engine import events as e
from ops.plan.bound import Finding

WORDS = {
    "done": "ok",
    "failed": "FAILED",
    "timeout": "TIMEOUT",
    "cancelled": "stopped",
    "unknown": "UNKNOWN",
    "refused": "refused",
}
"""What a step's outcome is called on a screen."""

PASSED = {"kept": "kept", "already in place": "in place"}
"""What a block says when it left without doing anything, and what that is called."""


def line(event: e.Event) -> str:
    """The event as text, possibly several lines; empty when it is not worth a line."""
    match event:
        case e.RunStarted():
            return f"{event.title} · {event.environment} · run {event.run} on {listed(event.hosts)}"
        case e.Probed(problem=""):
            return ""
        case e.Probed():
            return row(event.host, "UNREACHED", event.problem)
        case e.StageStarted():
            return f"{event.title} ({listed(event.hosts)})"
        case e.WaveStarted() if event.waves > 1:
            return f"  wave {event.wave} of {event.waves}: {listed(event.hosts)}"
        case e.StepDone():
            return _done(event)
        case e.PersonNeeded():
            return row(event.host, "WAITING", f"for you: {event.instruction}")
        case e.Warned():
            return "\n".join(_warned(event))
        case e.Reconnecting():
            return row(event.host, "lost", f"{event.cause}; connecting again, try {event.attempt}")
        case e.Evidence():
            return "\n".join([row(event.host, "looked", f"at {event.address} after it failed:"), indented(event.text)])
        case e.Undoing():
            return f"Taking everything back: {event.cause}"
        case e.Undone():
            stuck = f"; NOT back: {listed(event.stuck)}" if event.stuck else ""
            return f"Taken back on {listed(event.back) if event.back else 'no host'}{stuck}"
        case e.Interrupted():
            return "Interrupted: running steps come to their end, then it stops. Ctrl-C again stops at once."
        case _:
            return ""


def _done(event: e.StepDone) -> str:
    if event.direction in ("look", "probe", "lease"):
        return ""
    word = WORDS.get(event.outcome, event.outcome)
    said = event.tail.strip()
    if event.outcome == "done" and said in PASSED:
        word = PASSED[said]
    elif event.outcome == "done" and event.direction == "undo":
        word = "undone"
    text = row(event.host, word, f"{event.title} · {duration(event.seconds)}")
    if event.outcome == "done" or not event.tail.strip():
        return text
    return f"{text}\n{indented(event.tail)}"


def _warned(event: e.Warned) -> list[str]:
    found = [row(event.host, "warning", event.message)]
    if event.output.strip():
        found.append(indented(event.output))
    if event.remedy:
        found.append(indented(event.remedy))
    return found


def row(host: str, word: str, text: str) -> str:
    """One line: where, how, what."""
    return f"  {host:<8} {word:<9} {text}"


def indented(text: str, by: int = 20) -> str:
    """Every line of ``text`` moved to the right; trailing blank ones dropped."""
    return "\n".join(" " * by + part for part in text.rstrip().splitlines())


def listed(names: Iterable[str]) -> str:
    """``a, b and c``."""
    known = list(names)
    if len(known) < 2:
        return "".join(known)
    return f"{', '.join(known[:-1])} and {known[-1]}"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def findings(found: Iterable[Finding]) -> str:
    """Reasons as paragraphs: where and what, then what the machine said, then the remedy. Equal ones are told once."""
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for f in found:
        hosts = grouped.setdefault((f.address, f.message, f.output.strip(), f.remedy), [])
        if f.host not in hosts:
            hosts.append(f.host)
    paragraphs = []
    for (address, message, output, remedy), hosts in grouped.items():
        where = f" [{address}]" if address else ""
        # a check's title says what should be so
        said = f"does not hold: {message}" if address and ": " not in message else message
        lines = [f"  {listed(hosts)}: {said}{where}"]
        if output:
            lines.append(indented(output, 6))
        if remedy:
            lines.append(f"    -> {remedy}")
        paragraphs.append("\n".join(lines))
    return "\n".join(paragraphs)
