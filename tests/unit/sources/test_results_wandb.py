"""Trials out of W&B runs: by keys of config and summary."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from run_assets.config_evaluations import WandbRunResults
from run_assets.contracts.tables import table
from run_assets.ingest.results import Read, ResultIngest
from run_assets.sources.results_wandb import trials_of_runs
from run_assets.store.lake import Lake, Part, conform, schema_of

START = datetime(2026, 1, 2, tzinfo=UTC)
SOURCE = WandbRunResults(
    kind="wandb_runs",
    model_key="agent.name",
    reward_key="reward",
    success_key="solved",
    tokens_key="tokens",
)


def run(number: int, state: str = "finished", **summary: Any) -> dict[str, Any]:
    config = {"agent": {"name": "a"}, "task": "maze", "sweep_id": "s"}
    return {
        "run_path": f"lab/maze/r{number}",
        "entity": "lab",
        "project": "maze",
        "run_state": state,
        "is_deleted": False,
        "config_json": json.dumps(config),
        "summary_json": json.dumps(summary),
        "runtime_seconds": 5.0,
        "created_at": START + timedelta(minutes=number),
        "heartbeat_at": START + timedelta(minutes=number, seconds=5),
    }


def trials(*runs: dict[str, Any], source: WandbRunResults = SOURCE) -> pl.DataFrame:
    frame = pl.DataFrame(list(runs), schema=schema_of(table("raw.runs")))
    return conform(trials_of_runs(source, frame), table("raw.trials"))


def test_a_run_is_a_trial_numbered_by_its_creation() -> None:
    found = trials(run(2, solved=False), run(1, solved=True, reward=3))
    first, second = found.to_dicts()
    assert (first["version"], first["trial"], first["row_id"]) == ("lab/maze/r1", 0, 0)
    assert (first["model"], first["task"], first["sweep_id"]) == ("a", "maze", "s")
    assert (first["reward"], first["has_succeeded"]) == (3.0, True)
    assert (second["trial"], second["reward"], second["has_succeeded"]) == (
        1,
        None,
        False,
    )


def test_states_become_those_of_trials() -> None:
    states = ("finished", "running", "crashed", "unknown")
    found = trials(*(run(at, state) for at, state in enumerate(states)))
    assert found["trial_status"].to_list() == [
        *("successful", "running", "failed_final", "unknown"),
    ]
    assert found["error_class"].to_list() == [None, None, "crashed", None]


def test_numbers_may_be_texts_and_nan() -> None:
    found = trials(run(0, reward="NaN", tokens="1200", solved="no"))
    assert found["reward"].is_nan().all()
    assert found["total_tokens"].to_list() == [1200]
    assert found["has_succeeded"].to_list() == [None]


def test_runs_without_model_or_task_and_of_other_projects_are_no_trials() -> None:
    other = run(0) | {"project": "hall"}
    unnamed = run(1) | {"config_json": "{}"}
    deleted = run(2) | {"is_deleted": True}
    source = SOURCE.model_copy(update={"project": "lab/maze"})
    found = trials(other, unnamed, deleted, run(3), source=source)
    assert found["version"].to_list() == ["lab/maze/r3"]


def test_runs_are_taken_again_only_when_some_have_changed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)

    def store(*runs: dict[str, Any]) -> None:
        frame = pl.DataFrame(list(runs), schema=schema_of(table("raw.runs")))
        part = Part("raw.runs", 0, "lab--maze", "2026-01-02")
        lake.write(part, frame, digest=str(len(runs)))

    def take() -> Read | None:
        return ResultIngest(lake, START, lambda *_: None).read_runs(SOURCE)

    store(run(0), run(1))
    assert take() == Read("wandb_runs", "raw.trials", 2, is_whole=True)
    assert take() is None
    store(run(0), run(1), run(2))
    assert take() == Read("wandb_runs", "raw.trials", 3, is_whole=True)
    assert lake.read("raw.trials")["trial"].to_list() == [0, 1, 2]
