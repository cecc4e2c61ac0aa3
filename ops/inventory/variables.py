"""Environment rules: every variable has a value that can be right, before any host is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.inventory.load import Loaded
from ops.inventory.model import Variable, root_relative
from ops.inventory.problems import Path_, Problem
from ops.inventory.references import Unresolved, resolve

REGISTRY_PASSWORD = "REGISTRY_PASSWORD"
"""Name of the registry's password among the secrets."""

MIN_SECRET = 8
"""Bytes. A shorter secret can't be masked in output without masking innocent text."""

PLACEHOLDER = re.compile(
    r"change[-_ ]?me\W*|x{3,}|to[-_ ]?do\W*|fix[-_ ]?me\W*|replace([-_ ].*|me\W*)?|(an? )?example|place[-_ ]?holder"
    r"|((my|your|the)[-_ ]?)?(secret|pass(word|wd)?)|your[-_ ].*|tbd|<.*>|\$\{.*\}|\{\{.*\}\}|\*{3,}|\.{3,}|…+",
    re.IGNORECASE | re.DOTALL,
)
"""Whole values that stand where someone meant to write one."""

Resolve = Callable[[str, Path], bytes]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The values of an environment. ``settings``: also the literal ones. ``secrets``: with the registry's password."""

    settings: Mapping[str, str]
    secrets: Mapping[str, bytes]

    def __repr__(self) -> str:
        """Names only: a traceback or a log must not show a value."""
        return f"Resolved(settings={sorted(self.settings)}, secrets={sorted(self.secrets)})"


class VariablesError(Exception):
    """Values or files of the environment are missing or malformed; no host was touched. ``problems``: all of them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def check_variables(loaded: Loaded, resolve: Resolve = resolve) -> Resolved:
    """Every value of the environment, fetched and judged; the files that the inventory names are there.

    Raises VariablesError with everything that is wrong; no message holds the value of a secret.
    """
    found = _Findings(loaded, resolve)
    settings: dict[str, str] = {}
    secrets: dict[str, bytes] = {}
    for name, variable in loaded.inventory.variables.items():
        path: Path_ = ("variables", name)
        if variable.kind == "secret":
            value = found.secret(path, variable.source or "", variable)
            if value is not None:
                secrets[name] = value
        else:
            text = found.setting(path, variable)
            if text is not None:
                settings[name] = text
    registry = loaded.inventory.registry
    if registry.username and registry.password:
        value = found.secret(("registry", "password"), registry.password, Variable(kind="secret"))
        if value is not None:
            secrets[REGISTRY_PASSWORD] = value
    problems = (*found.problems, *check_files(loaded))
    if problems:
        raise VariablesError(problems)
    return Resolved(settings=settings, secrets=secrets)


def check_files(loaded: Loaded) -> tuple[Problem, ...]:
    """Keys, known_hosts and certificate authorities that the inventory names but that are not there."""
    inventory = loaded.inventory
    named: list[tuple[Path_, str]] = [
        (("ssh", "identity"), inventory.ssh.identity),
        (("ssh", "known_hosts"), inventory.ssh.known_hosts),
        (("registry", "ca"), inventory.registry.ca),
    ]
    for name, host in inventory.hosts.items():
        named.append((("hosts", name, "ssh", "identity"), host.ssh.identity or ""))
        named.append((("hosts", name, "ssh", "known_hosts"), host.ssh.known_hosts or ""))
    named += [(("smoke_tests", i, "ca"), getattr(t, "ca", "")) for i, t in enumerate(inventory.smoke_tests)]
    remedy = "Put the file there, or correct the path (relative paths begin at the repository)"
    return tuple(
        loaded.document.problem(path, f"there is no file {file}", remedy)
        for path, file in named
        if file and not root_relative(loaded.root, file).is_file()
    )


class _Findings:
    """Fetches and judges one value after the other, and keeps what is wrong."""

    def __init__(self, loaded: Loaded, resolve: Resolve) -> None:
        self._loaded = loaded
        self._resolve = resolve
        self.problems: list[Problem] = []

    def add(self, path: Path_, message: str, remedy: str) -> None:
        self.problems.append(self._loaded.document.problem(path, message, remedy))

    def setting(self, path: Path_, variable: Variable) -> str | None:
        """The setting's text, or None when it has none that can be used."""
        text = variable.value
        if text is None and variable.source is not None:
            raw = self._fetched(path, variable.source, quiet=variable.default is not None)
            if raw is None and variable.default is None:
                return None
            try:
                text = (raw or b"").decode() or variable.default
            except UnicodeDecodeError:
                self.add((*path, "from"), "what it gives is not UTF-8", "A setting is text; correct what it names")
                return None
        if not text:
            if variable.required:
                remedy = f"Give it a value, or write `required: false` ({self._says(variable)})"
                self.add(path, "is required but empty", remedy)
                return None
            return ""
        self._judge(path, variable, text, len(text.encode()))
        return text

    def secret(self, path: Path_, reference: str, variable: Variable) -> bytes | None:
        """The secret's bytes, or None."""
        raw = self._fetched(path, reference, quiet=False)
        if raw is None:
            return None
        if not raw:
            self.add(path, "is empty", f"Write the secret there ({self._says(variable, reference)})")
            return None
        if len(raw.rstrip(b"\r\n")) < MIN_SECRET:
            remedy = "Use a longer one: a short one can't be told from other text, so output could not mask it"
            self.add(path, f"is shorter than {MIN_SECRET} bytes", remedy)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            if variable.deliver == "variable":
                remedy = "Write `deliver: file`, or encode it (base64)"
                self.add(path, "is not UTF-8 and can't be an environment variable", remedy)
            text = raw.decode("latin-1")
        self._judge(path, variable, text, len(raw))
        return raw

    def _fetched(self, path: Path_, reference: str, *, quiet: bool) -> bytes | None:
        try:
            return self._resolve(reference, self._loaded.root)
        except Unresolved as error:
            if not quiet:
                self.add(path, f"{error.message} ({reference.partition(':')[0]})", error.remedy)
            return None

    def _judge(self, path: Path_, variable: Variable, text: str, size: int) -> None:
        shown = f" {text!r}" if variable.kind == "setting" and len(text) <= 60 else ""
        says = self._says(variable)
        if "\0" in text and variable.deliver == "variable":
            self.add(path, "holds a NUL byte", "No environment variable can; encode it, or write `deliver: file`")
        if size < variable.min_length:
            self.add(
                path, f"is {size} bytes long; min_length says {variable.min_length}", f"Correct the value ({says})"
            )
        if variable.pattern and not re.fullmatch(variable.pattern, text):
            self.add(path, f"its value{shown} does not match {variable.pattern}", f"Correct the value ({says})")
        if not variable.placeholder and PLACEHOLDER.fullmatch(text.strip()):
            remedy = f"Write the real value ({says}), or `placeholder: true` if it is meant"
            self.add(path, f"its value{shown} is a placeholder", remedy)

    def _says(self, variable: Variable, reference: str = "") -> str:
        source = variable.source or reference
        return f"it comes from {source}" if source else "it stands in the inventory"
