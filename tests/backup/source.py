"""The database that is backed up, and a `pg_dump` in its server's container that fails as it is told."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import Lab  # type: ignore[attr-defined]

DATABASE = "proof"
ROWS = 500
WEIGHT = 20
"""Megabytes, about, that don't shrink: parts have 5."""

SQL = f"""
create table customers (id int primary key, name text not null, since timestamptz not null);
insert into customers select n, 'customer ' || n, now() - n * interval '1 hour' from generate_series(1, {ROWS}) n;
create table remarks (said text);
insert into remarks select 'remark ' || n % 7 from generate_series(1, 100) n;
create table spare (id int);
insert into spare values (1), (2);
create index customers_name on customers (name);
create table heavy (n int primary key, bytes bytea not null);
alter table heavy alter bytes set storage external;
insert into heavy select n, (select string_agg(sha512((n::text || ' ' || g)::bytea), ''::bytea) from generate_series(1, 1600) g)
from generate_series(1, {WEIGHT * 10}) n;
"""

PROGRAM = "/usr/lib/postgresql/17/bin/pg_dump"
REAL = f"exec {PROGRAM}.real"
LIES = {
    # at the start, in the middle, after the last byte; only the dump itself: the definitions are another call
    "start": "echo 'the dump has trouble' >&2; exit 3",
    "middle": f"{PROGRAM}.real \"$@\" 2>/dev/null | head -c 9000000; echo 'the dump has trouble' >&2; exit 3",
    "last byte": f"{PROGRAM}.real \"$@\"; echo 'the dump has trouble' >&2; exit 3",
    "empty": "exit 0",
    "half": f'{PROGRAM}.real "$@" | head -c 9000000; exit 0',
    # a part and more, for what compresses has some of it in hand; the rest when it is released
    "held": f'{PROGRAM}.real "$@" | {{ dd bs=1M count=17 iflag=fullblock 2>/dev/null; while [ -e /tmp/hold ]; do sleep 0.1; done; cat; }}',
}
OLD = "echo 'pg_dump (PostgreSQL) 14.18'"


def sql(lab: Lab, text: str, database: str = DATABASE) -> str:
    """Asks the database."""
    done = lab.try_ssh(
        "data1", f"docker exec -i postgres psql -XqAt -v ON_ERROR_STOP=1 -U shop -d {database}", stdin=text
    )
    assert done.code == 0, done.said
    return done.out.strip()


def made(lab: Lab) -> None:
    """The database, anew."""
    sql(lab, f"drop database if exists {DATABASE} with (force)", "postgres")
    sql(lab, f"create database {DATABASE}", "postgres")
    sql(lab, SQL)


@contextmanager
def lying(lab: Lab, how: str) -> Iterator[None]:
    """While it lasts the dump misbehaves: one of LIES, or `old`."""
    dump, version = (REAL + ' "$@"', OLD) if how == "old" else (LIES[how], f"{REAL} --version")
    text = f"#!/bin/bash\nset -o pipefail\ncase \" $* \" in\n*' --version '*) {version} ;;\n*' --format=custom '*) {dump} ;;\n*) {REAL} \"$@\" ;;\nesac\n"
    at_server(
        lab,
        f"touch /tmp/hold; mv {PROGRAM} {PROGRAM}.real; printf '%s' {shlex.quote(text)} >{PROGRAM}; chmod 755 {PROGRAM}",
    )
    try:
        yield
    finally:
        restored(lab)


def restored(lab: Lab) -> None:
    """The true pg_dump is back."""
    at_server(lab, f"[ ! -e {PROGRAM}.real ] || mv {PROGRAM}.real {PROGRAM}; rm -f /tmp/hold")


def released(lab: Lab) -> None:
    """A dump that is held goes on."""
    at_server(lab, "rm -f /tmp/hold")


def at_server(lab: Lab, text: str) -> str:
    """Runs a command as root in the server's container, past ssh."""
    return lab.inside("data1", f"docker exec -u 0 postgres sh -ec {shlex.quote(text)}")
