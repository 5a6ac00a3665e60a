"""Something small to publish."""

import struct
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from run_assets.publish.content import Publication
from run_assets.publish.wandb import PublishedRun, Target, publish_if_changed
from tests.support.wandb_server import WandbServer

PROJECT = "me/metta-analysis"
DAY = "2026-11-25"


def png(width: int = 2, height: int = 1) -> bytes:
    """A white image."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + b"\xff" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    )


def make_publication(place: Path) -> Publication:
    """Two tables with awkward cells, an image and a parquet file."""
    runs = place / "runs.parquet"
    pl.DataFrame({"run_path": ["lab/maze/a"]}).write_parquet(runs)
    intervals = pl.DataFrame(
        {
            "group_name": ["sarsa", "</script>; drop table x"],
            "estimate": [0.5, None],
            "ci_high": [float("nan"), float("inf")],
            "notes": [["a", "b"], None],
            "at": [datetime(2026, 1, 2, tzinfo=UTC), None],
        }
    )
    return Publication(
        tables={"iqm_comparison": intervals, "comparisons": intervals.head(0)},
        images={"iqm_plot": png()},
        files={"marts/runs.parquet": runs},
        summary={"n_runs": 1},
        config={"code_version": "0.1.0"},
    )


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
