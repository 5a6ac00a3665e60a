"""Runs whose curves depend on their configuration in a way that is known."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from run_assets.curves.examples import CurveTable
from run_assets.curves.settings import Curves, Feature, Model

TORCH_FREE = (
    *("mean_curve", "environment_mean", "nearest_configs"),
    *("extra_trees", "boosted_trees"),
)


def settings(
    members: Sequence[str] = TORCH_FREE, *, points: int = 40, folds: int = 3
) -> Curves:
    """One environment feature and two of the agent."""
    model = Model(
        members=tuple(members), folds=folds, num_epochs=30, num_models=1, hidden_dim=24
    )
    return Curves(
        metric="reward",
        points=points,
        environment_features=(Feature(name="size", key="env.size"),),
        agent_features=(
            Feature(name="learning_rate", key="lr"),
            Feature(name="algorithm", key="algorithm", kind="category"),
        ),
        model=model,
    )


def table(
    environments: int = 10, agents: int = 8, *, points: int = 40, seed: int = 0
) -> CurveTable:
    """Curves that rise to a height set by the environment, as fast as the rate says."""
    rng = np.random.default_rng(seed)
    runs = environments * agents
    place = np.repeat(np.arange(environments), agents)
    size = place / environments
    rate = 10 ** rng.uniform(-4, -1, runs)
    algorithm = rng.choice(["a", "b"], runs)
    speed = 3 + 2 * (np.log10(rate) + 2.5) + (algorithm == "b")
    at = (np.arange(points) + 0.5) / points
    curves = 10 * (1 - 0.6 * size[:, None]) * (1 - np.exp(-speed[:, None] * at))
    return CurveTable(
        run_paths=np.array([f"lab/maze/r{number:03d}" for number in range(runs)]),
        features=pl.DataFrame(
            {
                "size": size,
                "learning_rate": rate,
                "algorithm": algorithm.tolist(),
                "task": ["all"] * runs,
            }
        ),
        environments=np.array([f"env{number}" for number in place]),
        tasks=np.full(runs, "all"),
        curves=curves + rng.normal(0, 0.1, curves.shape),
    )


def blank(given: CurveTable) -> CurveTable:
    """The same configurations, nothing known of their curves."""
    curves = np.full(given.curves.shape, np.nan)
    return CurveTable(
        given.run_paths, given.features, given.environments, given.tasks, curves
    )
