"""Configurations as numbers, with scalers that are fitted once and kept."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from run_assets.curves.examples import Floats
from run_assets.curves.settings import Feature

_DISCOUNT = re.compile(r"(^|_)(gamma|lambda|discount(ing)?|betas?_?\d?)$")
_LOG_RATIO = 100.0
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Column:
    """How one feature becomes numbers; fitted on the training rows only.

    Attributes:
        feature: Its name.
        kind: ``number`` or ``category``.
        transform: ``linear``, ``log10`` or ``log10_one_minus``.
        center: Mean of the transformed training values.
        scale: Their standard deviation; 1 where they are all the same.
        low: Smallest training value, as given.
        high: Largest training value, as given.
        has_missing: A training row lacks it: an indicator is added.
        levels: Categories of the training rows, sorted.
    """

    feature: str
    kind: str
    transform: str = "linear"
    center: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0
    has_missing: bool = False
    levels: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the encoded columns."""
        if self.kind == "category":
            return [f"{self.feature}={level}" for level in (*self.levels, "other")]
        missing = [f"{self.feature} missing"] if self.has_missing else []
        return [self.feature, *missing]

    def encode(self, values: pl.Series) -> Floats:
        """Shape ``(rows, len(names))``. A missing number becomes the training mean."""
        if self.kind == "category":
            return _one_hot(values, self.levels)
        raw = _as_numbers(values)
        known = np.isfinite(raw)
        moved = _transformed(raw, self.transform) - self.center
        number = np.where(known, moved / self.scale, 0.0)
        columns = [number, ~known] if self.has_missing else [number]
        return np.stack(columns, axis=1).astype(np.float64)

    def decode(self, encoded: Floats) -> Floats:
        """The numbers behind the first encoded column of a numeric feature.

        Args:
            encoded: Shape ``(rows,)``.
        """
        moved = encoded * self.scale + self.center
        if self.transform == "log10":
            return np.asarray(10**moved)
        return 1 - 10**moved if self.transform == "log10_one_minus" else moved


@dataclass(frozen=True)
class Encoder:
    """The columns of some features, in order."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Names of all encoded columns."""
        return [name for column in self.columns for name in column.names]

    def encode(self, features: pl.DataFrame) -> Floats:
        """Shape ``(rows, len(names))``.

        Args:
            features: One column a feature; null where unknown.
        """
        parts = [column.encode(features[column.feature]) for column in self.columns]
        return np.hstack(parts) if parts else np.zeros((features.height, 0))

    def state(self) -> list[dict[str, Any]]:
        """As JSON."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_state(cls, state: Sequence[dict[str, Any]]) -> Self:
        """The encoder that ``state`` was taken from."""
        return cls(
            tuple(Column(**{**one, "levels": tuple(one["levels"])}) for one in state)
        )


def fit_encoder(features: pl.DataFrame, specs: Sequence[Feature]) -> Encoder:
    """Fit each column on training rows.

    Positive numbers over two decades or more are taken by their logarithm; gamma,
    lambda, discounts and betas by the logarithm of their distance from 1.

    Args:
        features: The training rows, one column a feature.
        specs: Which of them, and how.

    >>> frame = pl.DataFrame({"gamma": [0.9, 0.99], "rate": [1e-4, 1e-2]})
    >>> specs = [Feature(name=name, key=name) for name in frame.columns]
    >>> [column.transform for column in fit_encoder(frame, specs).columns]
    ['log10_one_minus', 'log10']
    """
    return Encoder(tuple(_fit_column(features[one.name], one) for one in specs))


def _fit_column(values: pl.Series, spec: Feature) -> Column:
    if spec.kind == "category":
        levels = values.drop_nulls().cast(pl.String).unique().sort().to_list()
        return Column(spec.name, "category", levels=tuple(levels))
    raw = _as_numbers(values)
    known = raw[np.isfinite(raw)]
    has_missing = known.size < raw.size
    if not known.size:
        return Column(spec.name, "number", has_missing=has_missing)
    transform = _transform_of(spec, known)
    moved = _transformed(known, transform)
    scale = float(moved.std())
    return Column(
        spec.name,
        "number",
        transform,
        center=float(moved.mean()),
        scale=scale if scale > _SMALLEST else 1.0,
        low=float(known.min()),
        high=float(known.max()),
        has_missing=has_missing,
    )


def _transform_of(spec: Feature, known: Floats) -> str:
    if spec.transform != "auto":
        return spec.transform
    is_share = bool(((known >= 0) & (known <= 1)).all() and (known < 1).any())
    if _DISCOUNT.search(spec.name) and is_share:
        return "log10_one_minus"
    is_wide = known.min() > 0 and known.max() / known.min() >= _LOG_RATIO
    return "log10" if is_wide else "linear"


def _transformed(raw: Floats, transform: str) -> Floats:
    if transform == "log10":
        return np.asarray(np.log10(np.maximum(raw, _SMALLEST)))
    if transform == "log10_one_minus":
        return np.asarray(np.log10(np.maximum(1 - raw, 1e-6)))
    return raw


def _as_numbers(values: pl.Series) -> Floats:
    numbers = values.cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy()
    return np.asarray(np.where(np.isfinite(numbers), numbers, np.nan))


def _one_hot(values: pl.Series, levels: tuple[str, ...]) -> Floats:
    texts = values.cast(pl.String)
    known = [(texts == level).fill_null(value=False).to_numpy() for level in levels]
    other = ~np.any(known, axis=0) if known else np.ones(len(texts), np.bool_)
    return np.stack([*known, other], axis=1).astype(np.float64)
