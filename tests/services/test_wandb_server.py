"""The loopback server, judged by the unmodified W&B SDK."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import polars as pl
import pytest

from tests.support.wandb_server import (
    Fault,
    Switches,
    WandbServer,
    append_rows,
    dropped,
    filed_history,
    hanging,
    html_page,
    late,
    refused,
    throttled,
    truncated,
    wandb_server,
)
from tests.support.wandb_server.client import SdkClient, SdkError, sdk_client

NAN, INFINITY = math.nan, math.inf
OWN_COLUMNS = ("_timestamp", "_runtime")

LOGGED: list[dict[str, Any]] = [
    {"_step": 0, "loss": NAN, "nested": {"x": 1}, "dot.key": 2},
    {"_step": 3, "loss": INFINITY, "text": "NaN", "flag": True},
    {"_step": 500, "loss": -INFINITY, "count": 2**53 + 1, "ünïcode/🙂": 0.1},
]


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("sdk")) as server:
        yield server
        assert not server.requests.unknown


@pytest.fixture(scope="module")
def sdk(shared_server: WandbServer) -> Iterator[SdkClient]:
    with sdk_client(shared_server.environment) as client:
        yield client


@pytest.fixture
def server(shared_server: WandbServer) -> Iterator[WandbServer]:
    """The shared server with every switch and rule as a new one has it."""
    yield shared_server
    shared_server.faults.clear()
    for switch in fields(Switches):
        setattr(shared_server.switches, switch.name, switch.default)


def without_clock(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key not in OWN_COLUMNS}
        for row in rows
    ]


def same(one: Any, other: Any) -> bool:
    """Equality under which NaN is itself."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def wandb_sync(server: WandbServer, project: str, *files: Path) -> None:
    arguments = ["-m", "wandb", "sync", "--no-skip-online", "-e", "me", "-p", project]
    subprocess.run(
        [sys.executable, *arguments, *map(str, files)],
        env=server.environment,
        check=True,
        capture_output=True,
        timeout=60,
    )


def steps(rows: list[dict[str, Any]]) -> list[int]:
    return [row["_step"] for row in rows]


# What is logged comes back


def test_an_online_run_reads_back_as_it_was_logged(
    server: WandbServer, sdk: SdkClient
) -> None:
    sdk(
        "log",
        project="round",
        id="trip",
        rows=LOGGED,
        defines={"loss": {"summary": "min"}},
        summary={"best": -INFINITY},
        config={"lr": INFINITY, "deep": {"list": [1, None]}},
        tags=["a", "ä"],
        group="g",
        job_type="train",
        name="shown",
        notes="note",
    )
    told = sdk("read", path="me/round/trip")
    assert same(without_clock(told["rows"]), LOGGED)
    assert same(told["config"], {"lr": INFINITY, "deep": {"list": [1, None]}})
    assert told["summary"]["best"] == -INFINITY
    assert (told["state"], told["last_step"]) == ("finished", 500)
    assert (told["tags"], told["group"]) == (["a", "ä"], "g")
    assert (told["job_type"], told["name"], told["notes"]) == ("train", "shown", "note")
    assert told["keys"]["keys"]["loss"]["typeCounts"] == [
        {"type": "number", "count": 3}
    ]
    assert server.store.run("me/round/trip").config["_wandb"]["value"]["m"]


def test_a_table_a_file_and_system_metrics_come_back(
    server: WandbServer, sdk: SdkClient
) -> None:
    table = {"columns": ["name", "score"], "data": [["a", 1.5], ["b", None]]}
    sdk("log", project="round", id="table", rows=[{"x": 1}], table=table)
    assert sdk("table", path="me/round/table") == table
    told = sdk("read", path="me/round/table")
    assert "note.txt" in told["files"]
    assert server.store.run("me/round/table").files["note.txt"] == b"kept"
    events = sdk("system_metrics", path="me/round/table")
    assert events
    assert all("_timestamp" in event for event in events)


def test_a_resumed_run_goes_on_behind_its_last_step(
    server: WandbServer, sdk: SdkClient
) -> None:
    sdk("log", project="round", id="twice", rows=[{"_step": 500, "x": 1}])
    again = sdk(
        "log", project="round", id="twice", rows=[{"x": 2}], resume="must", exit_code=1
    )
    assert again["starting_step"] == 501
    assert steps(sdk("rows", path="me/round/twice")) == [500, 501]
    assert server.store.run("me/round/twice").state == "failed"


def test_edits_and_deletions_through_the_api_take_effect(
    server: WandbServer, sdk: SdkClient
) -> None:
    run = server.add_run("me/round/edited", [{"x": 1}], config={"lr": 1})
    sdk(
        "edit",
        path="me/round/edited",
        attributes={"tags": ["late"], "notes": "seen"},
        config={"lr": 2},
        score=3,
    )
    assert (run.tags, run.notes) == (["late"], "seen")
    assert run.config["lr"]["value"] == 2
    assert run.summary["score"] == 3
    sdk("delete", path="me/round/edited")
    with pytest.raises(SdkError, match="Could not find run"):
        sdk("read", path="me/round/edited")


def test_artifacts_have_versions_aliases_lineage_and_equal_content_once(
    sdk: SdkClient,
) -> None:
    def logged(text: str, alias: str) -> Any:
        return sdk("log_artifact", project="art", name="d", text=text, aliases=[alias])

    versions = [logged("one", "old")["version"]]
    newest = logged("two", "new")
    versions += [newest["version"], logged("two", "same")["version"]]
    assert versions == ["v0", "v1", "v1"]
    told = sdk("use_artifact", project="art", name="d:new")
    assert told["text"] == "two"
    assert told["aliases"] == ["latest", "new", "same"]
    assert told["metadata"] == {"length": 3}
    assert told["logged_by"] == newest["run"]
    assert told["used_by"] == [told["run"]]
    assert told["used"] == ["d:v1"]
    assert sdk("use_artifact", project="art", name="d:old")["text"] == "one"


# wandb sync


def test_offline_runs_sync_to_what_they_logged(
    server: WandbServer, sdk: SdkClient
) -> None:
    first = sdk("log", project="off", id="off", rows=LOGGED, mode="offline")
    failed = sdk("log", project="off", id="bad", rows=[], mode="offline", exit_code=3)
    wandb_sync(server, "off", Path(first["folder"]), Path(failed["folder"]))
    assert same(without_clock(sdk("rows", path="me/off/off")), LOGGED)
    assert server.store.run("me/off/off").state == "finished"
    assert server.store.run("me/off/bad").state == "failed"


def test_two_offline_fragments_of_one_run_sync_to_one_history(
    server: WandbServer, sdk: SdkClient
) -> None:
    fragments = [
        sdk(
            "log",
            project="off",
            id="parts",
            rows=[{"x": n} for n in range(10)],
            mode="offline",
            resume="allow",
        )
        for _ in range(2)
    ]
    for fragment in fragments:
        wandb_sync(server, "off", Path(fragment["folder"]))
    assert steps(sdk("rows", path="me/off/parts")) == list(range(20))


def test_a_run_cut_off_in_the_middle_syncs_as_failed_with_its_rows(
    server: WandbServer, sdk: SdkClient, tmp_path: Path
) -> None:
    rows = [{"x": n} for n in range(200)]
    whole = sdk("log", project="off", id="cut", rows=rows, mode="offline")
    content = (Path(whole["folder"]) / "run-cut.wandb").read_bytes()
    file = tmp_path / "run-cut.wandb"
    file.write_bytes(content[: len(content) * 6 // 10])
    wandb_sync(server, "off", file)
    found = steps(sdk("rows", path="me/off/cut"))
    assert found == list(range(len(found)))
    assert 50 < len(found) < 200
    assert server.store.run("me/off/cut").state == "failed"


def foreign_folder() -> Path:
    folder = os.environ.get("RUN_ASSETS_FOREIGN_RUNS")
    if not folder:
        pytest.skip("RUN_ASSETS_FOREIGN_RUNS names no folder with run files of others")
    return Path(folder)


def test_foreign_run_files_sync_to_the_expected_rows_steps_and_states(
    server: WandbServer, sdk: SdkClient, tmp_path: Path
) -> None:
    folder = foreign_folder()
    entries = json.loads((folder / "expected.json").read_text())
    files = []
    for entry in entries:
        run_id = entry["run_id"]
        target = tmp_path / run_id / f"run-{run_id}.wandb"
        target.parent.mkdir()
        # The sync writes a marker beside the file, which is not ours.
        files.append(Path(shutil.copyfile(folder / entry["file"], target)))
    wandb_sync(server, "foreign", *files)
    for entry in entries:
        told = sdk("read", path=f"me/foreign/{entry['run_id']}", page_size=10)
        found = steps(told["rows"])
        ends = [found[0], found[-1]] if found else []
        assert (len(found), ends, told["state"]) == (
            entry["rows_after_sync"],
            entry["first_last_step_after_sync"],
            entry["state_after_sync"],
        ), entry["file"]


# Listings


@pytest.fixture(scope="module")
def listed(shared_server: WandbServer) -> WandbServer:
    for number in range(7):
        shared_server.add_run(
            f"me/list/r{number}",
            [{"score": number}],
            created_at=datetime(2026, 1, 1 + number // 2, tzinfo=UTC),
            config={"lr": number / 10, "env": {"name": "maze" if number % 2 else "t"}},
            tags=["odd"] if number % 2 else [],
            state="crashed" if number == 6 else "finished",
            sweep_name="s1" if number == 5 else None,
        )
    return shared_server


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"tags": "odd"}, [1, 3, 5]),
        ({"tags": {"$in": ["odd", "x"]}}, [1, 3, 5]),
        ({"state": {"$ne": "finished"}}, [6]),
        ({"config.lr": {"$gt": 0.1, "$lte": 0.3}}, [2, 3]),
        ({"config.env.name": "maze", "summary_metrics.score": {"$gte": 3}}, [3, 5]),
        ({"config.lr.value": 0.5}, [5]),
        ({"$or": [{"name": "r0"}, {"displayName": {"$regex": "^r[12]$"}}]}, [0, 1, 2]),
        ({"$nor": [{"tags": "odd"}, {"state": "crashed"}]}, [0, 2, 4]),
        ({"created_at": {"$gt": "2026-01-02T00:00:00Z"}}, [4, 5, 6]),
        ({"config.absent": {"$exists": False}, "name": "r1"}, [1]),
        ({"sweep": "s1"}, [5]),
        ({"$not": {"state": "finished"}}, [6]),
    ],
)
def test_filters_select_as_mongo_does(
    sdk: SdkClient, filters: dict[str, Any], expected: list[int]
) -> None:
    found = sdk("names", project="me/list", filters=filters)
    assert [name for name, _ in found] == [f"r{number}" for number in expected]


@pytest.mark.usefixtures("listed")
def test_a_filter_by_an_unknown_operator_is_refused(sdk: SdkClient) -> None:
    with pytest.raises(SdkError, match="unknown filter operator"):
        sdk("names", project="me/list", filters={"name": {"$near": 1}})


def test_a_project_that_does_not_exist_is_not_found(sdk: SdkClient) -> None:
    with pytest.raises(SdkError, match="Could not find project"):
        sdk("names", project="me/nowhere")


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("per_page", [1, 3, 7, 100])
def test_pages_hold_each_run_once_in_order(sdk: SdkClient, per_page: int) -> None:
    order = "-summary_metrics.score"
    found = sdk("names", project="me/list", order=order, per_page=per_page)
    assert [name for name, _ in found] == [f"r{number}" for number in range(6, -1, -1)]


def test_an_eager_listing_is_one_request_with_configs(
    listed: WandbServer, sdk: SdkClient
) -> None:
    listed.requests.clear()
    found = sdk("names", project="me/list", per_page=1000, lazy=False)
    assert found[3] == ["r3", {"lr": 0.3, "env": {"name": "maze"}}]
    assert listed.requests.counts["Runs"] == 1
    assert listed.requests.counts["Run"] == 0


@pytest.mark.usefixtures("listed")
def test_tie_order_is_a_switch(server: WandbServer, sdk: SdkClient) -> None:
    orders = {}
    for ties in ("created", "reversed", "hashed", "unstable"):
        server.switches.tie_order = ties
        found = [name for name, _ in sdk("names", project="me/list")]
        days = [int(name[1]) // 2 for name in found]
        assert days == sorted(days)
        assert sorted(found) == [f"r{number}" for number in range(7)]
        orders[ties] = found
    assert orders["created"] != orders["reversed"]


# Switches


@pytest.fixture
def exported(server: WandbServer) -> WandbServer:
    """A run of 40 rows at steps 0, 2, 4 …, of which half are in parquet files."""
    rows = [{"_step": 2 * n, "x": NAN if n % 5 == 0 else n / 2} for n in range(40)]
    run = server.add_run("me/switch/run", rows)
    run.exported_rows = 20
    return server


def test_half_an_export_and_the_live_rows_make_the_whole(
    exported: WandbServer, sdk: SdkClient
) -> None:
    exported.requests.clear()
    rows = sdk("rows", path="me/switch/run", page_size=7)
    assert steps(rows) == list(range(0, 80, 2))
    assert exported.requests.counts["GET exports"] >= 1
    assert exported.requests.counts["HistoryPage"] > 1


def test_live_rows_that_repeat_exported_ones_are_a_switch(
    exported: WandbServer,
) -> None:
    def window() -> list[int]:
        query = """query Q($e: String!, $p: String!, $r: String!) {
          project(name: $p, entityName: $e) { run(name: $r) {
            history(minStep: 0, maxStep: 80, samples: 100) } } }"""
        variables = {"e": "me", "p": "switch", "r": "run"}
        answer = ask(exported, query, variables)
        return steps([json.loads(row) for row in answer["project"]["run"]["history"]])

    assert window() == list(range(40, 80, 2))
    exported.switches.live_repeats_exported = True
    assert window() == list(range(0, 80, 2))


def ask(server: WandbServer, query: str, variables: Mapping[str, Any]) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    key = server.settings["WANDB_API_KEY"]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["data"]


@pytest.mark.parametrize(("share", "rows"), [(0.0, 0), (0.25, 10), (1.0, 40)])
def test_how_much_is_exported_is_a_switch(
    exported: WandbServer, sdk: SdkClient, share: float, rows: int
) -> None:
    exported.store.run("me/switch/run").exported_rows = None
    exported.switches.exported_share = share
    exported.switches.rows_per_export = 15
    assert steps(sdk("exports", path="me/switch/run")) == list(range(0, 2 * rows, 2))


def test_nan_in_exports_is_a_double_or_text(
    exported: WandbServer, sdk: SdkClient
) -> None:
    first = sdk("exports", path="me/switch/run")[:2]
    assert same([row["x"] for row in first], [NAN, 0.5])
    exported.switches.nan_in_exports = "text"
    first = sdk("exports", path="me/switch/run")[:2]
    assert [row["x"] for row in first] == ["NaN", "0.5"]


def test_nan_in_pages_samples_and_summary_is_a_switch(
    server: WandbServer, sdk: SdkClient
) -> None:
    server.add_run("me/switch/nan", [{"x": NAN}])

    def seen() -> list[Any]:
        [page] = sdk("rows", path="me/switch/nan")
        [sample] = sdk("samples", path="me/switch/nan", count=10, keys=["x"])
        summary = sdk("read", path="me/switch/nan")["summary"]
        return [page["x"], sample["x"], summary["x"]]

    assert same(seen(), [NAN, "NaN", NAN])
    server.switches.nan_in_history = server.switches.nan_in_summary = "text"
    assert seen() == ["NaN", "NaN", "NaN"]
    server.switches.nan_in_sampled = "null"
    assert seen() == ["NaN", None, "NaN"]


def test_sampling_is_a_switch(server: WandbServer, sdk: SdkClient) -> None:
    server.add_run("me/switch/many", [{"x": n} for n in range(100)])
    chosen = {}
    for sampling in ("stride", "first", "random"):
        server.switches.sampling = sampling
        chosen[sampling] = steps(sdk("samples", path="me/switch/many", count=5))
    assert chosen["stride"] == [0, 20, 40, 60, 80]
    assert chosen["first"] == [0, 1, 2, 3, 4]
    assert len(set(chosen["random"])) == 5
    assert chosen["random"] == sorted(chosen["random"])
    assert chosen["random"] not in (chosen["stride"], chosen["first"])


def test_objects_in_exports_are_structs_or_json(
    server: WandbServer, sdk: SdkClient
) -> None:
    image = {"_type": "image-file", "width": 3}
    server.add_run("me/switch/image", [{"image": image}], exported_rows=1)
    assert sdk("exports", path="me/switch/image")[0]["image"] == image
    server.switches.exported_objects = "json"
    found = sdk("exports", path="me/switch/image")[0]["image"]
    assert json.loads(found) == image


def test_a_grown_run_with_a_moved_export_reads_whole(
    server: WandbServer, sdk: SdkClient
) -> None:
    run = server.add_run("me/switch/grown", [{"x": n} for n in range(10)])
    run.exported_rows = 5
    assert len(sdk("rows", path="me/switch/grown")) == 10
    append_rows(run, [{"x": n} for n in range(10)])
    run.exported_rows = 15
    assert steps(sdk("rows", path="me/switch/grown")) == list(range(20))


def test_a_run_too_big_for_lines_is_served_from_parquet_files(
    server: WandbServer, sdk: SdkClient, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for index, path in enumerate(paths):
        numbers = list(range(index * 1000, index * 1000 + 1000))
        pl.DataFrame({"_step": numbers, "x": numbers}).write_parquet(path)
    run = server.add_run("me/switch/big", filed=filed_history(paths))
    append_rows(run, [{"x": 7}])
    told = sdk("read", path="me/switch/big")
    assert steps(told["rows"]) == list(range(2001))
    assert told["last_step"] == 2000
    assert len(sdk("exports", path="me/switch/big")) == 2000


def test_an_export_is_served_by_byte_ranges_too(exported: WandbServer) -> None:
    url = f"{exported.url}/exports/me/switch/run/0-20.parquet"

    def fetch(range_header: str | None) -> bytes:
        headers = {"Range": range_header} if range_header else {}
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == (206 if range_header else 200)
            body: bytes = reply.read()
            return body

    whole = fetch(None)
    assert pl.read_parquet(whole)["_step"].to_list() == list(range(0, 40, 2))
    assert fetch("bytes=0-3") == b"PAR1"
    assert fetch("bytes=-4") == b"PAR1"
    assert fetch("bytes=10-") == whole[10:]


# Faults


@pytest.mark.parametrize(
    "fault",
    [
        throttled(0.1),
        throttled(),
        refused(500),
        refused(502),
        refused(503),
        dropped(),
        late(0.05),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.retry_after}",
)
def test_the_sdk_gets_over_a_passing_fault(
    server: WandbServer, sdk: SdkClient, fault: Fault
) -> None:
    server.add_run("me/fault/run", [{"x": n} for n in range(3)])
    server.faults.inject(fault, "HistoryPage", calls=[1])
    assert len(sdk("rows", path="me/fault/run")) == 3
    assert server.faults.struck == {fault.kind: 1}


@pytest.mark.parametrize(
    "fault",
    [refused(401), refused(403), html_page(), truncated(), hanging(3.0)],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_the_sdk_reports_a_fault_that_no_retry_cures(
    server: WandbServer, sdk: SdkClient, fault: Fault
) -> None:
    server.faults.inject(fault)
    with pytest.raises(SdkError):
        sdk("viewer", timeout=1)
    assert server.faults.struck[fault.kind] >= 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("graphql", "application/json"),
        ("json", "application/json"),
        ("text", "text/plain"),
        ("html", "text/html"),
        ("empty", "text/plain"),
    ],
)
def test_the_body_of_a_429_is_a_switch(
    server: WandbServer, body: Any, content_type: str
) -> None:
    server.switches.throttle_body = body
    server.faults.inject(throttled(7))
    with pytest.raises(HTTPError, match="429") as refusal:
        ask(server, "query Q { viewer { id } }", {})
    with refusal.value as reply:
        assert reply.headers["Content-Type"] == content_type
        assert reply.headers["Retry-After"] == "7"
        assert bool(reply.read()) == (body != "empty")


def test_retry_after_can_be_a_date(server: WandbServer) -> None:
    server.switches.retry_after_is_date = True
    server.faults.inject(throttled(60))
    with pytest.raises(HTTPError, match="429") as refusal:
        ask(server, "query Q { viewer { id } }", {})
    with refusal.value as reply:
        until = parsedate_to_datetime(reply.headers["Retry-After"])
    assert 50 < (until - datetime.now(UTC)).total_seconds() <= 60


def test_a_fault_strikes_by_operation_and_call_number(server: WandbServer) -> None:
    server.faults.inject(refused(500), "Q", calls=[2])
    viewer = "query {name} {{ viewer {{ username }} }}"
    ask(server, viewer.format(name="Q"), {})
    ask(server, viewer.format(name="Other"), {})
    with pytest.raises(HTTPError, match="500") as refusal:
        ask(server, viewer.format(name="Q"), {})
    refusal.value.close()
    assert ask(server, viewer.format(name="Q"), {}) == {"viewer": {"username": "me"}}


def test_a_rate_strikes_the_same_calls_for_the_same_seed(tmp_path: Path) -> None:
    def strikes(seed: int) -> list[bool]:
        with wandb_server(tmp_path, seed=seed) as server:
            server.faults.inject(refused(500), rate=0.2)
            return [bool(server.faults.strike("Runs")) for _ in range(500)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 60 < sum(strikes(1)) < 140


def test_an_answer_can_be_lost_after_the_request_took_effect(
    server: WandbServer,
) -> None:
    server.add_run("me/fault/gone", [])
    query = (
        "mutation D($i: DeleteRunInput!) { deleteRun(input: $i) { clientMutationId } }"
    )
    run_id = server.store.run("me/fault/gone").id
    server.faults.inject(dropped(is_applied=True), "D")
    with pytest.raises((ConnectionError, OSError)):
        ask(server, query, {"i": {"id": run_id}})
    with pytest.raises(KeyError):
        server.store.run("me/fault/gone")


def test_latency_is_added_to_each_answer(server: WandbServer) -> None:
    server.faults.inject(late(0.05))
    start = time.monotonic()
    ask(server, "query Q { viewer { id } }", {})
    assert time.monotonic() - start >= 0.05


def test_a_run_logged_in_a_storm_arrives_whole(
    server: WandbServer, sdk: SdkClient
) -> None:
    server.faults.inject(refused(500, is_applied=True), "POST file_stream", calls=[1])
    server.faults.inject(dropped(is_applied=True), "UpsertBucket", calls=[2])
    sdk("log", project="fault", id="storm", rows=[{"x": n} for n in range(30)])
    server.faults.clear()
    assert steps(sdk("rows", path="me/fault/storm")) == list(range(30))


def test_closing_the_server_ends_a_request_that_hangs(tmp_path: Path) -> None:
    start = time.monotonic()
    with wandb_server(tmp_path) as server:
        server.faults.inject(hanging(60.0))
        with pytest.raises(OSError, match="timed out"):
            urllib.request.urlopen(server.url, timeout=0.2)
    assert time.monotonic() - start < 5


# Keys, counts, unknown fields


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    with wandb_server(tmp_path) as server:
        environment = {**server.environment, "WANDB_API_KEY": "f" * 40}
        with sdk_client(environment) as client, pytest.raises(SdkError):
            client("viewer", timeout=5)


def test_a_run_of_a_closed_entity_is_refused(
    server: WandbServer, sdk: SdkClient
) -> None:
    server.switches.closed_entities = ("team",)
    with pytest.raises(SdkError, match="permission denied"):
        sdk("log", project="shut", entity="team", rows=[])
    assert ("team", "shut") not in server.store.projects


def test_what_a_run_published_comes_back_whole(sdk: SdkClient) -> None:
    table = {"columns": ["name", "score"], "data": [["a", 1.5], ["b", None]]}
    run = sdk("log", project="whole", rows=[{"x": 1}], table=table)["id"]
    told = sdk("publication", path=f"me/whole/{run}", dataset="d")
    assert told["tables"] == {"table": table}
    path = told["summary"]["table"]["path"]
    assert told["media"] == {path: told["summary"]["table"]["sha256"]}
    logged = sdk("log_artifact", project="whole", name="d", text="one", aliases=["x"])
    told = sdk("publication", path=f"me/whole/{logged['run']}", dataset="d")
    assert [(one["version"], one["aliases"]) for one in told["versions"]] == [
        ("v0", ["latest", "x"])
    ]


def test_unknown_fields_are_null_and_counted(tmp_path: Path) -> None:
    with wandb_server(tmp_path) as server:
        assert ask(server, "query Q { viewer { shoeSize } }", {}) == {
            "viewer": {"shoeSize": None}
        }
        assert server.requests.unknown == {"query.viewer.shoeSize": 1}
        assert server.requests.counts == {"Q": 1}
        server.requests.clear()
        assert server.requests.total == 0


def test_the_environment_leads_to_this_server_only(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    environment = server.environment
    assert "WANDB_MODE" not in environment
    assert environment["WANDB_BASE_URL"] == server.url
    assert len(environment["WANDB_API_KEY"]) == 40


def test_it_starts_by_hand_and_prints_what_to_export() -> None:
    program = [sys.executable, "-m", "tests.support.wandb_server", "--port", "0"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
    assert line.startswith("export WANDB_BASE_URL=http://127.0.0.1:")
