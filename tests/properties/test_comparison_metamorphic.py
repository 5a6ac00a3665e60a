"""What may not change a comparison, a gap or a pass rate, and what must."""

from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from run_assets import stats
from run_assets.stats.comparisons import TESTS

FAST = settings(max_examples=15, deadline=None)  # timings vary on shared machines
TASKS = ("maze", "nav", "zoo")
NUMBERS = ("statistic", "p_value", "mean_difference", "effect_size", "n_x", "n_y")

a_score = st.integers(-80, 80).map(lambda eighths: eighths / 8)
some_scores = st.lists(a_score, min_size=1, max_size=4)
a_group = st.dictionaries(st.sampled_from(TASKS), some_scores, min_size=2)
Group = dict[str, list[float]]


def frame(**groups: Group) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (group, task, f"{group}/{task}/{index}", index, value)
            for group, tasks in groups.items()
            for task, values in tasks.items()
            for index, value in enumerate(values)
        ],
        schema=["group_name", "task", "run_path", "seed", "score"],
        orient="row",
    )


def permuted(scores: pl.DataFrame, **options: str) -> pl.DataFrame:
    return stats.compare_groups(scores, test="permutation", resamples=50, **options)  # type: ignore[arg-type]  # names of options


@FAST
@given(x=a_group, y=a_group, random=st.randoms(use_true_random=False))
def test_the_order_of_rows_is_no_part_of_a_permutation_test(
    x: Group, y: Group, random: Random
) -> None:
    scores = frame(x=x, y=y)
    order = list(range(scores.height))
    random.shuffle(order)
    assert permuted(scores[order]).equals(permuted(scores))


@FAST
@given(x=a_group, y=a_group, z=a_group)
def test_names_and_other_groups_are_no_part_of_a_permutation_test(
    x: Group, y: Group, z: Group
) -> None:
    alone = permuted(frame(x=x, y=y)).select(NUMBERS)
    beside = permuted(frame(x=x, y=y, z=z)).head(1).select(NUMBERS)
    renamed = permuted(frame(k=x, l=y)).select(NUMBERS)
    assert beside.equals(alone)
    assert renamed.equals(alone)


@FAST
@given(x=a_group, y=a_group, test=st.sampled_from(TESTS))
def test_exchanging_two_groups_exchanges_less_and_greater(
    x: Group, y: Group, test: str
) -> None:
    def row(alternative: str, **groups: Group) -> dict[str, float]:
        return stats.compare_groups(
            frame(**groups), test=test, alternative=alternative, resamples=50
        ).row(0, named=True)

    one, other = row("less", a=x, b=y), row("greater", a=y, b=x)
    if None in (one["p_value"], other["p_value"]):
        assert one["p_value"] == other["p_value"]
        return
    assert one["p_value"] == pytest.approx(other["p_value"], rel=1e-9)
    assert one["mean_difference"] == pytest.approx(-other["mean_difference"])


@FAST
@given(x=a_group, y=a_group, shift=st.integers(-64, 64))
def test_levels_of_tasks_are_no_part_of_a_permutation_test(
    x: Group, y: Group, shift: int
) -> None:
    scores = frame(x=x, y=y)
    level = (pl.col("task") == "maze") * shift
    moved = scores.with_columns(pl.col("score") + level)
    assert_frame_equal(permuted(moved), permuted(scores), rel_tol=1e-9, abs_tol=1e-9)


@FAST
@given(x=a_group, y=a_group, factor=st.sampled_from([0.25, 3.0, 1e6]))
def test_the_unit_of_the_scores_is_no_part_of_a_p_value(
    x: Group, y: Group, factor: float
) -> None:
    scores = frame(x=x, y=y)
    scaled = scores.with_columns(pl.col("score") * factor)
    columns = ("p_value", "effect_size")
    assert_frame_equal(
        permuted(scaled).select(columns),
        permuted(scores).select(columns),
        rel_tol=1e-9,
    )


@FAST
@given(x=a_group, y=a_group, effect=st.sampled_from(["cohen_d", "cliffs_delta"]))
def test_results_of_permutations_are_numbers_or_null(
    x: Group, y: Group, effect: str
) -> None:
    for paired_by in (None, "task", "seed"):
        result = stats.compare_groups(
            frame(x=x, y=y),
            test="permutation",
            effect=effect,
            paired_by=paired_by,
            resamples=50,
        )
        assert all(one.is_finite().all() for one in result.select(pl.col(pl.Float64)))
        p_value = result["p_value"].item()
        assert p_value is None or 0 < p_value <= 1


@FAST
@given(x=a_group, y=a_group, shift=st.integers(-64, 64))
def test_what_an_item_adds_to_both_groups_cancels_in_pairs(
    x: Group, y: Group, shift: int
) -> None:
    scores = frame(x=x, y=y).with_columns(
        item=pl.concat_str("task", pl.col("seed").cast(str), separator="/")
    )
    harder = (pl.col("seed") == 0) * shift
    moved = scores.with_columns(pl.col("score") + harder)
    columns = ("estimate", "standard_error", "p_value", "ci_low", "ci_high", "n_items")
    for cluster in (None, "task"):
        expected, found = (
            stats.paired_difference(one, item="item", cluster=cluster).select(columns)
            for one in (scores, moved)
        )
        assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=1e-9)


@FAST
@given(x=a_group, y=a_group)
def test_each_item_in_a_cluster_of_its_own_is_no_clustering(x: Group, y: Group) -> None:
    scores = frame(x=x, y=y).with_columns(
        item=pl.concat_str("task", pl.col("seed").cast(str), separator="/")
    )
    own = scores.with_columns(own="item")
    clustered = stats.paired_difference(own, item="item", cluster="own")
    assert clustered.equals(stats.paired_difference(scores, item="item"))


@FAST
@given(x=a_group, y=a_group, factor=st.sampled_from([0.25, 3.0, 1e6]))
def test_gaps_scale_with_the_unit_and_their_rates_do_not(
    x: Group, y: Group, factor: float
) -> None:
    scores = frame(x=x, y=y)

    def gaps(scale: float) -> pl.DataFrame:
        return stats.optimality_gaps(
            scores.with_columns(pl.col("score") * scale),
            optimal={"maze": 4 * scale, "*": 8 * scale},
            resamples=40,
        )

    once, scaled = gaps(1.0), gaps(factor)
    rates = ("gap_rate", "rate_ci_low", "rate_ci_high")
    amounts = ("gap", "ci_low", "ci_high")
    assert_frame_equal(scaled.select(rates), once.select(rates), rel_tol=1e-9)
    expected = once.select(pl.col(amounts) * factor)
    assert_frame_equal(
        scaled.select(amounts), expected, rel_tol=1e-9, abs_tol=1e-9 * factor
    )


@FAST
@given(x=a_group, y=a_group)
def test_the_gaps_of_a_group_do_not_depend_on_the_others(x: Group, y: Group) -> None:
    optimal = {"*": 9.0}
    both = stats.optimality_gaps(frame(x=x, y=y), optimal=optimal, resamples=40)
    alone = stats.optimality_gaps(frame(x=x), optimal=optimal, resamples=40)
    assert both.filter(group_name="x").drop("notes").equals(alone.drop("notes"))


outcomes = st.lists(
    st.lists(st.booleans(), min_size=4, max_size=8), min_size=1, max_size=6
)


def rates(tasks: list[list[bool]], *, every: bool) -> list[float]:
    rows = [(f"t{at}", one) for at, task in enumerate(tasks) for one in task]
    trials = pl.DataFrame(rows, schema=["task", "passed"], orient="row")
    rate = stats.pass_hat_k if every else stats.pass_at_k
    result = rate(trials, task="task", success="passed", k=(1, 2, 3, 4))
    inside = result.filter(pl.col("ci_low").is_not_null())
    assert inside.select(
        (
            pl.col("estimate").is_between("ci_low", "ci_high")
            & (pl.col("ci_low") >= 0)
            & (pl.col("ci_high") <= 1)
        ).all()
    ).item()
    found: list[float] = result["estimate"].to_list()
    return found


@FAST
@given(tasks=outcomes, random=st.randoms(use_true_random=False))
def test_more_tries_help_and_more_demands_do_not(
    tasks: list[list[bool]], random: Random
) -> None:
    any_of, all_of = rates(tasks, every=False), rates(tasks, every=True)
    assert any_of[0] == all_of[0]
    assert any_of == sorted(any_of)
    assert all_of == sorted(all_of, reverse=True)
    mirrored = [[not one for one in task] for task in tasks]
    assert rates(mirrored, every=True) == pytest.approx([1 - one for one in any_of])
    for task in tasks:
        random.shuffle(task)
    random.shuffle(tasks)
    assert rates(tasks, every=False) == any_of


@FAST
@given(x=a_group, factor=st.sampled_from([0.25, 3.0, 1e6]))
def test_planned_runs_do_not_depend_on_the_unit(x: Group, factor: float) -> None:
    scores = frame(x=x)
    scaled = scores.with_columns(pl.col("score") * factor)
    columns = ("required_low", "required_high", "n_tasks")
    once = stats.required_runs(scores, halfwidth=1.0, resamples=40)
    other = stats.required_runs(scaled, halfwidth=factor, resamples=40)
    assert other.select(columns).equals(once.select(columns))
