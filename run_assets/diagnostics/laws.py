"""Scaling laws of single runs and of all runs of a project: ``scaling_fits``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.diagnostics.levels import reduced
from run_assets.diagnostics.model import Run
from run_assets.diagnostics.power_law import (
    LEAST_POINTS,
    Law,
    exponent_intervals,
    fit_power_law,
    fits,
    refusal,
)
from run_assets.diagnostics.scaling import performance_over_compute

Floats = NDArray[np.float64]

RESAMPLES = 200
_MOST_OF_RUN = 200
_LEAST_DECADES = 0.3  # decades of parameters and of tokens

FIT_TYPES: Mapping[str, pl.DataType] = {
    "scope": pl.String(),
    "entity": pl.String(),
    "project": pl.String(),
    "metric": pl.String(),
    "form": pl.String(),
    "term": pl.String(),
    "exponent": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "factor": pl.Float64(),
    "offset_value": pl.Float64(),
    "aicc": pl.Float64(),
    "aicc_behind": pl.Float64(),
    "n_runs": pl.Int64(),
    "n_points": pl.Int64(),
    "decades": pl.Float64(),
    "allocation": pl.Float64(),
    "notes": pl.String(),
}


class Points(NamedTuple):
    """Places and values that a law is fitted to, and where they come from."""

    scope: str
    metric: str
    x: Floats
    y: Floats
    n_runs: int


def scaling_fits(runs: Iterable[Run]) -> pl.DataFrame:
    """Each form of law for each run and for each project as a whole.

    Runs that logged no compute are left out; where a law was refused, ``notes`` say
    why.

    Args:
        runs: With at least the series that play the parts of the scaling rules.
    """
    known = [(run, found) for run in runs if (found := _points(run)) is not None]
    rows: list[dict[str, Any]] = []
    for _, points in known:
        rows += _compute_rows(points)
    for project in sorted({_project(run) for run, _ in known}):
        mine = [(run, one) for run, one in known if _project(run) == project]
        if len(mine) > 1:
            rows += _compute_rows(_joined(project, [one for _, one in mine]))
        rows += _allocation_rows(project, mine)
    return pl.DataFrame(rows, schema=dict(FIT_TYPES))


def _points(run: Run) -> Points | None:
    found = performance_over_compute(run)
    if isinstance(found, str):
        return None
    series, _, x, y = found
    y, x = reduced(y, x, _MOST_OF_RUN)
    return Points(run.path, series.metric, x, y, 1)


def _project(run: Run) -> str:
    return run.path.rpartition("/")[0]


def _joined(project: str, found: Sequence[Points]) -> Points:
    """All runs together, by compute; the metric that most of them have."""
    names = [one.metric for one in found]
    metric = max(sorted(set(names)), key=names.count)
    same = [one for one in found if one.metric == metric]
    x = np.concatenate([one.x for one in same])
    y = np.concatenate([one.y for one in same])
    order = np.argsort(x, kind="stable")
    return Points(project, metric, x[order], y[order], len(same))


def _compute_rows(points: Points) -> Iterator[dict[str, Any]]:
    shared = _shared(points, points.x)
    if reason := refusal(points.x):
        yield {**shared, "form": "power_law_with_offset", "notes": reason}
        return
    laws = fits(points.x, points.y)
    for law in laws:
        ends = exponent_intervals(
            law, points.x, resamples=RESAMPLES, rng=np.random.default_rng(0)
        )
        yield {**shared, **_law(law, 0, ends), "aicc_behind": law.aicc - laws[0].aicc}


def _shared(points: Points, x: Floats) -> dict[str, Any]:
    owner = points.scope.split("/")
    return {
        "scope": points.scope,
        "entity": owner[0],
        "project": owner[1] if len(owner) > 1 else "",
        "metric": points.metric,
        "term": "compute",
        "n_runs": points.n_runs,
        "n_points": int(x.size),
        "decades": float(np.log10(x.max() / x.min())),
    }


def _law(law: Law, term: int, ends: Floats) -> dict[str, Any]:
    return {
        "form": law.form,
        "exponent": law.exponents[term],
        "ci_low": float(ends[term, 0]),
        "ci_high": float(ends[term, 1]),
        "factor": law.factors[term],
        "offset_value": law.offset,
        "aicc": law.aicc,
    }


def _allocation_rows(
    project: str, found: Sequence[tuple[Run, Points]]
) -> Iterator[dict[str, Any]]:
    """The law in parameters and tokens, where both are known for enough runs.

    Source: Hoffmann et al. 2022, approach 3: with L = E + A / N^alpha + B / D^beta and
    compute proportional to N D, the best N grows as C^(beta / (alpha + beta)) and the
    best D as C^(alpha / (alpha + beta)).
    """
    sizes = [(*_sizes(run), float(points.y[-1])) for run, points in found]
    usable = np.array([row for row in sizes if row[0] > 0 and row[1] > 0])
    if len(usable) < LEAST_POINTS:
        return
    parameters, tokens, y = usable.T
    spread = [np.log10(one.max() / one.min()) for one in (parameters, tokens)]
    if min(spread) < _LEAST_DECADES:
        return
    points = Points(project, found[0][1].metric, parameters, y, len(usable))
    law = fit_power_law(parameters, tokens, y=y)
    ends = exponent_intervals(
        law, parameters, tokens, resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    whole = sum(law.exponents)
    for term, name in enumerate(("parameters", "tokens")):
        share = law.exponents[1 - term] / whole if whole else None
        x = (parameters, tokens)[term]
        yield {
            **_shared(points, x),
            **_law(law, term, ends),
            "term": name,
            "aicc_behind": 0.0,
            "allocation": share,
        }


def _sizes(run: Run) -> tuple[float, float]:
    """Parameters and tokens of a run; 0 where they are not known."""
    tokens = run.one("training_tokens")
    has_tokens = tokens is not None and tokens.finite.size > 0
    seen = float(tokens.finite.values[-1]) if tokens and has_tokens else 0.0
    return run.setting("model_parameters") or 0.0, seen
