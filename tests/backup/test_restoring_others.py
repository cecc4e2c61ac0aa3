"""Cache, documents and archive come back into the live service under the running shop, or stay as they were."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab, inv  # type: ignore[attr-defined]
from elsewhere import Repository, repository
from test_restoring import ABORT, RESUME, killed_after

pytestmark = [pytest.mark.timeout(1800), pytest.mark.full]
NAMES = ("cache", "documents", "archive")
TOOL = (
    "umask 077; printf 'uri: mongodb://shop:%s@127.0.0.1:27017/?authSource=admin\\n' \"$(cat /run/secrets/mongodb-password)\" >/tmp/t;"
    ' trap \'rm /tmp/t\' EXIT; tool() { "$1" --quiet --config /tmp/t -d shop "${@:2}"; }; '
)


def mark(lab: Lab, name: str, said: str) -> None:
    """What a store says from now on."""
    if name == "cache":
        redis(lab, f"set opsbook:mark {said}")
    elif name == "documents":
        at_documents(
            lab,
            f'echo \'{{"_id": 1, "said": "{said}"}}\' | tool mongoimport -c marks --drop; tool mongoimport -c only_{said} --drop <<<\'{{"_id": 1}}\'',
        )
    else:
        at_archive(lab, f"echo {said} >/tree/mark; touch /tree/only-{said}")


def marked(lab: Lab, name: str) -> str:
    """What it says now."""
    if name == "cache":
        return redis(lab, "get opsbook:mark")
    if name == "documents":
        return at_documents(lab, "tool mongoexport -c marks; tool mongoexport -c only_later")
    return at_archive(lab, "cat /tree/mark; ls -A /tree | grep -E '^(only-later|[.]opsbook)$' || true")


def redis(lab: Lab, command: str) -> str:
    secret = (Path(lab.status["state_dir"]) / "redis-password").read_text().strip()
    text = f"docker exec -i redis redis-cli --askpass {command} 2>/dev/null"
    return str(lab.try_ssh("data1", text, stdin=f"{secret}\n").out.strip())


def at_documents(lab: Lab, text: str) -> str:
    done = lab.try_ssh("data1", "docker exec -i mongodb bash -s", stdin=f"set -e\n{TOOL}\n{text}\n")
    return str(done.out.strip())


def at_archive(lab: Lab, text: str) -> str:
    words = f"docker run --rm -i --network none -v archive:/tree --entrypoint sh registry.lab:5000/infra/redis:8 -ec {shlex.quote(text)}"
    return str(lab.ssh("data1", words).strip())


def restore(name: str, backup: str, *more: str) -> tuple[str, ...]:
    words = ("restore", "--env", "lab", "--into", "live", "--only", name, "--confirm", "lab", "--yes")
    return (*words, "--id", backup, *more)


def newest(name: str) -> str:
    """The id of the newest backup."""
    found = inv("backup.list", "--env", "lab", "--only", name, "--json").json()["backups"]
    return str(found[0]["manifest"]["id"])


def saying(name: str, said: str) -> str:
    """How a store shows that it says only this."""
    return f'{{"_id":1,"said":"{said}"}}' if name == "documents" else said


@pytest.fixture(params=NAMES)
def store(request: pytest.FixtureRequest, on_v2: Lab) -> tuple[Lab, str, str]:
    """A store with a backup that says `kept`; by now it says `later`, and holds something more."""
    name = str(request.param)
    mark(on_v2, name, "kept")
    done = inv("backup", "--env", "lab", "--only", name, "--yes")
    assert done.code == 0, done.said
    mark(on_v2, name, "later")
    return on_v2, name, newest(name)


def is_kept(lab: Lab, name: str) -> bool:
    return marked(lab, name) == saying(name, "kept")


def is_later(lab: Lab, name: str) -> bool:
    extra = {"cache": "", "documents": '\n{"_id":1}', "archive": "\nonly-later"}[name]
    return marked(lab, name) == saying(name, "later") + extra


def clean(lab: Lab) -> bool:
    """Nothing of a restore is left on the data host."""
    found = lab.ssh(
        "data1",
        "docker ps -aq --filter label=org.opsbook.throwaway; ls -d /srv/shop/.opsbook/runs/*/scratch/copy-* 2>/dev/null || true",
    )
    return not found.strip()


def test_the_live_data_is_replaced_under_the_shop(store: tuple[Lab, str, str]) -> None:
    lab, name, backup = store
    assert is_later(lab, name)
    done = inv(*restore(name, backup))
    assert done.code == 0, done.said
    assert is_kept(lab, name)
    assert clean(lab)
    assert inv("smoke-test", "--env", "lab").code == 0
    present = newest(name)
    assert present != backup
    assert inv(*restore(name, present)).code == 0
    assert is_later(lab, name)


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str], Repository]:
    """A repository whose restore fails after a step."""

    def make(after: str) -> Repository:
        made = repository(tmp_path)
        hook = {"id": "broken", "title": "Say no", "after": after, "check": "false", "procedures": ["restore"]}
        made.change(lambda data: data.setdefault("hooks", []).append(hook))
        return made

    return make


def test_what_fails_after_the_swap_is_taken_back(
    store: tuple[Lab, str, str], broken: Callable[[str], Repository]
) -> None:
    lab, name, backup = store
    done = broken("roll.healthy").inv(*restore(name, backup))
    assert done.code == 30, done.said
    assert is_later(lab, name)
    assert clean(lab)
    assert inv("smoke-test", "--env", "lab").code == 0


@pytest.mark.parametrize("then", [RESUME, ABORT], ids=["resume", "abort"])
def test_whoever_takes_a_killed_restore_over_ends_it(store: tuple[Lab, str, str], then: tuple[str, ...]) -> None:
    lab, name, backup = store
    killed_after(f"swap-{name}.swap", restore(name, backup))
    assert is_kept(lab, name)
    done = inv(*then, "--take-over")
    assert done.code == 0, done.said
    assert is_kept(lab, name) if then == RESUME else is_later(lab, name)
    assert clean(lab)


def test_a_lost_database_comes_back_and_one_that_is_there_is_not_overlooked(on_v2: Lab) -> None:
    lab = on_v2
    done = inv("backup", "--env", "lab", "--only", "main", "--yes")
    assert done.code == 0, done.said
    backup = newest("main")
    orders = lab.sql("select count(*) from orders")
    refused = inv(*restore("main", backup, "--fresh"))
    assert refused.code == 20, refused.said
    assert "holds something" in refused.said
    dropped = "docker exec postgres psql -U shop -d postgres -c 'drop database shop with (force)'"
    assert lab.try_ssh("data1", dropped).code == 0
    back = inv(*restore("main", backup, "--fresh"))
    assert back.code == 0, back.said
    assert lab.sql("select count(*) from orders") == orders
    assert inv("smoke-test", "--env", "lab").code == 0
