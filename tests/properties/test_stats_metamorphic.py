"""What may not change a statistic, and what must change it in a known way."""

from itertools import pairwise
from random import Random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from run_assets import stats

RESAMPLES = 60
TASKS = ("maze", "nav", None)
GROUPS = ("a", "b", "c")
FAST = settings(max_examples=40, deadline=None)  # timings vary on shared machines
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


def profiles(scores: pl.DataFrame) -> pl.DataFrame:
    return stats.performance_profiles(
        scores, thresholds=[-4.0, 0.0, 2.5], resamples=RESAMPLES
    )


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
    for test in ("wilcoxon", "mannwhitney", "ttest"):
        expected = stats.compare_groups(scores, test=test)
        assert stats.compare_groups(shuffled, test=test).equals(expected)


@FAST
@given(scores=frames())
def test_exchanging_the_runs_of_a_task_changes_nothing(scores: pl.DataFrame) -> None:
    exchanged = scores.with_columns(
        pl.col("score").reverse().over("group_name", "task")
    )
    assert intervals(exchanged).equals(intervals(scores))
    assert profiles(exchanged).equals(profiles(scores))


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


@FAST
@given(scores=frames())
def test_results_are_numbers_or_null_never_nan(scores: pl.DataFrame) -> None:
    results = [intervals(scores), profiles(scores)]
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
