import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from run_assets.errors import (
    AuthenticationError,
    SourceError,
    TryAgainError,
    UsageError,
)
from run_assets.publish import wandb as publisher
from run_assets.publish.content import Publication
from run_assets.publish.wandb import Mode, PublishedRun, Target, publish_if_changed
from run_assets.sources.wandb_files import RunFile, read_run
from tests.support.publications import make_publication, png

KEY = "canary" + "0" * 34


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.startswith(("WANDB_", "XDG_")) or name == "DISABLE_WANDB":
            monkeypatch.delenv(name)
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "published" / "wandb"


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return make_publication(tmp_path)


def put(
    publication: Publication, folder: Path, mode: Mode = "offline"
) -> PublishedRun | None:
    target = Target(mode, "metta-analysis", None, folder, "night of 2026-01-02")
    return publish_if_changed(publication, target)


def run_file(published: PublishedRun) -> Path:
    (found,) = published.folder.glob("run-*.wandb")
    return found


def read(published: PublishedRun) -> RunFile:
    return read_run(run_file(published), now=datetime.now(UTC))


@pytest.fixture(scope="module")
def offline(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Publication, PublishedRun]:
    """Something published once, for the tests that only read it."""
    place = tmp_path_factory.mktemp("offline")
    publication = make_publication(place)
    published = put(publication, place / "published" / "wandb")
    assert published
    return publication, published


def runs_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("offline-run-*"))


def history(run: RunFile) -> dict[str, Any]:
    rows = run.history.select("metric", "value", "value_json").rows()
    return {
        metric: value if text is None else json.loads(text)
        for metric, value, text in rows
    }


def test_our_own_reader_reads_what_was_published(
    offline: tuple[Publication, PublishedRun],
) -> None:
    publication, published = offline
    assert published.mode == "offline"

    run = read(published)

    assert published.run_path == f"{run.project}/{run.run_id}"
    assert (run.project, run.job_type) == ("metta-analysis", "analysis")
    assert run.run_name == "night of 2026-01-02"
    assert run.run_state == "finished"
    assert json.loads(run.config_json) == {
        "code_version": "0.1.0",
        "input_digest": publication.digest,
        "run_assets": True,
    }
    assert json.loads(run.summary_json)["n_runs"] == 1
    assert not run.skipped or not any(run.skipped.values())


def test_tables_keep_their_values(offline: tuple[Publication, PublishedRun]) -> None:
    publication, published = offline
    logged = history(read(published))

    told = logged["iqm_comparison"]
    table = json.loads((published.folder / "files" / told["path"]).read_text())

    frame = publication.tables["iqm_comparison"]
    assert table["columns"] == frame.columns
    # as text, since NaN differs from itself
    assert str(table["data"]) == str(
        [
            ["sarsa", 0.5, float("nan"), '["a", "b"]', "2026-01-02 00:00:00+00:00"],
            ["</script>; drop table x", None, float("inf"), None, None],
        ]
    )
    assert logged["comparisons"]["nrows"] == 0


def test_images_are_stored_as_the_sdk_stores_them(
    offline: tuple[Publication, PublishedRun],
) -> None:
    _, published = offline
    logged = history(read(published))

    told = logged["iqm_plot"]

    assert (published.folder / "files" / told["path"]).read_bytes() == png()
    assert told["_type"] == "image-file"
    assert (told["width"], told["height"], told["size"]) == (2, 1, len(png()))


def test_the_artifact_holds_the_parquet_files(
    offline: tuple[Publication, PublishedRun],
) -> None:
    publication, published = offline

    artifacts = read(published).artifacts

    (row,) = artifacts.filter(pl.col("artifact_type") == "dataset").to_dicts()
    assert (row["direction"], row["artifact_name"]) == ("logged", "processed_runs")
    size = publication.files["marts/runs.parquet"].stat().st_size
    sizes = {file["name"]: file["size_bytes"] for file in row["files"]}
    assert sizes.keys() == {"marts/runs.parquet", "publication.json"}
    assert sizes["marts/runs.parquet"] == size
    staged = published.folder.parent.glob("staging/*/*/*/*")
    copies = [file.read_bytes() for file in staged]
    assert publication.files["marts/runs.parquet"].read_bytes() in copies


def test_nothing_outside_the_folder_is_written(
    publication: Publication, folder: Path, home: Path, tmp_path: Path
) -> None:
    before = {one for one in tmp_path.rglob("*") if not one.is_relative_to(folder)}
    environment, here = dict(os.environ), Path.cwd()

    put(publication, folder)

    after = {one for one in tmp_path.rglob("*") if not one.is_relative_to(folder)}
    state = folder.parent / "last_publication.json"
    assert after - before == {folder.parents[1], folder.parent, state}
    assert list(home.iterdir()) == []
    assert dict(os.environ) == environment
    assert Path.cwd() == here


def test_nothing_changed_means_nothing_is_published(
    publication: Publication, folder: Path
) -> None:
    assert put(publication, folder)
    again = replace(publication, tables=dict(publication.tables))

    repeated = put(again, folder)

    assert repeated
    assert not repeated.is_new
    assert len(runs_in(folder)) == 1


@pytest.mark.parametrize("what", ["table", "image", "file", "summary", "config"])
def test_whatever_is_shown_counts_as_a_change(
    publication: Publication, what: str
) -> None:
    changed = publication
    if what == "table":
        frame = publication.tables["iqm_comparison"].with_columns(estimate=pl.lit(1.0))
        changed = replace(publication, tables={"iqm_comparison": frame})
    elif what == "image":
        changed = replace(publication, images={"iqm_plot": png(3, 3)})
    elif what == "summary":
        changed = replace(publication, summary={"n_runs": 2})
    elif what == "config":
        changed = replace(publication, config={"code_version": "0.2.0"})
    before = publication.digest
    if what == "file":
        path = publication.files["marts/runs.parquet"]
        pl.DataFrame({"run_path": ["lab/maze/b"]}).write_parquet(path)

    assert changed.digest != before


def test_a_publication_without_anything_is_a_run(folder: Path) -> None:
    published = put(Publication(), folder)
    assert published
    assert json.loads(read(published).config_json)["run_assets"] is True


@pytest.mark.parametrize(("mode", "switch"), [("disabled", ""), ("offline", "true")])
def test_disabled_publishes_nothing(
    publication: Publication,
    folder: Path,
    mode: Mode,
    switch: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISABLE_WANDB", switch)
    assert put(publication, folder, mode) is None
    assert not folder.parent.exists()


def test_names_of_strangers_never_become_paths(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "x.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(source)
    names = ["../../../escaped", "/etc/escaped", "a\nb", "x" * 300, "ü", ".", "a//b"]
    frame = pl.DataFrame({"a": [1]})
    published = put(
        Publication(
            tables=dict.fromkeys([f"t{name}" for name in names], frame),
            images=dict.fromkeys(names, png()),
            files=dict.fromkeys(names, source),
        ),
        folder,
    )
    assert published
    assert not list(tmp_path.rglob("*escaped*/*"))
    assert len(list(published.folder.rglob("*.png"))) == len(names)
    assert len(list(published.folder.rglob("*.table.json"))) == len(names)
    outside = [one for one in tmp_path.rglob("*.png") if folder not in one.parents]
    assert outside == []


def test_a_training_job_around_it_is_not_touched(
    publication: Publication, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "training")
    monkeypatch.setenv("WANDB_RUN_GROUP", "training")
    monkeypatch.setenv("WANDB_TAGS", "training")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    published = put(publication, folder)

    assert published
    run = read(published)
    assert run.run_id != "training"
    assert (run.run_group or "", run.tags) == ("", ())
    whole = [one.read_bytes() for one in folder.parent.rglob("*") if one.is_file()]
    assert not any(KEY.encode() in text for text in whole)


def test_without_a_key_online_says_what_to_do(
    publication: Publication, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(AuthenticationError, match="set WANDB_API_KEY"):
        put(publication, folder, "online")
    assert not (folder.parent / "last_publication.json").exists()


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_refusing_server_leaves_nothing_published(
    publication: Publication, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    with pytest.raises(SourceError, match="nothing counts as published") as caught:
        put(publication, folder, "online")
    assert KEY not in str(caught.value)
    assert not list(folder.glob("run-*"))

    assert put(publication, folder)


def test_a_silent_server_is_given_up(
    publication: Publication, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_TIMEOUT_SECONDS", 3)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with silent_server() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        with pytest.raises(TryAgainError, match="in time"):
            put(publication, folder, "online")
    assert not (folder / ".publishing").exists()


def test_bad_content_is_named_before_anything_is_sent(
    publication: Publication, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="'iqm_plot' must be a PNG"):
        put(replace(publication, images={"iqm_plot": b"<svg/>"}), folder)
    with pytest.raises(SourceError, match=r"gone\.parquet cannot be published"):
        put(replace(publication, files={"x": tmp_path / "gone.parquet"}), folder)
    long = pl.DataFrame({"a": range(200_001)})
    with pytest.raises(UsageError, match=r"200,001 rows"):
        put(replace(publication, tables={"long": long}), folder)
    assert runs_in(folder) == []
    assert not (folder / ".publishing").exists()


KILLED = """
import sys
from pathlib import Path
from run_assets.publish.content import Publication
from run_assets.publish.wandb import Target, publish_if_changed
target = Target("offline", "metta-analysis", None, Path(sys.argv[1]), "night")
publish_if_changed(Publication(summary={"n_runs": 1}), target)
"""


@pytest.mark.parametrize("delay", [0.0, 0.5, 1.0])
def test_a_kill_while_publishing_does_not_block_the_next(
    folder: Path, delay: float
) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)])
    until = time.monotonic() + 60
    while not (folder / ".publishing" / "spec.json").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()

    put(Publication(summary={"n_runs": 1}), folder)

    recorded = json.loads((folder.parent / "last_publication.json").read_text())
    assert runs_in(folder) == [Path(recorded["folder"]).name]
    repeated = put(Publication(summary={"n_runs": 1}), folder)
    assert repeated
    assert not repeated.is_new
    assert not (folder / ".publishing").exists()
    (run,) = folder.glob("offline-run-*/run-*.wandb")
    assert read_run(run, now=datetime.now(UTC)).run_state == "finished"
