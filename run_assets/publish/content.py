"""What one W&B run shows, and its digest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from run_assets.digests import digest_of
from run_assets.errors import SourceError, UsageError
from run_assets.publish.wandb_run import ARTIFACT

MOST_TABLE_ROWS = 200_000
"""W&B cuts longer tables off. Source: ``wandb.Table.MAX_ARTIFACT_ROWS``."""

_PNG = b"\x89PNG\r\n\x1a\n"


class InputArtifact(NamedTuple):
    """An artifact that a run logged which fed the results.

    Attributes:
        run_path: The run that logged it, ``entity/project/run_id``.
        type: Of the artifact.
        name: Of the artifact, without version.
        version: Such as ``v3``; ``None`` where only the digest is known.
        digest: Of its manifest.
        url: Address of the run; tells its server, where known.
    """

    run_path: str
    type: str
    name: str
    version: str | None
    digest: str | None
    url: str | None


@dataclass(frozen=True)
class Publication:
    """What one W&B run shows.

    Attributes:
        tables: Frames by key, such as ``iqm_comparison``; each becomes a W&B table.
        images: PNG files' bytes by key.
        files: Parquet files by their name inside the artifact ``processed_runs``.
        summary: The run's summary.
        config: The run's config and the artifact's metadata; ``input_digest`` is added
            to both, and ``run_assets: true`` to the config, so that no source ever
            takes the run for an experiment.
        inputs: Artifacts that the results come from. Online the run uses those that
            lie at the same entity of the same server.
    """

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[InputArtifact, ...] = ()

    @property
    def digest(self) -> str:
        """Changes when anything that is shown changes."""
        return digest_of(
            {key: _frame_digest(frame) for key, frame in self.tables.items()},
            {key: sha256(image).hexdigest() for key, image in self.images.items()},
            {name: _file_digest(path) for name, path in self.files.items()},
            self.summary,
            self.config,
            sorted(self.inputs, key=str),
        )

    def check(self) -> None:
        """Refuse what W&B would cut off or could not show.

        Raises:
            UsageError: An image is not a PNG file, or a table is too long.
        """
        for key, frame in self.tables.items():
            _check_table(key, frame)
        for key, image in self.images.items():
            _check_image(key, image)


def _check_table(key: str, frame: pl.DataFrame) -> None:
    if frame.height > MOST_TABLE_ROWS:
        msg = (
            f"table {key!r} has {frame.height:,} rows, W&B shows {MOST_TABLE_ROWS:,}; "
            f"publish it as a file of the artifact {ARTIFACT} instead"
        )
        raise UsageError(msg)


def _check_image(key: str, image: bytes) -> None:
    if not image.startswith(_PNG):
        msg = f"image {key!r} must be a PNG file, got bytes that begin {image[:8]!r}"
        raise UsageError(msg)


def _frame_digest(frame: pl.DataFrame) -> str:
    return digest_of(list(map(str, frame.dtypes)), frame.columns, frame.rows())


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = f"{path} cannot be published: {error}; `run-assets refresh` rebuilds it"
        raise SourceError(msg) from error
