"""The variables that procedures share: how each value is obtained, by the tool and by hand."""

from __future__ import annotations

import hashlib
import shlex

from ops.inventory.model import Inventory
from ops.inventory.references import fetch_text
from ops.plan.model import OPS, Asked, Computed, Given, Secret, Var
from ops.proxies import steps as proxies
from ops.targets.compose import images
from ops.targets.compose.derive import image_variable
from ops.targets.compose.migrations import Moves, head
from ops.targets.compose.release import Facets, secret_variable

RELEASE_PATTERN = r"[a-z0-9][a-z0-9.-]{0,40}"
VERSION_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"


def common(inventory: Inventory, purpose: str) -> tuple[Var, ...]:
    """APP, OWNER, PURPOSE, REASON: what the lease and the records want to know."""
    owner = 'printf "%s@%s" "${USER:-$(id -un)}" "$(hostname)"'
    return (
        Var(name="APP", source=Given(value=inventory.app_dir), note="the app's directory on every host"),
        Var(name="OWNER", source=Computed(text=owner), at=OPS, note="who does it"),
        Var(name="PURPOSE", source=Given(value=purpose), note="what for"),
        Var(
            name="REASON",
            source=Asked(prompt="Why (may be empty)", pattern=r".{0,200}", default=""),
            note="why, for the record",
        ),
    )


def current(inventory: Inventory) -> Var:
    """The release that is live on each host, by the proxy's own configuration."""
    text = proxies.live(inventory.proxy, inventory.slug)
    return Var(name="CURRENT", source=Computed(text=text), note="the release that is live on this host; empty: none")


def previous() -> Var:
    """Where the link ``previous`` points."""
    text = 'basename "$(readlink "$APP/previous" || true)"'
    return Var(name="PREVIOUS", source=Computed(text=text), note="where the link `previous` points now")


def registry_password(inventory: Inventory) -> tuple[Var, ...]:
    """The registry's password, where one is needed."""
    reference = inventory.registry.password
    if not inventory.registry.username or reference is None:
        return ()
    return (
        Var(
            name="REGISTRY_PASSWORD",
            source=Secret(ref=reference, fetch=fetch_text(reference)),
            note=f"password of {inventory.registry.username} at {inventory.registry.address}",
        ),
    )


def secrets(inventory: Inventory) -> tuple[Var, ...]:
    """The application's secrets."""
    found = []
    for name, variable in inventory.variables.items():
        if variable.kind == "secret" and variable.source:
            source = Secret(ref=variable.source, fetch=fetch_text(variable.source))
            found.append(Var(name=secret_variable(name), source=source, note=f"the application's {name}"))
    return tuple(found)


def settings(inventory: Inventory) -> tuple[Var, ...]:
    """The settings that are fetched at ops; a default stands in where nothing is found."""
    found = []
    for name, variable in inventory.variables.items():
        if variable.kind == "setting" and variable.value is None and variable.source:
            text = fetch_text(variable.source)
            if variable.default is not None:
                text = f'value=$({{ {fetch_text(variable.source)}; }} 2>/dev/null || true)\n[ -n "$value" ] || value={shlex.quote(variable.default)}\nprintf \'%s\' "$value"'
            found.append(Var(name=name, source=Computed(text=text), at=OPS, note="a setting of the application"))
    return tuple(found)


def version() -> Var:
    """The version that is asked for."""
    source = Asked(prompt="Version to deploy (the images' tag)", pattern=VERSION_PATTERN)
    return Var(name="VERSION", source=source, note="the version to deploy")


def built(inventory: Inventory, f: Facets) -> tuple[Var, ...]:
    """What the ops machine finds out of a version: its images by digest, and the id of the release they make."""
    registry = inventory.registry
    text = images.lookup(registry.address, registry.username, registry.reach, registry.ca, inventory.target.services)
    found = [Var(name="IMAGES", source=Computed(text=text), at=OPS, note="the images by digest, and their labels")]
    for service in f.services:
        found.append(
            Var(
                name=image_variable(service),
                source=Computed(text=f'jq -er \'."{service}".image\' <<<"$IMAGES"'),
                at=OPS,
                note=f"the image of {service}",
            )
        )
    said = f.compose_text + f.live_text + repr(sorted((k, sorted(v.items())) for k, v in f.settings.items()))
    shape = hashlib.sha256(said.encode()).hexdigest()[:16]
    parts = " ".join(f'"${n}"' for n in (*dict.fromkeys(f.images), *f.computed))
    slug = "$(tr '[:upper:]' '[:lower:]' <<<\"$VERSION\" | sed 's/[^a-z0-9.]/-/g; s/^[-.]*//' | cut -c1-24)"
    release = f"printf '%s-%s' \"{slug}\" \\\n  \"$(printf '%s\\n' {shape} {parts} | sha256sum | cut -c1-8)\""
    found.append(
        Var(
            name="RELEASE",
            source=Computed(text=release),
            at=OPS,
            note="the release's id: version and a hash over images, derived compose file and settings",
        )
    )
    return tuple(found)


def migration(inventory: Inventory, m: Moves | None) -> tuple[Var, ...]:
    """HEAD, COMPATIBLE, REVERSIBLE of the version, and ACCEPT_DOWNTIME: from its image's labels, else the inventory."""
    settings = inventory.migrations
    if m is None or settings is None:
        return (
            Var(name="HEAD", source=Given(value="none"), note="this app has no migrations"),
            Var(name="COMPATIBLE", source=Given(value="true"), note="this app has no migrations"),
            Var(name="REVERSIBLE", source=Given(value="true"), note="this app has no migrations"),
        )

    def label(key: str, declared: dict[str, str], fallback: str) -> str:
        cases = "".join(f" {shlex.quote(v)}) echo {shlex.quote(said)} ;;" for v, said in declared.items())
        query = f'."{m.service}".labels["org.opsbook.migrations.{key}"] // empty'
        lines = [f'label=$(jq -r {shlex.quote(query)} <<<"$IMAGES")']
        lines.append('[ -z "$label" ] || { echo "$label"; exit 0; }')
        lines.append(f'case "$VERSION" in{cases} *) echo {fallback} ;; esac')
        return "\n".join(lines)

    told = settings.releases
    flag = {True: "true", False: "false"}
    heads = {v: r.head for v, r in told.items() if r.head}
    compatible = {v: flag[r.compatible] for v, r in told.items() if r.compatible is not None}
    reversible = {v: flag[r.reversible] for v, r in told.items() if r.reversible is not None}
    return (
        Var(
            name="HEAD",
            source=Computed(text=label("head", heads, '"$RELEASE"')),
            at=OPS,
            note="the newest migration of the version; unknown: the release's id, which is always pending",
        ),
        Var(
            name="COMPATIBLE",
            source=Computed(text=label("compatible", compatible, "''")),
            at=OPS,
            note="whether the release before still works on the new schema",
        ),
        Var(
            name="REVERSIBLE",
            source=Computed(text=label("reversible", reversible, "''")),
            at=OPS,
            note="whether the migration can be taken back",
        ),
        Var(
            name="ACCEPT_DOWNTIME",
            source=Asked(
                prompt="Accept a downtime for incompatible migrations (yes or no)", pattern="yes|no", default="no"
            ),
            note="whether a planned downtime is accepted",
        ),
        head_before(settings.host, m),
    )


def head_before(host: str, m: Moves) -> Var:
    """The database's head before the run, on the host that migrates."""
    return Var(name="HEAD_BEFORE", source=Computed(text=head(m)), at=host, note="the database's head before the run")


def recorded(name: str, query: str, note: str, *, release: str = "RELEASE", default: str = "") -> Var:
    """A value that ``release.json`` of a release holds, equal on all hosts."""
    text = (
        f'jq -r {shlex.quote(query)} "$APP/releases/${release}/release.json" 2>/dev/null || echo {shlex.quote(default)}'
    )
    return Var(name=name, source=Computed(text=text, shared=True), note=note)
