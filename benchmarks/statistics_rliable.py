"""rliable's CPU seconds for the jobs of `statistics.py`; runs in its environment.

Each job is timed at a number of resamples that takes a few seconds and scaled up.
"""

import json
import time
from collections.abc import Callable

import numpy as np
from rliable import library, metrics

RUNS, TASKS = 100, 26


def main() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.lognormal(0, 1, (RUNS, TASKS)) + shift for shift in (0, 0.1))
    small = np.random.default_rng(1).lognormal(0, 1, (5, 10))
    thresholds = np.arange(101) / 10

    def iqm(scores: np.ndarray) -> np.ndarray:
        return np.array([metrics.aggregate_iqm(scores)])

    def four(scores: np.ndarray) -> np.ndarray:
        return np.array(
            [
                metrics.aggregate_iqm(scores),
                metrics.aggregate_mean(scores),
                metrics.aggregate_median(scores),
                metrics.aggregate_optimality_gap(scores),
            ]
        )

    def better(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([metrics.probability_of_improvement(x, y)])

    def intervals(scores: object, func: Callable[..., np.ndarray], reps: int) -> float:
        began = time.process_time()
        library.get_interval_estimates({"a": scores}, func, reps=reps)
        return time.process_time() - began

    def profile(reps: int) -> float:
        began = time.process_time()
        library.create_performance_profile({"a": x}, thresholds, reps=reps)
        return time.process_time() - began

    intervals(x, iqm, 100)  # imports
    seconds = {
        "iqm": intervals(x, iqm, 5_000) * 10,
        "four": intervals(x, four, 2_500) * 20,
        "profile": profile(2_000),
        "improvement": intervals([x, y], better, 100) * 500,
        "analyses": intervals(small, iqm, 10_000) * 5 * 1_000,
    }
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
