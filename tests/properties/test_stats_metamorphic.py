"""What may not change a statistic, and what must change it in a known way."""

from itertools import pairwise
from random import Random

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from run_assets import stats
from run_assets.stats import replicates as loops
from run_assets.stats.bootstrap import METHODS

RESAMPLES = 60
TASKS = ("maze", "nav", None)
GROUPS = ("a", "b", "c")
FAST = settings(max_examples=40, deadline=None)  # timings vary on shared machines
FEW = settings(max_examples=12, deadline=None)  # for tests of everything
NUMBERS = ("estimate", "ci_low", "ci_high")
BAND = ("fraction", "ci_low", "ci_high")

a_score = st.integers(-80, 80).map(lambda eighths: eighths / 8)
some_scores = st.lists(a_score, min_size=1, max_size=6)
groups_of_scores = st.dictionaries(
    st.sampled_from(GROUPS),
    st.dictionaries(st.sampled_from(TASKS), some_scores, min_size=1),
    min_size=1,
)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = [
        (group, task, f"{group}/{task}/{index}", value)
        for group, tasks in draw(groups_of_scores).items()
        for task, values in tasks.items()
        for index, value in enumerate(values)
    ]
    schema = {
        "group_name": pl.String,
        "task": pl.String,
        "run_path": pl.String,
        "score": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def intervals(scores: pl.DataFrame, method: str = "percentile") -> pl.DataFrame:
    return stats.interval_estimates(
        scores,
        statistics=("iqm", "mean", "median", "optimality_gap"),
        method=method,
        resamples=RESAMPLES,
        optimal=5.0,
    )


def profiles(scores: pl.DataFrame, band: str = "bootstrap") -> pl.DataFrame:
    return stats.performance_profiles(
        scores, thresholds=[-4.0, 0.0, 2.5], band=band, resamples=RESAMPLES
    )


def improvements(scores: pl.DataFrame, method: str = "percentile") -> pl.DataFrame:
    return stats.probability_of_improvement(scores, method=method, resamples=RESAMPLES)


def ranks(scores: pl.DataFrame) -> pl.DataFrame:
    return stats.rank_stability(scores, resamples=RESAMPLES)


def everything(scores: pl.DataFrame) -> list[pl.DataFrame]:
    """Every result that depends on draws, by every method, level and band."""
    clustered = scores.with_columns(
        pl.int_range(pl.len()).over("group_name").mod(3).cast(pl.String).alias("lab")
    )
    return [
        *(intervals(scores, method) for method in METHODS),
        *(improvements(scores, method) for method in METHODS),
        stats.interval_estimates(scores, level="tasks", resamples=RESAMPLES),
        stats.interval_estimates(clustered, cluster="lab", resamples=RESAMPLES),
        profiles(scores),
        profiles(scores, "exact"),
        ranks(scores),
    ]


@FAST
@given(scores=frames(), random=st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(
    scores: pl.DataFrame, random: Random
) -> None:
    order = list(range(scores.height))
    random.shuffle(order)
    shuffled = scores[order]
    assert intervals(shuffled).equals(intervals(scores))
    assert profiles(shuffled).equals(profiles(scores))
    assert improvements(shuffled).equals(improvements(scores))
    assert ranks(shuffled).equals(ranks(scores))
    for test in ("wilcoxon", "mannwhitney", "ttest"):
        expected = stats.compare_groups(scores, test=test)
        assert stats.compare_groups(shuffled, test=test).equals(expected)


@FEW
@given(scores=frames())
def test_exchanging_the_runs_of_a_task_changes_nothing(scores: pl.DataFrame) -> None:
    exchanged = scores.with_columns(
        pl.col("score").reverse().over("group_name", "task")
    )
    for result, expected in zip(
        everything(exchanged)[:-4], everything(scores)[:-4], strict=True
    ):
        assert result.equals(expected)
    for of in (profiles, ranks):
        assert of(exchanged).equals(of(scores))


@FAST
@given(scores=frames())
def test_dropping_the_other_groups_leaves_a_group_as_it_was(
    scores: pl.DataFrame,
) -> None:
    together, band = intervals(scores).drop("notes"), profiles(scores).drop("notes")
    for (name,), part in scores.partition_by("group_name", as_dict=True).items():
        kept = together.filter(group_name=name)
        assert intervals(part).drop("notes").equals(kept)
        assert profiles(part).drop("notes").equals(band.filter(group_name=name))


@FAST
@given(scores=frames())
def test_the_name_of_a_group_is_not_part_of_its_result(scores: pl.DataFrame) -> None:
    renaming = ("z-" + pl.col("group_name")).alias("group_name")
    renamed = scores.with_columns(renaming)
    expected = intervals(scores).with_columns(renaming)
    assert intervals(renamed).equals(expected)


@FAST
@given(scores=frames())
def test_which_group_is_named_first_changes_no_pair_and_no_rank(
    scores: pl.DataFrame,
) -> None:
    other = {"a": "c", "b": "b", "c": "a"}
    back = pl.col("group_name").replace(other)
    swapped = scores.with_columns(back)
    expected = ranks(scores).drop("notes")
    assert (
        ranks(swapped)
        .drop("notes")
        .with_columns(back)
        .sort("group_name")
        .equals(expected)
    )
    pairs = (
        improvements(swapped)
        .drop("notes")
        .with_columns(pl.col("group_x", "group_y").replace(other))
    )
    assert_frame_equal(
        pairs.sort("group_x", "group_y"),
        improvements(scores).drop("notes"),
        abs_tol=1e-12,
    )


@FAST
@given(scores=frames())
def test_only_the_order_of_scores_matters_to_improvement(scores: pl.DataFrame) -> None:
    cubed = scores.with_columns(pl.col("score") ** 3)
    assert improvements(cubed).equals(improvements(scores))


@FAST
@given(scores=frames(), shift=st.integers(-64, 64), factor=st.sampled_from([0.5, 3.0]))
def test_ranks_do_not_depend_on_the_unit(
    scores: pl.DataFrame, shift: int, factor: float
) -> None:
    moved = ranks(scores.with_columns(pl.col("score") * factor + shift))
    columns = ("rank", "n_tasks", "n_groups")
    assert moved.select(columns).equals(ranks(scores).select(columns))


@FAST
@given(scores=frames())
def test_the_band_that_is_not_sampled_holds_the_share(scores: pl.DataFrame) -> None:
    exact = profiles(scores, "exact").drop_nulls("ci_low")
    inside = pl.col("fraction").is_between(
        pl.col("ci_low") - 1e-12, pl.col("ci_high") + 1e-12
    )
    # A median lies within a step of its mean, and the tail is less than a half.
    assert exact.select((pl.col("ci_low") <= pl.col("ci_high")).all()).item()
    assert exact.filter(pl.col("max_runs_per_task") > 2).select(inside.all()).item()


@given(scores=frames())
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_compiled_loops_and_threads_change_no_number(
    scores: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loops, "COMPILED_DRAWS", 10**9)
        plain = everything(scores)
        patch.setattr(loops, "COMPILED_DRAWS", 0)
        one_thread = everything(scores)
        patch.setattr(loops, "_THREAD_DRAWS", 1)
        patch.setattr("numba.config.NUMBA_NUM_THREADS", 3)
        three_threads = everything(scores)
    for result, expected, reference in zip(
        three_threads, one_thread, plain, strict=True
    ):
        assert result.equals(expected)
        assert_frame_equal(result, reference, rel_tol=1e-12, abs_tol=1e-12)


@FAST
@given(scores=frames(), shift=st.integers(-64, 64))
def test_shifting_all_scores_shifts_the_results(
    scores: pl.DataFrame, shift: int
) -> None:
    shifted = intervals(scores.with_columns(pl.col("score") + shift))
    expected = intervals(scores).with_columns(pl.col(NUMBERS) + shift)
    without_gap = pl.col("statistic") != "optimality_gap"
    assert_frame_equal(
        shifted.filter(without_gap),
        expected.filter(without_gap),
        rel_tol=1e-12,
        abs_tol=1e-12,
    )


@FAST
@given(scores=frames(), factor=st.sampled_from([0.25, 3.0, 1e6]))
def test_scaling_all_scores_scales_the_results(
    scores: pl.DataFrame, factor: float
) -> None:
    without_gap = pl.col("statistic") != "optimality_gap"
    scaled = intervals(scores.with_columns(pl.col("score") * factor))
    expected = intervals(scores).with_columns(pl.col(NUMBERS) * factor)
    assert_frame_equal(
        scaled.filter(without_gap),
        expected.filter(without_gap),
        rel_tol=1e-12,
        abs_tol=1e-12 * factor * 10,
    )


@FAST
@given(scores=frames())
def test_shares_do_not_change_when_scores_and_thresholds_shift(
    scores: pl.DataFrame,
) -> None:
    moved = stats.performance_profiles(
        scores.with_columns(pl.col("score") + 16),
        thresholds=[12.0, 16.0, 18.5],
        band="bootstrap",
        resamples=RESAMPLES,
    )
    assert moved.select(BAND).equals(profiles(scores).select(BAND))


@FAST
@given(scores=frames())
def test_rank_tests_see_ranks_only(scores: pl.DataFrame) -> None:
    cubed = scores.with_columns(pl.col("score") ** 3)
    columns = ("statistic", "p_value", "p_adjusted")
    expected = stats.compare_groups(scores, test="mannwhitney").select(columns)
    assert (
        stats.compare_groups(cubed, test="mannwhitney").select(columns).equals(expected)
    )


@FAST
@given(scores=frames())
def test_corrected_is_never_narrower_than_percentile(scores: pl.DataFrame) -> None:
    plain, wide = intervals(scores), intervals(scores, "corrected")
    assert plain["estimate"].equals(wide["estimate"])
    assert (wide["ci_low"].drop_nulls() <= plain["ci_low"].drop_nulls()).all()
    assert (wide["ci_high"].drop_nulls() >= plain["ci_high"].drop_nulls()).all()


@FEW
@given(scores=frames())
def test_results_are_numbers_or_null_never_nan(scores: pl.DataFrame) -> None:
    results = everything(scores)
    results += [
        stats.compare_groups(scores, test=test)
        for test in ("wilcoxon", "mannwhitney", "ttest", "welch")
    ]
    for result in results:
        floats = result.select(pl.col(pl.Float64).is_finite())
        assert all(column.all() for column in floats)


@FAST
@given(
    p_values=st.lists(st.none() | st.floats(0, 1), max_size=12),
    correction=st.sampled_from(["holm", "bonferroni", "bh"]),
)
@example(p_values=[0.0, 0.0, 0.47989555618044866], correction="bh")
def test_adjusting_raises_p_values_and_keeps_their_order(
    p_values: list[float | None], correction: str
) -> None:
    adjusted = stats.adjust_p_values(p_values, correction=correction)
    pairs = sorted(
        (p, q) for p, q in zip(p_values, adjusted, strict=True) if p is not None and q
    )
    assert all(p <= q <= 1 for p, q in pairs)
    assert all(one[1] <= other[1] for one, other in pairwise(pairs))


@FAST
@given(scores=frames(), method=st.sampled_from(["minmax", "zscore", "robust"]))
def test_normalized_scores_do_not_depend_on_the_unit(
    scores: pl.DataFrame, method: str
) -> None:
    other_unit = scores.with_columns(pl.col("score") * 1000 + 500)
    assert_frame_equal(
        stats.normalize(other_unit, method=method),
        stats.normalize(scores, method=method),
        abs_tol=1e-9,
    )
