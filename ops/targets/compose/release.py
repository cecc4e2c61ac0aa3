"""A release on a host: fetched, written, started beside the running one, linked, stopped. Each function is one step."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from ops.plan.model import Back, Change, Keep, Repeat, Step
from ops.targets.compose.derive import image_variable

HERE = '"$APP/releases/$RELEASE"'
COMPOSE = 'docker compose -f "$APP/releases/$RELEASE/compose.yaml"'
OLD_COMPOSE = 'docker compose -f "$APP/releases/$CURRENT/compose.yaml"'
EVERYTHING = '--profile workers --profile "on-$HOST"'


@dataclass(frozen=True, kw_only=True)
class Facets:
    """What the release steps need to know of an inventory, already rendered to text."""

    slug: str
    state: str
    registry: str
    username: str
    services: tuple[str, ...]
    compose_text: str
    live_text: str
    volumes: tuple[str, ...]
    """Real names of the named volumes that released services mount."""
    settings: Mapping[str, Mapping[str, str]]
    """Env file -> literal lines' values by name; a value ``$NAME`` computed at ops stands in ``computed``."""
    computed: tuple[str, ...]
    """Names of settings that the ops machine computes."""
    secret_files: Mapping[str, tuple[str, ...]]
    """Secrets env file (``secrets.env``, …) -> names of the secrets delivered as variables."""
    mounted: tuple[str, ...]
    """Names of the secrets delivered as files."""
    within: int
    """Seconds from start to healthy."""
    grace: int
    """Longest stop_grace of a service, in seconds."""

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the variables that hold the images by digest."""
        return tuple(image_variable(s) for s in self.services)


def healthy(slug: str, role: str, profiles: str = "", release: str = "RELEASE") -> str:
    """Probe: every container of the role that the release's file asks for runs, and none is starting or unhealthy."""
    mine = (
        f'--filter label=com.docker.compose.project="{slug}-${release}" --filter label=com.docker.compose.oneoff=False'
    )
    only = f" --filter label=org.opsbook.role={role}" if role else ""
    file = f'"$APP/releases/${release}/compose.yaml"'
    running = f"docker ps {mine}{only} --format '{{{{.Status}}}}' | grep -cE '^Up [^(]*([(]healthy[)])?$'"
    wanted = f"docker compose -f {file} {profiles + ' ' if profiles else ''}config --services | wc -l"
    # no file, no containers: nothing is healthy then
    return f'test -s {file} && test "$({running})" = "$({wanted})"'


def logs(slug: str, release: str = "RELEASE") -> str:
    """Evidence: what each of a release's containers that is not healthy said last, and its last health check."""
    told = (
        '.[0] | "== \\(.Name[1:]) \\(.State.Status) \\(.State.Health.Status // ""), exit \\(.State.ExitCode)",'
        ' (.State.Health.Log // [] | .[-1:][] | "health check: \\(.Output)")'
    )
    return (
        f'for c in $(docker ps -aq --filter label=com.docker.compose.project="{slug}-${release}"); do\n'
        '  [ "$(docker inspect -f \'{{with .State.Health}}{{.Status}}{{end}}\' "$c")" != healthy ] || continue\n'
        f"  docker inspect \"$c\" | jq -r '{told}'\n"
        '  docker logs --tail 20 "$c" 2>&1\n'
        "done"
    )


def login(f: Facets) -> str:
    """Logs in to the registry for the rest of the block, leaving nothing behind."""
    if not f.username:
        return ""
    return (
        "DOCKER_CONFIG=$(mktemp -d); export DOCKER_CONFIG; trap 'rm -r \"$DOCKER_CONFIG\"' EXIT\n"
        f'docker login --username {shlex.quote(f.username)} --password-stdin {f.registry} <"$REGISTRY_PASSWORD" >/dev/null\n'
    )


def password(f: Facets) -> tuple[str, ...]:
    """The registry's password, for steps that log in."""
    return ("REGISTRY_PASSWORD",) if f.username else ()


def volumes(names: tuple[str, ...]) -> Step | None:
    """Makes the named volumes that released services mount, where they don't exist; None when there are none."""
    if not names:
        return None
    return Step(
        id="volumes",
        title="Make the named volumes",
        why="they belong to the app, not to a release: each release finds the same data",
        act=Change(
            run="\n".join(f"docker volume create {name} >/dev/null" for name in names),
            done_when=f"docker volume inspect {' '.join(names)}",
            undo=Keep(why="an empty volume changes nothing, a full one is not ours to remove"),
        ),
    )


def pull(f: Facets) -> Step:
    """Pulls every image by digest."""
    images = sorted(set(f.images))
    pulls = "\n".join(f'docker pull --quiet "${i}"' for i in images)
    held = " && ".join(f'docker image inspect "${i}"' for i in images)
    return Step(
        id="pull",
        title="Pull the images by digest",
        why="nothing is fetched while hosts switch, and every host gets the very same bytes",
        act=Change(
            run=login(f) + pulls,
            done_when=held,
            undo=Keep(why="an image nobody uses changes nothing; the next prune removes it"),
        ),
        reads=(*images, *password(f)),
        timeout=900,
        look="df -h",  # on a full disk not even the reason can be kept
        otherwise="Is the registry up, does it have the version for this host's architecture, is the disk full (`df -h`)?",
    )


def write(f: Facets) -> Step:
    """Writes the release's directory and its local tags; ``release.json`` comes last and makes it whole."""
    marks = " ".join(f'-e "s|__{i}__|${i}|"' for i in f.images)
    lines = [
        f'dir={HERE}; umask 077; mkdir -p "$dir"; chmod 755 "$dir"',
        f'sed -e "s|__RELEASE__|$RELEASE|g" {marks} >"$dir/compose.yaml" <<\'COMPOSE\'\n{f.compose_text}COMPOSE',
    ]
    if f.live_text:
        lines.append(f'sed "s|__RELEASE__|$RELEASE|g" >"$dir/live.cfg" <<\'LIVE\'\n{f.live_text}LIVE')
    for name, values in f.settings.items():
        literal = "".join(f"{n}={escaped(v)}\n" for n, v in values.items() if n not in f.computed)
        end = delimiter("ENV", literal)
        lines.append(f"cat >\"$dir/{name}\" <<'{end}'\n{literal}{end}")
        lines += [f'printf \'{n}=%s\\n\' "$(quoted <<<"${n}")" >>"$dir/{name}"' for n in values if n in f.computed]
    lines += [f'docker tag "${image_variable(s)}" {f.slug}/{s}:"$RELEASE"' for s in f.services]
    images = ", ".join(f"{quote_json(s)}: env.{image_variable(s)}" for s in f.services)
    before = '$(cat "$APP/releases/$CURRENT/release.json" 2>/dev/null || echo "{}")'
    lines += [
        f'before={before}; hash=$(cat "$dir"/env* | sha256sum | cut -c1-16); export hash',
        "jq '{version: env.VERSION, release: env.RELEASE, images: {" + images + "}, env_hash: env.hash,\n"
        '  migration: {head: env.HEAD, compatible: (env.COMPATIBLE == "true"), reversible: (env.REVERSIBLE == "true")},\n'
        '  floor: (if env.COMPATIBLE == "false" and .migration.head != env.HEAD then env.HEAD else .floor // "" end),\n'
        '  barrier: (if env.REVERSIBLE == "false" and .migration.head != env.HEAD then env.HEAD else .barrier // "" end),\n'
        '  by: env.OWNER, run: env.RUN, why: env.REASON, at: (now | todate)}\' <<<"$before" >"$dir/release.json.new"',
        'mv "$dir/release.json.new" "$dir/release.json"',
    ]
    tags = " ".join(f'{f.slug}/{s}:"$RELEASE"' for s in f.services)
    return Step(
        id="write",
        title="Write the release's directory",
        why="each release keeps its own compose file, settings and routes, so that it can be started again as it was",
        act=Change(
            run="\n".join(lines),
            done_when='test -s "$APP/releases/$RELEASE/release.json"',
            undo=Back(
                unless='test "$RELEASE" = "$CURRENT"',
                run=(
                    f'docker compose -p "{f.slug}-$RELEASE" down --remove-orphans 2>/dev/null\n'
                    f"docker image rm --no-prune {tags} >/dev/null 2>&1 || true\n"
                    f"rm -rf {HERE}"
                ),
                until=f"test ! -e {HERE}",
            ),
        ),
        reads=(
            "APP",
            "RUN",
            "OWNER",
            "REASON",
            "VERSION",
            "RELEASE",
            "CURRENT",
            "HEAD",
            "COMPATIBLE",
            "REVERSIBLE",
            *f.images,
            *f.computed,
        ),
        timeout=120,
        otherwise="Is the disk full (`df -h`)?",
    )


def secrets(f: Facets) -> Step | None:
    """Writes the current secrets beside the releases, serving all kept ones; None when there are none."""
    if not f.mounted and not any(f.secret_files.values()):
        return None
    lines = ["umask 077"]
    for file, names in f.secret_files.items():
        if not names:
            continue
        body = "\n".join(f'  printf \'{n}=%s\\n\' "$(quoted <"${secret_variable(n)}")"' for n in names)
        lines += ["{", body, f'}} >"$APP/{file}.new"; mv "$APP/{file}.new" "$APP/{file}"']
    if f.mounted:
        lines.append('mkdir -p "$APP/secrets"')
    for n in f.mounted:
        # 0444 in a 0700 directory: the container's user may read the mount, nobody else on the host gets there
        lines.append(
            f'cat <"${secret_variable(n)}" >"$APP/secrets/{n}.new"; chmod 444 "$APP/secrets/{n}.new";'
            f' mv "$APP/secrets/{n}.new" "$APP/secrets/{n}"'
        )
    names = (*(n for names in f.secret_files.values() for n in names), *f.mounted)
    return Step(
        id="secrets",
        title="Write the current secrets",
        why="secrets are always the current ones: a rollback must not bring a revoked password back",
        act=Change(
            run="\n".join(lines),
            done_when=Repeat(why="the same secrets written twice are the same secrets"),
            undo=Keep(why="the secrets are the current ones"),
        ),
        reads=("APP", *dict.fromkeys(secret_variable(n) for n in names)),
    )


def secret_variable(name: str) -> str:
    """Name of the variable that holds the path of a secret of the application."""
    return f"{name}_SECRET"


def start(f: Facets) -> Step:
    """Starts the release's servers beside the running ones and waits until they are healthy."""
    return Step(
        id="start",
        title="Start the release beside the running one",
        why="users stay on the old one until the new one is healthy",
        act=Change(
            run=f"{COMPOSE} up -d --no-recreate --pull never",
            done_when=healthy(f.slug, "server"),
            undo=Back(
                unless='test "$RELEASE" = "$CURRENT"',
                run=f"{COMPOSE} {EVERYTHING} down",
                until=f'test -z "$(docker ps -aq --filter label=com.docker.compose.project="{f.slug}-$RELEASE")"',
                within=f.grace + 30,
            ),
            within=f.within,
        ),
        reads=("APP", "HOST", "RELEASE", "CURRENT"),
        timeout=f.within + 60,
        look=logs(f.slug),
        otherwise="The container's last lines say why it does not become healthy.",
    )


def handover(f: Facets) -> Step:
    """Stops the old release's workers and starts the new one's: they never run beside each other."""
    old = f'--filter label=com.docker.compose.project="{f.slug}-$CURRENT" --filter label=org.opsbook.role=worker'
    return Step(
        id="workers",
        title="Hand the work over",
        why="workers and schedulers stop before their successors start",
        act=Change(
            run=(
                f'[ -z "$CURRENT" ] || [ "$CURRENT" = "$RELEASE" ] || docker ps -q {old} | xargs -r docker stop >/dev/null\n'
                f"{COMPOSE} {EVERYTHING} up -d --no-recreate --pull never"
            ),
            done_when=healthy(f.slug, "", EVERYTHING),
            undo=Back(
                unless='test "$RELEASE" = "$CURRENT"',
                run=(
                    f'docker ps -aq --filter label=com.docker.compose.project="{f.slug}-$RELEASE"'
                    " --filter label=org.opsbook.role=worker | xargs -r docker rm -f >/dev/null\n"
                    f'[ -z "$CURRENT" ] || {OLD_COMPOSE} {EVERYTHING} up -d --no-recreate --pull never'
                ),
                until=f'test -z "$CURRENT" || {healthy(f.slug, "", EVERYTHING, "CURRENT")}',
                within=f.within,
            ),
            within=f.within,
        ),
        reads=("APP", "HOST", "RELEASE", "CURRENT"),
        timeout=f.within + f.grace + 60,
        look=logs(f.slug),
        otherwise="The container's last lines say why it does not run.",
    )


def link(f: Facets) -> Step:
    """Moves the links and tags ``current`` and ``previous``."""
    return Step(
        id="link",
        title="Move the tags current and previous",
        why="hands and prune go by them: what is live, and what was live before",
        act=Change(
            run=_linked(f.slug, "RELEASE", "BEFORE"),
            done_when=_is_linked("RELEASE", "BEFORE"),
            undo=Back(run=_linked(f.slug, "CURRENT", "PREVIOUS"), until=_is_linked("CURRENT", "PREVIOUS")),
        ),
        reads=("APP", "RELEASE", "BEFORE", "CURRENT", "PREVIOUS"),
    )


def _linked(slug: str, current: str, previous: str) -> str:
    """Text that points both links and the images' tags; ``current`` comes last. It goes by digest: `docker image
    prune -a` takes the tags of images that run, and all of a release that does not; a switch must not fail of it."""
    tags = (
        f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' --filter reference=\"{slug}/*:$name\" |\n"
        "      xargs -r docker image rm --no-prune >/dev/null"
    )
    return (
        f'for pair in "previous ${previous}" "current ${current}"; do\n'
        "  name=${pair% *}; release=${pair#* }\n"
        '  if [ -z "$release" ]; then\n'
        f"    {tags}\n"
        '    rm -f "$APP/$name"; continue\n'
        "  fi\n"
        '  jq -r \'.images | to_entries[] | "\\(.key) \\(.value)"\' "$APP/releases/$release/release.json" |\n'
        "    while read -r service image; do\n"
        f'      tag="{slug}/$service:$name"; here=$(docker image ls -q "$image")\n'
        '      if [ -n "$here" ]; then\n'
        f'        docker tag "$image" "{slug}/$service:$release"; docker tag "$image" "$tag"\n'
        "      else\n"
        '        docker image rm --no-prune "$tag" >/dev/null 2>&1 || true\n'
        '        echo "the image of the $name release was removed from this host: $image"\n'
        "      fi\n"
        "    done\n"
        '  ln -sfn "releases/$release" "$APP/$name"\n'
        "done"
    )


def _is_linked(current: str, previous: str) -> str:
    def points(name: str, var: str) -> str:
        return f'test "$(readlink "$APP/{name}" || true)" = "${{{var}:+releases/${var}}}"'

    return f"{points('previous', previous)} && {points('current', current)}"


def stop_old(f: Facets) -> Step:
    """Takes down whatever other release runs here. Its directory and images are kept for rollback."""
    others = (
        f"docker ps -a --filter label=org.opsbook.app={f.slug} --format '{{{{.Label \"org.opsbook.release\"}}}}' |\n"
        '  sort -u | grep -vxF "$RELEASE"'
    )
    return Step(
        id="stop-old",
        title="Stop the old release",
        why="its directory and images stay for the rollback; nobody is sent to it any more",
        act=Change(
            run=f'{others} | while read -r old; do\n  docker compose -p "{f.slug}-$old" down </dev/null\ndone',
            done_when=f'test -z "$({others})"',
            undo=Back(
                run=f'[ -z "$CURRENT" ] || {OLD_COMPOSE} {EVERYTHING} up -d --no-recreate --pull never',
                until=f'test -z "$CURRENT" || {healthy(f.slug, "", EVERYTHING, "CURRENT")}',
                within=f.within,
            ),
            within=10,
        ),
        reads=("APP", "HOST", "RELEASE", "CURRENT"),
        timeout=f.grace + 90,
    )


def escaped(value: str) -> str:
    """``value`` as compose's env files want it: the twin of the preamble's ``quoted``."""
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{value}"'


def delimiter(word: str, text: str) -> str:
    """A heredoc's end that no line of ``text`` is: a setting's value may hold any line."""
    while word in text.splitlines():
        word += "_"
    return word


def quote_json(name: str) -> str:
    """A literal key of a jq object."""
    return '"' + name.replace('"', '\\"') + '"'
