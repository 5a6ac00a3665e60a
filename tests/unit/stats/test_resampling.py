"""The stream of draws: complete, even, and a function of seed, task and resample."""

import numpy as np
from numpy.typing import NDArray

from run_assets.stats import resampling
from run_assets.stats.resampling import resample_counts
from run_assets.stats.samples import Strata


def layout(**sizes: int) -> Strata:
    n = np.array(list(sizes.values()), dtype=np.int64)
    return Strata(tuple(sizes), n, np.arange(n.sum(), dtype=np.float64))


def counts(of: Strata, *, seed: int = 0, resamples: int = 100) -> NDArray[np.int64]:
    return np.concatenate(list(resample_counts(of, seed=seed, resamples=resamples)))


def test_every_resample_draws_as_many_runs_of_a_task_as_it_has() -> None:
    drawn = counts(layout(maze=3, nav=4, zoo=1), resamples=500)
    assert drawn.shape == (500, 8)
    assert (drawn[:, :3].sum(axis=1) == 3).all()
    assert (drawn[:, 3:7].sum(axis=1) == 4).all()
    assert (drawn[:, 7] == 1).all()


def test_all_runs_are_drawn_equally_often_and_multinomially() -> None:
    n, resamples = 7, 40_000
    drawn = counts(layout(maze=n), resamples=resamples)
    # A count is binomial(n, 1/n): mean 1, variance 1 - 1/n; five standard errors.
    variance = 1 - 1 / n
    assert np.abs(drawn.mean(axis=0) - 1).max() < 5 * np.sqrt(variance / resamples)
    assert np.abs(drawn.var(axis=0) - variance).max() < 5 * np.sqrt(3 / resamples)
    covariance = np.cov(drawn[:, 0], drawn[:, 1])[0, 1]
    assert abs(covariance + 1 / n) < 5 / np.sqrt(resamples)


def test_tasks_and_consecutive_resamples_are_uncorrelated() -> None:
    drawn = counts(layout(maze=5, nav=5), resamples=20_000)
    between_tasks = np.corrcoef(drawn[:, 0], drawn[:, 5])[0, 1]
    between_resamples = np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]
    assert abs(between_tasks) < 5 / np.sqrt(20_000)
    assert abs(between_resamples) < 5 / np.sqrt(20_000)


def test_a_task_draws_the_same_whatever_other_tasks_there_are() -> None:
    alone = counts(layout(nav=5))
    together = counts(layout(maze=3, nav=5, zoo=4))
    assert (together[:, 3:8] == alone).all()


def test_the_seed_changes_the_draws() -> None:
    one, other = counts(layout(maze=5), seed=1), counts(layout(maze=5), seed=2)
    assert (one != other).any()


def test_a_task_called_none_is_not_the_task_without_a_name() -> None:
    named = counts(layout(None_=5))
    unnamed = counts(Strata((None,), np.array([5]), np.arange(5.0)))
    assert (named != unnamed).any()


def test_batches_do_not_show_in_the_result() -> None:
    of = layout(maze=3, nav=4)
    whole = counts(of, resamples=50)
    assert (counts(of, resamples=20) == whole[:20]).all()
    many = layout(maze=2 * resampling._BATCH_WORDS)
    batches = list(resample_counts(many, seed=0, resamples=3))
    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert (batches[0] != batches[1]).any()
