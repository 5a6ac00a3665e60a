"""How often intervals hold the truth: nominal 95 %, by simulation, for each method.

Every experiment draws runs of a few equal tasks from a known distribution; all methods
and statistics see the same experiments and resamples.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A neighbour has the name of a module of the standard library.
sys.path[:] = [p for p in sys.path if Path(p).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  # after the path is clean
from numpy.typing import NDArray  # noqa: E402

from run_assets.stats.aggregate import (  # noqa: E402
    STATISTICS,
    Estimator,
    optimality_gap,
    point_estimate,
)
from run_assets.stats.bootstrap import METHODS, Bootstrap  # noqa: E402
from run_assets.stats.levels import RunLevel  # noqa: E402
from run_assets.stats.samples import Strata  # noqa: E402

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]

TASKS = 5
RUNS = (3, 5, 10, 20)
RESAMPLES = 2_000
CONFIDENCE = 0.95


def bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Half of the runs fail."""
    return np.asarray(rng.normal(3.0 * rng.integers(0, 2, shape), 0.3))


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(1, 1, shape),
    "log-normal (sigma 0.5)": lambda rng, shape: rng.lognormal(0, 0.5, shape),
    "bimodal": bimodal,
    "0/1 (p = 0.7)": lambda rng, shape: (rng.random(shape) < 0.7).astype(np.float64),
}
OPTIMAL = {"normal": 2.0, "log-normal (sigma 0.5)": 2.0, "bimodal": 3.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1_000)
    n_experiments = parser.parse_args().experiments
    error = (CONFIDENCE * (1 - CONFIDENCE) / n_experiments) ** 0.5
    print(f"{n_experiments:,} experiments of {TASKS} tasks, {RESAMPLES:,} resamples; ")
    print(f"standard error {error:.3f} at {CONFIDENCE}\n")
    columns = "".join(f"{f'n = {n}':>9}" for n in RUNS)
    print(f"{'scores':<24}{'statistic':<16}{'method':<12}{columns}")
    for name, draw in DISTRIBUTIONS.items():
        covered = {n: coverage(name, draw, n, n_experiments) for n in RUNS}
        for key in covered[RUNS[0]]:
            shares = "".join(f"{covered[n][key] / n_experiments:>9.3f}" for n in RUNS)
            print(f"{name:<24}{key[0]:<16}{key[1]:<12}{shares}", flush=True)


def coverage(
    name: str, draw: Draw, n_runs: int, n_experiments: int
) -> Counter[tuple[str, str]]:
    """How many of the intervals of each statistic and method hold the truth."""
    rng = np.random.default_rng((n_runs, len(name)))
    optimal = OPTIMAL.get(name, 1.0)
    large = strata(np.sort(draw(rng, (1, 1_000_000))))
    truths = {
        key: point_estimate(estimator, large)
        for key, estimator in estimators(large, optimal).items()
    }
    held: Counter[tuple[str, str]] = Counter()
    for seed in range(n_experiments):
        layout = strata(np.sort(draw(rng, (TASKS, n_runs)), axis=1))
        held += intervals(layout, estimators(layout, optimal), truths, seed)
    return Counter({(k, m): held[k, m] for k in truths for m in METHODS})


def intervals(
    layout: Strata, of: dict[str, Estimator], truths: dict[str, float], seed: int
) -> Counter[tuple[str, str]]:
    """Which intervals of one experiment hold the truth."""
    level = RunLevel(layout)
    drawn = level.replicates(of, Bootstrap("bca", CONFIDENCE, RESAMPLES, seed))
    held: Counter[tuple[str, str]] = Counter()
    for key, estimator in of.items():
        for method in METHODS:
            low, high = Bootstrap(method, CONFIDENCE, RESAMPLES, seed).ends(
                point_estimate(estimator, layout),
                drawn[key],
                missing_variance=level.missing_variance(pooled=key == "iqm"),
                acceleration=lambda it=estimator: level.acceleration(it),  # type: ignore[misc]
            )
            held[key, method] += low - 1e-9 <= truths[key] <= high + 1e-9
    return held


def strata(scores: NDArray[np.float64]) -> Strata:
    """Scores of shape ``(tasks, runs)``, ascending in each task."""
    names = tuple(f"task {task}" for task in range(len(scores)))
    return Strata(names, np.full(len(scores), scores.shape[1]), scores.ravel())


def estimators(layout: Strata, optimal: float) -> dict[str, Estimator]:
    """All the statistics of these scores."""
    gap = optimality_gap(layout, np.full(layout.sizes.size, optimal))
    named: dict[str, Estimator] = {k: build(layout) for k, build in STATISTICS.items()}
    return {**named, "optimality_gap": gap}


if __name__ == "__main__":
    main()
