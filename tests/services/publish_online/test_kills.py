"""What a kill leaves, and who cleans it up."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from run_assets.publish.content import Publication
from tests.support.publications import (
    DAY,
    PROJECT,
    assert_published_once,
    put,
    versions,
)
from tests.support.wandb_server import (
    WandbServer,
    hanging,
)

PUBLISHING = """
import sys
from pathlib import Path
from run_assets.publish.wandb import Target, publish_if_changed
from tests.support.publications import make_publication
place, folder, day = sys.argv[1:]
target = Target("online", "metta-analysis", None, Path(folder), "night", day)
publish_if_changed(make_publication(Path(place)), target)
"""
CHECKOUT = Path(__file__).parents[3]


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
