"""Dagster's records of a lab: opened as its UI does, and quick enough for small runs.

A refresh writes hundreds of events. Dagster's SQLite storage makes an engine and a
connection for each, so that each statement is compiled anew and each close folds the
log back into the database: a third of the time that a small refresh takes.
"""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import Any

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from run_assets import errors
from run_assets.scaffold import ensure_dagster_files

# Capturing would redirect this process' stderr: progress and errors belong there.
_NOTHING_CAPTURED = {
    "module": "dagster.core.storage.noop_compute_log_manager",
    "class": "NoOpComputeLogManager",
}


@contextmanager
def recorded(home: Path) -> Iterator[dg.DagsterInstance]:
    """The lab's Dagster; a disk that refuses its records is the disk's error.

    Raises:
        SourceError: The records could not be written.
    """
    try:
        with (
            _one_engine_a_database(),
            dagster_instance(home) as instance,
            _kept_open(home),
        ):
            yield instance
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        free = disk_usage(home).free / 2**20
        reason = str(error).partition("\n")[0]
        msg = (
            f"Dagster could not record the refresh below {home}: {reason}; "
            f"{free:,.0f} MiB are free there. The published tables are untouched; "
            "make room and refresh again"
        )
        raise errors.SourceError(msg) from error


def dagster_instance(home: Path) -> dg.DagsterInstance:
    """The Dagster of a lab, the same one that its UI and daemon use.

    Dagster takes relative paths of ``dagster.yaml`` from the current folder; here they
    are meant from the file's own.
    """
    ensure_dagster_files(home)
    moved = {name: _anchored(one, home) for name, one in _settings(home).items()}
    moved["compute_logs"] = _NOTHING_CAPTURED
    reference = InstanceRef.from_dir(str(home), overrides=moved)
    # Two that make its databases at once would stand in each other's way.
    with (home / "dagster.yaml").open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return dg.DagsterInstance.from_ref(reference)


def _settings(home: Path) -> dict[str, Any]:
    return yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}


def _anchored(section: Any, home: Path) -> Any:
    """The same settings with every ``base_dir`` absolute, and made."""
    if not isinstance(section, dict):
        return section
    return {
        name: str(_made(home / value))
        if name == "base_dir" and isinstance(value, str)
        else _anchored(value, home)
        for name, value in section.items()
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _one_engine_a_database() -> Iterator[None]:
    engines: dict[str, Engine] = {}
    module = vars(sqlite_event_log)
    create = module["create_engine"]

    def kept(url: str, **settings: Any) -> Engine:
        if url not in engines:
            engines[url] = create(url, **settings)
        return engines[url]

    module["create_engine"] = kept
    try:
        yield
    finally:
        module["create_engine"] = create


@contextmanager
def _kept_open(home: Path) -> Iterator[None]:
    """A reader of each database: only the last one to close folds the log back."""
    storage = _settings(home).get("storage") or {}
    told = (storage.get("sqlite") or {}).get("base_dir", "")
    folder = home / (told if isinstance(told, str) else "") / "history"
    with ExitStack() as open_files:
        for file in (folder / "runs.db", folder / "runs" / "index.db"):
            if file.is_file():
                reader = open_files.enter_context(closing(sqlite3.connect(file)))
                reader.execute("select count(*) from sqlite_master").fetchall()
        yield
