"""`shop migrate up | down --to HEAD | head | pending | reversible --to HEAD`.

One at a time, by an advisory lock; every command may be repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import asyncpg

from shop.migrations import ALL, Migration
from shop.settings import Release, release, url

LOCK = 7_391_004
BASE = "base"
LOCK_SECONDS = int(os.environ.get("MIGRATE_LOCK_TIMEOUT", "30"))
DELAY_SECONDS = float(os.environ.get("MIGRATE_DELAY", "0"))
"""Waits so long after each statement: for tests that interrupt a migration."""

_TABLE = """CREATE TABLE IF NOT EXISTS schema_migrations
            (id text PRIMARY KEY, done boolean NOT NULL, version text NOT NULL,
             at timestamptz NOT NULL DEFAULT now())"""


class Refused(Exception):
    """The command can't be done; nothing was changed by it."""


def main(arguments: list[str]) -> int:
    """Run one command; returns its exit status: 0 done, 1 no (reversible), 3 refused, 4 the migration failed."""
    parser = argparse.ArgumentParser(prog="shop migrate")
    parser.add_argument("command", choices=["up", "down", "head", "pending", "reversible"])
    parser.add_argument("--to", metavar="HEAD")
    asked = parser.parse_args(arguments)
    if asked.command in ("down", "reversible") and not asked.to:
        parser.error(f"{asked.command} needs --to HEAD")
    try:
        return asyncio.run(_run(asked.command, asked.to))
    except Refused as refusal:
        print(f"shop migrate {asked.command}: refused: {refusal}", file=sys.stderr)
        return 3
    except (asyncpg.PostgresError, OSError) as error:
        print(f"shop migrate {asked.command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 4


async def _run(command: str, to: str | None) -> int:
    own = release()
    connection = await asyncpg.connect(
        url("DATABASE_URL"), timeout=10, server_settings={"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2"}
    )
    try:
        if command in ("head", "pending", "reversible"):
            return _answer(command, to or BASE, own, await _rows(connection))
        await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        return await (_up(connection, own) if command == "up" else _down(connection, own, to or BASE))
    finally:
        await connection.close()


async def _rows(connection: asyncpg.Connection) -> dict[str, bool]:
    """Migrations the database knows, in order, and whether each is done."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    return {
        row["id"]: row["done"] for row in await connection.fetch("SELECT id, done FROM schema_migrations ORDER BY id")
    }


def _head(rows: dict[str, bool]) -> str:
    done = [name for name, is_done in rows.items() if is_done]
    return done[-1] if done else BASE


def _answer(command: str, to: str, own: Release, rows: dict[str, bool]) -> int:
    if command == "head":
        print(_head(rows))
        return 0
    if command == "pending":
        for name in own.migrations:
            if not rows.get(name):
                print(name)
        return 0
    above = sorted({name for name in (*rows, *own.migrations) if to == BASE or name > to})
    stuck = [name for name in above if name not in own.migrations or ALL[name].down is None]
    print(f"no: {', '.join(stuck)} can't be taken back" if stuck else "yes")
    return 1 if stuck else 0


async def _up(connection: asyncpg.Connection, own: Release) -> int:
    await connection.execute(_TABLE)
    rows = await _rows(connection)
    pending = [ALL[name] for name in own.migrations if not rows.get(name)]
    ahead = [name for name in rows if name not in own.migrations]
    if not pending:
        print(
            f"nothing to do: the database is at {_head(rows)}"
            + (f", ahead of this image's {own.migrations[-1]}" if ahead else "")
        )
        return 0
    if ahead:
        raise Refused(
            f"the database has {', '.join(ahead)}, which {own.version} does not know, "
            f"and lacks {', '.join(migration.id for migration in pending)}"
        )
    for migration in pending:
        if migration.id in rows:
            print(f"{migration.id}: half done, cleaning first")
            await _take_back(connection, migration)
        await connection.execute(
            "INSERT INTO schema_migrations (id, done, version) VALUES ($1, false, $2)", migration.id, own.version
        )
        await _execute(connection, migration.up)
        await connection.execute("UPDATE schema_migrations SET done = true WHERE id = $1", migration.id)
        print(f"{migration.id}: done")
    return 0


async def _down(connection: asyncpg.Connection, own: Release, to: str) -> int:
    rows = await _rows(connection)
    above = [name for name in sorted(rows, reverse=True) if to == BASE or name > to]
    if to != BASE and not rows.get(to) and above:
        raise Refused(f"the database was never at {to}")
    unknown = [name for name in above if name not in own.migrations]
    if unknown:
        raise Refused(f"{own.version} does not know {', '.join(unknown)}: use the image that brought it")
    stuck = [name for name in above if ALL[name].down is None and rows[name]]
    if stuck:
        raise Refused(f"{', '.join(stuck)} can't be taken back: it is irreversible; restore a backup instead")
    for name in above:
        await _take_back(connection, ALL[name])
        print(f"{name}: taken back")
    if not above:
        print(f"nothing to do: the database is at {_head(rows)}")
    return 0


async def _take_back(connection: asyncpg.Connection, migration: Migration) -> None:
    await _execute(connection, migration.down or ())
    await connection.execute("DELETE FROM schema_migrations WHERE id = $1", migration.id)


async def _execute(connection: asyncpg.Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        await connection.execute(statement)
        await asyncio.sleep(DELAY_SECONDS)
