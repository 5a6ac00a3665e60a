"""Something small to publish."""

import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from run_assets.publish.content import Publication


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
