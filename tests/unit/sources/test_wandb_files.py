"""Runs in folders: found once, read whole, read on, told apart from their copies."""

import json
import logging
import math
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from run_assets.errors import NotFoundError, SourceError, UsageError
from run_assets.sources import wandb_history, wandb_progress
from run_assets.sources.wandb_files import (
    HISTORY,
    Progress,
    Reason,
    RunFile,
    continues,
    find_run_files,
    fragments,
    read_header,
    read_run,
    stream_run,
)
from run_assets.sources.wandb_log import HEADER
from tests.support.wandb_log import (
    artifact_record,
    config_record,
    exit_record,
    history_record,
    log_bytes,
    raw_history_record,
    run_record,
    stats_record,
    summary_record,
    with_flipped_bit,
    with_zeroed_block,
    write_run_file,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = START + timedelta(hours=1)


def steps(run: RunFile, metric: str = "a") -> list[int]:
    return run.history.filter(metric=metric)["step"].to_list()


def a_run(n_rows: int = 300, **run: Any) -> list[Any]:
    """Records of several blocks: every row has two summary records, too."""
    records = [run_record("r1", started_at=START, project="p", **run)]
    for i in range(n_rows):
        at = START.timestamp() + i
        values = {"_step": i, "_timestamp": at, "_runtime": i, "a": i, "text": "x" * 50}
        records += [
            summary_record([(("_wandb", "runtime"), str(i))]),
            summary_record([(("a",), str(i)), (("_step",), str(i))]),
            history_record(values),
        ]
        if i % 50 == 0:
            records.append(stats_record(START + timedelta(seconds=i), {"cpu": i}))
            records.append(config_record([(("seen",), str(i))]))
    return records


def written(folder: Path, data: bytes, run_id: str = "r1") -> Path:
    path = folder / f"run-{run_id}.wandb"
    path.write_bytes(data)
    return path


def assert_same_run(one: RunFile, other: RunFile) -> None:
    for name in vars(one):
        if isinstance(getattr(one, name), pl.DataFrame):
            assert_frame_equal(getattr(one, name), getattr(other, name))
        else:
            assert getattr(one, name) == getattr(other, name), name


# Finding.


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(HEADER)
    return path


def found(root: Path) -> list[Path]:
    return [file.location for file in find_run_files(root)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    touch(tmp_path / "one/wandb/run-20260102_030405-a/run-a.wandb")
    touch(tmp_path / "one/wandb/offline-run-20260102_030405-b/run-b.wandb")
    touch(tmp_path / "one/wandb/offline-run-20260102_030405-b/files/x/run-no.wandb")
    touch(tmp_path / "two/deep/er/wandb/run-20260102_030405-c/run-c.wandb")
    return tmp_path


def test_any_parent_finds_all_runs_in_order(tree: Path) -> None:
    assert [path.name for path in found(tree)] == [
        "run-b.wandb", "run-a.wandb", "run-c.wandb",
    ]  # fmt: skip


def test_a_run_folder_and_a_single_file_are_enough(tree: Path) -> None:
    folder = tree / "one/wandb/run-20260102_030405-a"
    assert found(folder) == found(folder / "run-a.wandb") == [folder / "run-a.wandb"]


def test_links_are_followed_but_nothing_is_found_twice(tree: Path) -> None:
    wandb = tree / "one/wandb"
    (wandb / "latest-run").symlink_to(wandb / "run-20260102_030405-a")
    (wandb / "a-loop").symlink_to(tree)
    (wandb / "broken").symlink_to(tree / "nowhere")
    (wandb / "itself").symlink_to(wandb / "itself")
    (wandb / "again.wandb").symlink_to(wandb / "run-20260102_030405-a/run-a.wandb")
    elsewhere = tree.parent / f"{tree.name}-elsewhere"
    touch(elsewhere / "run-20260102_030405-d/run-d.wandb")
    (wandb / "linked").symlink_to(elsewhere)
    names = [path.name for path in found(tree)]
    assert names == ["run-d.wandb", "run-b.wandb", "run-a.wandb", "run-c.wandb"]
    assert found(tree)[0].is_relative_to(wandb / "linked")
    assert "latest-run" not in str(found(tree))


def test_a_link_as_root_is_followed(tree: Path) -> None:
    link = tree / "one/wandb/latest-run"
    link.symlink_to(tree / "one/wandb/run-20260102_030405-a")
    assert found(link) == [link / "run-a.wandb"]


def test_a_missing_root_says_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="check the path of the source"):
        find_run_files(tmp_path / "nowhere")


def test_what_only_looks_like_a_run_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run-pipe.wandb")
    touch(tmp_path / "run-folder.wandb/run-a.wandb")
    touch(tmp_path / "run-a.wandb.synced")
    assert found(tmp_path) == [tmp_path / "run-folder.wandb/run-a.wandb"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_locked_folder_is_left_out_and_logged(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tree / "two").chmod(0)
    with caplog.at_level(logging.WARNING):
        assert len(found(tree)) == 2
    (tree / "two").chmod(0o700)
    assert "cannot be read" in caplog.text


def test_ten_thousand_runs_are_found_in_a_second(tmp_path: Path) -> None:
    for i in range(10_000):
        folder = tmp_path / f"run-20260102_030405-{i:05}"
        folder.mkdir()
        (folder / f"run-{i:05}.wandb").touch()
    seconds = []
    for _ in range(3):
        began = time.thread_time()
        assert len(found(tmp_path)) == 10_000
        seconds.append(time.thread_time() - began)
    # Measured at 0.25 s of CPU; the limit leaves room for a slower machine, and the
    # best of three for what else it does.
    assert min(seconds) < 1.5


# Headers, fragments and copies.


def test_a_header_reads_only_the_first_records(tmp_path: Path) -> None:
    records = a_run(entity="e", resume=True)
    path = write_run_file(tmp_path, "other", records)
    header = read_header(path)
    assert (header.entity, header.project, header.run_id) == ("e", "p", "r1")
    assert (header.started_at, header.is_resumed, header.problem) == (START, True, None)
    short = write_run_file(tmp_path, "short", records[:1])
    assert read_header(short).first_record_digest == header.first_record_digest


def test_a_run_record_of_any_size_is_found(tmp_path: Path) -> None:
    record = run_record("r1", entity="e", config={"text": "x" * 3_000_000})
    header = read_header(write_run_file(tmp_path, "other", [record]))
    assert (header.run_id, header.entity) == ("r1", "e")


def test_without_a_run_record_names_tell_id_and_time(tmp_path: Path) -> None:
    folder = tmp_path / "offline-run-20260102_030405-abc"
    header = read_header(write_run_file(folder, "abc", []))
    assert (header.run_id, header.entity, header.project) == ("abc", None, None)
    assert header.started_at is None
    assert header.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    run = read_run(header.location, now=NOW)
    assert (run.run_id, run.project, run.run_state) == (
        "abc",
        "uncategorized",
        "unknown",
    )
    assert (run.created_at, run.history_rows) == (header.created_at, 0)


def test_an_impossible_time_in_a_folder_name_is_no_time(tmp_path: Path) -> None:
    path = write_run_file(tmp_path / "run-20269999_999999-x", "x", [])
    os.utime(path, (1e9, 1e9))
    assert read_header(path).created_at == datetime.fromtimestamp(1e9, UTC)


def test_a_run_that_we_published_is_told_by_its_config(tmp_path: Path) -> None:
    own = write_run_file(tmp_path, "own", [run_record(config={"run_assets": True})])
    other = write_run_file(tmp_path, "other", [run_record(config={"run_assets": 1})])
    assert read_header(own).is_own
    assert not read_header(other).is_own


def test_a_wrong_header_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    path = written(tmp_path, b"PK\x03\x04 not ours at all")
    header = read_header(path)
    assert header.problem is not None
    assert "wrong header" in header.problem
    run = read_run(path, now=NOW)
    assert run.is_damaged
    assert run.history_rows == 0
    assert run.skipped[str(path)] == ((0, path.stat().st_size, Reason.WRONG_HEADER),)


def test_a_vanished_file_is_a_problem_for_the_header_and_an_error_to_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run-x.wandb"
    assert read_header(path).problem == "cannot be read: No such file or directory"
    with pytest.raises(SourceError, match="No such file"):
        read_run(path, now=NOW)


def resumed(tmp_path: Path, n_files: int = 2) -> list[Path]:
    """Fragments as an offline resume writes them, each from step 0; last one first."""
    paths = []
    for n in range(n_files):
        started = START + timedelta(minutes=n)
        head = run_record("r1", started_at=started, resume=True, config={f"c{n}": n})
        rows = [history_record({"_step": i, "a": 10 * n + i}) for i in range(10)]
        summary = summary_record([((f"s{n}",), str(n))])
        folder = tmp_path / f"offline-run-20260301_120{n}00-r1"
        records = [head, *rows, summary, exit_record(1 if n == 0 else 0)]
        paths.append(write_run_file(folder, "r1", records))
    return paths[::-1]


def test_fragments_of_a_resumed_run_are_one_run_with_renumbered_steps(
    tmp_path: Path,
) -> None:
    files, copies = fragments([read_header(path) for path in resumed(tmp_path)])
    assert copies == ()
    assert [header.started_at for header in files] == [
        START, START + timedelta(minutes=1),
    ]  # fmt: skip
    run = read_run([header.location for header in files], now=NOW)
    assert steps(run) == list(range(20))
    assert run.history["value"].to_list() == [float(i) for i in range(20)]
    assert (run.history_rows, run.last_step, run.run_state) == (20, 19, "finished")
    assert json.loads(run.config_json) == {"c0": 0, "c1": 1}
    assert json.loads(run.summary_json) == {"s0": 0, "s1": 1, "_step": 19}
    assert run.created_at == START


def test_a_resumed_process_without_exit_is_not_finished(tmp_path: Path) -> None:
    first = write_run_file(tmp_path / "1", "r1", [run_record(), exit_record(0)])
    second = write_run_file(tmp_path / "2", "r1", [run_record(resume=True)])
    assert read_run([first, second], now=NOW).run_state != "finished"


def test_of_copies_the_longest_counts(tmp_path: Path) -> None:
    records = a_run(30)
    long = write_run_file(tmp_path / "b", "r1", records)
    same = write_run_file(tmp_path / "c", "r1", records)
    short = write_run_file(tmp_path / "a", "r1", records[:20])
    cut = written(tmp_path, log_bytes(records)[:-5])
    files, copies = fragments([read_header(p) for p in (short, same, cut, long)])
    assert [header.location for header in files] == [long]
    assert {header.location for header in copies} == {same, short, cut}


def test_files_that_only_begin_alike_are_not_copies(tmp_path: Path) -> None:
    records = a_run(30)
    one = write_run_file(tmp_path / "a", "r1", records)
    other = write_run_file(tmp_path / "b", "r1", [*records[:20], exit_record(0)])
    headers = [read_header(one), read_header(other)]
    assert len(fragments(headers).files) == 2


def test_a_file_that_vanished_is_no_copy(tmp_path: Path) -> None:
    paths = [write_run_file(tmp_path / name, "r1", a_run(3)) for name in "ab"]
    headers = [read_header(path) for path in paths]
    paths[0].unlink()
    assert len(fragments(headers).files) == 2


# Reading.


def test_a_whole_run_is_read_into_columns(tmp_path: Path) -> None:
    records = a_run(
        300, entity="e", display_name="name", run_group="g", job_type="train",
        notes="n", tags=["x", "y"], sweep_id="s", host="h", config={"lr": 0.1},
    )  # fmt: skip
    run = read_run(write_run_file(tmp_path, "r1", [*records, exit_record(0)]), now=NOW)
    assert (run.entity, run.project, run.run_id, run.run_name) == (
        "e",
        "p",
        "r1",
        "name",
    )
    assert (run.run_group, run.job_type, run.notes, run.tags) == (
        "g", "train", "n", ("x", "y"),
    )  # fmt: skip
    assert (run.sweep_name, run.host_name) == ("s", "h")
    assert (run.run_state, run.runtime_seconds) == ("finished", 299.0)
    assert (run.history_rows, run.last_step) == (300, 299)
    assert run.heartbeat_at == START + timedelta(seconds=299)
    assert json.loads(run.config_json) == {"lr": 0.1, "seen": 250}
    assert json.loads(run.summary_json) == {"a": 299, "_step": 299}
    assert run.history.schema == HISTORY
    assert steps(run) == list(range(300))
    assert run.system_metrics["runtime_seconds"].to_list() == [
        0,
        50,
        100,
        150,
        200,
        250,
    ]
    assert (run.is_cut_off, run.is_damaged, run.skipped) == (False, False, {})


@pytest.mark.parametrize(
    ("exit_code", "silent_for", "state"),
    [
        (0, timedelta(days=9), "finished"),
        (1, timedelta(0), "failed"),
        (None, timedelta(minutes=5), "running"),
        (None, timedelta(minutes=5, seconds=1), "crashed"),
    ],
)
def test_the_state_is_the_exit_code_or_the_age_of_the_heartbeat(
    tmp_path: Path, exit_code: int | None, silent_for: timedelta, state: str
) -> None:
    row = history_record({"_timestamp": START.timestamp(), "a": 1})
    end = [] if exit_code is None else [exit_record(exit_code)]
    path = write_run_file(tmp_path, "r1", [run_record(), row, *end])
    assert read_run(path, now=START + silent_for).run_state == state


def test_a_time_stamp_from_the_future_does_not_keep_a_run_alive(tmp_path: Path) -> None:
    row = history_record({"_timestamp": NOW.timestamp() + 1e9, "a": 1})
    path = write_run_file(tmp_path, "r1", [run_record(), row])
    os.utime(path, (START.timestamp(), START.timestamp()))
    run = read_run(path, now=NOW)
    assert (run.heartbeat_at, run.run_state) == (START, "crashed")


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([0, 5, 10], [0, 5, 10]),
        ([None, None], [0, 1]),
        ([5, None, 7, None], [5, 6, 7, 8]),
        ([5, 3, 3, 9], [5, 6, 7, 9]),
        ([-4, 0, 0], [0, 1, 2]),
        ([100, None, 5, 102, 103], [100, 101, 102, 103, 104]),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_steps_are_numbered_as_the_server_does(
    tmp_path: Path, logged: list[int | None], expected: list[int], batch_rows: int
) -> None:
    rows = [
        history_record({"a": 1.0} if step is None else {"_step": step, "a": 1.0})
        for step in logged
    ]
    path = write_run_file(tmp_path, "r1", [run_record(), *rows])
    frames = list(stream_run(path, now=NOW, batch_rows=batch_rows))
    assert pl.concat(frames)["step"].to_list() == expected


def test_a_row_without_values_counts_and_takes_a_step(tmp_path: Path) -> None:
    rows = [history_record(v) for v in ({"a": 1}, {"a": None}, {"_step": 9}, {"a": 2})]
    run = read_run(write_run_file(tmp_path, "r1", [run_record(), *rows]), now=NOW)
    assert steps(run) == [0, 10]
    assert run.history_rows == 4


def test_the_recorded_starting_step_is_where_numbering_starts(tmp_path: Path) -> None:
    row = history_record({"a": 1})
    head = run_record(resumed=True, starting_step=5)
    run = read_run(write_run_file(tmp_path, "r1", [head, row, row]), now=NOW)
    assert steps(run) == [5, 6]


def test_values_keep_what_json_cannot_say(tmp_path: Path) -> None:
    row = raw_history_record(
        [("nan", "NaN"), ("inf", "-Infinity"), ("text", '"NaN"'), ("none", "null"),
         ("flag", "true"), ("big", str(2**60 + 1)), ("list", "[1, NaN]")]
    )  # fmt: skip
    run = read_run(write_run_file(tmp_path, "r1", [run_record(), row]), now=NOW)
    values = {
        metric: (value, text)
        for metric, value, text in run.history.select(
            "metric", "value", "value_json"
        ).iter_rows()
    }
    assert math.isnan(values.pop("nan")[0])
    assert values == {
        "inf": (-math.inf, None),
        "text": (None, '"NaN"'),
        "flag": (1.0, "true"),
        "big": (float(2**60), str(2**60 + 1)),
        "list": (None, '[1, "NaN"]'),
    }


def test_a_stream_is_the_same_run_in_pieces(tmp_path: Path) -> None:
    path = write_run_file(tmp_path, "r1", a_run())
    stream = stream_run(path, now=NOW, batch_rows=50)
    frames = list(stream)
    assert len(frames) > 1
    whole = read_run(path, now=NOW)
    assert_frame_equal(pl.concat(frames), whole.history)
    assert stream.finish().progress == whole.progress
    unread = stream_run(path, now=NOW).finish()
    assert unread.summary_json == whole.summary_json
    assert unread.history.is_empty()


# Damage.


@pytest.mark.parametrize("data", [b"", HEADER[:3], HEADER])
def test_a_file_without_records_is_fine(tmp_path: Path, data: bytes) -> None:
    run = read_run(written(tmp_path, data), now=NOW)
    assert (run.history_rows, run.run_state, run.is_damaged) == (0, "unknown", False)
    assert run.is_cut_off == (data == HEADER[:3])


@pytest.mark.parametrize("lost_bytes", [1, 6, 40, 500])
def test_a_cut_off_tail_is_normal(tmp_path: Path, lost_bytes: int) -> None:
    data = log_bytes(a_run())
    run = read_run(written(tmp_path, data[:-lost_bytes]), now=NOW)
    assert (run.is_cut_off, run.is_damaged) == (True, False)
    assert steps(run) == list(range(run.history_rows))
    (lost,) = run.skipped[str(tmp_path / "run-r1.wandb")]
    assert lost.offset + lost.size_bytes == len(data) - lost_bytes


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda data: with_flipped_bit(data, 40_000), Reason.BAD_CHECKSUM),
        (lambda data: with_zeroed_block(data, 1), Reason.ZEROED),
    ],
)
def test_damage_costs_a_block_and_is_reported(
    tmp_path: Path, broken: Any, reason: Reason
) -> None:
    data = log_bytes(a_run(600))
    run = read_run(written(tmp_path, broken(data)), now=NOW)
    assert (run.is_cut_off, run.is_damaged) == (False, True)
    (lost,) = run.skipped[str(tmp_path / "run-r1.wandb")]
    assert lost.reason is reason
    read = steps(run)
    assert read[0] == 0
    assert read[-1] == 599
    assert 0 < 600 - len(read) < 250
    assert read == [int(v) for v in run.history.filter(metric="a")["value"]]


def test_records_that_cannot_be_decoded_are_one_loss_and_cost_only_themselves(
    tmp_path: Path,
) -> None:
    before, after = a_run(10), [history_record({"a": 1.0}), exit_record(0)]
    junk = [b"\xff" * 50] * 2000
    path = write_run_file(tmp_path, "r1", [*before, *junk, *after])
    run = read_run(path, now=NOW)
    (lost,) = run.skipped[str(path)]
    assert lost.reason is Reason.UNDECODABLE
    assert lost.offset == len(log_bytes(before))
    assert lost.size_bytes >= 2000 * 57
    assert (run.history_rows, run.run_state) == (11, "finished")
    assert run.is_damaged


def test_without_numba_big_files_take_the_plain_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run_file(tmp_path, "r1", a_run())
    small = read_run(path, now=NOW)
    monkeypatch.setattr(wandb_history, "FAST_BYTES", 0)
    monkeypatch.setitem(sys.modules, "run_assets.sources.wandb_fast", None)
    monkeypatch.setattr(wandb_history, "find_spec", {}.get)
    assert_same_run(read_run(path, now=NOW), small)


def test_hostile_numbers_are_left_out(tmp_path: Path) -> None:
    head = run_record("r1", starting_step=2**63 - 1)
    head.run.start_time.seconds = 253_402_300_799
    head.run.start_time.nanos = 2**31 - 1
    artifact = artifact_record("a", [2**63 - 1, 2**63 - 1])
    summary = summary_record([(("_wandb", "runtime"), "9" * 400)])
    row = raw_history_record([("_timestamp", "9" * 400), ("_runtime", "1e999")])
    row.history.item.add(key="a", value_json="1")
    records = [head, artifact, summary, row, exit_record(0, runtime=7)]
    run = read_run(write_run_file(tmp_path, "x", records), now=NOW)
    assert steps(run) == [0]
    assert run.runtime_seconds == 7.0
    assert run.created_at.year == 9999
    assert run.artifacts["size_bytes"].to_list() == [2**63 - 1]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    record = run_record("../../etc/passwd", project="<script>", entity="a/b\x00")
    run = read_run(write_run_file(tmp_path, "x", [record]), now=NOW)
    assert (run.run_id, run.project) == ("../../etc/passwd", "<script>")


def test_a_file_name_that_is_no_utf8_is_escaped(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff.wandb"))
    path.write_bytes(HEADER + b"cut")
    run = read_run(path, now=NOW)
    assert run.run_id == "\\udcff"
    assert list(run.skipped) == [run.source_location]
    run.source_location.encode()


# Reading on.


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.31, 0.5, 0.8, 0.9999, 1.0])
def test_reading_on_gives_what_a_whole_read_gives(tmp_path: Path, share: float) -> None:
    data = log_bytes([*a_run(), exit_record(0)])
    path = written(tmp_path, data[: int(len(data) * share)])
    early = read_run(path, now=NOW)
    path.write_bytes(data)
    progress = Progress.from_json(early.progress.to_json())
    late = read_run(path, now=NOW, after=progress)
    whole = read_run(path, now=NOW)
    assert_frame_equal(pl.concat([early.history, late.history]), whole.history)
    both = pl.concat([early.system_metrics, late.system_metrics])
    assert_frame_equal(
        both.select("metric", "logged_at", "value"),
        whole.system_metrics.select("metric", "logged_at", "value"),
    )
    assert late.progress == whole.progress
    for name in (
        "run_state",
        "summary_json",
        "config_json",
        "heartbeat_at",
        "runtime_seconds",
        "last_step",
        "history_rows",
        "skipped",
        "tags",
    ):
        assert getattr(late, name) == getattr(whole, name), name


def test_reading_on_keeps_what_was_lost_before_and_not_what_is_whole_now(
    tmp_path: Path,
) -> None:
    data = with_flipped_bit(log_bytes(a_run(600)), 40_000)
    path = written(tmp_path, data[:120_000])
    early = read_run(path, now=NOW)
    assert [lost.reason for lost in early.skipped[str(path)]] == [
        Reason.BAD_CHECKSUM, Reason.CUT_OFF,
    ]  # fmt: skip
    path.write_bytes(data)
    late = read_run(path, now=NOW, after=early.progress)
    assert_same_run(
        read_run(path, now=NOW),
        RunFile(**(vars(late) | {
            "history": pl.concat([early.history, late.history]),
            "system_metrics": pl.concat([early.system_metrics, late.system_metrics]),
        })),
    )  # fmt: skip


def test_progress_is_not_changed_by_reading_on(tmp_path: Path) -> None:
    data = log_bytes(a_run())
    path = written(tmp_path, data[:20_000])
    progress = read_run(path, now=NOW).progress
    before = progress.to_json()
    path.write_bytes(data)
    read_run(path, now=NOW, after=progress)
    assert progress.to_json() == before


@pytest.mark.parametrize("change", ["shrunk", "other beginning", "other end"])
def test_a_file_that_did_not_just_grow_is_refused(tmp_path: Path, change: str) -> None:
    data = log_bytes(a_run())
    path = written(tmp_path, data)
    progress = read_run(path, now=NOW).progress
    changed = {
        "shrunk": data[:-1],
        "other beginning": with_flipped_bit(data, 20),
        "other end": with_flipped_bit(data, len(data) - 5),
    }[change]
    assert continues(path, progress)
    path.write_bytes(changed)
    assert not continues(path, progress)
    with pytest.raises(SourceError, match="read it whole"):
        read_run(path, now=NOW, after=progress)


def test_what_another_version_saved_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run_file(tmp_path, "r1", a_run(10))
    progress = read_run(path, now=NOW).progress
    assert continues(path, progress)
    monkeypatch.setattr(wandb_progress, "FORMAT", -1)
    assert not continues(path, progress)


def test_a_file_that_is_gone_does_not_continue(tmp_path: Path) -> None:
    path = write_run_file(tmp_path, "r1", a_run(1))
    progress = read_run(path, now=NOW).progress
    path.unlink()
    assert not continues(path, progress)


def test_fragments_cannot_be_read_on(tmp_path: Path) -> None:
    paths = resumed(tmp_path)
    progress = read_run(paths[0], now=NOW).progress
    with pytest.raises(UsageError, match="got 2 files"):
        stream_run(paths, now=NOW, after=progress)
    with pytest.raises(UsageError, match="got 0 files"):
        stream_run([], now=NOW)
