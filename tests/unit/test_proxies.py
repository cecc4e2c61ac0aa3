"""The proxy's files: routes by longest prefix, domains, and the name of what is live."""

from __future__ import annotations

from ops.proxies import haproxy
from ops.proxies.settings import Haproxy, NoProxy
from ops.proxies.steps import live, setup, switch
from ops.targets.compose.settings import Route, Service


def service(*paths: str, domains: tuple[str, ...] = ()) -> Service:
    return Service(image="r/x", port=80, route=Route(paths=paths, domains=domains))


def test_longest_prefix_first_and_the_root_last() -> None:
    text = haproxy.live("v1-0", {"web": service("/"), "api": service("/api", "/api/v2/deep")})
    rules = [line.split()[1] for line in text.splitlines() if "_backend" in line]
    assert next(line for line in text.splitlines() if "use_backend" in line).count("/api/v2/deep") == 2
    assert rules == ["api", "api", "web"]
    assert "default_backend web" in text


def test_a_prefix_does_not_take_its_neighbours() -> None:
    text = haproxy.live("v1-0", {"api": service("/api")})
    assert "{ path /api } or { path_beg /api/ }" in text


def test_domains_bind_both_halves_of_the_condition() -> None:
    text = haproxy.live("v1-0", {"a": service("/x", domains=("a.example",))})
    line = next(li for li in text.splitlines() if "use_backend" in li)
    assert line.count("hdr(host),field(1,:) -i a.example") == 2


def test_the_first_line_and_the_socket_name_the_release() -> None:
    text = haproxy.live("v9-1", {"a": service("/")})
    assert text.splitlines()[0] == "# live: v9-1"
    assert 'string "v9-1"' in text
    assert 'string "none"' in haproxy.empty()
    assert haproxy.empty().splitlines()[0] == "# live: "


def test_old_workers_end_at_drain_max() -> None:
    assert "hard-stop-after 17s" in haproxy.fixed(Haproxy(), 17)
    assert "idle-close-on-response" in haproxy.fixed(Haproxy(), 17)


def test_without_a_proxy_the_running_project_is_live_and_nothing_is_switched() -> None:
    assert switch(NoProxy(), "shop-lab", 10) is None
    assert "docker ps" in live(NoProxy(), "shop-lab")
    assert [s.id for s in setup(NoProxy(), "shop-lab", 10, "", ())] == ["network"]
