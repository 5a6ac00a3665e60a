"""The same runs as files and through the API: equal tables at every switch."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from run_assets.lab import Lab
from tests.support.api_labs import api_lab, pull
from tests.support.labs import make_lab
from tests.support.wandb_server import API_KEY, Switches, WandbServer, wandb_server
from tests.support.wandb_server.client import sdk_client

RUN_COLUMNS = (
    *("run_path", "entity", "project", "run_id", "run_name", "run_group", "job_type"),
    *("tags", "notes", "run_state", "runtime_seconds", "last_step", "history_rows"),
    *("config_json", "summary_json", "sweep_name", "sdk_version", "program"),
    *("host_name", "git_commit", "is_deleted"),
)
"""What a sync carries over: neither the account nor the clock of the server."""

SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "all exported": {"exported_share": 1.0},
    "half exported": {"exported_share": 0.5},
    "half exported, repeated live": {
        "exported_share": 0.5,
        "live_repeats_exported": True,
    },
    "many small exports": {
        "exported_share": 0.7,
        "rows_per_export": 3,
        "row_group_rows": 2,
    },
    "objects as text": {"exported_share": 1.0, "exported_objects": "json"},
    "NaN as text in pages": {"nan_in_history": "text"},
    "NaN as text in exports": {"nan_in_exports": "text", "exported_share": 1.0},
    "NaN as text in summaries": {"nan_in_summary": "text"},
    "NaN as text everywhere": {
        "nan_in_history": "text",
        "nan_in_exports": "text",
        "nan_in_summary": "text",
        "exported_share": 0.5,
    },
    "NaN as null in exports": {"nan_in_exports": "null", "exported_share": 1.0},
    "samples at random": {"sampling": "random"},
    "samples the first": {"sampling": "first"},
    "ties unstable": {"tie_order": "unstable"},
    "times without zone": {"timestamp_suffix": ""},
    "old server": {"features": ()},
}

HARD: list[dict[str, Any]] = [
    {"loss": 0.5, "nested": {"x": 1, "deep": {"y": True}}, "dot.key": 2},
    {"loss": math.nan, "text": "NaN", "flag": True},
    {"loss": math.inf, "count": 2**53 + 1, "ünïcode/🙂": 0.1, "list": [1, 2.5, None]},
    {"loss": -math.inf, "flag": False, "none": None, "text": "plain"},
    {"_step": 500, "loss": 1e-300},
    {"_step": 501, "train/loss": 3, "epoch": 1},
    {"_step": 700},
    {"_step": 701, "train/loss": 2.5, "epoch": 2},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("sdk")) as server:
        yield server
        assert not server.requests.unknown


@pytest.fixture(scope="module")
def by_file(server: WandbServer, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Runs logged offline by the SDK, synced to the server, and read as files."""
    folder = tmp_path_factory.mktemp("files")
    with sdk_client(server.environment) as sdk:
        folders = [
            sdk(
                "log",
                project="p",
                id="hard",
                rows=HARD,
                defines={"train/*": {"step_metric": "epoch", "summary": "min"}},
                summary={"best": -math.inf},
                config={"lr": 0.1, "deep": {"list": [1, None], "text": "NaN"}},
                tags=["a", "ä"],
                group="g",
                job_type="train",
                name="shown",
                notes="note",
                mode="offline",
                table={"columns": ["name", "score"], "data": [["a", 1.5], ["b", None]]},
            )["folder"],
            sdk(
                "log",
                project="p",
                id="long",
                name="long",
                rows=[{"x": i / 7, "even": i} for i in range(2500)],
                mode="offline",
                exit_code=3,
            )["folder"],
            sdk("log", project="p", id="empty", name="e", rows=[], mode="offline")[
                "folder"
            ],
        ]
    sync(server, folders, "p")
    return file_lab(folder, folders)


def file_lab(folder: Path, folders: list[str]) -> Lab:
    """A lab with copies of run files: the sync leaves a mark beside those it saw."""
    for one in folders:
        [file] = Path(one).glob("*.wandb")
        copy = folder / "wandb" / Path(one).name / file.name
        copy.parent.mkdir(parents=True)
        shutil.copyfile(file, copy)
    files = {"kind": "wandb_files", "path": "wandb", "entity": "me"}
    lab = make_lab(folder, 0, sources=[files], analyses=[], derived_metrics={})
    pull(lab)
    return lab


def foreign_folders(source: Path, target: Path) -> list[str]:
    """Runs of others, in folders of their own."""
    folders = []
    for entry in json.loads((source / "expected.json").read_text()):
        name = f"run-{entry['run_id']}"
        (target / name).mkdir(parents=True)
        shutil.copyfile(source / entry["file"], target / name / f"{name}.wandb")
        folders.append(str(target / name))
    return folders


def sync(server: WandbServer, folders: list[str], project: str) -> None:
    arguments = ["-m", "wandb", "sync", "--no-skip-online", "-e", "me"]
    subprocess.run(
        [sys.executable, *arguments, "-p", project, *folders],
        env=server.environment,
        check=True,
        capture_output=True,
        timeout=120,
    )


@pytest.fixture(params=SETTINGS)
def by_api(
    request: pytest.FixtureRequest,
    server: WandbServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lab]:
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    for name, value in SETTINGS[request.param].items():
        setattr(server.switches, name, value)
    lab = api_lab(tmp_path, server, "me/p")
    assert pull(lab).problems == {}
    yield lab
    _reset(server)


TABLES: dict[str, tuple[str, ...]] = {
    "raw.history": ("run_path", "metric", "step", "value", "value_json", "logged_at"),
    "raw.runs": RUN_COLUMNS,
    "raw.artifacts": ("run_path", "direction", "artifact_type", "digest", "files"),
    "raw.metric_definitions": (
        *("run_path", "pattern", "step_metric", "summary", "goal"),
    ),
}


def test_files_and_api_give_equal_tables(by_file: Lab, by_api: Lab) -> None:
    for name, columns in TABLES.items():
        one, other = (
            set(map(repr, lab.lake.read(name).select(columns).rows()))
            for lab in (by_file, by_api)
        )
        assert sorted(one - other)[:5] == sorted(other - one)[:5] == [], name
        assert one, name


def test_run_files_of_others_have_equal_histories(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entity and project are those of the sync, and a run without an end has failed."""
    source = os.environ.get("RUN_ASSETS_FOREIGN_RUNS")
    if not source:
        pytest.skip("RUN_ASSETS_FOREIGN_RUNS names no folder with run files of others")
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    folders = foreign_folders(Path(source), tmp_path / "foreign")
    sync(server, folders, "foreign")
    by_file = file_lab(tmp_path / "files", folders)
    for number, setting in enumerate(SETTINGS.values()):
        for name, value in setting.items():
            setattr(server.switches, name, value)
        by_api = api_lab(tmp_path / f"api-{number}", server, "me/foreign")
        assert pull(by_api).problems == {}
        one, other = (
            set(map(repr, _by_run_id(lab).rows())) for lab in (by_file, by_api)
        )
        assert sorted(one - other)[:5] == sorted(other - one)[:5] == []
        _reset(server)


def _by_run_id(lab: Lab) -> pl.DataFrame:
    run_id = pl.col("run_path").str.split("/").list.last()
    return lab.lake.read("raw.history").with_columns(run_path=run_id)


def _reset(server: WandbServer) -> None:
    for switch in fields(Switches):
        setattr(server.switches, switch.name, switch.default)
