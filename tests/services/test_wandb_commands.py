"""The command line and Dagster on a lab whose runs lie on a server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from run_assets.checks import counted
from run_assets.definitions import build_definitions
from run_assets.jobs import changes
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.resources import use_lab
from tests.support.api_labs import api_lab, pull
from tests.support.command_line import Answer, CommandLine
from tests.support.wandb_server import API_KEY, WandbServer, wandb_server
from tests.support.wandb_server.storage import FiledHistory

Call = Callable[..., Answer]
Wrong = tuple[str, str, str | None, int, str]
"""Project, key, address; exit code and what is said."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("sdk")) as server:
        rows = [{"loss": 1 / (i + 1), "text": "a"} for i in range(20)]
        for number in range(3):
            server.add_run(f"me/p/r{number}", rows, tags=["t"], display_name="shown")
        yield server
        assert not server.requests.unknown


@pytest.fixture
def lab(server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    return api_lab(tmp_path / "lab", server)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command line in a lab, with a key."""
    command_line = CommandLine(monkeypatch, capsys)

    def called(lab: Lab, *words: str, key: str = API_KEY) -> Answer:
        monkeypatch.setenv("WANDB_API_KEY", key)
        return command_line(*words, folder=lab.config.root)

    return called


@pytest.mark.usefixtures("tables_only")
def test_a_new_user_looks_refreshes_and_finds_nothing_changed(
    lab: Lab, call: Call
) -> None:
    listed = call(lab, "runs", "list", "--remote", "--output-format", "json")
    rows = json.loads(listed.out)["rows"]
    assert [row["run_path"] for row in rows] == ["me/p/r0", "me/p/r1", "me/p/r2"]
    assert {(row["history_rows"], row["is_stored"]) for row in rows} == {(20, False)}
    available = call(
        lab, "runs", "metrics", "me/p/r1", "--available", "--output-format", "csv"
    )
    assert 'loss,20,"[""number""]"' in available.out
    dry = call(lab, "refresh", "--dry-run")
    assert "3 runs would be read" in dry.err
    first = call(lab, "refresh")
    assert (first.code, "3 runs read" in first.err) == (0, True)
    second = call(lab, "refresh")
    assert "nothing has changed" in second.err
    found = call(lab, "sql", "select count(*) as n from raw.history")
    assert "120" in found.out
    again = call(lab, "runs", "list", "--remote", "--output-format", "json")
    assert all(row["is_stored"] for row in json.loads(again.out)["rows"])


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize(
    "wrong",
    [
        ("me/p", "x" * 40, None, 4, "refused the API key (401)"),
        ("me/p", "", None, 4, "no API key for"),
        ("me/nowhere", API_KEY, None, 5, "no project me/nowhere"),
        ("me/p", API_KEY, "http://127.0.0.1:9", 75, "Check the network"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(
    server: WandbServer, tmp_path: Path, wrong: Wrong, call: Call
) -> None:
    projects, key, base_url, code, said = wrong
    lab = api_lab(tmp_path, server, projects, base_url=base_url or server.url)
    for command in (["refresh"], ["runs", "list", "--remote"]):
        done = call(lab, *command, key=key)
        assert (done.code, done.out) == (code, "")
        assert said in done.err
        assert "Traceback" not in done.err
        assert not key or key not in done.err


@pytest.mark.usefixtures("tables_only")
def test_a_run_that_fails_is_named_and_the_exit_code_says_so(
    server: WandbServer, lab: Lab, call: Call
) -> None:
    server.store.run("me/p/r1").filed = FiledHistory(rows=3)
    done = call(lab, "refresh")
    server.store.run("me/p/r1").filed = FiledHistory()
    assert done.code == 1
    assert "1 run was not read; everything else was refreshed" in done.err
    assert f"{server.url}/me/p/runs/r1" in done.err
    assert "counts 23 history rows and sent 20" in done.err
    assert call(lab, "refresh").code == 0


def test_traffic_is_metadata_of_what_was_read(lab: Lab) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(lab).resolve_job_def("refresh")
        result = job.execute_in_process(instance=instance)
        event = instance.get_latest_materialization_event(dg.AssetKey(["raw", "runs"]))
    assert result.success
    assert event is not None
    assert event.asset_materialization is not None
    found: dict[str, Any] = {
        name: one.value for name, one in event.asset_materialization.metadata.items()
    }
    assert found["requests"] == 4
    assert "`RunDetail`: 3" in found["requests_by_operation"]
    assert found["received_bytes"] > 1000
    assert found["retries"] == found["waited_seconds"] == 0
    assert "me/p/r0" in found["slowest_runs"].replace("\\", "")


@pytest.mark.usefixtures("tables_only")
def test_the_sensor_asks_for_a_refresh_when_something_changed(
    server: WandbServer, lab: Lab
) -> None:
    sensor = changes(lab.config)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        assert isinstance(sensor(context), dg.RunRequest)
        lab.refresh()
        skipped = sensor(context)
        assert isinstance(skipped, dg.SkipReason)
        assert "Nothing has changed" in str(skipped.skip_message)
        server.store.run("me/p/r2").tags = ["late"]
        assert isinstance(sensor(context), dg.RunRequest)
        run = dg.DagsterRun("refresh", status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)
        busy = sensor(context)
        assert isinstance(busy, dg.SkipReason)
        assert "under way" in str(busy.skip_message)


def test_a_check_compares_the_lake_with_the_servers_counts(
    server: WandbServer, lab: Lab
) -> None:
    pull(lab)
    config = str(lab.config.root / "run_assets.yaml")
    with dg.build_resources({"lab": use_lab(lab, config)}) as resources:
        assert passed(counted(resources.lab))
        server.store.run("me/p/r1").filed = FiledHistory(rows=3)
        pull(open_lab(config))
        found = counted(resources.lab)
    server.store.run("me/p/r1").filed = FiledHistory()
    assert not passed(found)
    assert "me/p/r1" in str(found)


def passed(result: object) -> bool:
    assert isinstance(result, dg.AssetCheckResult)
    return result.passed
