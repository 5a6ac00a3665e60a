"""Configurations worth trying next: promising, diverse, near what was tried."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from run_assets.curves.examples import Bools, CurveTable, Floats, Ints
from run_assets.curves.finals import (
    best_finals,
    expected_improvement,
    final_mean,
    final_quantiles,
    probability_better,
)
from run_assets.curves.model import CurveModel, Prediction
from run_assets.curves.settings import Feature, Suggestions

_FEW_VALUES = 10
_FARTHEST = 2.0
_FEWEST_CANDIDATES = 50


@dataclass(frozen=True)
class _Scored:
    """Candidates of one environment, by what the model expects of them."""

    features: pl.DataFrame
    planned: Floats
    encoded: Floats
    prediction: Prediction
    improvement: Floats
    probability: Floats
    distance: Floats


def suggestions(
    model: CurveModel,
    ended: CurveTable,
    budgets: Floats,
    wanted: Suggestions,
    seed: int,
) -> pl.DataFrame:
    """The best of many drawn configurations, for each environment of the ended runs.

    Candidates recombine values of configurations that were trained, so that each value
    is one that was tried or lies between two that were; those far from every trained
    configuration are dropped. The first has the largest expected improvement over the
    best final reward; the others are discounted by how near they are to those before.

    Args:
        model: A fitted model.
        ended: Runs that have ended.
        budgets: Their planned budgets, shape ``(runs,)``.
        wanted: How many, and under which budget.
        seed: Of the candidates.

    Returns:
        The columns of ``curves.suggestions``.
    """
    rng = np.random.default_rng(seed)
    names, first = np.unique(ended.environments, return_index=True)
    each = max(wanted.candidates // max(len(names), 1), _FEWEST_CANDIDATES)
    rows: list[dict[str, object]] = []
    for name, at in zip(names.tolist(), first, strict=True):
        features, planned = _candidates(model, ended, budgets, each, wanted, rng)
        if not features.height:
            continue
        place = _in_place(ended.rows(np.array([at])), features)
        scored = _score(model, ended, place, planned)
        found = _chosen(model, ended, place, scored, wanted.count)
        rows.extend({"environment": name, **row} for row in found)
    return (
        pl.DataFrame(rows, schema=_SCHEMA, orient="row")
        if rows
        else pl.DataFrame(schema=_SCHEMA)
    )


_SCHEMA: dict[str, type[pl.DataType]] = {
    "environment": pl.String,
    "position": pl.Int64,
    "task": pl.String,
    "config_json": pl.String,
    "planned_budget": pl.Float64,
    "predicted_final": pl.Float64,
    "predicted_low": pl.Float64,
    "predicted_high": pl.Float64,
    "best_so_far": pl.Float64,
    "expected_improvement": pl.Float64,
    "probability_improvement": pl.Float64,
    "support_distance": pl.Float64,
}


def _candidates(
    model: CurveModel,
    ended: CurveTable,
    budgets: Floats,
    count: int,
    wanted: Suggestions,
    rng: np.random.Generator,
) -> tuple[pl.DataFrame, Floats]:
    """Agent features of drawn configurations, and their planned budgets."""
    specs = model.settings.agent_features
    parents = rng.integers(len(ended), size=(2, count))
    columns = {
        one.name: _child(ended.features[one.name], one, parents, rng) for one in specs
    }
    features = pl.DataFrame(columns)
    key = model.settings.budget.key
    own = [one.name for one in specs if one.key == key and one.kind == "number"]
    planned = (
        features[own[0]].to_numpy()
        if own
        else np.full(count, float(np.median(budgets)))
    )
    limit = np.inf if wanted.max_budget is None else wanted.max_budget
    kept = np.flatnonzero(planned <= limit)
    return features[kept], planned[kept]


def _child(
    values: pl.Series, spec: Feature, parents: Ints, rng: np.random.Generator
) -> pl.Series:
    """A value of one of two parents, or one between them where there are many."""
    first, second = (values[one] for one in parents)
    count = int(parents.shape[1])
    takes_first: Bools = rng.random(count) < 0.5
    picked: pl.Series = first.zip_with(pl.Series(takes_first), second)
    if spec.kind != "number" or values.n_unique() <= _FEW_VALUES:
        return picked
    low, high = (one.to_numpy().astype(np.float64) for one in (first, second))
    share: Floats = rng.random(count)
    between = _between(low, high, share)
    known = values.drop_nulls()
    is_whole = bool((known == known.round()).all())
    mixed = np.round(between) if is_whole else between
    return pl.Series(spec.name, np.where(np.isfinite(mixed), mixed, np.nan)).fill_nan(
        None
    )


def _between(low: Floats, high: Floats, share: Floats) -> Floats:
    """Geometric where both are positive, so that rates keep their spread."""
    positive = (low > 0) & (high > 0)
    safe_low, safe_high = np.where(positive, low, 1.0), np.where(positive, high, 1.0)
    geometric = safe_low ** (1 - share) * safe_high**share
    return np.where(positive, geometric, (1 - share) * low + share * high)


def _in_place(place: CurveTable, agents: pl.DataFrame) -> CurveTable:
    """The candidates in one environment, nothing known of their curves."""
    count = agents.height
    same = place.features[np.zeros(count, int)].drop(agents.columns)
    return CurveTable(
        np.char.mod("%d", np.arange(count)),
        pl.concat([same, agents], how="horizontal"),
        np.repeat(place.environments, count),
        np.repeat(place.tasks, count),
        np.full((count, place.points), np.nan),
    )


def _score(
    model: CurveModel, ended: CurveTable, place: CurveTable, planned: Floats
) -> _Scored:
    """What the model expects, of the candidates that lie near a trained one."""
    encoder = model.encoders[1]
    encoded, trained = encoder.encode(place.features), encoder.encode(ended.features)
    distance = _support_distance(encoded, trained)
    near = distance <= _FARTHEST
    kept = np.flatnonzero(near if near.any() else distance <= distance.min())
    chosen = place.rows(kept)
    prediction = model.predict(chosen)
    quantiles = final_quantiles(prediction)
    sign = model.scale.sign
    best = best_finals(ended, chosen.environments, sign)
    # Without any ended run there, the gain is over the worst that can be expected.
    floor = np.where(np.isfinite(best), best, sign * (sign * quantiles).min())
    return _Scored(
        chosen.features,
        planned[kept],
        encoded[kept],
        prediction,
        expected_improvement(quantiles, floor, sign),
        probability_better(quantiles, best, sign),
        distance[kept],
    )


def _support_distance(these: Floats, trained: Floats) -> Floats:
    """To the nearest trained configuration, in typical distances between those."""
    unique = np.unique(trained, axis=0)
    if len(unique) < 2 or not these.shape[1]:
        return np.zeros(len(these))
    own = _distances(unique, unique)
    np.fill_diagonal(own, np.inf)
    typical = max(float(np.median(own.min(axis=1))), 1e-9)
    return np.asarray(_distances(these, unique).min(axis=1) / typical)


def _distances(these: Floats, those: Floats) -> Floats:
    squares = (these**2).sum(1)[:, None] + (those**2).sum(1) - 2 * these @ those.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _chosen(
    model: CurveModel,
    ended: CurveTable,
    place: CurveTable,
    scored: _Scored,
    count: int,
) -> Iterator[dict[str, object]]:
    picked = diverse(scored.improvement, scored.encoded, count)
    quantiles = final_quantiles(scored.prediction)
    tails = Prediction(
        final_mean(scored.prediction)[:, None],
        quantiles[:, :, None],
        scored.prediction.is_new_environment,
    )
    low, high = tails.interval(model.settings.model.confidence)
    best = best_finals(ended, place.environments[:1], model.scale.sign)[0]
    for position, at in enumerate(picked, start=1):
        yield {
            "position": position,
            "task": str(place.tasks[0]),
            "config_json": _config(scored.features, model.settings.agent_features, at),
            "planned_budget": float(scored.planned[at]),
            "predicted_final": float(tails.mean[at, 0]),
            "predicted_low": float(low[at, 0]),
            "predicted_high": float(high[at, 0]),
            "best_so_far": float(best) if np.isfinite(best) else None,
            "expected_improvement": float(scored.improvement[at]),
            "probability_improvement": _or_none(scored.probability[at]),
            "support_distance": float(scored.distance[at]),
        }


def diverse(values: Floats, places: Floats, count: int) -> list[int]:
    """Positions of large values that do not lie close to each other.

    Each pick discounts its neighbours by ``1 - exp(-(d / s)^2 / 2)``, with ``s`` the
    median distance between places.

    Source: González et al. 2016, "Batch Bayesian optimization via local penalization",
    with a penalty that needs no Lipschitz constant.

    >>> diverse(np.array([1.0, 0.99, 0.5]), np.array([[0.0], [0.01], [1.0]]), 2)
    [0, 2]
    """
    left = values.astype(np.float64).copy()
    apart = _distances(places, places)
    usual = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    picked: list[int] = []
    while len(picked) < min(count, len(values)):
        open_ones = np.where(np.isin(np.arange(len(left)), picked), -np.inf, left)
        picked.append(int(open_ones.argmax()))
        left = left * (1 - np.exp(-((apart[picked[-1]] / usual) ** 2) / 2))
    return picked


def _config(features: pl.DataFrame, specs: Sequence[Feature], at: int) -> str:
    row = features.row(at, named=True)
    told = {one.key: row[one.name] for one in specs if row[one.name] is not None}
    return json.dumps(told, sort_keys=True)


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
