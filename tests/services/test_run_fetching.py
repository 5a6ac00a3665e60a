"""A question about a run that the lake does not have yet, on a loopback server."""

import json
from collections.abc import Iterator

import pytest

from run_assets.lab import Lab
from run_assets.reading.tables import table_rows
from tests.services.test_wandb_commands import call
from tests.support.api_labs import api_lab
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


def test_without_a_key_it_says_where_to_put_one(lab: Lab) -> None:
    done = call(lab, "rewards", "29hn8w98", key="")
    assert (done.returncode, done.stdout) == (4, "")
    assert "WANDB_API_KEY" in done.stderr
    assert ".env" in done.stderr
    assert "--local-only" in done.stderr


def test_local_only_asks_nobody(lab: Lab, server: WandbServer) -> None:
    before = server.requests.total
    done = call(lab, "rewards", "29hn8w98", "--local-only", key="")
    assert (done.returncode, done.stdout) == (5, "")
    assert "--local-only asked no source" in done.stderr
    assert server.requests.total == before


def test_a_run_that_no_source_has_is_not_found(lab: Lab) -> None:
    for name in ("nowhere", "me/p/nowhere"):
        done = call(lab, "runs", "get", name)
        assert (done.returncode, done.stdout) == (5, "")
    other = call(lab, "runs", "get", "you/q/x")
    assert other.returncode == 5
    assert "add it to run_assets.yaml: {kind: wandb_api, projects: [you/q]}" in (
        other.stderr
    )


def test_a_missing_run_is_fetched_by_its_name_and_no_other(lab: Lab) -> None:
    done = call(lab, "rewards", "shown-29hn8w98", *JSON)
    assert done.returncode == 0, done.stderr
    assert "fetching me/p/29hn8w98" in done.stderr
    [row] = json.loads(done.stdout)["rows"]
    assert row["components"]
    stored = call(lab, "runs", "list", *JSON)
    listed = [one["run_path"] for one in json.loads(stored.stdout)["rows"]]
    assert listed == ["me/p/29hn8w98"]
    again = call(lab, "rewards", "29hn8w98", *JSON, key="")
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_a_logged_table_comes_from_the_server(lab: Lab, server: WandbServer) -> None:
    words = ("runs", "artifacts", "29hn8w98", "--table", TABLE)
    refused = call(lab, *words, "--local-only")
    assert refused.returncode == 5
    assert "--local-only asks no server" in refused.stderr
    done = call(lab, *words, "--output-format", "csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == ",".join(table_rows(TABLE_TEXT, "t").columns)
    run = server.store.run("me/p/29hn8w98")
    whole = run.files.pop(TABLE_PATH)
    lost = call(lab, *words)
    run.files[TABLE_PATH] = whole
    assert lost.returncode == 5
    assert "no file 'media/table" in lost.stderr


def test_force_fetch_reads_what_changed(lab: Lab, server: WandbServer) -> None:
    server.store.run("me/p/29hn8w98").tags = ["late"]
    stale = call(lab, "runs", "get", "29hn8w98", *JSON)
    assert json.loads(stale.stdout)["rows"][0]["tags"] == []
    fresh = call(lab, "runs", "get", "29hn8w98", "--force-fetch", *JSON)
    assert json.loads(fresh.stdout)["rows"][0]["tags"] == ["late"]
    assert API_KEY not in fresh.stderr
