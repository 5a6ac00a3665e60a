"""Labs with results of evaluations: models of known strength on tasks of known ease."""

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.scaffold import ensure_dagster_files
from tests.support.labs import write_config
from tests.support.postgres import Step, sqlite_programs

MODELS = {"gpt-4o": 0.7, "claude-3-5-sonnet": 0.6, "gpt-4o-mini": 0.25}
TASKS = {
    "iron_ore_throughput": 1.0,
    "copper_ore_throughput": 0.8,
    "steel_throughput": 0.3,
    "unbounded": 0.0,
}
SWEEP = "factorio_20260102_030405_0a1b2c3d"
EVALUATIONS: dict[str, Any] = {
    "sources": [{"kind": "programs", "name": "fle", "path": "results.sqlite"}],
    "tasks": [{"match": "*_throughput", "reward": "max", "quota": 16}],
    "resamples": 200,
}


def factorio_steps(trials: int = 4, steps: int = 3, seed: int = 0) -> list[Step]:
    """Steps of every model on every task; a success reaches the quota of 16."""
    rng = random.Random(seed)
    found = []
    version = 100
    for task, ease in TASKS.items():
        for model, strength in MODELS.items():
            for trial in range(trials):
                top = 20.0 if rng.random() < strength * ease else 10.0 * strength
                meta = {"model": model, "sweep_id": SWEEP, "error_occurred": False}
                found += [
                    Step(
                        version,
                        model,
                        task,
                        depth,
                        0.0 if task == "unbounded" else top * (depth + 1) / steps,
                        tokens=rng.randint(500, 2000),
                        meta=json.dumps(meta),
                        created_at=f"2026-01-02 {3 + trial:02}:{depth:02}:00",
                    )
                    for depth in range(steps)
                ]
                version += 1
    return found


def evaluation_lab(folder: Path, **changes: Any) -> Lab:
    """A lab whose only results are those of agents on Factorio, not yet refreshed."""
    sections = {"evaluations": EVALUATIONS, "analyses": [], "derived_metrics": {}}
    write_config(folder, **{**sections, "sources": [], **changes})
    ensure_dagster_files(folder)
    sqlite_programs(folder / "results.sqlite", factorio_steps())
    return open_lab(folder)


def write_sweep(folder: Path, sweep_id: str, rows: list[dict[str, Any]]) -> Path:
    """A sweep's file with the table ``trials`` as a lab's sweeps have it."""
    path = folder / "data" / "sweeps" / f"{sweep_id}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = (
        *("sweep_id", "model", "task", "trial", "version", "instance", "reward"),
        *("max_reward", "success", "steps", "tokens", "cost", "seconds", "status"),
        *("error_class", "started_at", "finished_at"),
    )
    with sqlite3.connect(path) as connection:
        connection.execute(f"create table if not exists trials ({', '.join(names)})")
        connection.execute("delete from trials")
        connection.executemany(
            f"insert into trials values ({', '.join('?' * len(names))})",
            [
                tuple({"sweep_id": sweep_id, **row}.get(one) for one in names)
                for row in rows
            ],
        )
    connection.close()
    return path
