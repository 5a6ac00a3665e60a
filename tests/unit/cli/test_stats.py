import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from run_assets.cli.stats import asked_analysis
from run_assets.lab import Lab

from .conftest import Call


def rows(text: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(text)["rows"]
    return found


JSON = ("--output-format", "json")
AD_HOC = ("--metric", "loss", "--by", "config.algorithm", "--project", "maze")


def test_the_configured_analysis_answers_without_a_word(ask: Call) -> None:
    answer = ask("stats", "iqm", *JSON)
    assert answer.code == 0
    found = rows(answer.out)
    assert [(row["group_name"], row["statistic"]) for row in found] == [
        ("a", "iqm"),
        ("b", "iqm"),
    ]
    assert {row["resamples"] for row in found} == {200}


def test_options_replace_the_settings_of_the_analysis(ask: Call) -> None:
    answer = ask(
        *("stats", "iqm", "algorithms", "--metric", "loss", "--aggregate", "max"),
        *("--statistic", "mean", "--statistic", "median", "--confidence", "0.9"),
        *("--method", "percentile", "--resamples", "100", "--seed", "7", *JSON),
    )
    found = rows(answer.out)
    assert {row["statistic"] for row in found} == {"mean", "median"}
    assert {row["estimate"] for row in found} == {1.0}
    settings = ("confidence", "method", "resamples", "seed")
    assert [found[0][name] for name in settings] == [0.9, "percentile", 100, 7]


def test_any_metric_and_group_can_be_asked_for(ask: Call) -> None:
    answer = ask("stats", "profiles", *AD_HOC, "--threshold", "0", *JSON)
    assert [row["fraction"] for row in rows(answer.out)] == [1.0, 1.0]
    table = ask("stats", "profiles", *AD_HOC, "--threshold", "0")
    assert "fraction" in table.out


def test_groups_are_compared(ask: Call) -> None:
    answer = ask(
        *("stats", "compare", "--test", "permutation", "--effect", "cliffs_delta"),
        *("--alternative", "greater", "--correction", "bonferroni", *JSON),
    )
    (row,) = rows(answer.out)
    assert (row["group_x"], row["group_y"]) == ("a", "b")
    assert (row["test"], row["alternative"]) == ("permutation", "greater")
    assert (row["effect"], row["correction"]) == ("cliffs_delta", "bonferroni")


def test_wins_are_counted_for_every_ordered_pair(ask: Call) -> None:
    found = rows(ask("stats", "improvement", *JSON).out)
    assert [(row["group_x"], row["group_y"]) for row in found] == [
        ("a", "b"),
        ("b", "a"),
    ]
    one, other = (float(str(row["estimate"])) for row in found)
    assert one + other == pytest.approx(1)


def test_curves_tell_when_a_target_is_reached(ask: Call) -> None:
    found = rows(ask("stats", "efficiency", "--target", "0.5", *JSON).out)
    steps = {
        row["group_name"]: row["estimate"]
        for row in found
        if row["statistic"] == "first_step"
    }
    assert steps == {"a": 5.0, "b": 5.0}
    none = ask("stats", "efficiency", "--metric", "efficiency", *JSON)
    assert none.code == 2
    assert "no curve of 'efficiency'" in none.err


def test_gaps_take_optimal_scores_by_task(ask: Call) -> None:
    answer = ask("stats", "gaps", "--optimal", "easy=2", "--optimal", "*=4", *JSON)
    found = {(row["group_name"], row["task"]): row for row in rows(answer.out)}
    assert found["a", "easy"]["optimum"] == 2.0
    assert found["a", "hard"]["optimum"] == 4.0
    assert ("a", "*") in found


def test_pass_rates_count_runs_as_trials(ask: Call) -> None:
    answer = ask(
        *("stats", "pass-at-k", "--success-at", "0", "--k", "1", "--k", "9", *JSON)
    )
    found = rows(answer.out)
    assert [row["k"] for row in found] == [1, 9, 1, 9]
    assert [row["estimate"] for row in found] == [1.0, None, 1.0, None]
    every = ask("stats", "pass-at-k", "--success-at", "99", "--every", *JSON)
    assert {row["estimate"] for row in rows(every.out)} == {0.0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("iqm nothing", "no analysis 'nothing' in run_assets.yaml; known: algorithms"),
        ("iqm --metric rewrd", "score.metric 'rewrd'; did you mean 'reward'?"),
        ("iqm --by config.nothing", "no run has group 'config.nothing'"),
        ("iqm --method percentil", "interval.method: Input should be"),
        ("gaps", "gaps need optimal scores: --optimal TASK=SCORE"),
        ("gaps --optimal maze", "--optimal takes TASK=SCORE, such as maze=100"),
        ("pass-at-k", "say with --success-at SCORE from which score on a run"),
        ("pass-at-k --success-at 0 --k 0", "k must be a number of trials from 1"),
    ],
)
def test_a_question_without_an_answer_is_a_usage_error(
    ask: Call, words: str, said: str
) -> None:
    answer = ask("stats", *words.split())
    assert answer.code == 2
    assert said in answer.err
    assert answer.out == ""


def test_an_unknown_project_is_not_found(ask: Call) -> None:
    answer = ask("stats", "iqm", "--project", "mase")
    assert answer.code == 5
    assert "no run of project 'mase'; did you mean 'maze'?" in answer.err


def test_a_filter_that_admits_nothing_is_noted(ask: Call) -> None:
    answer = ask("stats", "iqm", "--state", "running", *JSON)
    assert answer.code == 0
    assert rows(answer.out) == []
    assert answer.err.startswith("no run has a group and is admitted")


def test_without_a_single_analysis_the_question_must_be_whole(
    refreshed: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from run_assets.errors import UsageError

    nothing = refreshed.config.model_copy(update={"analyses": ()})
    monkeypatch.setattr(refreshed, "config", nothing)
    with pytest.raises(UsageError, match="say which runs are compared: --metric and"):
        asked_analysis(refreshed, None, {"group": "config.algorithm"})
    asked = {"group": "config.algorithm", "score.metric": "reward"}
    assert asked_analysis(refreshed, None, asked).name == "ad hoc"


def test_the_notebook_of_the_statistics_page_runs(
    refreshed: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[3] / "docs" / "statistics.md"
    code = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)[1]
    (tmp_path / "lab").symlink_to(refreshed.config.root)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, str(page), "exec"), names)
    assert set(names["iqm"]["group_name"]) == {"a", "b"}
    assert names["gaps"]["gap_rate"].is_not_null().all()
    assert names["comparisons"].height == 1
    assert names["wins"].height == 2
    assert names["plan"].height == 2
    assert pl.read_csv("iqm.csv").height == names["iqm"].height
    assert pl.read_parquet("profiles.parquet").equals(names["profiles"])
