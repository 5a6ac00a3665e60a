"""The latents of the variational member: places, meaning, ways between."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from run_assets.curves.examples import CurveTable, Floats, Names
from run_assets.curves.finals import final_mean
from run_assets.curves.model import CurveModel
from run_assets.curves.scores import spearman

if TYPE_CHECKING:
    from run_assets.curves.variational import Variational

_MEMBER = "variational"
_MOST_AGENTS = 300
_STEPS = 6

LATENTS: dict[str, type[pl.DataType]] = {
    "role": pl.String,
    "item": pl.String,
    "dimension": pl.Int64,
    "value": pl.Float64,
}
CORRELATIONS: dict[str, type[pl.DataType]] = {
    "role": pl.String,
    "dimension": pl.Int64,
    "feature": pl.String,
    "correlation": pl.Float64,
}
PATHS: dict[str, type[pl.DataType]] = {
    "role": pl.String,
    "item": pl.String,
    "other_item": pl.String,
    "path_share": pl.Float64,
    "grid_point": pl.Int64,
    "budget_fraction": pl.Float64,
    "predicted": pl.Float64,
}


def variational_member(model: CurveModel) -> "Variational | None":
    """The member with latents; ``None`` where the model was trained without it."""
    member = model.members.get(_MEMBER)
    return member if member is None else _as_variational(member)


def _as_variational(member: object) -> "Variational":
    from run_assets.curves.variational import Variational

    assert isinstance(member, Variational)  # noqa: S101  # by its name
    return member


def latents(model: CurveModel, ended: CurveTable) -> pl.DataFrame:
    """Coordinates of environments and agents: the columns of ``curves.latents``."""
    rows = [
        (role, item, dimension + 1, float(value))
        for role, items, places, _ in _places(model, ended)
        for item, place in zip(items, places, strict=True)
        for dimension, value in enumerate(place)
    ]
    return pl.DataFrame(rows, LATENTS, orient="row")


def latent_correlations(model: CurveModel, ended: CurveTable) -> pl.DataFrame:
    """Spearman correlation of each latent with each encoded feature that varies."""
    rows = []
    for role, _, places, features in _places(model, ended):
        for dimension in range(places.shape[1]):
            for name, column in features.items():
                found = spearman(places[:, dimension], column)
                if np.isfinite(found):
                    rows.append((role, dimension + 1, name, found))
    return pl.DataFrame(rows, CORRELATIONS, orient="row")


def latent_paths(model: CurveModel, ended: CurveTable) -> pl.DataFrame:
    """Curves on a straight way through the latents, from the best to the worst.

    Between the environments with the best and the worst mean prediction, for one agent;
    and between the agents of the best and the worst run, in one environment.
    """
    member = variational_member(model)
    if member is None or not len(ended):
        return pl.DataFrame(schema=PATHS)
    env, agent = member.latents(model.examples(ended))
    goodness = model.scale.sign * final_mean(model.predict(_without_curves(ended)))
    ways = (
        ("environment", ended.environments, _group_means(goodness, ended.environments)),
        ("agent", ended.run_paths, goodness),
    )
    rows: list[tuple[object, ...]] = []
    for role, labels, scores in ways:
        best, worst = int(scores.argmax()), int(scores.argmin())
        if labels[best] == labels[worst]:
            continue
        shares = np.linspace(0, 1, _STEPS)
        way = np.repeat([best], _STEPS)
        moved = {"environment": env[way], "agent": agent[way]}
        place = env if role == "environment" else agent
        moved[role] = place[best] + shares[:, None] * (place[worst] - place[best])
        scaled = member.curves_of_latents(moved["environment"], moved["agent"])
        curves = model.scale.unscale(scaled, ended.tasks[way])
        ends = (str(labels[best]), str(labels[worst]))
        rows += _path_rows(role, ends, shares, curves)
    return pl.DataFrame(rows, PATHS, orient="row")


def _group_means(values: Floats, names: Names) -> Floats:
    """Of each run's environment, shape ``(runs,)``."""
    _, members = np.unique(names, return_inverse=True)
    return np.asarray((np.bincount(members, values) / np.bincount(members))[members])


def _path_rows(
    role: str, ends: tuple[str, str], shares: Floats, curves: Floats
) -> list[tuple[object, ...]]:
    points = curves.shape[1]
    return [
        (role, *ends, float(share), point, (point + 0.5) / points, float(value))
        for share, curve in zip(shares, curves, strict=True)
        for point, value in enumerate(curve)
    ]


def _places(
    model: CurveModel, ended: CurveTable
) -> list[tuple[str, list[str], Floats, dict[str, Floats]]]:
    """Role, items, their latents, and the encoded features by name."""
    member = variational_member(model)
    if member is None or not len(ended):
        return []
    _, first = np.unique(ended.environments, return_index=True)
    places, agents = (
        ended.rows(first),
        ended.rows(np.arange(min(len(ended), _MOST_AGENTS))),
    )
    env, _ = member.latents(model.examples(places))
    _, agent = member.latents(model.examples(agents))
    return [
        ("environment", places.environments.tolist(), env, _columns(model, places, 0)),
        ("agent", agents.run_paths.tolist(), agent, _columns(model, agents, 1)),
    ]


def _columns(model: CurveModel, table: CurveTable, which: int) -> dict[str, Floats]:
    encoder = model.encoders[which]
    encoded = encoder.encode(table.features)
    return dict(zip(encoder.names, encoded.T, strict=True))


def _without_curves(table: CurveTable) -> CurveTable:
    curves = np.full(table.curves.shape, np.nan)
    return CurveTable(
        table.run_paths, table.features, table.environments, table.tasks, curves
    )
