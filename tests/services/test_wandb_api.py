"""Runs from a W&B server: complete, incremental, and right whatever it does."""

import json
import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from run_assets.errors import (
    AuthenticationError,
    NotFoundError,
    TryAgainError,
    UsageError,
)
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.sources import wandb_api_client as client_module
from tests.support.api_labs import api_lab, history, pull, run, steps
from tests.support.labs import write_config, write_run
from tests.support.wandb_server import (
    API_KEY,
    Fault,
    WandbServer,
    append_rows,
    dropped,
    hanging,
    html_page,
    late,
    refused,
    throttled,
    truncated,
    wandb_server,
)
from tests.support.wandb_server.storage import FiledHistory

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setattr(client_module, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "LONGEST_WAIT_SECONDS", 0.1)
    with wandb_server(tmp_path / "sdk") as server:
        yield server
        assert not server.requests.unknown


@pytest.fixture
def lab(tmp_path: Path, server: WandbServer) -> Lab:
    return api_lab(tmp_path / "lab", server)


def add(server: WandbServer, name: str, rows: int = 10, **more: Any) -> Any:
    given = {"created_at": START, "config": {"lr": 1}, **more}
    return server.add_run(f"me/p/{name}", [{"x": i} for i in range(rows)], **given)


# What comes in


def test_everything_that_the_server_knows_of_a_run_is_stored(
    server: WandbServer, lab: Lab
) -> None:
    events = [
        json.dumps(
            {"_timestamp": 1767323045.5 + i, "system.cpu": i / 2, "_wandb": True}
        )
        for i in range(3)
    ]
    definitions = [
        {"1": "epoch", "6": [3]},
        {"2": "eval/*", "5": 1, "7": [1, 2], "8": 2},
    ]
    made = add(
        server,
        "whole",
        tags=["b", "a"],
        group="g",
        job_type="train",
        notes="n",
        commit="c0ffee",
        sweep_name="s1",
        display_name="shown",
        state="failed",
        events=events,
        files={"wandb-metadata.json": b'{"host": "box", "program": "train.py"}'},
    )
    made.config["_wandb"] = {"value": {"m": definitions, "cli_version": "0.31.0"}}
    made.summary["_wandb"] = {"runtime": 12}
    pull(lab)
    row = run(lab, "me/p/whole")
    known = {
        "run_name": "shown",
        "run_group": "g",
        "job_type": "train",
        "tags": ["b", "a"],
        "notes": "n",
        "run_state": "failed",
        "created_at": START,
        "runtime_seconds": 12.0,
        "last_step": 9,
        "history_rows": 10,
        "config_json": '{"lr": 1}',
        "user_name": "me",
        "host_name": "box",
        "program": "train.py",
        "git_commit": "c0ffee",
        "sdk_version": "0.31.0",
        "sweep_name": "s1",
        "url": f"{server.url}/me/p/runs/whole",
        "source": "wandb_api",
        "is_deleted": False,
    }
    assert {name: row[name] for name in known} == known
    assert json.loads(row["summary_json"])["x"] == 9
    samples = lab.lake.read("raw.system_metrics").select(
        "metric", "runtime_seconds", "value"
    )
    assert samples.rows() == [("cpu", i + 0.5, i / 2) for i in range(3)]
    defined = lab.lake.read("raw.metric_definitions").drop("run_path")
    assert defined.rows() == [
        ("epoch", None, None, None),
        ("eval/*", "epoch", "min,max", "maximize"),
    ]


@pytest.mark.parametrize("exported", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("repeats", [False, True])
def test_every_value_comes_out_the_same_by_every_route(
    server: WandbServer, lab: Lab, exported: float, *, repeats: bool
) -> None:
    server.switches.exported_share = exported
    server.switches.live_repeats_exported = repeats
    rows: list[dict[str, Any]] = [
        {"a": 0.5, "flag": True, "deep": {"b": {"c": 1}}, "text": "NaN"},
        {"a": math.nan, "big": 2**60 + 1, "table": {"_type": "t", "b": 1, "a": [1.0]}},
        {"a": math.inf, "none": None, "list": [1, 2], "dot.key": 3},
        {"a": -math.inf, "flag": False, "text": "ünï🙂"},
        {"a": 7},
    ]
    server.add_run("me/p/r", rows)
    pull(lab)
    found = history(lab, "me/p/r").sort("metric", "step")
    expected = [
        ("a", 0, 0.5, None),
        ("a", 1, math.nan, None),
        ("a", 2, math.inf, None),
        ("a", 3, -math.inf, None),
        ("a", 4, 7.0, None),
        ("big", 1, float(2**60), str(2**60 + 1)),
        ("deep.b.c", 0, 1.0, None),
        ("dot.key", 2, 3.0, None),
        ("flag", 0, 1.0, "true"),
        ("flag", 3, 0.0, "false"),
        ("list", 2, None, "[1, 2]"),
        ("table", 1, None, '{"_type": "t", "a": [1], "b": 1}'),
        ("text", 0, None, '"NaN"'),
        ("text", 3, None, '"ünï🙂"'),
    ]
    wanted = pl.DataFrame(
        expected,
        found.select("metric", "step", "value", "value_json").schema,
        orient="row",
    )
    assert found.select(wanted.columns).equals(wanted)
    assert run(lab, "me/p/r")["history_rows"] == 5


def test_long_runs_come_in_pages_and_sparse_ones_in_few_requests(
    server: WandbServer, lab: Lab
) -> None:
    add(server, "long", rows=25_000)
    sparse = [{"_step": step, "x": step} for step in (0, 3, 10**5, 10**7, 10**8)]
    server.add_run("me/p/sparse", sparse, created_at=START)
    gaps = [{"_step": i + (i // 2000) * 10**7, "x": i} for i in range(6000)]
    server.add_run("me/p/gaps", gaps, created_at=START)
    pull(lab)
    assert steps(lab, "me/p/long") == list(range(25_000))
    assert steps(lab, "me/p/sparse") == [row["_step"] for row in sparse]
    assert steps(lab, "me/p/gaps") == [row["_step"] for row in gaps]
    assert server.requests.counts["HistoryPage"] < 60


@pytest.mark.parametrize("sampling", ["stride", "random", "first"])
def test_a_server_that_samples_leaves_nothing_out(
    server: WandbServer, lab: Lab, sampling: Any
) -> None:
    server.switches.sampling = sampling
    crowded = [{"_step": i if i < 9000 else i * 1000, "x": i} for i in range(12_000)]
    server.add_run("me/p/crowded", crowded, created_at=START)
    pull(lab)
    assert steps(lab, "me/p/crowded") == [row["_step"] for row in crowded]


def test_a_server_that_writes_nan_as_null_is_asked_by_another_route(
    server: WandbServer, lab: Lab
) -> None:
    server.switches.nan_in_exports = "null"
    server.switches.exported_share = 1.0
    rows = [{"a": math.nan if i % 3 else 1.0, "b": 1} for i in range(9)]
    server.add_run("me/p/r", rows)
    pull(lab)
    values = history(lab, "me/p/r").filter(metric="a").sort("step")["value"]
    assert values.is_nan().to_list() == [bool(i % 3) for i in range(9)]


# What changed


def test_a_thousand_unchanged_runs_cost_one_request(
    server: WandbServer, lab: Lab
) -> None:
    for number in range(1000):
        add(server, f"r{number}", rows=1)
    assert len(pull(lab).changes) == 1000
    server.requests.clear()
    assert pull(lab).changes == ()
    assert server.requests.counts == {"Runs": 1}


Edit = Callable[[WandbServer, Any], object]


def set_to(name: str, value: Any) -> Edit:
    return lambda _, run: setattr(run, name, value)


@pytest.mark.parametrize(
    ("edit", "column", "value"),
    [
        (set_to("tags", ["late"]), "tags", ["late"]),
        (set_to("display_name", "other"), "run_name", "other"),
        (set_to("group", "moved"), "run_group", "moved"),
        (set_to("state", "crashed"), "run_state", "crashed"),
        (set_to("notes", "seen"), "notes", "seen"),
        (set_to("config", {"lr": {"value": 2}}), "config_json", '{"lr": 2}'),
        (
            set_to("summary", {"best": 3}),
            "summary_json",
            '{"best": 3}',
        ),
    ],
)
@pytest.mark.parametrize("exported", [0.0, 1.0])
def test_an_edit_after_the_end_is_seen_and_costs_one_request(
    server: WandbServer, lab: Lab, edit: Edit, column: str, value: Any, exported: float
) -> None:
    server.switches.exported_share = exported
    edited = add(server, "r")
    add(server, "other")
    pull(lab)
    server.requests.clear()
    edit(server, edited)
    assert pull(lab).reasons == {"r": "changed"}
    assert run(lab, "me/p/r")[column] == value
    assert steps(lab, "me/p/r") == list(range(10))
    assert server.requests.total == 2


def test_a_run_that_goes_on_is_read_on(server: WandbServer, lab: Lab) -> None:
    growing = add(server, "r", rows=3000, state="running", heartbeat_at=START)
    add(server, "other")
    pull(lab)
    append_rows(growing, [{"x": i} for i in range(3000, 3100)])
    growing.heartbeat_at += timedelta(minutes=1)
    server.requests.clear()
    assert pull(lab).reasons == {"r": "grown"}
    assert server.requests.counts == {"Runs": 1, "RunDetail": 1}
    assert steps(lab, "me/p/r") == list(range(3100))
    append_rows(growing, [{"x": i} for i in range(3100, 6000)])
    growing.state = "finished"
    pull(lab)
    assert steps(lab, "me/p/r") == list(range(6000))
    row = run(lab, "me/p/r")
    assert (row["run_state"], row["last_step"]) == ("finished", 5999)


def test_rows_that_moved_into_an_export_are_not_lost(
    server: WandbServer, lab: Lab
) -> None:
    growing = add(server, "r", rows=70, exported_rows=30)
    pull(lab)
    append_rows(growing, [{"x": i} for i in range(70, 100)])
    growing.exported_rows = 90
    pull(lab)
    assert steps(lab, "me/p/r") == list(range(100))


@pytest.mark.parametrize("rows", [60, 100, 140])
def test_a_run_that_was_rewound_is_read_anew(
    server: WandbServer, lab: Lab, rows: int
) -> None:
    rewound = add(server, "r", rows=100)
    pull(lab)
    del rewound.history.lines[50:], rewound.history.steps[50:]
    rewound.history.rewrites += 1
    rewound.summary.clear()
    later = [{"x": -i, "_timestamp": 1.8e9 + i} for i in range(50, rows)]
    append_rows(rewound, later)
    rewound.heartbeat_at += timedelta(hours=1)
    pull(lab)
    values = history(lab, "me/p/r").filter(metric="x").sort("step")["value"].to_list()
    assert values == [*range(50), *(float(-i) for i in range(50, rows))]
    assert run(lab, "me/p/r")["history_rows"] == rows


def test_a_deleted_run_is_kept_and_flagged_and_comes_back(
    server: WandbServer, lab: Lab
) -> None:
    gone = add(server, "gone")
    add(server, "other")
    pull(lab)
    server.store.delete_run("me/p/gone")
    assert pull(lab).reasons == {"gone": "deleted"}
    assert run(lab, "me/p/gone")["is_deleted"]
    assert steps(lab, "me/p/gone") == list(range(10))
    server.requests.clear()
    assert pull(lab).changes == ()
    assert server.requests.counts == {"Runs": 1}
    server.store.add_run(gone)
    assert pull(lab).reasons == {"gone": "changed"}
    assert not run(lab, "me/p/gone")["is_deleted"]


def test_a_run_that_leaves_the_filter_is_kept(
    server: WandbServer, tmp_path: Path
) -> None:
    lab = api_lab(tmp_path / "filtered", server, tags=["keep"])
    leaving = add(server, "r", tags=["keep"])
    add(server, "never", tags=["other"])
    assert pull(lab).reasons == {"r": "new"}
    leaving.tags = []
    assert pull(lab).changes == ()
    assert not run(lab, "me/p/r")["is_deleted"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"filters": {"config.lr": {"$gt": 1}}}, {"r2", "r3"}),
        ({"tags": ["even"]}, {"r0", "r2"}),
        ({"groups": ["g1", "g3"]}, {"r1", "r3"}),
        ({"states": ["crashed"]}, {"r3"}),
        ({"created_after": "2026-01-04"}, {"r2", "r3"}),
        ({"tags": ["even"], "groups": ["g2"]}, {"r2"}),
        ({"max_runs": 2}, {"r2", "r3"}),
    ],
)
def test_filters_of_the_config_select(
    server: WandbServer, tmp_path: Path, options: dict[str, Any], expected: set[str]
) -> None:
    for number in range(4):
        add(
            server,
            f"r{number}",
            config={"lr": number},
            created_at=START + timedelta(days=number),
            tags=["even"] if number % 2 == 0 else [],
            group=f"g{number}",
            state="crashed" if number == 3 else "finished",
        )
    assert set(pull(api_lab(tmp_path / "some", server, **options)).reasons) == expected


def test_a_run_that_two_sources_select_is_read_once(
    server: WandbServer, tmp_path: Path
) -> None:
    add(server, "r", tags=["a"], group="g")
    add(server, "only-tag", tags=["a"])
    lab = api_lab(tmp_path / "two", server, tags=["a"])
    source = lab.config.sources[0].model_dump(mode="json", exclude_defaults=True)
    both = [
        {**source, "kind": "wandb_api"},
        {**source, "kind": "wandb_api", "tags": [], "groups": ["g"]},
    ]
    write_config(lab.config.root, sources=both, analyses=[], derived_metrics={})
    lab = open_lab(lab.config.root)
    assert set(pull(lab).reasons) == {"r", "only-tag"}
    assert steps(lab, "me/p/r") == list(range(10))
    assert pull(lab).changes == ()
    server.store.delete_run("me/p/r")
    assert pull(lab).reasons == {"r": "deleted"}


def test_trying_out_a_few_runs_changes_nothing_that_is_stored(
    server: WandbServer, tmp_path: Path
) -> None:
    for number in range(5):
        add(server, f"r{number}", created_at=START + timedelta(days=number))
    lab = api_lab(tmp_path / "few", server)
    pull(lab)
    lab = api_lab(tmp_path / "few", server, max_runs=1)
    assert pull(lab).changes == ()
    assert lab.lake.read("raw.runs")["is_deleted"].sum() == 0
    lab = api_lab(tmp_path / "few", server)
    assert pull(lab).changes == ()


@pytest.mark.parametrize("ties", ["created", "reversed", "hashed", "unstable"])
def test_runs_of_the_same_second_are_all_found(
    server: WandbServer, lab: Lab, ties: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run_assets.sources.wandb_api_listing.PAGE_RUNS", 20)
    server.switches.tie_order = ties
    for number in range(50):
        add(server, f"r{number}", rows=1)
    found: set[str] = set()
    for _ in range(3):
        found |= set(pull(lab).reasons)
    assert len(found) == 50


def test_what_we_published_ourselves_is_no_data(server: WandbServer, lab: Lab) -> None:
    add(server, "ours", config={"run_assets": True})
    add(server, "theirs")
    assert set(pull(lab).reasons) == {"theirs"}


def test_only_a_chosen_project_is_asked(server: WandbServer, tmp_path: Path) -> None:
    lab = api_lab(tmp_path / "two", server, "me/p", "me/q")
    add(server, "r")
    server.add_run("me/q/s", [{"x": 1}])
    assert set(pull(lab, project="q").reasons) == {"s"}
    assert server.requests.counts["Runs"] == 1
    assert set(pull(lab).reasons) == {"r"}


def test_reading_again_reads_all(server: WandbServer, lab: Lab) -> None:
    add(server, "a")
    add(server, "b")
    pull(lab)
    assert pull(lab, reread=True).reasons == {"a": "reread", "b": "reread"}
    assert steps(lab, "me/p/a") == list(range(10))


def test_local_only_opens_no_socket(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = api_lab(tmp_path / "offline", server)
    add(server, "r")
    pull(lab)
    server.requests.clear()

    def refuse(*_: Any) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("WANDB_API_KEY")
    assert lab.refresh(selection=_local_only()).changes == ()
    assert lab.refresh(selection=_local_only()).is_unchanged
    assert server.requests.total == 0


def _local_only() -> Any:
    from run_assets.refresh import Selection

    return Selection(local_only=True)


# What goes wrong

FAULTS: dict[str, Fault] = {
    "429 with seconds": throttled(0.05),
    "429": throttled(),
    "500": refused(500),
    "502": refused(502),
    "503": refused(503),
    "500 applied": refused(500, is_applied=True),
    "dropped": dropped(),
    "dropped applied": dropped(is_applied=True),
    "truncated": truncated(),
    "a page of HTML": html_page(),
    "late": late(0.02),
}


def crowd(server: WandbServer, runs: int = 12) -> None:
    server.switches.exported_share = 0.5
    for number in range(runs):
        add(server, f"r{number}", rows=200, events=[json.dumps({"_timestamp": 1e9})])


def assert_complete(lab: Lab, runs: int = 12) -> None:
    stored = lab.lake.read("raw.history").filter(metric="x")
    assert stored.height == 200 * runs
    assert stored.select("run_path", "step").n_unique() == 200 * runs
    assert set(lab.lake.read("raw.runs")["history_rows"]) == {200}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("operation", ["Runs", "RunDetail", "GET exports"])
def test_each_fault_is_outlived(
    server: WandbServer, lab: Lab, name: str, operation: str
) -> None:
    crowd(server)
    server.faults.inject(FAULTS[name], operation, calls={1, 2, 5})
    assert pull(lab).problems == {}
    assert server.faults.struck.total() > 0
    assert_complete(lab)


def test_a_storm_is_outlived(server: WandbServer, lab: Lab) -> None:
    crowd(server, runs=40)
    server.faults.storm(0.2)
    assert pull(lab).problems == {}
    assert server.faults.struck.total() > 10
    assert_complete(lab, runs=40)


def test_a_hang_ends_with_the_timeout(server: WandbServer, tmp_path: Path) -> None:
    lab = api_lab(tmp_path / "slow", server, timeout_seconds=0.5)
    crowd(server)
    for operation in ("Runs", "RunDetail", "GET exports"):
        server.faults.inject(
            hanging(30), operation, calls={2 if operation != "Runs" else 1}
        )
    assert pull(lab).problems == {}
    assert_complete(lab)


@pytest.mark.parametrize("body", ["graphql", "json", "text", "html", "empty"])
@pytest.mark.parametrize("is_date", [False, True])
def test_a_pause_that_is_asked_for_is_kept_by_all_threads(
    server: WandbServer, lab: Lab, body: Any, *, is_date: bool
) -> None:
    crowd(server)
    server.switches.throttle_body = body
    server.switches.retry_after_is_date = is_date
    server.faults.inject(throttled(1), "RunDetail", calls={3})
    pulled = pull(lab)
    assert_complete(lab)
    assert pulled.asked.traffic.retries >= 1
    assert server.requests.counts["RunDetail"] == 13


def test_a_key_that_is_wrong_missing_or_expires_is_said(
    server: WandbServer, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(server)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with pytest.raises(AuthenticationError, match="refused the API key"):
        pull(lab)
    monkeypatch.setenv("WANDB_API_KEY", "")
    with pytest.raises(AuthenticationError, match="set WANDB_API_KEY"):
        pull(lab)
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    server.faults.inject(refused(403), "RunDetail", calls=range(5, 10**6))
    with pytest.raises(AuthenticationError, match="has expired"):
        pull(lab)
    assert server.requests.counts["RunDetail"] < 20
    server.faults.clear()
    pull(lab)
    assert_complete(lab)


def test_a_key_is_taken_from_netrc(
    server: WandbServer, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(server, "r")
    file = tmp_path / "netrc"
    file.write_text(f"machine 127.0.0.1\n login user\n password {API_KEY}\n")
    file.chmod(0o600)
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(file))
    assert set(pull(lab).reasons) == {"r"}


def test_a_project_that_does_not_exist_is_said(
    server: WandbServer, tmp_path: Path
) -> None:
    add(server, "r")
    with pytest.raises(NotFoundError, match="no project me/nowhere"):
        pull(api_lab(tmp_path / "lost", server, "me/nowhere"))


@pytest.mark.parametrize("project", ["maze", "a/b/c", "/maze", "a b/c"])
def test_a_project_needs_its_entity(tmp_path: Path, project: str) -> None:
    write_config(tmp_path, sources=[{"kind": "wandb_api", "projects": [project]}])
    with pytest.raises(UsageError, match="projects"):
        open_lab(tmp_path)


def test_no_network_is_said_at_once(server: WandbServer, tmp_path: Path) -> None:
    lab = api_lab(tmp_path / "cut", server, base_url="http://127.0.0.1:9")
    with pytest.raises(TryAgainError, match="--local-only"):
        pull(lab)


def test_a_server_that_goes_down_ends_the_refresh_and_nothing_is_asked_twice(
    server: WandbServer, lab: Lab
) -> None:
    crowd(server, runs=40)
    server.faults.inject(dropped(), calls=range(30, 10**6))
    with pytest.raises(TryAgainError, match="did not answer"):
        pull(lab)
    server.faults.clear()
    server.requests.clear()
    pull(lab)
    assert_complete(lab, runs=40)
    assert server.requests.counts["RunDetail"] < 30


def test_a_run_that_fails_is_listed_and_tried_again_and_the_others_land(
    server: WandbServer, lab: Lab
) -> None:
    crowd(server)
    server.store.run("me/p/r3").history.lines[7] = "{broken"
    server.switches.exported_share = 0
    pulled = pull(lab)
    assert list(pulled.problems) == [f"{server.url}/me/p/runs/r3"]
    assert lab.lake.read("raw.history")["run_path"].n_unique() == 11
    server.store.run("me/p/r3").history.lines[7] = json.dumps({"_step": 7, "x": 7})
    assert pull(lab).reasons == {"r3": "reread"}
    assert_complete(lab)


def test_a_server_that_sends_too_little_is_a_failure_of_that_run_alone(
    server: WandbServer, lab: Lab
) -> None:
    crowd(server)
    server.store.run("me/p/r3").filed = FiledHistory(rows=3)
    pulled = pull(lab)
    [problem] = pulled.problems.values()
    assert "counts 203 history rows and sent 200" in problem
    assert lab.lake.read("raw.history")["run_path"].n_unique() == 11
    assert pull(lab).reasons == {"r3": "reread"}
    server.store.run("me/p/r3").filed = FiledHistory()
    pull(lab)
    assert_complete(lab)


def test_exports_that_are_damaged_are_replaced_by_pages(
    server: WandbServer, lab: Lab
) -> None:
    server.switches.live_repeats_exported = True
    crowd(server)
    server.faults.inject(truncated(), "GET exports", rate=1.0)
    pull(lab)
    assert_complete(lab)


def test_an_address_that_has_expired_is_asked_for_again(
    server: WandbServer, lab: Lab
) -> None:
    crowd(server, runs=1)
    server.faults.inject(refused(403), "GET exports", calls={1})
    pull(lab)
    assert_complete(lab, runs=1)
    assert server.requests.counts["RunParquetHistory"] == 1


def test_a_run_deleted_between_the_listing_and_the_reading_is_gone_next_time(
    server: WandbServer, lab: Lab
) -> None:
    add(server, "stays")
    add(server, "gone")
    original = server.store.runs_of
    calls = count(1)

    def listing(entity: str, project: str) -> Any:
        runs = original(entity, project)
        if next(calls) == 2:  # the first one counts, the second one lists
            server.store.delete_run("me/p/gone")
        return runs

    server.store.runs_of = listing  # type: ignore[method-assign]
    pulled = pull(lab)
    assert "is gone" in pulled.problems[f"{server.url}/me/p/runs/gone"]
    assert set(lab.lake.read("raw.runs")["run_path"]) == {"me/p/stays"}
    pull(lab)
    assert pull(lab).changes == ()
    assert set(lab.lake.read("raw.runs")["run_path"]) == {"me/p/stays"}


# A run in local files and on the server


@pytest.fixture
def both(tmp_path: Path, server: WandbServer) -> Lab:
    return api_lab(tmp_path / "both", server, "lab/maze", files=True)


def on_server(server: WandbServer, run_id: str, rows: int) -> Any:
    logged = [{"reward": i / 10, "loss": 1 / (i + 1)} for i in range(rows)]
    return server.add_run(f"lab/maze/{run_id}", logged, created_at=START)


def source_of(lab: Lab, run_id: str) -> tuple[str, int]:
    row = run(lab, f"lab/maze/{run_id}")
    assert len(steps(lab, f"lab/maze/{run_id}", "reward")) == row["history_rows"]
    return row["source"], row["history_rows"]


def test_the_fuller_history_counts(server: WandbServer, both: Lab) -> None:
    root = both.config.root
    for run_id, in_file, remote in (("f", 20, 10), ("s", 10, 20), ("e", 10, 10)):
        write_run(root, run_id, steps=in_file)
        on_server(server, run_id, remote)
    write_run(root, "only-file", steps=5)
    on_server(server, "only-server", 7)
    assert pull(both).changes
    assert source_of(both, "f") == ("wandb_files", 20)
    assert source_of(both, "s") == ("wandb_api", 20)
    assert source_of(both, "e") == ("wandb_api", 10)
    assert source_of(both, "only-file") == ("wandb_files", 5)
    assert source_of(both, "only-server") == ("wandb_api", 7)
    assert pull(both).changes == ()
    assert both.lake.read("raw.runs").height == 5


def test_whichever_side_grows_the_fuller_one_counts(
    server: WandbServer, both: Lab
) -> None:
    root = both.config.root
    write_run(root, "r", steps=20)
    remote = on_server(server, "r", 10)
    pull(both)
    append_rows(remote, [{"reward": i / 10} for i in range(10, 30)])
    assert set(pull(both).reasons) == {"r"}
    assert source_of(both, "r") == ("wandb_api", 30)
    write_run(root, "r", steps=40)
    assert pull(both, local_only=True).changes == ()
    assert source_of(both, "r") == ("wandb_api", 30)
    assert set(pull(both).reasons) == {"r"}
    assert source_of(both, "r") == ("wandb_files", 40)
    assert pull(both).changes == ()


def test_a_file_that_vanishes_leaves_the_run_to_the_server(
    server: WandbServer, both: Lab
) -> None:
    file = write_run(both.config.root, "r", steps=20)
    remote = on_server(server, "r", 10)
    pull(both)
    file.unlink()
    append_rows(remote, [{"reward": i / 10} for i in range(10, 15)])
    assert "15 of 20 rows are left" in str(pull(both).problems)
    assert source_of(both, "r") == ("wandb_files", 20)
    append_rows(remote, [{"reward": i / 10} for i in range(15, 30)])
    pull(both)
    assert source_of(both, "r") == ("wandb_api", 30)


# Kills


def test_a_refresh_killed_in_the_middle_goes_on_with_the_rest(
    server: WandbServer, lab: Lab
) -> None:
    """A kill of the process: no cleaning up, no state saved."""
    for number in range(100):
        add(server, f"r{number}", rows=20)
    server.faults.inject(late(0.02), "RunDetail")
    code = (
        "from tests.support.api_labs import pull; import run_assets, sys; "
        "pull(run_assets.open(sys.argv[1]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(lab.config.root)],
        cwd=Path(__file__).parents[2],
    )
    while server.requests.counts["RunDetail"] < 60:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    server.requests.clear()
    pull(lab)
    stored = lab.lake.read("raw.history").filter(metric="x")
    assert stored.height == stored.select("run_path", "step").n_unique() == 2000
    assert server.requests.counts["RunDetail"] <= 60


# Secrets and memory


def test_the_key_is_nowhere(
    server: WandbServer, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    crowd(server, runs=3)
    server.store.run("me/p/r1").filed = FiledHistory(rows=3)
    result = lab.refresh()
    assert result.damaged
    server.faults.inject(refused(401))
    with pytest.raises(AuthenticationError) as error:
        lab.refresh()
    assert API_KEY not in str(error.value) + caplog.text
    files = [file for file in lab.config.root.rglob("*") if file.is_file()]
    assert len(files) > 20
    assert [file for file in files if API_KEY.encode() in file.read_bytes()] == []
