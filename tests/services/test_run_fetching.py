"""A question about a run that the lake does not have yet, on a loopback server."""

import json
from collections.abc import Callable, Iterator

import pytest

from run_assets.lab import Lab
from run_assets.reading.tables import table_rows
from tests.support.api_labs import api_lab
from tests.support.command_line import Answer, CommandLine
from tests.support.playbook_labs import (
    TABLE,
    TABLE_OBJECT,
    TABLE_PATH,
    TABLE_TEXT,
    orchestrator_row,
)
from tests.support.wandb_server import API_KEY, WandbServer, wandb_server

JSON = ("--output-format", "json")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("sdk")) as server:
        rows = [orchestrator_row(step) for step in range(20)]
        rows[-1] |= {TABLE: TABLE_OBJECT}
        for name in ("29hn8w98", "other"):
            run = server.add_run(f"me/p/{name}", rows, display_name=f"shown-{name}")
            run.files[TABLE_PATH] = TABLE_TEXT.encode()
        yield server
        assert not server.requests.unknown


@pytest.fixture(scope="module")
def lab(server: WandbServer, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return api_lab(tmp_path_factory.mktemp("fetching") / "lab", server)


@pytest.fixture
def call(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command line on the lab, with a key unless another is given."""
    command_line = CommandLine(monkeypatch, capsys)

    def called(*words: str, key: str = API_KEY) -> Answer:
        monkeypatch.setenv("WANDB_API_KEY", key)
        return command_line(*words, folder=lab.config.root)

    return called


def test_without_a_key_it_says_where_to_put_one(call: Callable[..., Answer]) -> None:
    done = call("rewards", "29hn8w98", key="")
    assert (done.code, done.out) == (4, "")
    assert "WANDB_API_KEY" in done.err
    assert ".env" in done.err
    assert "--local-only" in done.err


def test_local_only_asks_nobody(
    call: Callable[..., Answer], server: WandbServer
) -> None:
    before = server.requests.total
    done = call("rewards", "29hn8w98", "--local-only", key="")
    assert (done.code, done.out) == (5, "")
    assert "--local-only asked no source" in done.err
    assert server.requests.total == before


def test_a_run_that_no_source_has_is_not_found(call: Callable[..., Answer]) -> None:
    for name in ("nowhere", "me/p/nowhere"):
        done = call("runs", "get", name)
        assert (done.code, done.out) == (5, "")
    other = call("runs", "get", "you/q/x")
    assert other.code == 5
    assert "add it to run_assets.yaml: {kind: wandb_api, projects: [you/q]}" in (
        other.err
    )


def test_a_missing_run_is_fetched_by_its_name_and_no_other(
    call: Callable[..., Answer],
) -> None:
    done = call("rewards", "shown-29hn8w98", *JSON)
    assert done.code == 0, done.err
    assert "fetching me/p/29hn8w98" in done.err
    [row] = json.loads(done.out)["rows"]
    assert row["components"]
    stored = call("runs", "list", *JSON)
    listed = [one["run_path"] for one in json.loads(stored.out)["rows"]]
    assert listed == ["me/p/29hn8w98"]
    again = call("rewards", "29hn8w98", *JSON, key="")
    assert (again.code, again.out) == (0, done.out)


def test_a_logged_table_comes_from_the_server(
    call: Callable[..., Answer], server: WandbServer
) -> None:
    words = ("runs", "artifacts", "29hn8w98", "--table", TABLE)
    refused = call(*words, "--local-only")
    assert refused.code == 5
    assert "--local-only asks no server" in refused.err
    done = call(*words, "--output-format", "csv")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == ",".join(table_rows(TABLE_TEXT, "t").columns)
    run = server.store.run("me/p/29hn8w98")
    whole = run.files.pop(TABLE_PATH)
    lost = call(*words)
    run.files[TABLE_PATH] = whole
    assert lost.code == 5
    assert "no file 'media/table" in lost.err


def test_force_fetch_reads_what_changed(
    call: Callable[..., Answer], server: WandbServer
) -> None:
    server.store.run("me/p/29hn8w98").tags = ["late"]
    stale = call("runs", "get", "29hn8w98", *JSON)
    assert json.loads(stale.out)["rows"][0]["tags"] == []
    fresh = call("runs", "get", "29hn8w98", "--force-fetch", *JSON)
    assert json.loads(fresh.out)["rows"][0]["tags"] == ["late"]
    assert API_KEY not in fresh.err
