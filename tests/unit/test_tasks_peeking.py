"""Logs and commands in live containers: what is asked for, how the host's text ends, how `--` reaches us."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from inventory_parts import COMPOSE, SMALL, loaded

from ops.tasks.commanding import remainder
from ops.tasks.peeking import FOLLOWED, BadPeek, Peek, argv
from ops.tasks.redacting import masked

TWO = SMALL.replace("  data1:", "  app2: {address: 192.0.2.3}\n  data1:").replace(
    "image: registry.example.com/shop/worker\n", "image: registry.example.com/shop/worker\n      singleton: app2\n"
)


def peek(root: Path, service: str = "", host: str = "", one: bool = False) -> Peek:
    return Peek(loaded(root, TWO, COMPOSE), service=service, host=host, one=one)


def test_hosts_follow_service_and_host(tmp_path: Path) -> None:
    assert peek(tmp_path).hosts == ("app1", "app2")
    assert peek(tmp_path, "api", "app2").hosts == ("app2",)
    assert peek(tmp_path, "worker").hosts == ("app2",)
    assert peek(tmp_path, "api", one=True).hosts == ("app1",)


@pytest.mark.parametrize(
    ("service", "host", "told"),
    [
        ("apo", "", "did you mean api"),
        ("api", "data1", "no host data1"),
        ("worker", "app1", "runs on app2 alone"),
        ("", "", "--service is missing"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(tmp_path: Path, service: str, host: str, told: str) -> None:
    with pytest.raises(BadPeek, match=told):
        peek(tmp_path, service, host, one=True)


@pytest.mark.parametrize("since", ["yesterday", "10", "10d; reboot", "$(reboot)", "2026-1-1"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, since: str) -> None:
    with pytest.raises(BadPeek, match="--since"):
        peek(tmp_path).logs(since, -1, follow=False)


@pytest.mark.parametrize("since", ["10m", "2h", "1h30m", "2026-01-31", "2026-01-31T10:00:00Z"])
def test_times(tmp_path: Path, since: str) -> None:
    assert f"--since {since}" in peek(tmp_path).logs(since, -1, follow=False)["app1"]


def test_the_command_is_taken_word_by_word() -> None:
    words = ["inv", "exec", "--env", "lab", "--", "sh", "-c", "echo 'a  b' -- c", "--", ""]
    assert remainder(words) == ("sh", "-c", "echo 'a  b' -- c", "--", "")
    for none in (["inv", "exec"], ["inv", "exec", "--"]):
        with pytest.raises(BadPeek, match="there is no command"):
            remainder(none)


def test_invoke_leaves_the_command_behind_the_dashes_alone(tmp_path: Path) -> None:
    """Invoke must neither parse flags there nor take a word for another task; the words reach the task whole."""
    (tmp_path / "tasks.py").write_text(
        "import sys\n"
        "from invoke.tasks import task\n"
        "from invoke.collection import Collection\n"
        "from ops.tasks.commanding import remainder\n"
        "@task(name='exec')\n"
        "def execute(_, env=''):\n"
        "    print(env, list(remainder(sys.argv)))\n"
        "ns = Collection(execute)\n"
    )
    command = [sys.executable, "-m", "invoke", "exec", "--env", "lab", "--", "ls", "--env", "x y", "--help", "exec"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "lab ['ls', '--env', 'x y', '--help', 'exec']"


def followed(command: str) -> list[str]:
    return ["bash", "--norc", "-c", FOLLOWED.replace("@COMMAND@", command).strip("\n")]


def test_a_follower_passes_output_and_status_on() -> None:
    with subprocess.Popen(followed("bash -c 'echo out; echo err >&2; exit 7'"), stdin=-1, stdout=-1, stderr=-1) as it:
        assert it.stdout
        assert it.stdin
        assert it.stdout.read().splitlines() == [b"out", b"err"]
        assert it.wait(10) == 7


def test_a_follower_ends_when_the_connection_does(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"bash -c 'echo $$ >{pids}; sleep 60 & echo $! >>{pids}; echo ready; wait'"
    with subprocess.Popen(followed(script), stdin=-1, stdout=-1, stderr=-1) as it:
        assert it.stdout
        assert it.stdin
        assert it.stdout.readline() == b"ready\n"
        it.stdin.close()
        assert it.wait(20) != 0
    for _ in range(100):
        alive = [p for p in pids.read_text().split() if Path("/proc", p).exists() and not zombie(p)]
        if not alive:
            break
        time.sleep(0.05)
    assert not alive


def zombie(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_text_refuses_where_nothing_is_live(tmp_path: Path) -> None:
    text = peek(tmp_path, "api").text("app1", "echo reached $LIVE")
    done = subprocess.run(["sh", "-c", argv(text)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "inv status --env test" in done.stderr


def test_secrets_are_masked_in_bytes_and_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "correct-horse-battery")
    text = TWO + "variables:\n  TOKEN: {kind: secret, from: 'env:TOKEN'}\n"
    mask = masked(loaded(tmp_path, text, COMPOSE), {}).fresh()
    shown = mask.feed(b"\xff\xfe correct-hor") + mask.feed(b"se-battery \x00") + mask.flush()
    assert shown == b"\xff\xfe [redacted] \x00"
