"""What a refresh needs, and whether it is there."""

import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from run_assets.errors import RunAssetsError
from run_assets.lab import Lab
from run_assets.lab import open as open_lab

_ROOM_BYTES = 1_000_000_000
_SCHEMA = {"check": pl.String, "result": pl.String, "detail": pl.String}


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: What.
        result: ``good``, ``note`` (it works, but look) or ``bad`` (it will not work).
        detail: What was found, and what to do.
    """

    check: str
    result: str
    detail: str


def examine(config: Path | None) -> pl.DataFrame:
    """Look at everything a refresh needs; writes nothing but a probe file.

    Args:
        config: The config file or its folder; searched for where ``None``.

    Returns:
        Columns check, result, detail.
    """
    return pl.DataFrame(list(_findings(config)), _SCHEMA, orient="row")


def _findings(config: Path | None) -> Iterator[Finding]:
    yield _python()
    try:
        lab = open_lab(config)
    except RunAssetsError as error:
        yield Finding("configuration", "bad", str(error))
        return
    yield Finding("configuration", "good", str(lab.config.root))
    for look in (_folder, _room, _sources, _writer, _last_refresh, _warehouse):
        yield from _guarded(look, lab)
    yield _key()


def _guarded(look: Callable[[Lab], Finding], lab: Lab) -> Iterator[Finding]:
    try:
        yield look(lab)
    except (RunAssetsError, OSError) as error:
        yield Finding(look.__name__.strip("_"), "bad", str(error))


def _python() -> Finding:
    found = sys.version.split()[0]
    is_good = sys.version_info >= (3, 11)
    return Finding(
        "python", "good" if is_good else "bad", f"{found}, needs 3.11 or newer"
    )


def _folder(lab: Lab) -> Finding:
    folder = lab.config.data_path
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".probe"
    probe.write_bytes(b"")
    probe.unlink()
    return Finding("data folder", "good", f"{folder} can be written")


def _room(lab: Lab) -> Finding:
    free = shutil.disk_usage(lab.config.data_path).free
    result = "good" if free > _ROOM_BYTES else "note"
    return Finding("disk", result, f"{free / 1e9:,.1f} GB free")


def _sources(lab: Lab) -> Finding:
    from run_assets.refresh import Selection, plan_refresh

    if not lab.config.sources:
        return Finding("sources", "bad", "none; add one to run_assets.yaml")
    changes = plan_refresh(lab, now=datetime.now(UTC), selection=Selection()).changes
    return Finding("sources", "good", f"{len(changes)} runs are new or have changed")


def _writer(lab: Lab) -> Finding:
    from run_assets.store.lock import lake_lock

    with lake_lock(lab.config.data_path):
        return Finding("lock", "good", "nobody else is writing")


def _last_refresh(lab: Lab) -> Finding:
    from run_assets.refresh import is_built, read_stamp

    stamp = read_stamp(lab)
    if stamp is None:
        return Finding("last refresh", "note", "none yet: run-assets refresh")
    state = "up to date" if is_built(lab) else "code, config or files differ since"
    return Finding("last refresh", "good", f"{stamp.get('refreshed_at')}, {state}")


def _warehouse(lab: Lab) -> Finding:
    if not lab.warehouse.exists():
        return Finding("warehouse", "note", "none yet: run-assets refresh")
    runs = lab.sql("select count(*) as runs from marts.runs").item()
    return Finding("warehouse", "good", f"{runs} runs in {lab.warehouse}")


def _key() -> Finding:
    import os

    is_set = bool(os.environ.get("WANDB_API_KEY"))
    detail = "set" if is_set else "not set; only needed to publish online"
    return Finding("WANDB_API_KEY", "good" if is_set else "note", detail)
