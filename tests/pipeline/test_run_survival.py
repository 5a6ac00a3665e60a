"""Runs that are alive, long, moved, cut or damaged: none of their rows is lost."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import AssetCheckResult, build_resources

from run_assets.checks import complete
from run_assets.ingest import STATE, Ingest, place_runs, read_state
from run_assets.refresh import Selection, is_built, plan_refresh
from run_assets.resources import use_lab
from run_assets.store.lake import ROWS_PER_PART
from tests.support.labs import (
    START,
    append,
    make_lab,
    run_file,
    run_records,
    tables,
    write_run,
)
from tests.support.wandb_log import log_bytes

pytestmark = pytest.mark.usefixtures("tables_only")


def test_an_ingest_killed_between_parts_is_repaired(tmp_path: Path) -> None:
    undisturbed = make_lab(tmp_path / "undisturbed", runs=6)
    undisturbed.refresh()
    lab = make_lab(tmp_path / "lab", runs=6)
    changes = plan_refresh(lab, now=START, selection=Selection()).changes
    state = read_state(lab.lake)
    places = place_runs(
        lab.lake, state, changes, first_day=lab.config.first_day, today=START.date()
    )
    ingest = Ingest(lab.lake, now=START, progress=lab.progress)
    stopped = ingest.run(changes, places)
    next(stopped)
    del stopped  # as a kill: the part is written, its digests are not
    again = plan_refresh(lab, now=START, selection=Selection()).changes
    assert {one.run_path for one in again} == {one.run_path for one in changes}
    lab.refresh()
    found, expected = tables(lab), tables(undisturbed)
    assert found["raw.history"].equals(expected["raw.history"])


def test_a_live_run_is_read_up_to_its_last_whole_record(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    lab = make_lab(tmp_path, runs=0)
    started = datetime.now(UTC) - timedelta(seconds=30)
    path = write_run(tmp_path, "live", steps=5, started_at=started, exit_code=None)
    whole = path.read_bytes()
    records = run_records("live", steps=9, started_at=started, exit_code=0)
    append(path, records[6:])
    grown = path.read_bytes()
    path.write_bytes(grown[: len(whole) + 25])
    lab.refresh()
    run = tables(lab)["raw.runs"].row(0, named=True)
    assert (run["run_state"], run["history_rows"]) == ("running", 5)
    assert tables(lab)["raw.sync_state"]["is_damaged"].to_list() == [False]
    path.write_bytes(grown)
    result = lab.refresh()
    assert result.changes[0].progress_json is not None
    run = tables(lab)["raw.runs"].row(0, named=True)
    assert (run["run_state"], run["history_rows"]) == ("finished", 9)
    steps = tables(lab)["raw.history"].filter(metric="reward")["step"]
    assert steps.to_list() == list(range(9))


def test_a_silent_run_is_called_crashed_although_its_file_is_the_same(
    tmp_path: Path,
) -> None:
    lab = make_lab(tmp_path, runs=0)
    write_run(tmp_path, "silent", steps=3, exit_code=None)
    lab.refresh(now=START + timedelta(seconds=20))
    later = plan_refresh(lab, now=START + timedelta(hours=1), selection=Selection())
    state = read_state(lab.lake)
    expected = [] if state["run_state"].item() == "crashed" else ["state"]
    assert [one.reason for one in later.changes] == expected


def test_a_fragment_that_vanished_never_shortens_a_run(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, runs=0)
    write_run(tmp_path, "r", steps=6, exit_code=None)
    second = run_file(tmp_path, "r").parent.with_name("offline-run-20260103_000000-r")
    second.mkdir()
    records = run_records("r", steps=4, started_at=START + timedelta(days=1))
    records[0].run.resume = True
    append_to = second / "run-r.wandb"
    append_to.write_bytes(log_bytes(records))
    lab.refresh()
    before = tables(lab)["raw.history"]
    assert before.filter(metric="reward")["step"].to_list() == list(range(10))
    shutil.rmtree(run_file(tmp_path, "r").parent)
    append(append_to, run_records("r", steps=5, exit_code=None)[5:])
    lab.refresh()
    assert tables(lab)["raw.history"].equals(before)
    problems = tables(lab)["raw.sync_state"]["problem"].drop_nulls().to_list()
    assert any("kept as stored" in one for one in problems)
    assert lab.refresh().is_unchanged


def test_a_very_long_run_lies_in_parts_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run_assets.ingest.parts.ROWS_PER_PART", 500)
    monkeypatch.setattr("run_assets.ingest.placement.ROWS_PER_PART", 500)
    lab = make_lab(tmp_path, runs=1)
    path = write_run(tmp_path, "long", steps=1000, exit_code=None)
    assert path.stat().st_size // 90 > 500
    lab.refresh()
    parts = (
        tables(lab)["raw.sync_state"].filter(run_path="lab/maze/long")["parts"].item()
    )
    assert len(parts) >= 3
    before = {
        part: lab.lake.path(part).read_bytes() for part in lab.lake.parts("raw.history")
    }
    history = tables(lab)["raw.history"].filter(
        run_path="lab/maze/long", metric="reward"
    )
    assert history["step"].sort().to_list() == list(range(1000))
    summary = tables(lab)["marts.run_summaries"].filter(
        run_path="lab/maze/long", metric="reward"
    )
    assert summary["n_points"].to_list() == [1000]
    append(path, run_records("long", steps=1100, exit_code=0)[1001:])
    lab.refresh()
    grown = tables(lab)["raw.history"].filter(run_path="lab/maze/long", metric="reward")
    assert grown["step"].sort().to_list() == list(range(1100))
    after = {part: lab.lake.path(part).read_bytes() for part in before}
    rewritten = [part.number for part in before if before[part] != after[part]]
    assert rewritten == [min(parts)]
    once = tables(lab)
    lab.refresh(selection=Selection(reread=True))
    assert tables(lab)["raw.history"].equals(once["raw.history"])
    assert tables(lab)["marts.run_summaries"].equals(once["marts.run_summaries"])
    again = tables(lab)["raw.history"].filter(run_path="lab/maze/long", metric="reward")
    assert again["step"].sort().to_list() == list(range(1100))
    assert ROWS_PER_PART == 5_000_000


def test_a_file_first_seen_without_its_run_record_becomes_its_run(
    tmp_path: Path,
) -> None:
    lab = make_lab(tmp_path, runs=1)
    path = run_file(tmp_path, "abc")
    path.parent.mkdir(parents=True)
    path.write_bytes(log_bytes([]))
    lab.refresh()
    assert "local/uncategorized/abc" in tables(lab)["marts.runs"]["run_path"]
    path.write_bytes(log_bytes(run_records("abc", steps=3)))
    lab.refresh()
    paths = tables(lab)["marts.runs"]["run_path"].to_list()
    assert paths == ["lab/maze/abc", "lab/maze/r0"]
    path.write_bytes(b"")
    lab.refresh()
    write_run(tmp_path, "later")
    lab.refresh()
    assert "lab/maze/later" in tables(lab)["marts.runs"]["run_path"]
    assert lab.refresh().is_unchanged


def test_a_newcomer_never_lies_in_a_part_of_a_long_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run_assets.ingest.parts.ROWS_PER_PART", 500)
    monkeypatch.setattr("run_assets.ingest.placement.ROWS_PER_PART", 500)
    lab = make_lab(tmp_path, runs=0)
    path = write_run(tmp_path, "long", steps=600, exit_code=None)
    lab.refresh()
    write_run(tmp_path, "new", steps=5)
    lab.refresh()
    append(path, run_records("long", steps=700, exit_code=None)[601:])
    lab.refresh()
    history = tables(lab)["raw.history"].filter(metric="reward")
    counts = dict(history.group_by("run_path").len().iter_rows())
    assert counts == {"lab/maze/long": 700, "lab/maze/new": 5}
    points = dict(
        tables(lab)["marts.run_summaries"]
        .filter(metric="reward")
        .select("run_path", "n_points")
        .iter_rows()
    )
    assert points == counts


def test_a_long_run_that_moved_keeps_its_rows_when_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run_assets.ingest.parts.ROWS_PER_PART", 500)
    monkeypatch.setattr("run_assets.ingest.placement.ROWS_PER_PART", 500)
    lab = make_lab(tmp_path, runs=0)
    path = write_run(tmp_path, "long", steps=100, exit_code=None)
    lab.refresh()
    moved = path.parent.parent / "aa" / path.parent.name
    moved.parent.mkdir()
    path.parent.rename(moved)
    for steps in (700, 900):
        records = run_records("long", steps=steps, exit_code=None)
        (moved / path.name).write_bytes(log_bytes(records))
        lab.refresh()
        rewards = tables(lab)["raw.history"].filter(metric="reward")
        assert rewards["step"].sort().to_list() == list(range(steps))


def test_a_file_that_was_cut_loses_nothing_and_says_so(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, runs=1)
    path = write_run(tmp_path, "cut", steps=3000)
    lab.refresh()
    before = tables(lab)["raw.history"]
    path.write_bytes(path.read_bytes()[:40_000])
    result = lab.refresh()
    assert [one.location for one in result.damaged] == [str(path)]
    assert tables(lab)["raw.history"].equals(before)
    assert lab.refresh().is_unchanged
    shutil.rmtree(path.parent)
    assert lab.refresh().damaged == ()


def test_asking_whether_something_changed_removes_nothing_of_a_writer(
    tmp_path: Path,
) -> None:
    lab = make_lab(tmp_path, runs=1)
    lab.refresh()
    part = lab.lake.path(lab.lake.parts("raw.history")[0])
    written = part.with_name(f".{part.name}.tmp")
    written.write_bytes(b"half")
    assert is_built(lab)
    assert written.exists()
    assert lab.refresh().is_unchanged
    assert not written.exists()


def test_a_long_file_that_was_cut_loses_none_of_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run_assets.ingest.parts.ROWS_PER_PART", 500)
    monkeypatch.setattr("run_assets.ingest.placement.ROWS_PER_PART", 500)
    lab = make_lab(tmp_path, runs=0)
    path = write_run(tmp_path, "long", steps=1000)
    lab.refresh()
    before = tables(lab)["raw.history"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    result = lab.refresh()
    assert [one.location for one in result.damaged] == [str(path)]
    assert tables(lab)["raw.history"].equals(before)
    write_run(tmp_path, "other")
    lab.refresh()
    long = tables(lab)["raw.history"].filter(run_path="lab/maze/long")
    assert long.equals(before)


def test_a_lost_state_is_made_again_from_the_lake(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, runs=3)
    lab.refresh()
    before = tables(lab)
    shutil.rmtree(run_file(tmp_path, "r1").parent)
    lab.lake.path(STATE).write_bytes(b"PAR1 garbage")
    lab.refresh()
    assert tables(lab)["raw.history"].equals(before["raw.history"])
    assert tables(lab)["raw.runs"].equals(before["raw.runs"])
    assert lab.refresh().is_unchanged


def checked(result: object) -> AssetCheckResult:
    assert isinstance(result, AssetCheckResult)
    return result


def test_rows_that_are_missing_in_the_lake_turn_a_check_red(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, runs=2)
    lab.refresh()
    with build_resources(
        {"lab": use_lab(lab, str(tmp_path / "run_assets.yaml"))}
    ) as of:
        assert checked(complete(of.lab)).passed
        part = lab.lake.parts("raw.history")[0]
        header = lab.lake.header(part)
        assert header is not None
        fewer = lab.lake.read("raw.history", [part]).head(3)
        lab.lake.write(part, fewer, digest=header.digest, code=header.code)
        found = checked(complete(of.lab))
    assert not found.passed
    assert "part 0" in (found.description or "")
