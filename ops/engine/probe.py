"""The probe: one read-only exec per machine that answers everything a plan asks there.

The whole script goes in as standard input and is read to its end before anything of it runs, so that nothing can
swallow a part of it. Answers come back as lines with a nonce and base64, immune to what a profile or a question prints.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ops.engine.frames import exports
from ops.plan import wire
from ops.plan.facts import Answer, Question, computed_at, questions, value_key
from ops.plan.model import OPS, Computed, Plan, Secret
from ops.plan.preamble import PREAMBLE

VALUE_TIMEOUT = 30
"""Seconds for one computed value."""
TAIL = 2048
"""Bytes of a question's output that are kept, from its end."""
BATCH = 4
"""Questions asked at once: most of them wait for a container engine."""

COMMAND = (
    "exec bash --norc -c 'opsbook_script=$(cat); exec </dev/null; "
    'case $opsbook_script in *"# end of the probe") eval "$opsbook_script" ;; *) echo cut >&2; exit 97 ;; esac\''
)
"""The exec's argv: reads the script whole, then runs it."""

# $1 timeout, $2 text. The last line of what it prints is the exit status.
_HELPERS = r"""
opsbook_run() {
  { timeout -k 2 "$1" bash --norc -c "$opsbook_helpers
$2" 2>&1 </dev/null; printf '\n%s' "$?"; } | tail -c "$opsbook_tail" | base64 -w0
}
opsbook_value() {
  eval "$( { opsbook_err=$( { opsbook_out=$(timeout -k 2 "$2" bash --norc -c "$opsbook_helpers
$3" </dev/null); opsbook_rc=$?; declare -p opsbook_out opsbook_rc >&3; } 2>&1 ); declare -p opsbook_err; } 3>&1 )"
  if [ "$opsbook_rc" = 0 ]; then printf -v "$1" %s "$opsbook_out"; export "$1"
  else opsbook_out=$(printf %s "$opsbook_err" | tail -c "$opsbook_tail"); fi
  opsbook_say "value:$1" "$(printf '%s\n%s' "$opsbook_out" "$opsbook_rc" | base64 -w0)"
}
opsbook_say() { printf '\n%s %s %s\n' "$opsbook_nonce" "$1" "$2"; }
""".lstrip("\n")


class ProbeFailed(Exception):
    """A machine's shell did not answer as a probe does. ``cause`` says what came instead, ``remedy`` what to do."""

    def __init__(self, host: str, cause: str, remedy: str) -> None:
        super().__init__(f"{host}: {cause}. {remedy}")
        self.host = host
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """What is asked on one machine: computed values first, in order, then questions that may read them."""

    values: tuple[tuple[str, str], ...]
    """(name, text) of each computed value."""
    questions: tuple[Question, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to ask."""
        return not self.values and not self.questions

    @property
    def deadline(self) -> int:
        """Seconds after which the machine counts as one that does not answer."""
        return 30 + max([q.timeout for q in self.questions] + [VALUE_TIMEOUT for _ in self.values], default=0)


def inquiry(plan: Plan, machine: str, *, compute: bool = True) -> Inquiry:
    """What the plan asks on ``machine``. Without ``compute`` its values are known already and only read.

    Secrets are not demanded: what is in place is told without them, and hosts have none before the session. Only checks
    at ops may read them.
    """
    hidden = {v.name for v in plan.vars if isinstance(v.source, Secret)} if machine != OPS else set()
    asked = tuple(
        Question(key=q.key, text=q.text, reads=tuple(r for r in q.reads if r not in hidden), timeout=q.timeout)
        for q in questions(plan, machine)
    )
    values = tuple((v.name, v.source.text) for v in computed_at(plan, machine) if isinstance(v.source, Computed))
    return Inquiry(values=values if compute else (), questions=asked)


def script(asked: Inquiry, env: Mapping[str, str], nonce: str) -> bytes:
    """The probe of one machine as bytes; ``env`` are the values known beforehand. Raises FrameError on a bad one."""
    lines = [
        PREAMBLE,
        f"opsbook_nonce={shlex.quote(nonce)} opsbook_tail={TAIL}",
        f"opsbook_helpers={wire.quote(PREAMBLE)}",
        _HELPERS,
    ]
    text = "\n".join(lines).encode() + b"\n" + exports(env)
    body = [f"opsbook_value {name} {VALUE_TIMEOUT} {wire.quote(wire.probe((), value))}" for name, value in asked.values]
    for start in range(0, len(asked.questions), BATCH):
        batch = asked.questions[start : start + BATCH]
        # Opened together, they run together; read in order, each answer is a line of its own.
        body += [f"exec {{opsbook_{i}}}< <({_question(q)})" for i, q in enumerate(batch)]
        body += [
            f'read -r -u "$opsbook_{i}" ob; exec {{opsbook_{i}}}<&-; opsbook_say {shlex.quote(q.key)} "$ob"'
            for i, q in enumerate(batch)
        ]
    return text + "\n".join([*body, "opsbook_say end 0", "# end of the probe"]).encode()


def _question(question: Question) -> str:
    run = f"opsbook_run {question.timeout} {wire.quote(wire.probe(question.reads, question.text))}"
    # A step that stands at another machine is asked there for each host whose turn it serves.
    host = question.key.rpartition("@")[2] if "@" in question.key else ""
    return f"export HOST={shlex.quote(host)}; {run}" if host else run


def answers(host: str, output: bytes, nonce: str, said: bytes = b"") -> dict[str, Answer]:
    """The answers in what a probe printed. Raises ProbeFailed when it did not come to its end."""
    found: dict[str, Answer] = {}
    whole = False
    for match in re.finditer(rb"^" + re.escape(nonce.encode()) + rb" (\S+) (\S*)$", output, re.MULTILINE):
        key, payload = match[1].decode(), match[2]
        if key == "end":
            whole = True
            continue
        try:
            text, _, code = base64.b64decode(payload, validate=True).decode("utf-8", "replace").rpartition("\n")
            found[key] = Answer(code=int(code), output=text if key.startswith("value:") else text.strip("\n"))
        except (binascii.Error, ValueError) as error:
            raise ProbeFailed(host, f"its answer to {key} is damaged ({error})", "Run the command again") from error
    if not whole:
        told = (said or output).decode("utf-8", "replace").strip()[-300:]
        raise ProbeFailed(
            host,
            f"its shell did not come to the end of the probe; it said: {told or 'nothing'}",
            "bash, base64, tail and timeout must be there, and the login shell must run commands: try ssh by hand",
        )
    return found


def names(found: Mapping[str, Answer], asked: Iterable[str]) -> dict[str, str]:
    """The computed values among the answers, by variable; those that failed are left out."""
    answered = {name: found.get(f"value:{name}") for name in asked}
    return {name: answer.output for name, answer in answered.items() if answer and answer.holds}


__all__ = ["COMMAND", "Inquiry", "ProbeFailed", "answers", "inquiry", "names", "script", "value_key"]
