"""The worker: takes jobs from Redis, one at a time; SIGTERM lets the job under way finish."""

from __future__ import annotations

import asyncio
import json
import signal

from redis import asyncio as aioredis

from shop.settings import HEARTBEAT, host, release, url


def main() -> int:
    """Work until SIGTERM."""
    return asyncio.run(_work())


async def _work() -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = aioredis.from_url(url("REDIS_URL"), socket_timeout=5, socket_connect_timeout=3)
    name = release().version
    print(f"worker {name} on {host()} waits for jobs", flush=True)
    while not stop.is_set():
        try:
            job = await client.blpop(["shop:jobs"], timeout=1)
            await client.set(f"shop:worker:{host()}", name, ex=10)
            HEARTBEAT.touch()
            if job:
                await asyncio.sleep(json.loads(job[1]).get("ms", 0) / 1000)
                await client.incr("shop:done")
        except (OSError, aioredis.RedisError) as error:
            print(f"worker: {type(error).__name__}: {error}", flush=True)
            await asyncio.sleep(1)
    await client.aclose()
    print("worker: stopped", flush=True)
    return 0
