"""The roles that speak HTTP: api and web, both on port 8080."""

from __future__ import annotations

import asyncio
import html
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
from aiohttp import WSCloseCode, WSMsgType, web
from redis import asyncio as aioredis

from shop.settings import SLOW_START_SECONDS, Release, host, release, url

PORT = int(os.environ.get("PORT", "8080"))
RELEASE = web.AppKey("release", Release)
POOL = web.AppKey("pool", asyncpg.Pool)
REDIS = web.AppKey("redis", aioredis.Redis)
SOCKETS = web.AppKey("sockets", set[web.WebSocketResponse])
STARTED = web.AppKey("started", float)
MIN_DISK_BYTES = 64 << 20
MIN_MEMORY_BYTES = 32 << 20
STOP_SECONDS = 8.0
"""In-flight requests get so long after SIGTERM; below each service's stop_grace_period."""
routes = web.RouteTableDef()


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    """Liveness: says its version, asks nobody else."""
    own = request.app[RELEASE]
    body = {"status": "ok", "version": own.version, "service": os.environ.get("SHOP_SERVICE", "api"), "host": host()}
    if own.fault == "never-healthy":
        return web.json_response(body | {"status": "broken"}, status=500)
    if own.fault == "slow-start" and time.monotonic() - request.app[STARTED] < SLOW_START_SECONDS:
        return web.json_response(body | {"status": "starting"}, status=503)
    return web.json_response(body)


@routes.get("/health/ready")
async def ready(request: web.Request) -> web.Response:
    """Readiness: database, Redis, disk, memory, each up or down."""
    up = {
        "database": request.app[RELEASE].fault != "fails-smoke-test"
        and await _answers(request.app[POOL].fetchval("SELECT 1")),
        "redis": await _answers(request.app[REDIS].ping()),
        "disk": shutil.disk_usage("/").free > MIN_DISK_BYTES,
        "memory": _available_memory() > MIN_MEMORY_BYTES,
    }
    body = {"version": request.app[RELEASE].version} | {name: "up" if value else "down" for name, value in up.items()}
    return web.json_response(body, status=200 if all(up.values()) else 503)


@routes.get("/api/version")
async def version(request: web.Request) -> web.Response:
    """The version alone."""
    return web.json_response({"version": request.app[RELEASE].version})


@routes.get("/api/orders")
async def orders(request: web.Request) -> web.Response:
    """The newest orders, at most 50."""
    own = request.app[RELEASE]
    if own.fault == "fails-smoke-test":
        raise web.HTTPInternalServerError(text="the shop can't list its orders")
    note = ", note" if own.has_notes else ""
    rows = await request.app[POOL].fetch(
        f"SELECT id, {own.item_column} AS item, quantity, version{note} FROM orders ORDER BY id DESC LIMIT 50"
    )
    return web.json_response([dict(row) for row in rows])


@routes.post("/api/orders")
async def order(request: web.Request) -> web.Response:
    """Insert an order `{"item": …, "quantity": …, "note": …}` and give the worker a job."""
    own = request.app[RELEASE]
    try:
        data = await request.json()
        values = [str(data["item"]), int(data.get("quantity", 1)), own.version]
    except (ValueError, KeyError, TypeError) as error:
        raise web.HTTPBadRequest(text=f"an order needs item and quantity: {error!r}") from error
    columns = f"{own.item_column}, quantity, version"
    if own.has_notes:
        columns += ", note"
        values.append(data.get("note"))
    marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    row = await request.app[POOL].fetchval(f"INSERT INTO orders ({columns}) VALUES ({marks}) RETURNING id", *values)
    await request.app[REDIS].rpush("shop:jobs", json.dumps({"order": row}))
    return web.json_response({"id": row, "version": own.version}, status=201)


@routes.get("/api/slow")
async def slow(request: web.Request) -> web.Response:
    """Answer after `ms` milliseconds, a minute at most."""
    await asyncio.sleep(min(int(request.query.get("ms", "1000")), 60_000) / 1000)
    return web.json_response({"version": request.app[RELEASE].version})


@routes.get("/ws")
async def socket(request: web.Request) -> web.WebSocketResponse:
    """Echo, and a tick with the version every second; closed with 1001 when the shop stops."""
    answer = web.WebSocketResponse(heartbeat=30)
    await answer.prepare(request)
    request.app[SOCKETS].add(answer)
    ticking = asyncio.create_task(_tick(answer, request.app[RELEASE].version))
    try:
        async for message in answer:
            if message.type == WSMsgType.TEXT:
                await answer.send_str(message.data)
    finally:
        ticking.cancel()
        request.app[SOCKETS].discard(answer)
    return answer


async def page(request: web.Request) -> web.Response:
    """The shop's page, for people."""
    name = html.escape(request.app[RELEASE].version)
    body = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>shop {name}</title>"
        f"<h1>The shop</h1><p>Version <b>{name}</b> on {html.escape(host())}.\n"
    )
    return web.Response(text=body, content_type="text/html")


def main(role: str) -> int:
    """Serve until SIGTERM; requests under way are finished, WebSockets are told to go."""
    app = web.Application()
    app[RELEASE], app[STARTED], app[SOCKETS] = release(), time.monotonic(), set()
    app.on_shutdown.append(_close_sockets)
    if role == "web":
        app.add_routes([web.get("/", page), web.get("/health", health), web.get("/api/version", version)])
    else:
        app.add_routes([*routes, web.get("/", page)])
        app.cleanup_ctx.append(_connections)
    web.run_app(app, port=PORT, print=None, access_log=None, shutdown_timeout=STOP_SECONDS, keepalive_timeout=75)
    return 0


async def _connections(app: web.Application) -> AsyncIterator[None]:
    # min_size=0: the shop starts, and says what is down, also while its database is away.
    app[POOL] = await asyncpg.create_pool(url("DATABASE_URL"), min_size=0, max_size=5, timeout=3, command_timeout=10)
    app[REDIS] = aioredis.from_url(url("REDIS_URL"), socket_timeout=3, socket_connect_timeout=3)
    yield
    await app[REDIS].aclose()
    await app[POOL].close()


async def _close_sockets(app: web.Application) -> None:
    await asyncio.gather(
        *(each.close(code=WSCloseCode.GOING_AWAY, message=b"shop is stopping") for each in set(app[SOCKETS])),
        return_exceptions=True,
    )


async def _tick(answer: web.WebSocketResponse, name: str) -> None:
    while True:
        await asyncio.sleep(1)
        await answer.send_json({"version": name})


async def _answers(question: object) -> bool:
    try:
        await asyncio.wait_for(question, 3)  # type: ignore[arg-type]
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, aioredis.RedisError):
        return False
    return True


def _available_memory() -> int:
    with Path("/proc/meminfo").open() as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return MIN_MEMORY_BYTES + 1
