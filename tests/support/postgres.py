"""A real PostgreSQL out of a wheel, and tables of results in it and in SQLite."""

import os
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

COLUMNS = {
    "id": "SERIAL PRIMARY KEY",
    "code": "TEXT NOT NULL DEFAULT ''",
    "value": "REAL DEFAULT 0",
    "visits": "INTEGER DEFAULT 0",
    "parent_id": "INTEGER",
    "state_json": "TEXT",
    "conversation_json": "TEXT NOT NULL DEFAULT '[]'",
    "completion_token_usage": "INTEGER",
    "prompt_token_usage": "INTEGER",
    "token_usage": "INTEGER",
    "response": "TEXT",
    "holdout_value": "REAL",
    "raw_reward": "REAL",
    "version": "INTEGER DEFAULT 1",
    "version_description": "TEXT DEFAULT ''",
    "model": "TEXT DEFAULT 'gpt-4o'",
    "meta": "TEXT",
    "achievements_json": "TEXT",
    "instance": "INTEGER DEFAULT -1",
    "depth": "REAL DEFAULT 0",
    "advantage": "REAL DEFAULT 0",
    "ticks": "INTEGER DEFAULT 0",
    "created_at": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
    "timing_metrics_json": "TEXT",
}
"""The table ``programs`` of the Factorio environment: one row a step."""


class Step(NamedTuple):
    """One row of ``programs``."""

    version: int
    model: str
    task: str
    depth: float
    value: float | None
    tokens: int | None = 100
    meta: str | None = None
    instance: int = 0
    created_at: str = "2026-01-02 03:04:05"

    @property
    def row(self) -> dict[str, Any]:
        """By column."""
        description = f"model:{self.model}\ntype:{self.task}\nnum_agents:1"
        return {
            "version": self.version,
            "model": self.model,
            "version_description": description,
            "depth": self.depth,
            "value": self.value,
            "raw_reward": self.value,
            "token_usage": self.tokens,
            "meta": self.meta,
            "achievements_json": "{}",
            "instance": self.instance,
            "created_at": self.created_at,
        }


@contextmanager
def running_server() -> Iterator[str]:
    """The address of a server of its own, stopped and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # sockets need short paths
    locks = Path(tempfile.gettempdir()) / f"run-assets-locks-{os.getuid()}"
    locks.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(locks))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pgserver

        server = pgserver.get_server(home / "data", cleanup_mode="stop")
    try:
        address = server.get_uri()
        # Nothing here outlives the test, and the disk is shared.
        execute(address, "alter system set fsync = off", "select pg_reload_conf()")
        yield address
    finally:
        server.cleanup()
        shutil.rmtree(home)


@contextmanager
def new_schema(server: str, name: str) -> Iterator[str]:
    """The address of an empty schema, dropped at the end."""
    execute(server, f"create schema {name}")
    try:
        yield f"{server}&options=-csearch_path%3D{name}"
    finally:
        execute(server, f"drop schema {name} cascade")


def create_programs(address: str, *, meta: str = "TEXT") -> None:
    """The table of the Factorio environment, with ``meta`` as text or jsonb."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    changed = columns.replace("meta TEXT", f"meta {meta}")
    with psycopg.connect(address) as connection:
        connection.execute(f"create table programs ({changed})")


def add_steps(address: str, steps: Sequence[Step], *, meta: str = "TEXT") -> None:
    """Insert rows."""
    names = list(steps[0].row)
    places = ", ".join(f"%s::{meta}" if name == "meta" else "%s" for name in names)
    text = f"insert into programs ({', '.join(names)}) values ({places})"
    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        cursor.executemany(text, [tuple(one.row.values()) for one in steps])


def sqlite_programs(path: Path, steps: Sequence[Step]) -> None:
    """The same table and rows in SQLite; rows are added where it is there."""
    kinds = {**COLUMNS, "id": "INTEGER PRIMARY KEY"}
    columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    with sqlite3.connect(path) as connection:
        connection.execute(f"create table if not exists programs ({columns})")
        names = list(steps[0].row)
        places = ", ".join("?" * len(names))
        text = f"insert into programs ({', '.join(names)}) values ({places})"
        connection.executemany(text, [tuple(one.row.values()) for one in steps])
    connection.close()


def execute(address: str, *texts: str) -> None:
    """Run statements in PostgreSQL."""
    with psycopg.connect(address, autocommit=True) as connection:
        for text in texts:
            connection.execute(text)
