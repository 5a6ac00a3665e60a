"""The refresh reads what changed and rebuilds what depends on it, nothing else."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from run_assets.errors import NotFoundError, RunAssetsError
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.refresh import Selection, fingerprint
from run_assets.store import models
from tests.support.labs import (
    ANALYSIS,
    START,
    append,
    assert_same_tables,
    changed_files,
    changed_tables,
    lake_files,
    make_lab,
    run_file,
    run_records,
    tables,
    write_config,
    write_run,
)


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refreshed")
    make_lab(folder).refresh()
    return folder


@pytest.fixture
def lab(refreshed: Path, tmp_path: Path) -> Lab:
    """A copy of a refreshed lab, times of change kept."""
    folder = tmp_path / "lab"
    shutil.copytree(refreshed, folder, symlinks=True)
    text = (folder / "data" / "last_refresh.json").read_text()
    copied = open_lab(folder)
    moved = _moved(copied, refreshed)
    stamp = json.loads(text) | {"fingerprint": fingerprint(moved)}
    (folder / "data" / "last_refresh.json").write_text(json.dumps(stamp))
    return moved


def _moved(lab: Lab, old: Path) -> Lab:
    """Let the copied lake know its runs under their new place."""
    from run_assets.ingest import STATE, read_state

    new = str(lab.config.root)
    state = read_state(lab.lake).with_columns(
        pl.col("source_location").str.replace(str(old), new, literal=True)
    )
    header = lab.lake.header(STATE)
    assert header is not None
    lab.lake.write(STATE, state, digest=header.digest, code=header.code)
    for part in lab.lake.parts("raw.runs"):
        about = lab.lake.header(part)
        assert about is not None
        runs = lab.lake.read("raw.runs", [part]).with_columns(
            pl.col("source_location").str.replace(str(old), new, literal=True)
        )
        lab.lake.write(part, runs, digest=about.digest, code=about.code)
    return lab


def test_every_run_is_in_every_table(lab: Lab) -> None:
    found = tables(lab)
    assert found["raw.runs"]["run_path"].to_list() == [
        f"lab/maze/r{i}" for i in range(4)
    ]
    assert found["raw.history"].height == 4 * 10 * 2
    assert found["marts.runs"]["is_complete"].all()
    summary = found["marts.run_summaries"].filter(
        run_path="lab/maze/r0", metric="reward"
    )
    assert summary.select("first", "last", "n_points").row(0) == (0.02, 0.92, 10)
    efficiency = found["derived.run_metrics"].filter(run_path="lab/maze/r0")
    assert efficiency["value"].to_list() == [0.92 / 9]
    assert found["stats.scores"].height == 4
    assert found["stats.probability_of_improvement"].height == 2
    assert found["stats.rank_stability"]["rank"].to_list() == [1.5, 1.5]
    assert set(found["stats.sample_efficiency"]["statistic"]) == {"iqm", "area"}
    assert found["stats.optimality_gaps"].is_empty()
    assert found["stats.interval_estimates"]["n_runs"].to_list() == [2] * 6


def test_nothing_changed_writes_nothing_but_the_stamp(lab: Lab) -> None:
    before = lake_files(lab)
    others = {
        file: file.stat().st_mtime_ns
        for file in lab.config.data_path.rglob("*")
        if file.is_file() and file.name not in ("last_refresh.json", ".lock")
    }
    result = lab.refresh()
    assert result.is_unchanged
    assert result.dagster_run_id is None
    assert lake_files(lab) == before
    assert {file: file.stat().st_mtime_ns for file in others} == others


@pytest.mark.usefixtures("tables_only")
def test_a_run_that_grew_is_read_on_and_rewrites_its_part_alone(lab: Lab) -> None:
    path = run_file(lab.config.root, "r1")
    before = lake_files(lab)
    append(path, [run_records("r1", steps=12, exit_code=None)[11]])
    result = lab.refresh()
    assert [(one.run_path, one.reason) for one in result.changes] == [
        ("lab/maze/r1", "grown")
    ]
    assert result.changes[0].progress_json is not None
    written = {
        name for name in changed_files(before, lake_files(lab)) if "day=" in name
    }
    assert {name.split("day=")[1].split("/")[0] for name in written} == {"2026-01-03"}
    history = tables(lab)["raw.history"]
    assert history.filter(run_path="lab/maze/r1", metric="reward").height == 11
    fresh = make_lab(lab.config.root.parent / "fresh", runs=0)
    shutil.rmtree(fresh.config.root / "wandb", ignore_errors=True)
    shutil.copytree(lab.config.root / "wandb", fresh.config.root / "wandb")
    fresh.refresh()
    mine = tables(lab)["raw.history"]
    assert mine.equals(tables(fresh)["raw.history"])


def test_a_new_run_leaves_the_parts_of_other_days_alone(lab: Lab) -> None:
    before = lake_files(lab)
    write_run(lab.config.root, "r9", started_at=START + timedelta(days=5))
    lab.refresh()
    written = changed_files(before, lake_files(lab))
    days = {name.split("day=")[1].split("/")[0] for name in written if "day=" in name}
    assert days == {"2026-01-07"}
    assert "lab/maze/r9" in tables(lab)["stats.scores"]["run_path"]


def test_a_vanished_file_loses_nothing(lab: Lab) -> None:
    shutil.rmtree(run_file(lab.config.root, "r2").parent)
    before = tables(lab)
    assert lab.refresh().is_unchanged
    assert tables(lab)["raw.history"].equals(before["raw.history"])


def test_a_file_written_anew_replaces_the_run(lab: Lab) -> None:
    write_run(lab.config.root, "r0", steps=3, config={"algorithm": "b", "env": "easy"})
    lab.refresh()
    assert tables(lab)["raw.history"].filter(run_path="lab/maze/r0").height == 6
    scores = tables(lab)["stats.scores"].filter(run_path="lab/maze/r0")
    assert scores["group_name"].to_list() == ["b"]


def test_an_edited_analysis_rebuilds_its_statistics_and_what_reads_them(
    lab: Lab,
) -> None:
    before = lake_files(lab)
    interval = {"resamples": 200, "confidence": 0.5}
    write_config(lab.config.root, analyses=[{**ANALYSIS, "interval": interval}])
    open_lab(lab.config.root).refresh()
    assert changed_tables(before, lake_files(lab)) == {
        "stats.interval_estimates",
        "stats.performance_profiles",
        "stats.comparisons",
        "stats.probability_of_improvement",
        "stats.sample_efficiency",
        "stats.rank_stability",
        "stats.optimality_gaps",
    }


def test_an_edited_expression_rebuilds_derived_metrics_and_their_readers(
    lab: Lab,
) -> None:
    before = lake_files(lab)
    write_config(lab.config.root, derived_metrics={"efficiency": "2 * reward / steps"})
    open_lab(lab.config.root).refresh()
    assert changed_tables(before, lake_files(lab)) == {
        "derived.run_metrics",
        "derived.step_metrics",
        "stats.scores",
        "stats.interval_estimates",
        "stats.performance_profiles",
        "stats.comparisons",
        "stats.probability_of_improvement",
        "stats.sample_efficiency",
        "stats.rank_stability",
        "stats.optimality_gaps",
    }


def test_an_edited_model_rebuilds_its_table_and_what_reads_it(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lake_files(lab)
    copied = tmp_path / "sql"
    shutil.copytree(models.sql_folder(), copied)
    edited = copied / "core" / "run_configs.sql"
    edited.write_text(edited.read_text() + "-- edited\n")
    monkeypatch.setattr(models, "sql_folder", lambda: copied)
    models.models.cache_clear()
    try:
        lab.refresh()
    finally:
        monkeypatch.undo()
        models.models.cache_clear()
    assert changed_tables(before, lake_files(lab)) == {
        "core.run_configs",
        "derived.run_metrics",
        "derived.step_metrics",
        "stats.scores",
        "stats.interval_estimates",
        "stats.performance_profiles",
        "stats.comparisons",
        "stats.probability_of_improvement",
        "stats.sample_efficiency",
        "stats.rank_stability",
        "stats.optimality_gaps",
        "diagnostics.findings",
        "diagnostics.run_health",
        "diagnostics.scaling_fits",
    }


def test_a_damaged_lake_file_is_made_again(lab: Lab) -> None:
    expected = tables(lab)
    for name in ("raw.history", "marts.run_summaries", "stats.scores"):
        lab.lake.path(lab.lake.parts(name)[0]).write_bytes(b"PAR1 garbage")
    lab.lake.path(lab.lake.parts("core.metric_points")[0]).unlink()
    lab.refresh()
    repaired = tables(lab)
    for name, frame in expected.items():
        assert repaired[name].equals(frame), name


def test_reading_everything_again_gives_the_same_rows(lab: Lab) -> None:
    expected = tables(lab)
    result = lab.refresh(selection=Selection(reread=True))
    assert len(result.changes) == 4
    again = tables(lab)
    for name, frame in expected.items():
        assert again[name].equals(frame), name


@pytest.mark.usefixtures("tables_only")
def test_a_selection_reads_only_what_it_admits(lab: Lab) -> None:
    write_run(lab.config.root, "new1", started_at=START, project="other")
    write_run(lab.config.root, "new2", started_at=START + timedelta(days=30))
    only = lab.refresh(selection=Selection(project="lab/other"))
    assert [one.run_path for one in only.changes] == ["lab/other/new1"]
    since = Selection(since=(START + timedelta(days=20)).date())
    later = lab.refresh(selection=since)
    assert [one.run_path for one in later.changes] == ["lab/maze/new2"]


@pytest.mark.usefixtures("tables_only")
def test_damage_is_reported_and_stops_nothing(lab: Lab) -> None:
    path = write_run(lab.config.root, "bad", steps=3000)
    data = bytearray(path.read_bytes())
    data[40_000] ^= 1
    path.write_bytes(bytes(data))
    wrong = run_file(lab.config.root, "wrong")
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"this is no wandb file at all")
    write_run(lab.config.root, "good", steps=5)
    result = lab.refresh()
    assert {Path(one.location).name for one in result.damaged} == {
        "run-bad.wandb",
        "run-wrong.wandb",
    }
    state = tables(lab)["raw.sync_state"].filter(pl.col("is_damaged"))
    assert state["skipped_bytes"].min() > 0  # type: ignore[operator]  # never null
    assert "lab/maze/good" in tables(lab)["marts.runs"]["run_path"]
    bad = tables(lab)["raw.history"].filter(run_path="lab/maze/bad", metric="reward")
    assert 2000 < bad.height < 3000


@pytest.mark.usefixtures("tables_only")
def test_copies_and_fragments_are_one_run(lab: Lab) -> None:
    folder = run_file(lab.config.root, "r3").parent
    shutil.copytree(folder, lab.config.root / "wandb" / "copied" / folder.name)
    lab.refresh()
    assert tables(lab)["raw.runs"]["run_path"].is_unique().all()
    copies = tables(lab)["raw.sync_state"].filter(pl.col("problem").is_not_null())
    assert copies["run_path"].to_list() == ["lab/maze/r3"]
    assert "a copy of" in copies["problem"].item()
    assert lab.refresh().is_unchanged


@pytest.mark.usefixtures("tables_only")
def test_what_we_published_ourselves_is_never_read(lab: Lab) -> None:
    write_run(lab.config.root, "own", config={"run_assets": True})
    lab.refresh()
    assert "lab/maze/own" not in tables(lab)["raw.runs"]["run_path"]
    assert lab.refresh().is_unchanged


def test_a_missing_folder_is_a_clear_error(lab: Lab) -> None:
    write_config(lab.config.root, sources=[{"kind": "wandb_files", "path": "nowhere"}])
    with pytest.raises(NotFoundError, match="nowhere"):
        open_lab(lab.config.root).refresh()


def test_a_typo_in_an_expression_names_the_metric_meant(lab: Lab) -> None:
    write_config(lab.config.root, derived_metrics={"gap": "rewrad * 2"})
    with pytest.raises(RunAssetsError, match="did you mean 'reward'"):
        open_lab(lab.config.root).refresh()


def test_refreshing_twice_from_scratch_gives_the_same_bytes(tmp_path: Path) -> None:
    one = make_lab(tmp_path / "one", runs=2)
    one.refresh()
    shutil.copytree(
        tmp_path / "one" / "wandb", tmp_path / "two" / "wandb", dirs_exist_ok=True
    )
    two = make_lab(tmp_path / "two", runs=2)
    two.refresh()
    same = ("core", "marts", "derived", "stats")
    first = {n: f[2] for n, f in lake_files(one).items() if n.startswith(same)}
    second = {n: f[2] for n, f in lake_files(two).items() if n.startswith(same)}
    data = {name for name in first if _rows(one, name) != _rows(two, name)}
    assert first.keys() == second.keys()
    assert not data


def _rows(lab: Lab, name: str) -> list[dict[str, object]]:
    frame = pl.read_parquet(lab.lake.root / name, hive_partitioning=False)
    return json.loads(frame.write_json())  # type: ignore[no-any-return]  # a list of rows


def test_the_config_on_disk_is_what_counts(lab: Lab) -> None:
    text = (lab.config.root / "run_assets.yaml").read_text()
    assert yaml.safe_load(text)["analyses"][0]["name"] == "algorithms"
    assert_same_tables(lab, open_lab(lab.config.root))
