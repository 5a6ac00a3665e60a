"""Publication to a W&B server: what arrives, what faults and kills leave, what it says.

The unmodified SDK on both sides, over HTTP.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from run_assets.errors import AuthenticationError, RunAssetsError, TryAgainError
from run_assets.own_runs import is_own_run
from run_assets.publish import wandb as publisher
from run_assets.publish.content import InputArtifact, Publication
from run_assets.publish.wandb import PublishedRun, Target, publish_if_changed
from tests.support.publications import make_publication, png
from tests.support.wandb_server import (
    API_KEY,
    Fault,
    WandbServer,
    dropped,
    hanging,
    html_page,
    refused,
    throttled,
    truncated,
    wandb_server,
)
from tests.support.wandb_server.client import SdkClient, sdk_client

PROJECT = "me/metta-analysis"
DAY = "2026-11-25"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server of its own for each test, and an environment that leads there."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "XDG_")) or name == "DISABLE_WANDB":
            monkeypatch.delenv(name)
    monkeypatch.setattr(publisher, "_PAUSE_SECONDS", 0.0)
    with wandb_server(tmp_path / "sdk") as server:
        monkeypatch.setenv("HOME", server.settings["HOME"])
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", API_KEY)
        yield server
        assert not server.requests.unknown


@pytest.fixture
def sdk(server: WandbServer) -> Iterator[SdkClient]:
    with sdk_client(server.environment) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "published" / "wandb"


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return make_publication(tmp_path)


def put(publication: Publication, folder: Path, **changes: Any) -> PublishedRun:
    target = Target("online", "metta-analysis", None, folder, "night", DAY)
    published = publish_if_changed(publication, replace(target, **changes))
    assert published
    return published


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def versions(server: WandbServer) -> list[str]:
    return [
        f"v{one.version} {' '.join(sorted(one.aliases))}"
        for one in server.store.versions(("me", "metta-analysis", "processed_runs"))
    ]


def assert_published_once(server: WandbServer, published: PublishedRun) -> None:
    """One finished run, one version, one of each table; nothing of another attempt."""
    assert ["/".join(key) for key in server.store.runs] == [published.run_path]
    (run,) = server.store.runs.values()
    assert run.state == "finished"
    found = [one for one in server.store.artifacts if one.state == "COMMITTED"]
    assert {one.run for one in found} == {run.key}
    for one in found:
        held = [f"artifacts/{birth}/{path}" for path, birth in one.births.items()]
        assert held
        assert all(server.store.blobs[path] for path in held)
    shown = [one for one in run.summary.values() if isinstance(one, dict)]
    for media in [one for one in shown if "sha256" in one]:
        assert sha256(run.files[media["path"]]).hexdigest() == media["sha256"]
    names = sorted(one.collection[2] for one in found)
    tables = [f"run-{run.name}-{key}" for key in ("comparisons", "iqm_comparison")]
    assert names == ["processed_runs", *tables]
    assert versions(server)[0].endswith(f"{DAY} latest")


def test_everything_reads_back_as_it_was_published(
    server: WandbServer, sdk: SdkClient, publication: Publication, folder: Path
) -> None:
    published = put(publication, folder)

    assert published.is_new
    assert published.url == f"{server.url}/{PROJECT}/runs/{published.run_path[-8:]}"
    assert_published_once(server, published)
    told = sdk("publication", path=published.run_path, dataset="processed_runs")
    assert told["url"] == published.url
    assert (told["state"], told["job_type"]) == ("finished", "analysis")
    about = {"code_version": "0.1.0", "input_digest": publication.digest}
    assert told["config"] == {**about, "run_assets": True}
    assert is_own_run(told["config"])
    assert told["summary"]["n_runs"] == 1
    frame = publication.tables["iqm_comparison"]
    table = told["tables"]["iqm_comparison"]
    assert table["columns"] == frame.columns
    # The SDK reads NaN in a table as None; what is stored is NaN.
    assert table["data"] == [
        ["sarsa", 0.5, None, '["a", "b"]', "2026-01-02 00:00:00+00:00"],
        ["</script>; drop table x", None, float("inf"), None, None],
    ]
    path = told["summary"]["iqm_comparison"]["path"]
    stored = server.store.run(published.run_path).files[path]
    assert b'["sarsa",0.5,NaN,' in stored
    assert told["media"][path] == sha256(stored).hexdigest()
    assert told["tables"]["comparisons"] == {"columns": frame.columns, "data": []}
    shown = told["summary"]["iqm_plot"]
    assert told["media"][shown["path"]] == sha256(png()).hexdigest()
    (version,) = told["versions"]
    assert version["type"] == "dataset"
    assert version["aliases"] == [DAY, "latest"]
    assert version["metadata"] == about
    sent = digest(publication.files["marts/runs.parquet"])
    assert version["files"]["marts/runs.parquet"] == sent
    assert version["files"].keys() == {"marts/runs.parquet", "publication.json"}


def test_nothing_changed_asks_the_server_nothing(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    first = put(publication, folder)
    server.requests.clear()

    assert put(publication, folder) == first._replace(is_new=False)
    assert server.requests.total == 0


def test_without_its_state_the_version_on_the_server_decides(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    first = put(publication, folder)
    (folder.parent / "last_publication.json").unlink()

    again = put(publication, folder)

    assert (again.run_path, again.url) == (first.run_path, first.url)
    assert not again.is_new
    assert_published_once(server, first)
    assert not put(publication, folder).is_new


def test_a_change_is_a_new_run_and_version_that_takes_the_alias(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    first = put(publication, folder)
    changed = replace(publication, summary={"n_runs": 2})

    second = put(changed, folder, alias="2026-11-26")
    third = put(publication, folder, alias="2026-11-27")

    assert len({first.run_path, second.run_path, third.run_path}) == 3
    assert versions(server) == [
        f"v0 {DAY}",
        "v1 2026-11-26",
        "v2 2026-11-27 latest",
    ]


def test_runs_use_the_artifacts_that_their_results_come_from(
    server: WandbServer, sdk: SdkClient, publication: Publication, folder: Path
) -> None:
    logged = [
        sdk("log_artifact", project="maze", name="model", text=text, aliases=[])
        for text in ("one", "two")
    ]
    (first, _) = server.store.versions(("me", "maze", "model"))
    by_version = InputArtifact(
        f"me/maze/{logged[1]['run']}", "dataset", "model", "v1", None, server.url
    )
    by_digest = by_version._replace(version=None, digest=first.digest, url=None)
    nowhere = [
        by_version._replace(version="v7"),
        by_version._replace(name="gone"),
        by_digest._replace(digest="0" * 32),
        by_digest._replace(run_path="me/gone/x"),
        by_version._replace(run_path="other/maze/x"),
        by_version._replace(url="https://wandb.example/me/maze/runs/x"),
    ]

    inputs = (*nowhere, by_version, by_digest)
    published = put(replace(publication, inputs=inputs), folder)

    assert published.inputs == 2
    told = sdk("publication", path=published.run_path, dataset="processed_runs")
    assert told["used"] == ["model:v0", "model:v1"]


@pytest.mark.parametrize(
    ("fault", "operation"),
    [
        (throttled(0.1), "*"),
        (throttled(), "CreateArtifact"),
        (refused(500, is_applied=True), "UpsertBucket"),
        (refused(502), "PUT *"),
        (refused(503), "POST file_stream"),
        (dropped(is_applied=True), "CommitArtifact"),
        (truncated(), "CommitArtifact"),
        (html_page(), "CommitArtifact"),
        (html_page(), "PUT blobs"),
        (html_page(), "PUT files"),
        (html_page(), "POST file_stream"),
        (html_page(), "GET *"),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{one.kind}-{one.status}",
)
def test_a_passing_fault_changes_nothing_that_arrives(
    server: WandbServer,
    publication: Publication,
    folder: Path,
    fault: Fault,
    operation: str,
) -> None:
    server.faults.inject(fault, operation, calls=[1])

    published = put(publication, folder)

    assert server.faults.struck == {fault.kind: 1}
    assert_published_once(server, published)
    assert not (folder.parent / "unfinished_publications.json").exists()


@pytest.mark.timeout(900)  # the SDK waits longer with each try
def test_a_storm_changes_nothing_that_arrives(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    server.faults.storm(0.2)

    published = put(publication, folder)

    assert_published_once(server, published)


# What kills and a silent server leave


PUBLISHING = """
import sys
from pathlib import Path
from run_assets.publish.wandb import Target, publish_if_changed
from tests.support.publications import make_publication
place, folder, day = sys.argv[1:]
target = Target("online", "metta-analysis", None, Path(folder), "night", day)
publish_if_changed(make_publication(Path(place)), target)
"""
CHECKOUT = Path(__file__).parents[2]


def killed_at(
    server: WandbServer, operation: str, place: Path, folder: Path, call: int = 1
) -> None:
    """Publish in a process of its own, and kill it -9 in the middle of a request."""
    server.faults.inject(hanging(60.0), operation, calls=range(call, call + 50))
    command = [sys.executable, "-c", PUBLISHING, str(place), str(folder), DAY]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, env=environment) as process:
        until = time.monotonic() + 60
        while server.requests.counts[operation] < call:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    time.sleep(1.0)  # the SDK's processes end by themselves
    server.faults.clear()


MOMENTS = [
    ("UpsertBucket", 1),
    ("PUT blobs", 1),
    ("CommitArtifact", 3),
    ("POST file_stream", 1),
]


@pytest.mark.parametrize(("operation", "call"), MOMENTS)
def test_a_kill_leaves_nothing_that_the_next_publication_builds_on(
    server: WandbServer,
    publication: Publication,
    tmp_path: Path,
    folder: Path,
    operation: str,
    call: int,
) -> None:
    killed_at(server, operation, tmp_path, folder, call)

    assert not (folder.parent / "last_publication.json").exists()
    assert all(run.state != "finished" for run in server.store.runs.values())
    published = put(publication, folder)

    assert published.is_new
    assert_published_once(server, published)
    assert not (folder.parent / "unfinished_publications.json").exists()
    assert not (folder / ".publishing").exists()
    assert not put(publication, folder).is_new


def test_a_kill_is_healed_by_a_publication_of_something_else(
    server: WandbServer, publication: Publication, tmp_path: Path, folder: Path
) -> None:
    first = put(publication, folder, alias="2026-11-24")
    changed = replace(publication, summary={"n_runs": 2})
    (folder.parent / "last_publication.json").unlink()
    server.store.artifacts[-1].metadata = "{}"  # as if it were of other content
    killed_at(server, "POST file_stream", tmp_path, folder)

    second = put(changed, folder)

    paths = ["/".join(key) for key in server.store.runs]
    assert paths == [first.run_path, second.run_path]
    assert [one.split(" ", 1)[1] for one in versions(server)] == [
        "2026-11-24",
        f"{DAY} latest",
    ]


def test_a_kill_before_the_state_is_written_publishes_once(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    first = put(publication, folder)
    state = folder.parent / "last_publication.json"
    run_id = first.run_path.rpartition("/")[2]
    run = {"entity": None, "project": "metta-analysis", "run_id": run_id}
    unfinished = folder.parent / "unfinished_publications.json"
    unfinished.write_text(json.dumps({"runs": [run]}))
    state.unlink()

    assert put(publication, folder).run_path == first.run_path
    assert_published_once(server, first)
    assert not unfinished.exists()


def test_runs_of_others_are_never_deleted(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    server.add_run(f"{PROJECT}/training", [{"x": 1}], config={"run_assets": 1})
    run = {"entity": "me", "project": "metta-analysis", "run_id": "training"}
    folder.parent.mkdir(parents=True)
    unfinished = folder.parent / "unfinished_publications.json"
    unfinished.write_text(json.dumps({"runs": [run]}))

    put(publication, folder)

    assert ("me", "metta-analysis", "training") in server.store.runs


@pytest.mark.parametrize("operation", ["Viewer", "PUT blobs", "CommitArtifact"])
def test_a_server_that_hangs_is_given_up_and_leaves_nothing(
    server: WandbServer,
    publication: Publication,
    folder: Path,
    operation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.faults.inject(hanging(60.0), operation)
    with monkeypatch.context() as patch:
        patch.setattr(publisher, "_TIMEOUT_SECONDS", 9.0)
        with pytest.raises(TryAgainError, match="in time; nothing counts") as caught:
            put(publication, folder)
    assert caught.value.exit_code == 75
    server.faults.clear()

    assert_published_once(server, put(publication, folder))


# What it says


@pytest.mark.parametrize(
    ("fault", "operation", "error", "says"),
    [
        (refused(401), "*", AuthenticationError, "set WANDB_API_KEY or run"),
        (refused(401), "CommitArtifact", AuthenticationError, "set WANDB_API_KEY"),
        (refused(403), "UpsertBucket", AuthenticationError, "may not publish to"),
        (refused(403), "CreateArtifact", AuthenticationError, "ask for write access"),
        (html_page(), "*", TryAgainError, "tries again"),
        (refused(503), "UpsertBucket", TryAgainError, "tries again"),
        (dropped(), "UpsertBucket", TryAgainError, "tries again"),
    ],
    ids=lambda one: getattr(one, "kind", None),
)
def test_a_lasting_fault_is_an_error_that_says_what_to_do(  # noqa: PLR0917
    monkeypatch: pytest.MonkeyPatch,
    server: WandbServer,
    publication: Publication,
    folder: Path,
    fault: Fault,
    operation: str,
    error: type[RunAssetsError],
    says: str,
) -> None:
    server.faults.inject(fault, operation)
    with monkeypatch.context() as patch:
        patch.setattr(publisher, "_MOST_ATTEMPTS", 2)
        patch.setenv("WANDB_INIT_TIMEOUT", "4")
        with pytest.raises(error, match=says) as caught:
            put(publication, folder)

    assert API_KEY not in str(caught.value)
    assert not (folder.parent / "last_publication.json").exists()
    server.faults.clear()
    assert_published_once(server, put(publication, folder))


def test_a_wrong_key_is_told_and_never_shown(
    server: WandbServer,
    publication: Publication,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary" + "0" * 34)
    with pytest.raises(AuthenticationError, match="not logged in; set WANDB") as caught:
        put(publication, folder)
    assert caught.value.exit_code == 4
    assert "canary" not in str(caught.value)
    assert not server.store.runs


def test_an_entity_without_permission_is_named(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    server.switches.closed_entities = ("team",)
    with pytest.raises(AuthenticationError, match="team/metta-analysis: perm") as one:
        put(publication, folder, entity="team")
    assert "publish.wandb.entity" in str(one.value)


def test_the_key_is_in_no_file_that_publishing_leaves(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    published = put(publication, folder)
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    assert not [path for path in files if API_KEY.encode() in path.read_bytes()]
    assert API_KEY not in str(published)
    stored = [
        *server.store.blobs.values(),
        *server.store.run(published.run_path).files.values(),
    ]
    assert not [one for one in stored if API_KEY.encode() in one]
