"""The proxy's steps: its container, its fixed configuration, the switch."""

from __future__ import annotations

import hashlib
from typing import assert_never

from ops.plan.model import Back, Change, Keep, Step
from ops.proxies import haproxy
from ops.proxies.settings import Haproxy, NoProxy, Proxy


def live(proxy: Proxy, slug: str) -> str:
    """Text that prints the release that is live on this host, or nothing."""
    match proxy:
        case Haproxy():
            return "sed -n 's/^# live: //p' \"$APP/proxy/live.cfg\" 2>/dev/null || true"
        case NoProxy():
            label = "'{{.Label \"org.opsbook.release\"}}'"
            only = f"--filter label=org.opsbook.app={slug} --filter label=org.opsbook.role=server"
            return f"docker ps {only} --format {label} | sort -u | sed -n 1p"
        case _:
            assert_never(proxy)


def setup(proxy: Proxy, slug: str, drain: int, login: str, password: tuple[str, ...]) -> tuple[Step, ...]:
    """Makes what a release needs on a host before it: the app's network, and the proxy's files and container."""
    network = Step(
        id="network",
        title="Make the app's network",
        why="releases and proxy meet here",
        act=Change(
            run=f"docker network create {slug} >/dev/null",
            done_when=f"docker network inspect {slug}",
            undo=Keep(why="an empty network changes nothing"),
        ),
    )
    match proxy:
        case NoProxy():
            return (network,)
        case Haproxy():
            return (network, _files(proxy, slug, drain), _container(proxy, slug, login, password))
        case _:
            assert_never(proxy)


def _files(proxy: Haproxy, slug: str, drain: int) -> Step:
    fixed = haproxy.fixed(proxy, drain)
    name = f"{slug}-proxy"
    mark = f"# version: {hashlib.sha256((fixed + haproxy.empty()).encode()).hexdigest()[:16]}"
    return Step(
        id="proxy-files",
        title="Write the proxy's fixed configuration",
        why="the routes come with each release; this part changes only with the inventory",
        act=Change(
            run=(
                'mkdir -p "$APP/proxy/run"\n'
                f"cat >\"$APP/proxy/empty.cfg\" <<'EMPTY'\n{haproxy.empty()}EMPTY\n"
                '[ -e "$APP/proxy/live.cfg" ] || cp "$APP/proxy/empty.cfg" "$APP/proxy/live.cfg"\n'
                f"cat >\"$APP/proxy/haproxy.cfg.new\" <<'FIXED'\n{fixed}FIXED\n"
                f'if [ -n "$(docker ps -q --filter name=^{name}$)" ]; then\n'
                f"  docker exec {name} haproxy -c -q -f /opsbook/haproxy.cfg.new -f /opsbook/live.cfg\n"
                "fi\n"
                'mv "$APP/proxy/haproxy.cfg.new" "$APP/proxy/haproxy.cfg"\n'
                f"docker kill -s USR2 {name} >/dev/null 2>&1 || true\n"
                f'echo {mark!r} >>"$APP/proxy/haproxy.cfg"'
            ),
            done_when=f'grep -qsxF {mark!r} "$APP/proxy/haproxy.cfg" && test -e "$APP/proxy/live.cfg"',
            undo=Keep(why="the fixed configuration routes nothing by itself"),
        ),
        reads=("APP",),
    )


def _container(proxy: Haproxy, slug: str, login: str, password: tuple[str, ...]) -> Step:
    name = f"{slug}-proxy"
    # `always`: a reload by `docker kill -s USR2` counts as a stop by hand, after which `unless-stopped` ends at a reboot
    create = (
        f"docker run -d --name {name} --restart always --network {slug} --publish {proxy.listen}:8080 \\\n"
        '  --label org.opsbook.proxy=@MARK@ --volume "$APP/proxy:/opsbook" --log-opt max-size=10m --log-opt max-file=3 \\\n'
        f"  --user root --entrypoint haproxy {proxy.image} \\\n"
        "  -W -db -S /run/haproxy-master.sock -f /opsbook/haproxy.cfg -f /opsbook/live.cfg"
    )
    mark = hashlib.sha256(create.encode()).hexdigest()[:16]
    return Step(
        id="proxy",
        title="Run the proxy",
        why="it answers for the app on this host and switches from release to release",
        act=Change(
            run=(
                f"docker image inspect {proxy.image} >/dev/null 2>&1 || {{\n{login}docker pull --quiet {proxy.image}\n}}\n"
                f"docker rm -f {name} >/dev/null 2>&1 || true\n"
                f"{create.replace('@MARK@', mark)} >/dev/null"
            ),
            done_when=(
                f"docker ps --filter name=^{name}$ --filter label=org.opsbook.proxy={mark} --format '{{{{.State}}}}' |"
                " grep -qx running && " + asked() + " | grep -q ."
            ),
            undo=Keep(why="without a release it answers 503, as nothing did before"),
            within=20,
        ),
        reads=("APP", *password),
        timeout=300,
        look=f"docker logs --tail 20 {name} 2>&1",
        otherwise=f"Is the address {proxy.listen} taken (`ss -ltnp`)?",
    )


def asked() -> str:
    """Text that prints the release the proxy's newest worker loaded (``none``: no release)."""
    return 'curl -fsS --max-time 3 --unix-socket "$APP/proxy/run/live.sock" http://proxy/'


def switch(proxy: Proxy, slug: str, drain: int) -> Step | None:
    """Sends new requests to the release and drains the old one: one change, so that a killed one is never half done."""
    match proxy:
        case NoProxy():
            return None
        case Haproxy():
            pass
        case _:
            assert_never(proxy)
    name = f"{slug}-proxy"

    def to(var: str) -> str:
        return (
            f'cp "$APP/releases/${var}/live.cfg" "$APP/proxy/live.cfg.new"\n'
            if var == "RELEASE"
            else f'if [ -n "${var}" ]; then cp "$APP/releases/${var}/live.cfg" "$APP/proxy/live.cfg.new"\n'
            'else cp "$APP/proxy/empty.cfg" "$APP/proxy/live.cfg.new"; fi\n'
        ) + (
            f"docker exec {name} haproxy -c -q -f /opsbook/haproxy.cfg -f /opsbook/live.cfg.new\n"
            'mv "$APP/proxy/live.cfg.new" "$APP/proxy/live.cfg"\n'
            f"docker kill -s USR2 {name} >/dev/null"
        )

    def is_live(var: str, name_of: str) -> str:
        # the file, for the next start; what the proxy loaded; and two processes: the master and one worker, a third is
        # an old worker that still drains
        return (
            f'grep -qxF "# live: ${var}" "$APP/proxy/live.cfg" && test ! -e "$APP/proxy/live.cfg.new" &&\n'
            f'  test "$({asked()})" = "{name_of}" && test "$(docker top {name} -eo pid,comm | grep -c haproxy)" = 2'
        )

    return Step(
        id="switch",
        title="Switch the proxy and drain the old release",
        why=f"new requests go to the release; old connections finish, at most {drain} s",
        act=Change(
            run=to("RELEASE"),
            done_when=is_live("RELEASE", "$RELEASE"),
            undo=Back(run=to("CURRENT"), until=is_live("CURRENT", "${CURRENT:-none}"), within=drain + 20),
            within=drain + 20,
        ),
        reads=("APP", "RELEASE", "CURRENT"),
        timeout=drain + 60,
        look=f"docker logs --tail 20 {name} 2>&1",
        otherwise="The proxy's last lines say what it did not take; it goes on with the old configuration.",
    )
