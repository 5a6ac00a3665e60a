"""Small labs from `.wandb` files written by hand: fast, and every byte is chosen."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from run_assets.contracts.tables import TABLES
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.scaffold import ensure_dagster_files
from tests.support.wandb_log import (
    exit_record,
    history_record,
    log_bytes,
    run_record,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANALYSIS: dict[str, Any] = {
    "name": "algorithms",
    "score": {"metric": "reward"},
    "group": "config.algorithm",
    "task": "config.env",
    "interval": {"resamples": 200},
    "comparison": {"test": "mannwhitney"},
}


def run_records(
    run_id: str,
    *,
    steps: int = 10,
    started_at: datetime = START,
    config: Mapping[str, Any] | None = None,
    exit_code: int | None = 0,
    project: str = "maze",
) -> list[Any]:
    """The records of a run whose reward rises with the step."""
    begin = run_record(
        run_id,
        started_at=started_at,
        config=config or {"algorithm": "a", "env": "easy"},
        project=project,
        entity="lab",
    )
    rows = [
        history_record(
            {
                "_step": step,
                "_timestamp": (started_at + timedelta(seconds=step)).timestamp(),
                "_runtime": float(step),
                "reward": step / 10 + len(run_id) / 100,
                "loss": 1 / (step + 1),
            }
        )
        for step in range(steps)
    ]
    end = [] if exit_code is None else [exit_record(exit_code)]
    return [begin, *rows, *end]


def run_file(lab: Path, run_id: str) -> Path:
    """Where a run's file lies."""
    return (
        lab / "wandb" / f"offline-run-20260102_030405-{run_id}" / f"run-{run_id}.wandb"
    )


def write_run(lab: Path, run_id: str, **options: Any) -> Path:
    """Write or rewrite a run's file whole."""
    path = run_file(lab, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(log_bytes(run_records(run_id, **options)))
    return path


def append(path: Path, records: Sequence[Any]) -> None:
    """Let a run go on."""
    path.write_bytes(log_bytes(records, written=path.read_bytes()))


def write_config(folder: Path, **changes: Any) -> None:
    """Write run_assets.yaml; keys of ``changes`` replace the defaults here."""
    config: dict[str, Any] = {
        "sources": [{"kind": "wandb_files", "path": "wandb"}],
        "analyses": [ANALYSIS],
        "derived_metrics": {"efficiency": "reward / steps"},
        "publish": {"wandb": {"mode": "disabled"}},
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run_assets.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def make_lab(folder: Path, runs: int = 4, **config: Any) -> Lab:
    """A lab with some runs of two algorithms on two maps, not yet refreshed."""
    write_config(folder, **config)
    ensure_dagster_files(folder)
    for number in range(runs):
        write_run(
            folder,
            f"r{number}",
            started_at=START + timedelta(days=number % 2, minutes=number),
            config={
                "algorithm": "ab"[number % 2],
                "env": ("easy", "hard")[number // 2 % 2],
            },
        )
    return open_lab(folder)


def tables(lab: Lab) -> dict[str, pl.DataFrame]:
    """Every stored table, sorted by key, without when and from which folder."""
    return {
        name: lab.lake.read(name)
        .drop("fetched_at", "progress_json", "content_digest", strict=False)
        .sort(contract.key)
        for name, contract in TABLES.items()
        if contract.layout not in ("view", "none")
    }


def assert_same_tables(one: Lab, other: Lab) -> None:
    """Both lakes hold the same rows."""
    first, second = tables(one), tables(other)
    for name, frame in first.items():
        assert frame.equals(second[name]), f"{name} differs"


def lake_files(lab: Lab) -> dict[str, tuple[int, int, bytes]]:
    """Each lake file with its inode, time of change and content."""
    files = [Path(entry.path) for entry in lab.lake.files()]
    return {
        str(file.relative_to(lab.lake.root)): (
            file.stat().st_ino,
            file.stat().st_mtime_ns,
            file.read_bytes(),
        )
        for file in files
    }


def changed_files(
    before: Mapping[str, tuple[int, int, bytes]],
    after: Mapping[str, tuple[int, int, bytes]],
) -> set[str]:
    """Files that were written between two looks."""
    return {name for name, about in after.items() if before.get(name) != about}


def changed_tables(
    before: Mapping[str, tuple[int, int, bytes]],
    after: Mapping[str, tuple[int, int, bytes]],
) -> set[str]:
    """Tables with files that were written between two looks."""
    return {".".join(Path(name).parts[:2]) for name in changed_files(before, after)}
