"""Corrections of p-values for the number of comparisons made."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from run_assets.errors import UsageError
from run_assets.stats.options import check_choice

Float64Array = NDArray[np.float64]


def adjust_p_values(
    p_values: Sequence[float | None], *, correction: str = "holm"
) -> list[float | None]:
    """P-values adjusted for being looked at together.

    ``bonferroni`` and ``holm`` bound the chance of a single false discovery
    (Holm is never less powerful); ``bh`` bounds the expected share of false
    discoveries among all, for independent or positively dependent tests; ``none``
    changes nothing.

    Source: Holm 1979 for ``holm``; Benjamini and Hochberg 1995 for ``bh``.

    Args:
        p_values: In [0, 1]; None where a test could not be made: it stays None and
            does not count as a comparison.
        correction: ``holm``, ``bonferroni``, ``bh`` or ``none``.

    Returns:
        Adjusted p-values in the order given, in [0, 1].

    Raises:
        UsageError: An unknown correction or a value outside [0, 1].

    >>> adjust_p_values([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    check_choice("correction", correction, CORRECTIONS)
    made = [index for index, p in enumerate(p_values) if p is not None]
    tested = np.array([p for p in p_values if p is not None], dtype=np.float64)
    if not ((tested >= 0) & (tested <= 1)).all():
        message = f"p-values must be from 0 to 1, got {tested.tolist()}"
        raise UsageError(message)
    adjusted: list[float | None] = [None] * len(p_values)
    for index, p in zip(made, _CORRECTIONS[correction](tested).tolist(), strict=True):
        adjusted[index] = p
    return adjusted


def _bonferroni(p: Float64Array) -> Float64Array:
    return np.minimum(p * p.size, 1.0)


def _holm(p: Float64Array) -> Float64Array:
    order = np.argsort(p, kind="stable")
    remaining = np.arange(p.size, 0, -1)
    stepped = np.maximum.accumulate(p[order] * remaining)
    return _unsorted(np.minimum(stepped, 1.0), order)


def _benjamini_hochberg(p: Float64Array) -> Float64Array:
    order = np.argsort(p, kind="stable")
    # Factors of at least 1 and so, rounded or not, no value below its p.
    scaled = p[order] * (p.size / np.arange(1, p.size + 1))
    stepped = np.minimum.accumulate(scaled[::-1])[::-1]
    return _unsorted(np.minimum(stepped, 1.0), order)


def _unsorted(values: Float64Array, order: NDArray[np.intp]) -> Float64Array:
    result = np.empty_like(values)
    result[order] = values
    return result


_CORRECTIONS: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "holm": _holm,
    "bonferroni": _bonferroni,
    "bh": _benjamini_hochberg,
    "none": np.copy,
}
CORRECTIONS = tuple(_CORRECTIONS)
