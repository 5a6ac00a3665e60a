"""What arrives; the unmodified SDK on both sides, over HTTP."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from run_assets.own_runs import is_own_run
from run_assets.publish.content import InputArtifact, Publication
from tests.support.publications import (
    DAY,
    PROJECT,
    assert_published_once,
    digest,
    png,
    put,
    versions,
)
from tests.support.wandb_server import (
    WandbServer,
)
from tests.support.wandb_server.client import SdkClient


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
