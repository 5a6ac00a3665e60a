"""What a refresh needs, and whether it is there."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import polars as pl

from run_assets.config import config_file, origins
from run_assets.errors import RunAssetsError, TryAgainError
from run_assets.lab import Lab
from run_assets.lab import open as open_lab

_ROOM_BYTES = 1_000_000_000
_CLOCK_SKEW = timedelta(minutes=5)
_WANDB_SERVER = "https://api.wandb.ai"
_PACKAGES = ("dagster", "dagster_webserver", "duckdb", "numba", "pyarrow", "wandb")
_SCHEMA = {"check": pl.String, "result": pl.String, "detail": pl.String}

Result = Literal["good", "note", "bad"]


class Verdict(NamedTuple):
    """What looking at one thing gave.

    Attributes:
        result: ``good``, ``note`` (it works, but look) or ``bad`` (it will not work).
        detail: What was found, and what to do.
    """

    result: Result
    detail: str


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: What.
        result: As in `Verdict`.
        detail: As in `Verdict`.
    """

    check: str
    result: Result
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
    yield _packages()
    try:
        lab = open_lab(config)
    except RunAssetsError as error:
        yield Finding("configuration", "bad", str(error))
        return
    yield Finding("configuration", "good", str(config_file(config)))
    looks = {
        "data folder": _folder,
        "disk": _room,
        "clock": _clock,
        "Dagster files": _dagster_files,
        "sources": _sources,
        "unreadable data": _damaged,
        "lock": _writer,
        "last refresh": _last_refresh,
        "warehouse": _warehouse,
        "report": _report,
        "W&B": _wandb,
    }
    for check, look in looks.items():
        yield Finding(check, *_guarded(look, lab))


def _guarded(look: Callable[[Lab], Verdict], lab: Lab) -> Verdict:
    try:
        return look(lab)
    except TryAgainError as error:
        return Verdict("note", str(error))
    except (RunAssetsError, OSError) as error:
        return Verdict("bad", str(error))


def _python() -> Finding:
    found = sys.version.split()[0]
    is_good = sys.version_info >= (3, 11)
    return Finding(
        "python", "good" if is_good else "bad", f"{found}, needs 3.11 or newer"
    )


def _packages() -> Finding:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        detail = f"missing: {', '.join(missing)}; install run-assets again"
        return Finding("packages", "bad", detail)
    return Finding("packages", "good", "all there")


def _folder(lab: Lab) -> Verdict:
    folder = lab.config.data_path
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=".probe"):
        return Verdict("good", f"{folder} can be written")


def _room(lab: Lab) -> Verdict:
    free = shutil.disk_usage(lab.config.data_path).free
    result: Result = "good" if free > _ROOM_BYTES else "note"
    return Verdict(result, f"{free / 1e9:,.1f} GB free, should be 1 GB or more")


def _clock(lab: Lab) -> Verdict:
    """A clock behind the last refresh gives runs the wrong day and state."""
    from run_assets.refresh import read_stamp

    now = datetime.now(UTC)
    last = (read_stamp(lab) or {}).get("refreshed_at")
    if last and datetime.fromisoformat(last) > now + _CLOCK_SKEW:
        return Verdict("note", f"{now:%F %T} UTC is before the last refresh, {last}")
    return Verdict("good", f"{now:%F %T} UTC")


def _dagster_files(lab: Lab) -> Verdict:
    wanted = ("dagster.yaml", "workspace.yaml")
    missing = [name for name in wanted if not (lab.config.root / name).is_file()]
    if missing:
        return Verdict("note", f"{', '.join(missing)} missing; `run-assets ui` adds it")
    return Verdict("good", "dagster.yaml and workspace.yaml")


def _sources(lab: Lab) -> Verdict:
    from run_assets.refresh import Selection, plan_refresh
    from run_assets.sources.results import has_results

    if not lab.config.sources and not has_results(lab.config):
        return Verdict("bad", "none; add one to run_assets.yaml")
    plan = plan_refresh(lab, now=datetime.now(UTC), selection=Selection())
    changed = f"{len(plan.changes)} runs are new or have changed"
    if plan.results:
        changed += f", and results in {len(plan.results)} tables"
    return Verdict("good", changed)


def _damaged(lab: Lab) -> Verdict:
    from run_assets.refresh import damaged

    if not (found := damaged(lab)):
        return Verdict("good", "none")
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return Verdict(
        "note", f"{found[0].location}{more}; raw.sync_state says what was skipped"
    )


def _writer(lab: Lab) -> Verdict:
    from run_assets.store.lock import lake_lock

    with lake_lock(lab.config.data_path):
        return Verdict("good", "nobody else is writing")


def _last_refresh(lab: Lab) -> Verdict:
    from run_assets.refresh import is_built, read_stamp

    stamp = read_stamp(lab)
    if stamp is None:
        return Verdict("note", "none yet: run-assets refresh")
    if is_built(lab):
        return Verdict("good", f"{stamp.get('refreshed_at')}, up to date")
    return Verdict(
        "note", f"{stamp.get('refreshed_at')}; code, config or files differ since"
    )


def _warehouse(lab: Lab) -> Verdict:
    if not lab.warehouse.exists():
        return Verdict("note", "none yet: run-assets refresh")
    runs = lab.sql("select count(*) as runs from marts.runs").item()
    return Verdict("good", f"{runs} runs in {lab.warehouse}")


def _report(lab: Lab) -> Verdict:
    page = lab.reports / "latest" / "report.html"
    if not page.is_file():
        return Verdict("note", "none yet: run-assets refresh")
    return Verdict("good", str(page))


def _wandb(lab: Lab) -> Verdict:
    """Whether publication has what its mode needs; a key is never shown."""
    mode = lab.config.publish.wandb.mode
    if mode != "online":
        return Verdict("good", f"mode {mode}: no key is needed")
    if where := _key_origin(lab):
        return Verdict("good", f"mode online, key from {where}")
    return Verdict("bad", "mode online, but no WANDB_API_KEY and none in netrc")


def _key_origin(lab: Lab) -> str | None:
    if any(one.key == "WANDB_API_KEY" for one in origins(lab.config.root)):
        return "WANDB_API_KEY"
    host = urlsplit(os.environ.get("WANDB_BASE_URL", _WANDB_SERVER)).hostname or ""
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return str(file) if netrc(file).authenticators(host) else None
    except (OSError, NetrcParseError):
        return None
