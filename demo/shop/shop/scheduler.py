"""The scheduler, of which there must be one: a row in `tick` every two seconds, in `overlap` when two are at work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid

import asyncpg

from shop.settings import HEARTBEAT, host, release, url

LOCK = 7_391_005
EVERY_SECONDS = 2.0


def main() -> int:
    """Tick until SIGTERM."""
    return asyncio.run(_schedule())


async def _schedule() -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instance = uuid.uuid4().hex[:12]
    print(f"scheduler {release().version} on {host()} is {instance}", flush=True)
    while not stop.is_set():
        try:
            await _session(instance, stop)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            print(f"scheduler: {type(error).__name__}: {error}", flush=True)
            await _wait(stop, 1)
    print("scheduler: stopped", flush=True)
    return 0


async def _session(instance: str, stop: asyncio.Event) -> None:
    keepalive = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
    connection = await asyncpg.connect(url("DATABASE_URL"), timeout=5, server_settings=keepalive)
    try:
        started = await connection.fetchval("SELECT clock_timestamp()")
        while not stop.is_set():
            HEARTBEAT.touch()
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                # A dead one's lock lingers for a while; only a tick after our own start proves that another one lives.
                other = await connection.fetchval(
                    "SELECT instance FROM tick WHERE at > $1 AND instance <> $2 LIMIT 1", started, instance
                )
                if other:
                    await connection.execute("INSERT INTO overlap (instance, other) VALUES ($1, $2)", instance, other)
                await _wait(stop, EVERY_SECONDS)
                continue
            while not stop.is_set():
                await connection.execute(
                    "INSERT INTO tick (version, host, instance) VALUES ($1, $2, $3)",
                    release().version,
                    host(),
                    instance,
                    timeout=5,
                )
                HEARTBEAT.touch()
                await _wait(stop, EVERY_SECONDS)
    finally:
        await connection.close(timeout=2)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
