"""Our reader against W&B's own: `wandb leet inspect` on files of the real SDK.

Files that others wrote are read too, when the environment variable
`RUN_ASSETS_FOREIGN_RUNS` names a folder with them and an `expected.json`.
"""

import gzip
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import wandb

from run_assets.sources.wandb_files import (
    RunFile,
    find_run_files,
    fragments,
    read_header,
    read_run,
)
from run_assets.sources.wandb_log import BLOCK_BYTES
from tests.support.wandb_log import with_flipped_bit, with_zeroed_block

NOW = datetime(2027, 1, 1, tzinfo=UTC)
COLUMNS = {"_step", "_timestamp", "_runtime"}
UNNAMED_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


# Files of the real SDK, written offline.


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the SDK works offline, with a home of its own."""
    home = tmp_path_factory.mktemp("sdk")
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(variable)
        for variable in ("HOME", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
            patch.setenv(variable, str(home))
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield home
        wandb.teardown()


def start(folder: Path, **arguments: Any) -> Any:
    folder.mkdir(exist_ok=True)
    settings = wandb.Settings(
        mode="offline",
        silent=True,
        console="off",
        x_disable_stats=False,
        disable_git=True,
    )
    return wandb.init(dir=str(folder), project="p", settings=settings, **arguments)


def finish(run: Any, path: Path) -> None:
    """The SDK says that a run is finished before the last bytes are in its file."""
    run.finish()
    deadline = time.monotonic() + 60
    while read_run(path, now=NOW).run_state != "finished":
        assert time.monotonic() < deadline, f"{path} was never completed"
        time.sleep(0.05)


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return path


@pytest.fixture(scope="module")
def rich(offline: Path) -> Path:
    """A run that uses most of what can be logged."""
    folder = offline / "rich"
    run = start(
        folder,
        name="Ünï 😀",
        group="g",
        job_type="train",
        tags=["a", "b"],
        notes="note",
        config={"lr": 0.1, "net": {"width": 8}},
    )
    run.define_metric("train/*", step_metric="epoch", summary="min")
    run.config.update({"late": [1, 2.5, None], "big": 2**70})
    for i in range(40):
        run.log(
            {
                "train/loss": 1 / (i + 1),
                "epoch": i,
                "nested": {"x": i, "deep": {"y": -i}},
                "dot.key": i,
                "nan": math.nan,
                "inf": -math.inf,
                "text": "NaN",
                "none": None,
                "flag": i % 2 == 0,
                "big": 2**60 + i,
                "list": [1, math.nan],
                "clé 😀": 0.1 + i,
            }
        )
    run.log({"sparse": 1e300, "tiny": 5e-324}, step=100)
    run.log({"too late": 1}, step=50)
    run.summary["mine"] = {"best": 3}
    run.tags += ("c",)
    source = folder / "weights.txt"
    source.write_text("12345")
    artifact = wandb.Artifact("model", "model")
    artifact.add_file(str(source))
    run.log_artifact(artifact, aliases=["best"])
    path = only_file(folder)
    finish(run, path)
    return path


@pytest.fixture(scope="module")
def long(offline: Path) -> Path:
    """A run of several blocks."""
    folder = offline / "long"
    run = start(folder)
    for i in range(400):
        run.log({f"metric {k}": k + i / 7 for k in range(6)})
    path = only_file(folder)
    finish(run, path)
    assert path.stat().st_size > 4 * BLOCK_BYTES
    return path


# What the official reader says about a file.


def inspect(path: Path) -> list[dict[str, Any]]:
    """Records as printed by the reader that ships with the SDK."""
    program = Path(wandb.__file__).parent / "bin" / "wandb-core"
    command: list[str | Path] = [
        program,
        "leet",
        "inspect",
        "-no-observability",
        "-json",
        "-run-file",
        path,
        path.parent,
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def items_of(record: dict[str, Any]) -> dict[str, Any]:
    items: dict[str, Any] = record["history"].get("item", {})
    return items


def numbered(rows: list[dict[str, Any]], next_step: int) -> list[tuple[int, Any]]:
    """The server's step rule, row by row."""
    steps = []
    for row in rows:
        own: Any = row.get("_step")
        is_integer = isinstance(own, int) and not isinstance(own, bool)
        step = max(own, next_step) if is_integer else next_step
        steps.append((step, row))
        next_step = step + 1
    return steps


def official_points(records: list[dict[str, Any]]) -> dict[tuple[str, int], Any]:
    rows = [items_of(record) for record in records if record["type"] == "history"]
    heads = [record["run"] for record in records if record["type"] == "run"]
    first = int(heads[0].get("starting_step", 0)) if heads else 0
    return {
        (metric, step): value
        for step, row in numbered(rows, first)
        for metric, value in row.items()
        if metric not in COLUMNS and value is not None
    }


def our_points(run: RunFile) -> dict[tuple[str, int], tuple[float | None, str | None]]:
    points = {
        (metric, step): (value, text)
        for metric, step, _at, _runtime, value, text in run.history.iter_rows()
    }
    assert len(points) == run.history.height
    return points


def assert_same_value(ours: tuple[float | None, str | None], official: Any) -> None:
    """The official reader prints NaN and infinities as strings."""
    value, text = ours
    if isinstance(official, str) and value is not None:
        expected = UNNAMED_NUMBERS[official]
        assert value == expected or (math.isnan(value) and math.isnan(expected))
    elif isinstance(official, bool):
        assert (value, text) == (float(official), json.dumps(official))
    elif isinstance(official, int | float):
        assert value == float(official)
        is_inexact = isinstance(official, int) and abs(official) > 2**53
        assert text == (str(official) if is_inexact else None)
    else:
        assert value is None
        assert text is not None
        assert json.loads(text) == official


def assert_same_history(run: RunFile, records: list[dict[str, Any]]) -> None:
    ours, official = our_points(run), official_points(records)
    assert ours.keys() == official.keys()
    for key, value in official.items():
        assert_same_value(ours[key], value)
    assert run.history_rows == sum(record["type"] == "history" for record in records)


def assert_same_times(run: RunFile, records: list[dict[str, Any]]) -> None:
    rows = [items_of(record) for record in records if record["type"] == "history"]
    expected = [
        (_microseconds(row.get("_timestamp")), row.get("_runtime"))
        for row in rows
        if any(row[key] is not None for key in row.keys() - COLUMNS)
    ]
    steps = run.history.unique("step", keep="first", maintain_order=True)
    logged_at = pl.col("logged_at").dt.epoch("us")
    assert steps.select(logged_at, "runtime_seconds").rows() == expected


def _microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e6)


def assert_same_system_metrics(run: RunFile, records: list[dict[str, Any]]) -> None:
    official = [
        (metric, value)
        for record in records
        if record["type"] == "stats"
        for metric, value in record["stats"].get("item", {}).items()
        if isinstance(value, int | float)
    ]
    ours = run.system_metrics.select("metric", "value").rows()
    assert sorted(ours) == sorted(official)


def assert_same(run: RunFile, records: list[dict[str, Any]]) -> None:
    assert_same_history(run, records)
    assert_same_times(run, records)
    assert_same_system_metrics(run, records)


# The SDK's files.


def test_a_rich_run_reads_row_for_row_like_the_official_reader(rich: Path) -> None:
    run = read_run(rich, now=NOW)
    assert_same(run, inspect(rich))
    assert run.history_rows == 41  # the row that came too late was never written
    assert run.last_step == 100
    assert (run.is_cut_off, run.is_damaged) == (False, False)


def test_text_and_numbers_that_print_alike_are_kept_apart(rich: Path) -> None:
    history = read_run(rich, now=NOW).history
    text = history.filter(metric="text")
    assert text["value"].null_count() == text.height == 40
    assert text["value_json"].unique().to_list() == ['"NaN"']
    nan = history.filter(metric="nan")
    assert nan["value"].is_nan().all()
    assert history.filter(metric="none").is_empty()


def test_everything_about_a_rich_run_is_read(rich: Path) -> None:
    run = read_run(rich, now=NOW)
    assert (run.project, run.run_name, run.run_group) == ("p", "Ünï 😀", "g")
    assert (run.job_type, run.notes, run.tags) == ("train", "note", ("a", "b", "c"))
    assert (run.run_state, run.sdk_version) == ("finished", wandb.__version__)
    assert json.loads(run.config_json) == {
        "lr": 0.1,
        "net": {"width": 8},
        "late": [1, 2.5, None],
        "big": 2**70,
    }
    summary = json.loads(run.summary_json)
    assert summary["nested"] == {"x": 39, "deep": {"y": -39}}
    assert summary["dot.key"] == 39
    assert summary["mine"] == {"best": 3}
    assert (summary["nan"], summary["sparse"], summary["_step"]) == ("NaN", 1e300, 100)
    assert run.metric_definitions.rows() == [("train/*", "epoch", "min", None)]
    (artifact,) = run.artifacts.to_dicts()
    assert (artifact["artifact_name"], artifact["size_bytes"]) == ("model", 5)
    assert artifact["files"] == [{"name": "weights.txt", "size_bytes": 5}]
    assert "best" in artifact["aliases"]
    assert run.host_name
    assert run.created_at <= run.heartbeat_at


def test_a_long_run_reads_row_for_row_like_the_official_reader(long: Path) -> None:
    assert_same(read_run(long, now=NOW), inspect(long))


def test_a_run_resumed_offline_is_one_run(offline: Path) -> None:
    folder = offline / "resumed"
    for fragment in range(2):
        run = start(folder, id="again", resume="allow")
        for i in range(10):
            run.log({"a": 10 * fragment + i})
        finish(run, Path(run.settings.sync_file))
    headers = [read_header(file.location) for file in find_run_files(folder)][::-1]
    assert [header.is_resumed for header in headers] == [True, True]
    files, copies = fragments(headers)
    whole = read_run([header.location for header in files], now=NOW)
    assert copies == ()
    assert whole.history["step"].to_list() == list(range(20))
    assert whole.history["value"].to_list() == list(range(20))


def test_a_live_run_is_read_on_from_where_it_was(offline: Path) -> None:
    run = start(offline / "live")
    path = only_file(offline / "live")
    early = read_run(path, now=datetime.now(UTC))
    pieces = [early.history]
    logged = 0
    # The SDK writes a block when it is full, so more rows mean more bytes.
    while early.history_rows < 400:
        for _ in range(100):
            run.log({f"metric {k}": logged + k / 7 for k in range(6)})
            logged += 1
        early = read_run(path, now=datetime.now(UTC), after=early.progress)
        pieces.append(early.history)
    assert early.run_state == "running"
    finish(run, path)
    late = read_run(path, now=NOW, after=early.progress)
    whole = read_run(path, now=NOW)
    assert pl.concat([*pieces, late.history]).equals(whole.history)
    assert (late.progress, late.run_state) == (whole.progress, "finished")
    assert whole.history_rows == logged


# The same files, broken.

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated tail": lambda data: data[:-100],
    "half a chunk header": lambda data: data[: len(data) // 2] + b"\x01\x02\x03",
    "cut at a block": lambda data: data[: 2 * BLOCK_BYTES],
    "cut behind a block": lambda data: data[: 2 * BLOCK_BYTES + 3],
    "bad checksum": lambda data: with_flipped_bit(data, BLOCK_BYTES + 1000),
    "two bad checksums": lambda data: with_flipped_bit(
        with_flipped_bit(data, 1000), 2 * BLOCK_BYTES + 10
    ),
    "bad checksum in the last block": lambda data: with_flipped_bit(
        data, len(data) - 9
    ),
    "zeroed block": lambda data: with_zeroed_block(data, 1),
    "two zeroed blocks": lambda data: with_zeroed_block(with_zeroed_block(data, 1), 2),
    "zeroed tail": lambda data: data[:-2000] + bytes(2000),
    "appended zeros": lambda data: data + bytes(50_000),
    "trailing garbage": lambda data: data + b"\xfe\xdc\xba\x98" * 20,
    "empty": lambda _data: b"",
    "header alone": lambda data: data[:7],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_costs_us_what_it_costs_the_official_reader(
    long: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / long.name
    path.write_bytes(DAMAGE[name](long.read_bytes()))
    run = read_run(path, now=NOW)
    assert_same(run, inspect(path))
    is_whole = name in {"empty", "header alone"}
    assert bool(run.skipped) != is_whole


def test_a_wrong_header_costs_the_file_as_for_the_official_reader(
    long: Path, tmp_path: Path
) -> None:
    path = tmp_path / long.name
    path.write_bytes(b":W&C" + long.read_bytes()[4:])
    with pytest.raises(subprocess.CalledProcessError):
        inspect(path)
    run = read_run(path, now=NOW)
    assert (run.history_rows, run.is_damaged) == (0, True)


# Files that others wrote.


def foreign_folder() -> Path | None:
    folder = os.environ.get("RUN_ASSETS_FOREIGN_RUNS")
    return Path(folder) if folder else None


def foreign_files() -> list[Any]:
    folder = foreign_folder()
    if folder is None:
        reason = "RUN_ASSETS_FOREIGN_RUNS names no folder with run files of others"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")]
    listed = json.loads((folder / "expected.json").read_text())
    return [pytest.param(entry, id=entry["run_id"]) for entry in listed]


@pytest.mark.parametrize("entry", foreign_files())
def test_foreign_files_read_as_they_would_after_a_sync(entry: dict[str, Any]) -> None:
    folder = foreign_folder()
    assert folder is not None
    run = read_run(folder / entry["file"], now=NOW)
    assert run.run_id == entry["run_id"]
    assert run.history_rows == entry["rows_after_sync"]
    if ends := entry["first_last_step_after_sync"]:
        assert run.last_step == ends[1]
        if not run.history.is_empty():
            assert run.history["step"].min() == ends[0]
    if entry["state_after_sync"] == "finished":
        assert run.run_state == "finished"
    else:
        assert run.run_state in {"failed", "crashed"}


@pytest.mark.parametrize("entry", foreign_files())
def test_foreign_files_read_row_for_row_like_the_official_reader(
    entry: dict[str, Any],
) -> None:
    folder = foreign_folder()
    assert folder is not None
    path = folder / entry["file"]
    printed = gzip.decompress(Path(f"{path}.leet.jsonl.gz").read_bytes())
    records = [json.loads(line) for line in printed.splitlines()]
    assert_same(read_run(path, now=NOW), records)
