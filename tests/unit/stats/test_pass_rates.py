"""Pass rates of repeated trials, on cases worked by hand."""

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.pass_rates import SCHEMA, share_interval


def trials(**tasks: tuple[int, int]) -> pl.DataFrame:
    """Trials and successes of each task."""
    rows = [
        (task, at < successes)
        for task, (n, successes) in tasks.items()
        for at in range(n)
    ]
    schema = {"task": pl.String, "passed": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_pass_at_1_is_the_share_of_successes_averaged_over_tasks() -> None:
    result = stats.pass_at_k(
        trials(a=(4, 1), b=(2, 2)), task="task", success="passed", k=1
    )
    assert result.schema == SCHEMA
    assert result["estimate"].item() == (1 / 4 + 1) / 2
    assert result.select("k", "n_tasks", "min_trials", "max_trials").row(0) == (
        1, 2, 2, 4,
    )  # fmt: skip


def test_any_of_two_and_both_of_two() -> None:
    # 4 trials, 1 success: 3 of the 6 pairs hold it; none has two.
    data = trials(a=(4, 1))
    any_of = stats.pass_at_k(data, task="task", success="passed", k=2)
    all_of = stats.pass_hat_k(data, task="task", success="passed", k=2)
    assert (any_of["estimate"].item(), all_of["estimate"].item()) == (0.5, 0.0)


def test_a_task_with_fewer_trials_than_k_leaves_no_estimate_and_says_so() -> None:
    result = stats.pass_at_k(
        trials(a=(4, 1), b=(2, 2)), task="task", success="passed", k=(4, 2)
    )
    assert result["k"].to_list() == [4, 2]
    assert result["estimate"].to_list() == [None, (0.5 + 1) / 2]
    assert result["notes"][0] == (
        "no estimate: 1 of 2 tasks have fewer than k = 4 trials (as few as 2)"
    )


def test_the_interval_is_over_tasks_and_stays_within_0_and_1() -> None:
    solved = trials(**{f"t{i}": (3, 3) for i in range(12)})
    row = stats.pass_at_k(solved, task="task", success="passed", k=1).row(0, named=True)
    assert row["estimate"] == row["ci_high"] == 1.0
    assert 0.6 < row["ci_low"] < 0.9
    more_trials = trials(**{f"t{i}": (30, 30) for i in range(12)})
    same = stats.pass_at_k(more_trials, task="task", success="passed", k=1)
    assert same["ci_low"].item() == row["ci_low"]


def test_one_task_has_no_interval_and_few_are_noted() -> None:
    one = stats.pass_at_k(trials(a=(4, 1)), task="task", success="passed", k=1)
    assert one.select("ci_low", "notes").row(0) == (None, "no interval: one task")
    two = stats.pass_at_k(
        trials(a=(4, 1), b=(4, 2)), task="task", success="passed", k=1
    )
    assert two["notes"].item() == "few tasks (2): read intervals with care"


def test_zero_and_one_are_outcomes_and_null_is_none() -> None:
    data = pl.DataFrame({"task": ["a"] * 4, "passed": [1.0, 0.0, None, 1.0]})
    row = stats.pass_at_k(data, task="task", success="passed", k=3).row(0, named=True)
    assert (row["estimate"], row["min_trials"]) == (1.0, 3)
    assert "1 trial(s) without an outcome left out" in row["notes"]
    lost = stats.pass_at_k(
        data.with_columns(passed=pl.lit(None, pl.Boolean)),
        task="task", success="passed", k=1,
    )  # fmt: skip
    assert "fewer than k = 1 trials (as few as 0)" in lost["notes"].item()


def test_groups_are_rows_of_their_own() -> None:
    both = pl.concat(
        [
            trials(a=(2, 1)).with_columns(model=pl.lit("small")),
            trials(a=(2, 2)).with_columns(model=pl.lit("large")),
        ]
    )
    result = stats.pass_at_k(
        both, task="task", success="passed", k=(1, 2), group="model"
    )
    assert result.select("group_name", "k", "estimate").rows() == [
        ("large", 1, 1.0),
        ("large", 2, 1.0),
        ("small", 1, 0.5),
        ("small", 2, 1.0),
    ]


def test_an_empty_frame_has_no_rows() -> None:
    empty = trials()
    assert stats.pass_at_k(empty, task="task", success="passed", k=1).schema == SCHEMA
    grouped = stats.pass_hat_k(
        empty.with_columns(model=pl.lit("x")),
        task="task", success="passed", k=1, group="model",
    )  # fmt: skip
    assert grouped.is_empty()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a number of trials from 1, got 0"),
        ({"k": ()}, r"k must be a number of trials from 1, got \(\)"),
        ({"task": "tsk"}, "no column 'tsk'; did you mean 'task'"),
        ({"success": "score"}, "must be true or false .1 or 0., got 0.5"),
        ({"success": "task"}, "must hold numbers"),
        ({"group": "model"}, "'model' must name every trial, got 1 null of 1"),
        ({"confidence": 95}, "confidence must be between 0 and 1"),
    ],
)
def test_questions_without_an_answer_are_refused(
    options: dict[str, object], message: str
) -> None:
    data = trials(a=(1, 1)).with_columns(score=0.5, model=pl.lit(None, pl.String))
    given = {"task": "task", "success": "passed", "k": 1, **options}
    with pytest.raises(UsageError, match=message):
        stats.pass_at_k(data, **given)  # type: ignore[arg-type]  # on purpose


def test_an_interval_of_yes_or_no_tasks_is_wilsons_with_a_t_quantile() -> None:
    from scipy.stats import binomtest, norm, t

    # Wilson's interval at the confidence whose normal quantile is our t quantile; the
    # variance n / (n - 1) larger makes our number of tasks one smaller.
    confidence = 2 * float(norm.cdf(t.ppf(0.975, 39))) - 1
    squares = 40 * 0.3 * 0.7
    low, high = share_interval(0.3, squares, 40, 0.95)
    wilson = binomtest(12, 40).proportion_ci(confidence, method="wilson")
    assert low == pytest.approx(wilson.low, abs=0.003)
    assert high == pytest.approx(wilson.high, abs=0.003)
