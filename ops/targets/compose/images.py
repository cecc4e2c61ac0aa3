"""Digests and labels of a version's images, asked of the registry from the ops machine: text that needs no engine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from ops.targets.compose.settings import Service

LOOKUP = r"""
set -euo pipefail
base=https://@ADDRESS@/v2
get() { curl -fsSL --max-time 20 --retry 2 @OPTIONS@ "$@"; }
login() { @LOGIN@; }
field() { sed -n "s/.*$1=\"\([^\"]*\)\".*/\1/p" <<<"$challenge"; }
auth() {  # REPOSITORY: what the registry wants to see, as a curl configuration on a file descriptor
  if [ -z "$challenge" ]; then login; return; fi
  printf 'header = "Authorization: Bearer %s"\n' "$(get -K <(login) -G "$(field realm)" --data-urlencode \
    "service=$(field service)" --data-urlencode "scope=repository:$1:pull" | jq -er '.token // .access_token')"
}
image() {  # SERVICE REPOSITORY: {service: {image, labels}}; of an index, the labels of its first image
  local digest manifest types='Accept: @TYPES@'
  digest=$(get -K <(auth "$2") -I -H "$types" "$base/$2/manifests/$VERSION" | tr -d '\r' |
    sed -n 's/^docker-content-digest: //Ip' || true)
  if [ -z "$digest" ]; then
    echo "the registry @ADDRESS@ gives no $2:$VERSION: was it pushed, and may the login read it?" >&2; exit 1
  fi
  manifest=$(get -K <(auth "$2") -H "$types" "$base/$2/manifests/$digest")
  if jq -e .manifests <<<"$manifest" >/dev/null; then
    manifest=$(get -K <(auth "$2") -H "$types" "$base/$2/manifests/$(jq -r '.manifests[0].digest' <<<"$manifest")")
  fi
  get -K <(auth "$2") "$base/$2/blobs/$(jq -r .config.digest <<<"$manifest")" |
    jq -c --arg service "$1" --arg image "@ADDRESS@/$2@$digest" \
      '{($service): {image: $image, labels: (.config.Labels // {})}}'
}
challenge=$(curl -sS -o /dev/null -D - --max-time 20 @OPTIONS@ "$base/" | tr -d '\r' |
  sed -n '/^www-authenticate: bearer/Ip')
{
@IMAGES@
} | jq -cs add
"""


LOGIN = r"""printf 'user = "%s:%s"\n' @USER@ "$(sed 's/[\\"]/\\&/g' "$REGISTRY_PASSWORD")" """.strip()


def lookup(address: str, username: str, reach: str, ca: str, services: Mapping[str, Service]) -> str:
    """Text that prints ``{service: {image: repository@digest, labels: {…}}}`` for ``$VERSION``.

    Reads ``$VERSION`` and, with a username, the file ``$REGISTRY_PASSWORD``. Answers Basic and Bearer challenges.
    No secret stands in argv: curl reads them from file descriptors.
    """
    options = []
    if ca:
        options.append(f"--cacert {shlex.quote(ca)}")
    if reach:
        host, _, port = address.partition(":")
        options.append(f"--connect-to {host}:{port or '443'}:{reach}")
    asked = [f"image {name} {repository(address, s.image)}" for name, s in services.items()]
    replaced = {
        "@ADDRESS@": address,
        "@OPTIONS@": " ".join(options),
        "@LOGIN@": LOGIN.replace("@USER@", shlex.quote(username)) if username else ":",
        "@TYPES@": ACCEPT,
        "@IMAGES@": "\n".join(asked),
    }
    text = LOOKUP.strip("\n")
    for mark, value in replaced.items():
        text = text.replace(mark, value)
    return text


def repository(address: str, image: str) -> str:
    """The repository's path in its registry."""
    return image.removeprefix(f"{address}/")


ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
