"""Derived metrics per run and per step: values, and reasons for their absence."""

import math

import polars as pl
import pytest

from run_assets.derived.evaluation import (
    RunInputs,
    evaluate_per_run,
    evaluate_per_step,
    null_counts,
)
from run_assets.derived.references import Vocabulary
from run_assets.errors import ContractError, UsageError

NAN, INF = math.nan, math.inf

RUNS = pl.DataFrame(
    {
        "run_path": ["e/p/b", "e/p/a"],
        "last_step": [0, 200],
        "runtime_seconds": [1.5, None],
        "history_rows": [1, 201],
    }
)
SUMMARIES = pl.DataFrame(
    {
        "run_path": ["e/p/a", "e/p/b", "e/p/a", "e/p/b"],
        "metric": ["reward", "reward", "eval/b", "diverged"],
        "last": [4.0, 8.0, -2.0, INF],
        "max": [5.0, 9.0, 3.0, INF],
        "std": [1.0, None, 0.5, None],
        "n_points": [201, 1, 3, 4],
    }
)
CONFIGS = pl.DataFrame(
    {
        "run_path": ["e/p/a", "e/p/b", "e/p/b"],
        "key": ["lr", "lr", "env"],
        "value_double": [0.5, None, 3.0],
    }
)
INPUTS = RunInputs(SUMMARIES, RUNS, CONFIGS, {"optimal": 100.0})


def of_runs(text: str, inputs: RunInputs = INPUTS) -> list[float | str]:
    """Value, or else the reason, of run a and of run b."""
    rows = evaluate_per_run({"it": text}, inputs)
    assert rows["run_path"].to_list() == ["e/p/a", "e/p/b"]
    return [
        value if reason is None else reason
        for value, reason in rows.select("value", "null_reason").iter_rows()
    ]


def points(*rows: tuple[str, str, int, float | None]) -> pl.DataFrame:
    schema = {
        "run_path": pl.String,
        "metric": pl.String,
        "step": pl.Int64,
        "value": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def of_steps(
    text: str, *rows: tuple[str, str, int, float | None]
) -> list[tuple[str, int, float | str]]:
    table = evaluate_per_step({"it": text}, points(*rows), INPUTS)
    return [
        (run_path[-1], step, value if reason is None else reason)
        for run_path, _, step, value, reason in table.iter_rows()
    ]


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("reward", 4.0, 8.0),
        ("max(reward)", 5.0, 9.0),
        ("count(reward)", 201.0, 1.0),
        ("reward / steps", 0.02, "division by zero"),
        ("reward / optimal", 0.04, 0.08),
        ("history_rows - last_step", 1.0, 1.0),
        ("runtime_seconds", "missing runtime_seconds", 1.5),
        ("std(reward)", 1.0, "missing std(reward)"),
        ("`eval/b` - max(`eval/b`)", -5.0, "missing eval/b"),
        ("config.lr", 0.5, "config.lr is not a number"),
        ("config.env", "missing config.env", 3.0),
        ("diverged", "missing diverged", "diverged is not finite"),
        ("max(reward, 6)", 6.0, 8.0),
        ("min(reward, 6, 5)", 4.0, 5.0),
        ("max(reward, `eval/b`)", 4.0, "missing eval/b"),
        ("coalesce(`eval/b`, diverged, 7)", -2.0, 7.0),
        ("coalesce(reward / steps, -1)", 0.02, -1.0),
        ("coalesce(`eval/b`, runtime_seconds / 0)", -2.0, "missing eval/b"),
        ("coalesce(runtime_seconds, 9)", 9.0, 1.5),
        ("-reward ** 2", -16.0, -64.0),
        ("1 / 0", "division by zero", "division by zero"),
        ("0 / 0", "division by zero", "division by zero"),
        ("log(`eval/b`)", "log of a non-positive number", "missing eval/b"),
        ("log(steps)", math.log(200), "log of a non-positive number"),
        ("sqrt(`eval/b`)", "sqrt of a negative number", "missing eval/b"),
        ("steps ** -1", 0.005, "division by zero"),
        ("(-8) ** (1 / 3)", *["fractional power of a negative number"] * 2),
        ("(-8) ** 3", -512.0, -512.0),
        ("9 ** 9 ** 9", "overflow", "overflow"),
        ("exp(1000)", "overflow", "overflow"),
        ("1e308 * 10 - 1e308 * 10", "overflow", "overflow"),
        ("`eval/b` / 0 + runtime_seconds", "division by zero", "missing eval/b"),
    ],
)
def test_a_run_has_a_value_or_the_reason_why_not(
    text: str, a: float | str, b: float | str
) -> None:
    assert of_runs(text) == [a, b]


def test_reasons_are_counted() -> None:
    rows = evaluate_per_run(
        {"rate": "reward / steps", "gap": "`eval/b`", "inverse": "1 / steps"}, INPUTS
    )
    assert null_counts(rows).rows() == [
        ("gap", "missing eval/b", 1),
        ("inverse", "division by zero", 1),
        ("rate", "division by zero", 1),
    ]


def test_derived_metrics_use_each_other_and_pass_reasons_on() -> None:
    texts = {"percent": "rate * 100", "rate": "reward / steps"}
    rows = evaluate_per_run(texts, INPUTS)
    assert rows.rows() == [
        ("e/p/a", "percent", 2.0, None),
        ("e/p/a", "rate", 0.02, None),
        ("e/p/b", "percent", None, "division by zero"),
        ("e/p/b", "rate", None, "division by zero"),
    ]


def test_a_metric_known_elsewhere_is_missing_here() -> None:
    words = Vocabulary(metrics=["accuracy"])
    rows = evaluate_per_run({"it": "accuracy"}, INPUTS, words)
    assert rows["null_reason"].to_list() == ["missing accuracy"] * 2
    steps = evaluate_per_step({"it": "accuracy"}, points(), INPUTS, words)
    assert steps.is_empty()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"derived metric 'it'.*did you mean 'reward'"):
        evaluate_per_run({"it": "rewards / 2"}, INPUTS)


def test_a_lake_without_runs_has_no_names_to_look_up() -> None:
    empty = RunInputs(SUMMARIES.clear(), RUNS.clear())
    assert evaluate_per_run({"it": "reward"}, empty).is_empty()
    assert evaluate_per_step({"it": "reward"}, points(), empty).is_empty()


def test_without_expressions_the_tables_are_empty_but_typed() -> None:
    rows = evaluate_per_run({}, INPUTS)
    assert rows.columns == ["run_path", "metric", "value", "null_reason"]
    steps = evaluate_per_step({}, points(("e/p/a", "reward", 0, 1.0)), INPUTS)
    assert steps.schema["step"] == pl.Int64
    assert rows.is_empty()
    assert steps.is_empty()


@pytest.mark.parametrize(
    "inputs",
    [
        RunInputs(pl.concat([SUMMARIES, SUMMARIES]), RUNS),
        RunInputs(SUMMARIES, pl.concat([RUNS, RUNS])),
    ],
)
def test_two_values_for_one_name_are_refused(inputs: RunInputs) -> None:
    with pytest.raises(ContractError, match="run_path is not unique"):
        evaluate_per_run({"it": "reward"}, inputs)


def test_two_points_at_one_step_are_refused() -> None:
    twice = points(("e/p/a", "reward", 0, 1.0), ("e/p/a", "reward", 0, 2.0))
    with pytest.raises(ContractError, match=r"metric, step\) is not unique"):
        evaluate_per_step({"it": "reward"}, twice, INPUTS)


def test_a_step_needs_all_metrics_of_the_expression() -> None:
    assert of_steps(
        "reward - `eval/b`",
        ("e/p/a", "reward", 0, 1.0),
        ("e/p/a", "eval/b", 10, 5.0),
        ("e/p/a", "reward", 10, 2.0),
        ("e/p/b", "reward", 10, 7.0),
        ("e/p/b", "eval/b", 20, 7.0),
    ) == [("a", 10, -3.0)]


def test_coalesce_needs_only_one_of_them() -> None:
    assert of_steps(
        "coalesce(`eval/b`, reward, 0)",
        ("e/p/a", "reward", 0, 1.0),
        ("e/p/a", "eval/b", 5, NAN),
        ("e/p/a", "other", 7, 1.0),
    ) == [("a", 0, 1.0), ("a", 5, 0.0)]


def test_bare_names_go_along_and_everything_else_stands_still() -> None:
    assert of_steps(
        "reward / max(reward) + steps * 10 + last_step + config.lr + optimal",
        ("e/p/a", "reward", 0, 5.0),
        ("e/p/a", "reward", 3, 10.0),
    ) == [("a", 0, 301.5), ("a", 3, 332.5)]


def test_what_is_there_without_a_result_is_a_null_with_its_reason() -> None:
    assert of_steps(
        "1 / reward",
        ("e/p/a", "reward", 0, 0.0),
        ("e/p/a", "reward", 1, NAN),
        ("e/p/a", "reward", 2, None),
        ("e/p/a", "reward", 3, -INF),
        ("e/p/a", "reward", 4, 2.0),
    ) == [
        ("a", 0, "division by zero"),
        ("a", 1, "reward is not finite"),
        ("a", 3, "reward is not finite"),
        ("a", 4, 0.5),
    ]


@pytest.mark.parametrize("text", ["7", "config.lr", "max(reward)", "steps"])
def test_an_expression_without_a_bare_metric_has_no_steps(text: str) -> None:
    assert of_steps(text, ("e/p/a", "reward", 0, 0.0)) == []


def test_another_expression_changes_no_steps() -> None:
    rows = points(("e/p/a", "reward", 0, 1.0), ("e/p/a", "eval/b", 1, 2.0))
    alone = evaluate_per_step({"it": "coalesce(reward, 0)"}, rows, INPUTS)
    both = evaluate_per_step(
        {"it": "coalesce(reward, 0)", "also": "`eval/b` * it"}, rows, INPUTS
    )
    assert both.filter(metric="it").equals(alone)


def test_a_derived_metric_means_its_expression() -> None:
    rows = points(("e/p/a", "reward", 0, 1.0), ("e/p/a", "eval/b", 1, 2.0))
    named = {"base": "coalesce(reward, 3)", "it": "`eval/b` * base"}
    spelled = {"it": "`eval/b` * (coalesce(reward, 3))"}
    table = evaluate_per_step(named, rows, INPUTS).filter(metric="it")
    assert table.equals(evaluate_per_step(spelled, rows, INPUTS))
    assert table["value"].to_list() == [6.0]


def test_points_of_unknown_runs_and_columns_of_like_names_do_no_harm() -> None:
    texts = {"it": "`value` + `step` + `run_path` + `row`"}
    names = ("value", "step", "run_path", "row")
    rows = points(
        *(("e/p/a", name, 2, 1.0) for name in names), ("e/p/zzz", "value", 0, 1.0)
    )
    assert evaluate_per_step(texts, rows, INPUTS).rows() == [
        ("e/p/a", "it", 2, 4.0, None)
    ]


def test_a_wide_tree_of_shared_metrics_stays_linear() -> None:
    texts = {"d0": "reward"} | {
        f"d{level}": f"d{level - 1} / 2 + d{level - 1} / 2" for level in range(1, 200)
    }
    rows = evaluate_per_run(texts, INPUTS)
    assert rows.filter(metric="d199")["value"].to_list() == [4.0, 8.0]
