"""Comparisons of groups: what is compared, what is refused, what is said."""

import math

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.comparisons import SCHEMA, TESTS


def scores(**groups: dict[str, list[float]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (group, task, f"{group}/{task}/{index}", index, float(value))
            for group, tasks in groups.items()
            for task, values in tasks.items()
            for index, value in enumerate(values)
        ],
        schema=["group_name", "task", "run_path", "seed", "score"],
        orient="row",
    )


THREE = scores(
    ppo={"maze": [5, 6, 7], "nav": [4, 5, 6], "zoo": [9, 9, 9]},
    rnd={"maze": [1, 2, 2], "nav": [0, 1, 1], "zoo": [2, 4, 3]},
    sac={"maze": [5, 7, 9], "nav": [4, 4, 7], "zoo": [8, 9, 7]},
)


def test_every_unordered_pair_is_one_row() -> None:
    result = stats.compare_groups(THREE)
    assert result.schema == SCHEMA
    assert result.select("group_x", "group_y").rows() == [
        ("ppo", "rnd"),
        ("ppo", "sac"),
        ("rnd", "sac"),
    ]
    assert set(result["test"]) == {"wilcoxon"}
    assert set(result["correction"]) == {"holm"}
    assert set(result["effect"]) == {"cohen_d"}


def test_wilcoxon_pairs_the_means_of_tasks() -> None:
    row = stats.compare_groups(THREE).row(0, named=True)
    assert (row["n_x"], row["n_y"]) == (3, 3)
    assert (row["statistic"], row["p_value"]) == (0.0, 0.25)
    assert row["mean_difference"] == pytest.approx((20 - 16 / 3) / 3)
    assert row["p_adjusted"] == pytest.approx(0.75)
    assert row["notes"] == "at these sizes p cannot be below 0.25"


def test_runs_can_be_paired_by_a_key() -> None:
    row = stats.compare_groups(THREE, paired_by="seed").row(0, named=True)
    assert (row["n_x"], row["p_value"]) == (9, pytest.approx(2 / 2**9))


def test_an_unpaired_test_compares_runs() -> None:
    row = stats.compare_groups(THREE, test="mannwhitney").row(0, named=True)
    assert (row["n_x"], row["n_y"]) == (9, 9)
    assert row["mean_difference"] == pytest.approx((20 - 16 / 3) / 3)


def test_a_run_scored_in_several_tasks_is_one_value_of_an_unpaired_test() -> None:
    per_run = THREE.with_columns(
        pl.format("{}/{}", "group_name", "seed").alias("run_path")
    )
    row = stats.compare_groups(per_run, test="welch").row(0, named=True)
    assert (row["n_x"], row["n_y"]) == (3, 3)
    assert row["notes"] == "scores of a run were averaged over its tasks"


def test_the_interval_of_a_t_test_agrees_with_its_p_value() -> None:
    for row in stats.compare_groups(THREE, test="ttest").iter_rows(named=True):
        holds_zero = row["ci_low"] <= 0 <= row["ci_high"]
        assert holds_zero == (row["p_value"] >= 0.05)
        assert row["ci_low"] < row["mean_difference"] < row["ci_high"]


def test_swapping_a_pair_swaps_the_signs() -> None:
    for test in TESTS:
        pair = stats.compare_groups(THREE, test=test, pairs=[("ppo", "sac")])
        swapped = stats.compare_groups(THREE, test=test, pairs=[("sac", "ppo")])
        one, other = pair.row(0, named=True), swapped.row(0, named=True)
        assert one["mean_difference"] == pytest.approx(-other["mean_difference"])
        assert one["effect_size"] == pytest.approx(-other["effect_size"])
        assert one["ci_low"] == pytest.approx(-other["ci_high"])
        assert one["p_value"] == pytest.approx(other["p_value"])


def test_only_the_pairs_asked_for_count_in_the_correction() -> None:
    result = stats.compare_groups(
        THREE, pairs=[("ppo", "rnd")], correction="bonferroni"
    )
    assert result["p_adjusted"].to_list() == result["p_value"].to_list()


def test_cliffs_delta_can_be_the_effect() -> None:
    result = stats.compare_groups(THREE, test="mannwhitney", effect="cliffs_delta")
    assert result["effect"][0] == "cliffs_delta"
    assert result["effect_size"][0] == pytest.approx(80 / 81)  # one tie


def test_one_task_is_too_few_pairs_and_no_exception() -> None:
    one_task = THREE.filter(task="maze")
    row = stats.compare_groups(one_task).row(0, named=True)
    assert (row["statistic"], row["p_value"], row["p_adjusted"]) == (None, None, None)
    assert (row["ci_low"], row["effect_size"]) == (None, None)
    assert row["mean_difference"] == pytest.approx(6 - 5 / 3)
    assert row["notes"] == "no test: 1 pair, at least 2 are needed"


def test_no_task_in_common_leaves_nothing_to_pair() -> None:
    apart = scores(a={"maze": [1, 2]}, b={"nav": [1, 2]})
    row = stats.compare_groups(apart).row(0, named=True)
    assert (row["mean_difference"], row["n_x"]) == (None, 0)
    assert row["notes"] == (
        "2 task(s) without a partner left out; no test: no pair, at least 2 are needed"
    )
    unpaired = stats.compare_groups(apart, test="welch").row(0, named=True)
    assert "not scored on the same tasks" in unpaired["notes"]


def test_missing_scores_are_noted_with_their_group() -> None:
    data = scores(a={"maze": [1, 2, math.nan]}, b={"maze": [math.inf, 3, 4]})
    row = stats.compare_groups(data, test="ttest").row(0, named=True)
    assert (row["n_x"], row["n_y"]) == (2, 2)
    assert "a: 1 of 3 scores left out (1 missing)" in row["notes"]
    assert "b: 1 of 3 scores left out (1 infinite)" in row["notes"]


def test_a_group_without_scores_keeps_its_rows() -> None:
    data = scores(a={"maze": [math.nan]}, b={"maze": [1, 2]}, c={"maze": [5, 6]})
    result = stats.compare_groups(data, test="welch")
    assert result["p_value"].is_null().to_list() == [True, True, False]
    assert result["p_adjusted"][2] == result["p_value"][2]
    assert "no test: no run in a group" in result["notes"][0]


@pytest.mark.parametrize("test", TESTS)
def test_groups_of_equal_constants_have_no_test(test: str) -> None:
    same = scores(a={"x": [1, 1], "y": [1, 1]}, b={"x": [1, 1], "y": [1, 1]})
    row = stats.compare_groups(same, test=test).row(0, named=True)
    assert (row["p_value"], row["effect_size"]) == (None, None)
    assert row["mean_difference"] == 0.0
    assert "no test: " in row["notes"]
    assert "no effect size" in row["notes"]


@pytest.mark.parametrize("test", TESTS)
def test_one_sided_tests_split_the_two_sided_one(test: str) -> None:
    two, less, greater = (
        stats.compare_groups(
            THREE, test=test, alternative=one, pairs=[("ppo", "rnd")]
        ).row(0, named=True)
        for one in ("two-sided", "less", "greater")
    )
    assert greater["alternative"] == "greater"
    assert greater["p_value"] == pytest.approx(two["p_value"] / 2)
    assert less["p_value"] > 0.9
    assert two["ci_low"] == less["ci_low"] == greater["ci_low"]


def test_a_permutation_test_exchanges_runs_within_tasks() -> None:
    # 3 runs of 6 in each of two tasks: 20 x 20 arrangements, and only the observed one
    # and its mirror image are as extreme.
    two_tasks = THREE.filter(pl.col("task") != "zoo")
    row = stats.compare_groups(
        two_tasks, test="permutation", pairs=[("ppo", "rnd")]
    ).row(0, named=True)
    assert row["p_value"] == pytest.approx(2 / 400)
    assert (row["n_x"], row["n_y"]) == (6, 6)
    assert row["statistic"] == row["mean_difference"] == pytest.approx(13 / 3)
    assert row["ci_low"] < 13 / 3 < row["ci_high"]
    assert row["notes"] == ""


def test_a_permutation_test_does_not_take_differences_of_tasks_for_noise() -> None:
    easy, hard = [90.0, 91.0, 92.0], [1.0, 2.0, 3.0]
    data = scores(
        a={"easy": [one + 4 for one in easy], "hard": [one + 4 for one in hard]},
        b={"easy": easy, "hard": hard},
    )
    unpaired = stats.compare_groups(data, test="mannwhitney").row(0, named=True)
    stratified = stats.compare_groups(data, test="permutation").row(0, named=True)
    assert unpaired["p_value"] > 0.05
    assert stratified["p_value"] == pytest.approx(2 / 400)
    assert stratified["effect_size"] == pytest.approx(4.0)  # within-task deviation 1


def test_a_run_scored_in_several_tasks_is_exchanged_as_a_whole() -> None:
    whole = THREE.filter(pl.col("group_name") != "sac").with_columns(
        run_path=pl.format("{}/{}", "group_name", "seed")
    )
    row = stats.compare_groups(whole, test="permutation").row(0, named=True)
    assert (row["n_x"], row["n_y"]) == (3, 3)
    assert row["p_value"] == pytest.approx(2 / 20)
    assert row["notes"] == "at these sizes p cannot be below 0.1"


def test_pairs_are_exchanged_by_their_signs() -> None:
    row = stats.compare_groups(
        THREE, test="permutation", paired_by="seed", pairs=[("ppo", "rnd")]
    ).row(0, named=True)
    assert row["p_value"] == pytest.approx(2 / 2**9)
    assert (row["n_x"], row["n_y"]) == (9, 9)


def test_many_arrangements_are_sampled_with_a_seed_and_never_give_zero() -> None:
    data = scores(
        a={"x": [float(i + 50) for i in range(20)]},
        b={"x": [float(i) for i in range(20)]},
    )
    first, again, other = (
        stats.compare_groups(data, test="permutation", resamples=500, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert first["p_value"].item() == pytest.approx(2 / 501)
    close = data.with_columns(pl.col("score") - 50.2 * (pl.col("group_name") == "a"))
    p_values = {
        stats.compare_groups(close, test="permutation", resamples=500, seed=seed)[
            "p_value"
        ].item()
        for seed in range(5)
    }
    assert len(p_values) > 1
    assert other["p_value"].item() == pytest.approx(2 / 501)


def test_a_task_that_one_group_lacks_has_no_part_in_a_permutation_test() -> None:
    data = scores(a={"x": [3, 4, 5], "y": [0, 0, 0]}, b={"x": [1, 2, 2]})
    row = stats.compare_groups(data, test="permutation").row(0, named=True)
    assert row["mean_difference"] == pytest.approx(4 - 5 / 3)
    assert row["notes"].startswith("1 task(s) that one group lacks left out")
    apart = scores(a={"x": [3, 4, 5]}, b={"y": [1, 2, 2]})
    row = stats.compare_groups(apart, test="permutation").row(0, named=True)
    assert row["p_value"] is None
    assert "no task in common" in row["notes"]


def test_runs_alone_in_their_task_have_a_permutation_test_and_no_interval() -> None:
    data = scores(a={t: [2.0] for t in "uvwxyz"}, b={t: [1.0] for t in "uvwxyz"})
    row = stats.compare_groups(data, test="permutation").row(0, named=True)
    assert row["p_value"] == pytest.approx(2 / 2**6)
    assert (row["ci_low"], row["effect_size"]) == (None, None)
    assert "no interval" in row["notes"]


def test_a_task_with_one_run_of_a_group_has_its_part_in_the_effect() -> None:
    data = scores(a={"x": [3.0], "y": [4.0, 5.0]}, b={"x": [1.0, 2.0], "y": [1.0, 2.0]})
    row = stats.compare_groups(data, test="permutation").row(0, named=True)
    # Pooled variances 0.5 / 1 and (0.5 + 0.5) / 2, differences 1.5 and 3.
    assert row["effect_size"] == pytest.approx(2.25 / math.sqrt(0.5))
    assert row["ci_low"] is None


@pytest.mark.parametrize("test", TESTS)
def test_thousands_of_tasks_are_compared(test: str) -> None:
    many = scores(
        a={f"t{i}": [float(i % 7), 2.0] for i in range(1500)},
        b={f"t{i}": [float(i % 5), 3.0] for i in range(1500)},
    )
    row = stats.compare_groups(many, test=test, resamples=20).row(0, named=True)
    assert row["n_x"] >= 1500
    assert 0 < row["p_value"] <= 1


def test_a_million_scores_are_compared() -> None:
    at = pl.int_range(1_000_000, eager=True)
    many = pl.DataFrame({"group_name": at % 2, "score": (at * 7919) % 10_007})
    for test in ("mannwhitney", "welch"):
        result = stats.compare_groups(many, task=None, replicate=None, test=test)
        assert 0.01 < result["p_value"].item() <= 1


def test_one_group_or_none_has_nothing_to_compare() -> None:
    assert stats.compare_groups(THREE.filter(group_name="ppo")).is_empty()
    assert stats.compare_groups(THREE.clear()).schema == SCHEMA


def test_the_task_column_may_have_another_name() -> None:
    renamed = THREE.rename({"task": "environment"})
    by_role = stats.compare_groups(renamed, task="environment", paired_by="task")
    by_name = stats.compare_groups(renamed, task="environment", paired_by="environment")
    assert by_role.equals(stats.compare_groups(THREE))
    assert by_name.equals(by_role)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "wilcoxn"}, "unknown test 'wilcoxn'; did you mean 'wilcoxon'"),
        ({"correction": "fdr"}, "unknown correction 'fdr'"),
        ({"effect": "cohens_d"}, "unknown effect 'cohens_d'; did you mean 'cohen_d'"),
        ({"pairs": [("ppo", "sacc")]}, "no group 'sacc'.*did you mean 'sac'"),
        ({"paired_by": "seeds"}, "no column 'seeds'; did you mean 'seed'"),
        ({"test": "welch", "paired_by": "task"}, "'welch' compares unpaired runs"),
        ({"confidence": 1.0}, "confidence must be between 0 and 1"),
        ({"alternative": "greter"}, "'greter'; did you mean 'greater'"),
        ({"pairs": [("ppo", "ppo")]}, "cannot be compared with itself, got 'ppo'"),
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
        ({"seed": -1}, "seed must be from 0"),
    ],
)
def test_options_without_meaning_are_refused(
    options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        stats.compare_groups(THREE, **options)  # type: ignore[arg-type]  # on purpose
