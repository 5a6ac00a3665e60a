"""kill -9 at any instant, two at once, an analyst in the way: nothing is lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from shutil import disk_usage

import duckdb
import pytest
from dagster import AssetCheckResult, build_resources

from run_assets.checks import complete
from run_assets.errors import UsageError
from run_assets.ingest import STATE, Ingest, place_runs, read_state
from run_assets.lab import Lab
from run_assets.refresh import Selection, is_built, plan_refresh
from run_assets.resources import use_lab
from run_assets.store.lake import ROWS_PER_PART
from tests.support.labs import (
    ANALYSIS,
    START,
    append,
    assert_same_tables,
    make_lab,
    run_file,
    run_records,
    tables,
    write_run,
)
from tests.support.wandb_log import log_bytes

REFRESH = (sys.executable, "-m", "run_assets.cli", "--config")
KILLS = 6


def refresh_process(lab: Lab, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*REFRESH, str(lab.config.root), "--quiet", "refresh", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = make_lab(tmp_path_factory.mktemp("undisturbed"), runs=6)
    lab.refresh()
    return lab


@pytest.mark.timeout(240)
def test_killed_refreshes_followed_by_a_normal_one_give_the_same_tables(
    undisturbed: Lab, tmp_path: Path
) -> None:
    lab = make_lab(tmp_path / "lab", runs=0)
    shutil.copytree(undisturbed.config.root / "wandb", lab.config.root / "wandb")
    rng = random.Random(7)
    begin = time.monotonic()
    with refresh_process(make_lab(tmp_path / "timed", runs=6)) as whole:
        assert whole.wait() == 0
    seconds = time.monotonic() - begin
    for _ in range(KILLS):
        with refresh_process(lab) as process:
            time.sleep(rng.uniform(0.25, 0.95) * seconds)
            process.send_signal(signal.SIGKILL)
    lab.refresh()
    mine, theirs = tables(lab), tables(undisturbed)
    for name, frame in theirs.items():
        drop = [c for c in ("source_location", "modified_ns") if c in frame]
        assert mine[name].drop(drop).equals(frame.drop(drop)), name
    leftovers = [
        file for file in lab.config.data_path.rglob("*.tmp*") if file.is_file()
    ]
    assert not leftovers
    with duckdb.connect(str(lab.warehouse), read_only=True) as connection:
        rows = connection.execute("select count(*) from raw.history").fetchall()
    assert rows == [(theirs["raw.history"].height,)]


def test_an_ingest_killed_between_parts_is_repaired(
    undisturbed: Lab, tmp_path: Path
) -> None:
    lab = make_lab(tmp_path / "lab", runs=0)
    shutil.copytree(undisturbed.config.root / "wandb", lab.config.root / "wandb")
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


def test_two_at_once_the_second_stops_with_a_clear_message(tmp_path: Path) -> None:
    from run_assets.store.lock import lake_lock

    lab = make_lab(tmp_path, runs=1)
    with lake_lock(lab.config.data_path), refresh_process(lab) as second:
        _, told = second.communicate()
    assert second.returncode == 75
    assert f"pid {os.getpid()}" in told
    assert "Traceback" not in told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [50_000, 700_000, 1_500_000])
def test_a_full_disk_leaves_the_tables_and_a_clear_error(
    small_disk: Path, room: int
) -> None:
    lab = make_lab(small_disk / "lab", runs=2)
    lab.refresh()
    before = tables(lab)
    write_run(lab.config.root, "more", steps=3000)
    fill = small_disk / "fill"
    with fill.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk_usage(small_disk).free - room)
    with refresh_process(lab) as process:
        _, told = process.communicate()
    assert process.returncode == 1
    assert "make room and refresh again" in told.lower()
    assert "defect" not in told
    assert lab.sql("select count(*) as n from marts.runs").item() == 2
    readable = tables(lab)
    assert (
        readable["raw.history"]
        .filter(run_path="lab/maze/r0")
        .equals(before["raw.history"].filter(run_path="lab/maze/r0"))
    )
    fill.unlink()
    lab.refresh()
    assert lab.sql("select count(*) as n from marts.runs").item() == 3


def test_an_analysts_open_connection_blocks_nothing_and_goes_on_answering(
    tmp_path: Path,
) -> None:
    lab = make_lab(tmp_path, runs=2)
    lab.refresh()
    code = (
        "import duckdb, sys\n"
        f"c = duckdb.connect({str(lab.warehouse)!r}, read_only=True)\n"
        "for line in sys.stdin:\n"
        "    rows = c.execute('select (select count(*) from marts.runs), "
        "(select count(distinct run_path) from raw.history)').fetchall()\n"
        "    print(rows[0], flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as analyst:
        assert analyst.stdin is not None
        assert analyst.stdout is not None

        def ask() -> str:
            analyst.stdin.write("\n")  # type: ignore[union-attr]  # asserted above
            analyst.stdin.flush()  # type: ignore[union-attr]  # asserted above
            return analyst.stdout.readline().strip()  # type: ignore[union-attr]

        assert ask() == "(2, 2)"
        write_run(tmp_path, "r7", started_at=START + timedelta(days=9))
        lab.refresh()
        # its tables as they were, its bulk views over the current lake
        assert ask() == "(2, 3)"
        analyst.stdin.close()
    assert lab.sql("select count(*) as n from marts.runs").item() == 3


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
    lab.refresh(selection=Selection(reread=True))
    assert_same_tables(lab, lab)
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


def test_an_analysis_before_its_first_run_and_without_a_curve_is_no_error(
    tmp_path: Path,
) -> None:
    derived = {**ANALYSIS, "name": "gap", "score": {"metric": "efficiency"}}
    lab = make_lab(tmp_path, runs=0, analyses=[derived])
    (tmp_path / "wandb").mkdir()
    lab.refresh()
    assert tables(lab)["stats.scores"].is_empty()
    write_run(tmp_path, "r0")
    write_run(tmp_path, "r1")
    lab.refresh()
    assert tables(lab)["stats.scores"]["score"].null_count() == 0
    assert (lab.reports / "latest" / "report.html").is_file()


def test_an_analysis_of_what_nobody_logged_fails_with_what_there_is(
    tmp_path: Path,
) -> None:
    unknown = {**ANALYSIS, "name": "later", "score": {"metric": "not/logged"}}
    lab = make_lab(tmp_path, runs=2, analyses=[unknown])
    with pytest.raises(UsageError, match="there are: efficiency, loss, reward"):
        lab.refresh()


def test_a_report_that_was_removed_is_written_again(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, runs=2)
    lab.refresh()
    (lab.reports / "latest" / "report.md").unlink()
    assert not lab.refresh().is_unchanged
    assert (lab.reports / "latest" / "report.md").is_file()
    assert lab.refresh().is_unchanged


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
