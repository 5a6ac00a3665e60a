"""Which loop runs, in how many threads, and that neither shows in the result."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from run_assets.stats import replicates as loops
from run_assets.stats.aggregate import STATISTICS, Estimator, optimality_gap
from run_assets.stats.improvement import Sides, probability_replicates
from run_assets.stats.replicates import is_compiled, replicates
from run_assets.stats.samples import Strata

SIZES = [
    [1],
    [2],
    [3, 4, 5],
    [1, 1, 7],
    [300, 2, 1],
    [5] * 80,
    [70_000, 3],
]
LARGE, NEVER = 0, sys.maxsize


def layout(sizes: list[int], seed: int = 0) -> Strata:
    rng = np.random.default_rng(seed)
    values = [np.sort(rng.lognormal(rng.uniform(0, 2), 1, n)) for n in sizes]
    names = tuple(f"task {index:03}" for index in range(len(sizes)))
    return Strata(names, np.array(sizes), np.concatenate(values))


def estimators(of: Strata) -> dict[str, Estimator]:
    gap = optimality_gap(of, np.full(of.sizes.size, 2.0))
    return {name: build(of) for name, build in STATISTICS.items()} | {"gap": gap}


def drawn(of: Strata, resamples: int = 40) -> dict[str, NDArray[np.float64]]:
    return replicates(of, estimators(of), seed=3, resamples=resamples)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def from_draws(n: int) -> None:
        monkeypatch.setattr(loops, "COMPILED_DRAWS", n)

    return from_draws


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_compiled_and_plain_loops_agree(
    sizes: list[int], jobs: Callable[[int], None]
) -> None:
    of = layout(sizes)
    jobs(LARGE)
    compiled = drawn(of)
    jobs(NEVER)
    for name, plain in drawn(of).items():
        np.testing.assert_allclose(compiled[name], plain, rtol=1e-12, atol=1e-14)


def test_compiled_and_plain_loops_agree_where_most_draws_are_outliers(
    jobs: Callable[[int], None],
) -> None:
    # Few scores, so that resamples without a middle score happen, and one so large
    # that a sum it had been in would have lost the other digits.
    values = np.array([-1e15, 1.0, 2.0, 3.0, 1e15, 1.0, 1.5, 2.0, 1e15])
    of = Strata(("a", "b"), np.array([5, 4]), values)
    jobs(LARGE)
    compiled = drawn(of, resamples=3_000)
    jobs(NEVER)
    plain = drawn(of, resamples=3_000)
    np.testing.assert_allclose(compiled["iqm"], plain["iqm"], rtol=1e-12)


@pytest.mark.parametrize("sizes", [[1], [3, 4], [300, 2, 1], [5] * 30], ids=str)
def test_compiled_and_plain_comparisons_agree(
    sizes: list[int], jobs: Callable[[int], None]
) -> None:
    sides = Sides(layout(sizes), layout([n + 1 for n in sizes], seed=1))
    jobs(LARGE)
    compiled = probability_replicates(sides, seed=1, resamples=40)
    jobs(NEVER)
    plain = probability_replicates(sides, seed=1, resamples=40)
    np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_does_not_change_a_byte(
    threads: int, jobs: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = layout([3, 4, 5])
    jobs(LARGE)
    one = drawn(of, resamples=101)
    monkeypatch.setattr(loops, "_THREAD_DRAWS", 100)
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", threads)
    for name, values in drawn(of, resamples=101).items():
        assert values.tobytes() == one[name].tobytes()


def test_a_million_scores_and_thousands_of_tasks_are_no_limit(
    jobs: Callable[[int], None],
) -> None:
    for of in (layout([500_000, 500_001]), layout([3] * 5_000)):
        jobs(LARGE)
        compiled = drawn(of, resamples=2)
        jobs(NEVER)
        for name, plain in drawn(of, resamples=2).items():
            np.testing.assert_allclose(compiled[name], plain, rtol=1e-12)


def test_the_size_of_the_job_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_compiled(50, 7_999)
    assert is_compiled(50, 8_000)
    monkeypatch.setattr(loops, "_has_numba", lambda: False)
    assert not is_compiled(1_000_000, 50_000)


def test_nothing_asked_is_nothing_drawn() -> None:
    assert replicates(layout([3]), {}, seed=0, resamples=10) == {}
