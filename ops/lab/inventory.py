"""The inventory of a lab that is not the default one: `inventories/lab.yaml` with its names, ports and addresses."""

from __future__ import annotations

import re

from ops.lab.names import DEFAULT, MAX_APP_HOSTS, OPS_HOST, Lab


def translate(text: str, lab: Lab) -> str:
    """The default lab's inventory as another lab's: a textual change, so comments and order stay.

    Hosts that the lab does not have are left out; each stands in a line of its own.
    """
    surplus = "|".join(f"app{number}" for number in range(lab.app_hosts + 1, MAX_APP_HOSTS + 1))
    if surplus:
        text = re.sub(rf"(?m)^ +({surplus}):.*\n", "", text)
    default = Lab(name=DEFAULT, root=lab.root, app_hosts=MAX_APP_HOSTS)
    own = Lab(name=lab.name, root=lab.root, app_hosts=MAX_APP_HOSTS)
    ports = {str(default.ports.host(host)): str(own.ports.host(host)) for host in (*default.hosts, OPS_HOST)}
    for part in ("registry", "http", "stats", "https", "s3", "s3new"):
        ports[str(getattr(default.ports, part))] = str(getattr(own.ports, part))
    parts = "|".join([*default.hosts, OPS_HOST, "balancer", "registry", "s3", "s3new"])
    text = re.sub(rf"\b{DEFAULT}-({parts})\b", rf"{lab.name}-\1", text)
    text = text.replace(f".lab/{DEFAULT}/", f".lab/{lab.name}/")
    text = re.sub(r"\b198\.18\.0\.(\d+)\b", rf"198.18.{lab.slot}.\1", text)
    return re.sub(r"\b(" + "|".join(ports) + r")\b", lambda found: ports[found[1]], text)


def write(lab: Lab) -> None:
    """Write `.lab/<lab>/inventories/lab.yaml`, for `OPSBOOK_INVENTORIES`. The default lab has the committed one."""
    source = lab.root / "inventories" / "lab.yaml"
    if lab.name == DEFAULT or not source.exists():
        return
    target = lab.state / "inventories" / "lab.yaml"
    target.parent.mkdir(exist_ok=True)
    target.write_text(translate(source.read_text(), lab))
