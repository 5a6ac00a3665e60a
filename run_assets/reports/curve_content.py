"""What the report says of training curves that are predicted: frames and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from run_assets.curves.settings import Curves

CURVE_TABLES = (
    "curves.evaluation",
    "curves.importances",
    "curves.difficulty",
    "curves.curriculum",
    "curves.suggestions",
    "curves.latents",
    "curves.latent_correlations",
    "curves.latent_paths",
    "curves.predictions",
    "curves.outlooks",
)
"""The tables behind the section; each is the attribute of its name."""
STACK, LAST_VALUE = "stack", "last value carried forward"
WITHOUT = "stack without "
ALL = "*"


@dataclass(frozen=True)
class CurveContent:
    """Predicted training curves: what was asked, and the tables that answer.

    Attributes:
        settings: As configured.
        left_out: Members that were left out when the model was trained, and why.
        tables: By address, each of ``CURVE_TABLES``.
        clipped_runs: Paths of runs whose rewards left the scale of the model.
    """

    settings: Curves
    left_out: Mapping[str, str]
    tables: Mapping[str, pl.DataFrame]
    clipped_runs: Sequence[str] = ()

    @property
    def is_trained(self) -> bool:
        """There is a model that was judged."""
        return not self.tables["curves.evaluation"].is_empty()

    def whole(self, situation: str) -> pl.DataFrame:
        """Scores over all runs of a situation, by configuration alone."""
        return self.tables["curves.evaluation"].filter(
            pl.col("situation") == situation,
            pl.col("observed_fraction") == 0,
            pl.col("environment") == ALL,
        )

    @property
    def situations(self) -> list[str]:
        """Known environments, then new ones where there were enough."""
        return self.tables["curves.evaluation"]["situation"].unique().sort().to_list()
