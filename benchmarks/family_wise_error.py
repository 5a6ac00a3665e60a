"""Does ``compare_groups`` keep its promise when nothing differs, and what does it see?

Simulated analyses of 4 groups (6 pairs). Under the null all groups and tasks draw from
one distribution: the share of analyses with any adjusted p <= 0.05 is the family-wise
error. For power one group is better by one standard deviation within tasks, and tasks
differ by as much: the mean share of its 3 pairs that are found. Exits with 1 when a
correction breaks its promise.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from itertools import combinations
from math import sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets import stats
from run_assets.stats.comparisons import TESTS
from run_assets.stats.corrections import CORRECTIONS

LEVEL = 0.05
GROUPS = ("a", "b", "c", "d")
PROMISED = ("holm", "bonferroni", "bh")
"""Corrections that bound the family-wise error when nothing differs at all."""

Float64Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int, int]], Float64Array]

SCORES: Mapping[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "log-normal": lambda rng, shape: rng.lognormal(0, 1, shape) / 2.16,
    "0/1": lambda rng, shape: rng.binomial(1, 0.5, shape) * 2.0,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=999, help="permutations")
    given = parser.parse_args()
    n = given.experiments
    error = sqrt(LEVEL * (1 - LEVEL) / n)
    limit = LEVEL + 2 * error
    print(
        f"{n} experiments, {len(GROUPS)} groups ({len(pairs())} pairs), {given.tasks} "
        f"tasks x {given.runs} runs; promise: error <= {limit:.3f}\n"
    )
    print(f"{'':<23}{'family-wise error':>{12 * len(CORRECTIONS)}}{'power':>12}")
    heads = [*CORRECTIONS, *PROMISED]
    print(f"{'scores':<11}{'test':<12}" + "".join(f"{one:>12}" for one in heads))
    broken = []
    begin = time.process_time()
    for name, draw in SCORES.items():
        for test in TESTS:
            null = p_values(draw, test, given, shift=0.0, levels=0.0)
            shifted = p_values(draw, test, given, shift=1.0, levels=1.0)
            errors = {one: family_wise_error(null, one) for one in CORRECTIONS}
            powers = [power(shifted, one) for one in PROMISED]
            shown = [*errors.values(), *powers]
            print(f"{name:<11}{test:<12}" + "".join(f"{one:>12.3f}" for one in shown))
            broken += [
                f"{name}, {test}, {one}: {errors[one]:.3f}"
                for one in PROMISED
                if errors[one] > limit
            ]
    print(f"\n{time.process_time() - begin:.0f} CPU s")
    print("\n".join(["broken promises:", *broken]) if broken else "every promise kept")
    return 1 if broken else 0


def pairs() -> list[tuple[str, str]]:
    return list(combinations(GROUPS, 2))


def p_values(
    draw: Draw, test: str, given: argparse.Namespace, *, shift: float, levels: float
) -> list[list[float | None]]:
    """P-values of all pairs, a row per experiment; the first group is shifted."""
    shape = (len(GROUPS), given.tasks, given.runs)
    found = []
    for number in range(given.experiments):
        rng = np.random.default_rng((number, given.tasks, given.runs))
        scores = draw(rng, shape) + levels * rng.normal(size=(1, given.tasks, 1))
        scores[0] += shift
        rows = stats.compare_groups(
            frame(scores),
            test=test,
            correction="none",
            resamples=given.resamples,
            seed=number,
        )
        found.append(rows["p_value"].to_list())
    return found


def frame(scores: Float64Array) -> pl.DataFrame:
    n_groups, n_tasks, n_runs = scores.shape
    return pl.DataFrame(
        {
            "group_name": np.repeat(GROUPS, n_tasks * n_runs),
            "task": np.tile(np.repeat(np.arange(n_tasks), n_runs), n_groups),
            "run_path": np.arange(scores.size),
            "score": scores.ravel(),
        }
    )


def family_wise_error(experiments: list[list[float | None]], correction: str) -> float:
    """Share of experiments with at least one discovery."""
    wrong = [
        any(is_found(p) for p in stats.adjust_p_values(row, correction=correction))
        for row in experiments
    ]
    return sum(wrong) / len(wrong)


def power(experiments: list[list[float | None]], correction: str) -> float:
    """Share of the pairs of the better group that are found."""
    real = [x == GROUPS[0] for x, _ in pairs()]
    found = [
        is_found(p)
        for row in experiments
        for p, is_real in zip(
            stats.adjust_p_values(row, correction=correction), real, strict=True
        )
        if is_real
    ]
    return sum(found) / len(found)


def is_found(p: float | None) -> bool:
    return p is not None and p <= LEVEL


if __name__ == "__main__":
    sys.exit(main())
