"""`run-assets publish` and the refresh's own publication, against a W&B server."""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from run_assets.cli.app import run
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.publish.results import input_artifacts, publication
from run_assets.refresh import refresh
from tests.support.command_line import Answer, CommandLine
from tests.support.labs import make_lab, write_config
from tests.support.wandb_server import API_KEY, WandbServer, wandb_server
from tests.support.wandb_server.client import sdk_client

Command = Callable[..., Answer]
ONLINE = {"wandb": {"mode": "online", "project": "metta-analysis"}}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab that is refreshed and has published nothing yet."""
    folder = tmp_path_factory.mktemp("built")
    refresh(make_lab(folder))
    return folder


@pytest.fixture
def lab(built: Path, tmp_path: Path) -> Lab:
    """A copy of it."""
    folder = tmp_path / "lab"
    shutil.copytree(built, folder, symlinks=True)
    write_config(folder, publish={"wandb": {"mode": "offline"}})
    return open_lab(folder)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    with wandb_server(tmp_path / "sdk") as server:
        yield server
        assert not server.requests.unknown


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line in a lab, on a machine that knows no account."""
    command_line = CommandLine(monkeypatch, capsys)

    def called(lab: Lab, *words: str, **variables: str) -> Answer:
        foreign = ("WANDB_", "RUN_ASSETS_", "DAGSTER_", "DISABLE_", "ENABLE_", "XDG_")
        for name in [one for one in os.environ if one.startswith(foreign)]:
            monkeypatch.delenv(name)
        home = lab.config.root.parent / "home"
        home.mkdir(exist_ok=True)
        for name, value in {"HOME": str(home), **variables}.items():
            monkeypatch.setenv(name, value)
        return command_line(*words, folder=lab.config.root)

    return called


@pytest.fixture
def online(command: Command, server: WandbServer) -> Command:
    """Publish to the server."""
    leading_there = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": API_KEY}

    def called(lab: Lab, *words: str, **variables: str) -> Answer:
        settings = {**leading_there, **variables}
        return command(lab, "publish", "--mode", "online", *words, **settings)

    return called


def test_it_prints_the_address_and_then_that_nothing_has_changed(
    lab: Lab, server: WandbServer, online: Command
) -> None:
    first = online(lab)
    (path,) = ["/".join(key) for key in server.store.runs]
    assert (first.code, first.out) == (
        0,
        f"{server.url}/me/metta-analysis/runs/{path.rpartition('/')[2]}\n",
    )
    assert f"published {path}" in first.err
    assert "publishing online to your default entity/metta-analysis" in first.err

    again = online(lab)
    assert (again.code, again.out) == (0, first.out)
    assert "nothing has changed since the last publication" in again.err
    assert len(server.store.runs) == 1


def test_what_arrives_is_what_the_lab_holds(
    lab: Lab, server: WandbServer, online: Command
) -> None:
    assert online(lab).code == 0
    (path,) = ["/".join(key) for key in server.store.runs]
    with sdk_client(server.environment) as sdk:
        told = sdk("publication", path=path, dataset="processed_runs")
    shown = publication(lab)
    assert told["tables"].keys() == shown.tables.keys()
    frame = shown.tables["iqm_comparison"]
    table = told["tables"]["iqm_comparison"]
    assert table["columns"] == frame.columns
    assert len(table["data"]) == frame.height > 0
    for column in ("group_name", "estimate", "ci_low", "ci_high", "seed"):
        at = frame.columns.index(column)
        assert [row[at] for row in table["data"]] == frame[column].to_list()
    assert shown.images.keys() <= told["summary"].keys()
    (version,) = told["versions"]
    assert version["files"].keys() == {*shown.files, "publication.json"}
    assert version["metadata"].keys() == {
        *("input_digest", "config_digest", "run_assets_version")
    }
    assert version["aliases"][1:] == ["latest"]
    day = (lab.config.data_path / "last_refresh.json").read_text()
    assert version["aliases"][0] in day


def test_a_refresh_and_the_command_publish_the_same(
    lab: Lab, server: WandbServer, command: Command
) -> None:
    write_config(lab.config.root, publish=ONLINE)
    settings = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": API_KEY}
    done = command(lab, "refresh", **settings)
    assert done.code == 0, done.err
    assert len(server.store.runs) == 1

    again = command(lab, "publish", **settings)
    assert again.code == 0
    assert again.out.startswith(server.url)
    assert "nothing has changed" in again.err
    kept = [*lab.config.root.rglob("*"), *(lab.config.root.parent / "home").rglob("*")]
    assert not [
        path
        for path in kept
        if path.is_file() and API_KEY.encode() in path.read_bytes()
    ]


def test_offline_prints_the_folder(lab: Lab, command: Command) -> None:
    done = command(lab, "publish")
    assert done.code == 0
    (folder,) = lab.config.data_path.glob("published/wandb/offline-run-*")
    assert done.out == f"{folder}\n"
    assert f"`wandb sync {folder}` uploads it" in done.err
    assert "nothing has changed" in command(lab, "publish").err


def test_a_wrong_key_ends_with_4_and_is_not_shown(lab: Lab, online: Command) -> None:
    key = "canary" + "0" * 34
    done = online(lab, "-v", WANDB_API_KEY=key)
    assert (done.code, done.out) == (4, "")
    assert "set WANDB_API_KEY or run `wandb login`" in done.err
    assert "canary" not in done.err
    kept = [path for path in lab.config.root.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"canary" in path.read_bytes()]


def test_no_key_ends_with_4(lab: Lab, online: Command) -> None:
    done = online(lab, WANDB_API_KEY="")
    assert done.code == 4
    assert "No API key configured" in done.err


def test_an_entity_that_is_closed_ends_with_4(
    lab: Lab, server: WandbServer, online: Command
) -> None:
    server.switches.closed_entities = ("team",)
    done = online(lab, WANDB_ENTITY="team")
    assert done.code == 4
    assert "may not publish to team/metta-analysis" in done.err


def test_no_network_ends_with_75_soon(lab: Lab, command: Command) -> None:
    settings = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": API_KEY}
    done = command(lab, "publish", "--mode", "online", **settings)
    assert done.code == 75
    assert "127.0.0.1:9 cannot be reached" in done.err
    assert "check the network" in done.err


def test_disabled_is_said_and_ends_with_2(
    lab: Lab, server: WandbServer, online: Command
) -> None:
    done = online(lab, DISABLE_WANDB="true")
    assert (done.code, done.out) == (2, "")
    assert "unset DISABLE_WANDB" in done.err
    assert server.requests.total == 0


def called(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> int:
    words = ["run-assets", "--config", str(lab.config.root), "publish"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as leaving:
        run()
    return int(leaving.value.code or 0)


def test_a_lab_that_was_never_refreshed_ends_with_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab(tmp_path, runs=1, publish={"wandb": {"mode": "offline"}})
    assert called(lab, monkeypatch) == 5
    assert "run `run-assets refresh`" in capsys.readouterr().err


def test_while_a_refresh_is_writing_it_ends_with_75(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (lab.config.data_path / ".lock").open("w") as lock:
        # Another open file is another holder, even in the same process.
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert called(lab, monkeypatch) == 75
    assert "another refresh is writing" in capsys.readouterr().err


def test_inputs_are_what_scored_runs_logged_themselves(lab: Lab) -> None:
    scored = lab.lake.read("stats.scores")["run_path"].unique().sort().to_list()
    part = lab.lake.parts("raw.artifacts")[0]
    header = lab.lake.header(part)
    assert header is not None

    def row(number: int, **changes: Any) -> dict[str, Any]:
        return {
            "run_path": scored[0],
            "direction": "logged",
            "artifact_type": "model",
            "artifact_name": f"m{number}",
            "version": "v0",
            "aliases": [],
            "files": [],
            "size_bytes": 1,
            "digest": "d",
            "created_at": None,
            "sequence": number,
            **changes,
        }

    rows = [
        *(row(number) for number in range(120)),
        row(200, direction="used"),
        row(201, artifact_type="code"),
        row(202, version=None, digest=None),
        row(203, run_path="lab/maze/unscored"),
    ]
    frame = pl.DataFrame(rows, schema=lab.lake.read("raw.artifacts").schema)
    lab.lake.write(part, frame, digest=header.digest, code=header.code)

    found = input_artifacts(lab)

    assert len(found) == 100
    assert {one.type for one in found} == {"model"}
    assert {one.run_path for one in found} == {scored[0]}
