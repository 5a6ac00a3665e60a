"""What a bad network changes, which is nothing, and what is said of it."""

from collections import Counter
from pathlib import Path

import pytest

from run_assets.errors import AuthenticationError, RunAssetsError, TryAgainError
from run_assets.publish import wandb as publisher
from run_assets.publish.content import Publication
from tests.support.publications import (
    assert_published_once,
    put,
)
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
)

REFUSALS = (
    (throttled(0.1), "*"),
    (throttled(), "CreateArtifact"),
    (refused(500, is_applied=True), "UpsertBucket"),
    (refused(502), "PUT *"),
    (refused(503), "POST file_stream"),
)
LOST_ANSWERS = (
    (dropped(is_applied=True), "CreateArtifact"),
    (truncated(), "CommitArtifact"),
    (html_page(), "UpsertBucket"),
    (html_page(), "PUT blobs"),
    (html_page(), "PUT files"),
    (html_page(), "POST file_stream"),
    (html_page(), "GET *"),
)


@pytest.mark.parametrize("faults", [REFUSALS, LOST_ANSWERS])
def test_passing_faults_change_nothing_that_arrives(
    server: WandbServer,
    publication: Publication,
    folder: Path,
    faults: tuple[tuple[Fault, str], ...],
) -> None:
    for fault, operation in faults:
        server.faults.inject(fault, operation, calls=[1])

    published = put(publication, folder)

    assert server.faults.struck == Counter(fault.kind for fault, _ in faults)
    assert_published_once(server, published)
    assert not (folder.parent / "unfinished_publications.json").exists()


@pytest.mark.timeout(900)  # the SDK waits longer with each try
def test_a_storm_changes_nothing_that_arrives(
    server: WandbServer, publication: Publication, folder: Path
) -> None:
    server.faults.storm(0.1)

    published = put(publication, folder)

    assert_published_once(server, published)


@pytest.mark.parametrize("operation", ["CommitArtifact"])
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
    assert all(run.state != "finished" for run in server.store.runs.values())


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
