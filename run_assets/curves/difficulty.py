"""How hard environments are, what makes them so, and an order to train on them."""

import numpy as np
import polars as pl

from run_assets.curves.examples import Bools, CurveTable, Floats
from run_assets.curves.model import TASK, CurveModel, environment_features
from run_assets.curves.scores import final_value, spearman

_MOST_AGENTS = 100
_MOST_RUNS = 1_000
_NO_PROGRESS = 0.05


def environment_difficulty(
    model: CurveModel,
    ended: CurveTable,
    has_curve: Bools,
    seed: int,
) -> pl.DataFrame:
    """Each environment by what the same agents are expected to reach in it.

    Args:
        model: A fitted model.
        ended: All ended runs, also those that failed at once.
        has_curve: Which of them have a curve, shape ``(runs,)``.
        seed: Of the sample of agents.

    Returns:
        The columns of ``curves.difficulty``.
    """
    places = _first_of_each_environment(ended)
    agents = _some(ended, _MOST_AGENTS, seed)
    finals, scaled = _expected(model, places, agents)
    drivers = _drivers(model, places, agents, scaled)
    observed = final_value(ended.curves)
    rows = []
    for at, name in enumerate(places.environments.tolist()):
        mine = ended.environments == name
        known = observed[mine][np.isfinite(observed[mine])]
        rows.append(
            {
                "environment": name,
                "task": str(places.tasks[at]),
                "n_runs": int(mine.sum()),
                "failure_rate": float(1 - has_curve[mine].mean()),
                "observed_final": float(known.mean()) if known.size else None,
                "predicted_final": float(finals[at]),
                "difficulty": float(1 - scaled[at]),
                "driver": drivers[at][0],
                "driver_effect": drivers[at][1],
            }
        )
    frame = pl.DataFrame(
        rows,
        schema_overrides={
            "driver": pl.String,
            "driver_effect": pl.Float64,
            "observed_final": pl.Float64,
        },
    )
    return frame.with_columns(rank=pl.col("difficulty").rank("average"))


def curriculum(
    model: CurveModel, ended: CurveTable, difficulty: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Environments from easy to hard; those where nothing will be learned come last.

    Args:
        model: A fitted model.
        ended: Ended runs.
        difficulty: From ``environment_difficulty``.
        seed: Of the sample of agents.

    Returns:
        The columns of ``curves.curriculum``.
    """
    places = _first_of_each_environment(ended)
    agents = _some(ended, _MOST_AGENTS, seed)
    progress = _progress(model, places, agents)
    known = pl.DataFrame(
        {
            "environment": places.environments.tolist(),
            "learning_progress": progress,
        },
        schema_overrides={"environment": pl.String},
    )
    joined = difficulty.join(known, "environment")
    ordered = joined.sort(
        pl.col("learning_progress") < _NO_PROGRESS, "difficulty", "environment"
    )
    return ordered.with_row_index("position", offset=1).select(
        "position", "environment", "task", "difficulty", "learning_progress"
    )


def importances(model: CurveModel, ended: CurveTable, seed: int) -> pl.DataFrame:
    """How much predicted final rewards depend on each feature.

    Half the mean squared change of the prediction when the feature's values are
    shuffled among runs, as a share of the variance of the predictions.

    Source: Breiman 2001, "Random forests", section 10; on predictions, so that it is
    the first-order Sobol total index of Saltelli et al. 2010 for independent features.

    Returns:
        The columns of ``curves.importances``.
    """
    runs = _some(ended, _MOST_RUNS, seed)
    blank = _without_curves(runs)
    usual = _scaled_finals(model, blank)
    rng = np.random.default_rng(seed)
    settings = model.settings
    roles = {
        **{one.name: "environment" for one in environment_features(settings)},
        **{one.name: "agent" for one in settings.agent_features},
    }
    spread = float(usual.var())
    rows = []
    for name, role in roles.items():
        order = rng.permutation(len(runs))
        mixed = blank.features.with_columns(blank.features[name][order])
        change = _scaled_finals(model, _with_features(blank, mixed)) - usual
        share = float((change**2).mean() / 2 / spread) if spread else 0.0
        rows.append(
            {
                "role": role,
                "feature": name,
                "importance": min(share, 1.0),
                "direction_correlation": _direction(blank.features[name], usual),
            }
        )
    return pl.DataFrame(rows, schema_overrides={"direction_correlation": pl.Float64})


def _direction(values: pl.Series, finals: Floats) -> float | None:
    """Spearman correlation; none for categories and constants."""
    if not values.dtype.is_numeric():
        return None
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    found = spearman(numbers, finals)
    return found if np.isfinite(found) else None


def _drivers(
    model: CurveModel, places: CurveTable, agents: CurveTable, scaled: Floats
) -> list[tuple[str | None, float | None]]:
    """The feature whose median value would make each environment most ordinary."""
    best: list[tuple[str | None, float | None]] = [(None, None)] * len(places)
    for spec in environment_features(model.settings):
        values = places.features[spec.name]
        if spec.kind != "number" or spec.name == TASK or values.n_unique() < 2:
            continue
        usual = pl.lit(values.median(), pl.Float64).alias(spec.name)
        changed = _with_features(places, places.features.with_columns(usual))
        _, moved = _expected(model, changed, agents)
        for at, gain in enumerate((moved - scaled).tolist()):
            if best[at][1] is None or abs(gain) > abs(best[at][1] or 0.0):
                best[at] = (spec.name, gain)
    return best


def _expected(
    model: CurveModel, places: CurveTable, agents: CurveTable
) -> tuple[Floats, Floats]:
    """Mean predicted final of the agents in each place: reward, and scaled."""
    crossed = _crossed(model, places, agents)
    curves = model.expected(crossed)
    shape = (len(places), len(agents))
    finals = final_value(curves).reshape(shape).mean(axis=1)
    scaled = model.scale.scale(finals[:, None], places.tasks, is_clipped=False)
    return finals, scaled[:, 0]


def _progress(model: CurveModel, places: CurveTable, agents: CurveTable) -> Floats:
    crossed = _crossed(model, places, agents)
    curves = model.expected(crossed)
    mean = model.scale.scale(curves, crossed.tasks, is_clipped=False)
    count = max(round(0.1 * mean.shape[1]), 1)
    rise = mean[:, -count:].mean(axis=1) - mean[:, :count].mean(axis=1)
    return np.asarray(rise.reshape(len(places), len(agents)).mean(axis=1))


def _crossed(model: CurveModel, places: CurveTable, agents: CurveTable) -> CurveTable:
    """Every agent in every place, nothing known of any curve."""
    where = np.repeat(np.arange(len(places)), len(agents))
    who = np.tile(np.arange(len(agents)), len(places))
    names = [one.name for one in environment_features(model.settings)]
    features = pl.concat(
        [
            places.features[where].select(names),
            agents.features[who].select(
                one.name for one in model.settings.agent_features
            ),
        ],
        how="horizontal",
    )
    if TASK not in features.columns:
        features = features.with_columns(places.features[TASK][where])
    curves = np.full((len(where), places.points), np.nan)
    return CurveTable(
        np.char.mod("%d", np.arange(len(where))),
        features,
        places.environments[where],
        places.tasks[where],
        curves,
    )


def _scaled_finals(model: CurveModel, table: CurveTable) -> Floats:
    finals = final_value(model.expected(table))
    scaled = model.scale.scale(finals[:, None], table.tasks, is_clipped=False)
    return np.asarray(scaled[:, 0])


def _first_of_each_environment(table: CurveTable) -> CurveTable:
    _, first = np.unique(table.environments, return_index=True)
    return _without_curves(table.rows(first))


def _some(table: CurveTable, most: int, seed: int) -> CurveTable:
    if len(table) <= most:
        return table
    chosen = np.random.default_rng(seed).permutation(len(table))[:most]
    return table.rows(np.sort(chosen))


def _without_curves(table: CurveTable) -> CurveTable:
    curves = np.full(table.curves.shape, np.nan)
    return CurveTable(
        table.run_paths, table.features, table.environments, table.tasks, curves
    )


def _with_features(table: CurveTable, features: pl.DataFrame) -> CurveTable:
    return CurveTable(
        table.run_paths, features, table.environments, table.tasks, table.curves
    )
