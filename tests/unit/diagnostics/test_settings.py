"""Selection, thresholds, parts and hostile names."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from run_assets.config import Diagnostics
from run_assets.diagnostics.diagnose import findings, settings
from run_assets.diagnostics.gathering import series_by_run
from run_assets.diagnostics.playbook import CHAPTERS
from run_assets.diagnostics.registry import FAMILIES, chosen, rules
from run_assets.diagnostics.roles import DEFAULT_ROLES, Parts, Role
from run_assets.errors import UsageError
from tests.unit.diagnostics.conftest import MakeRun

HOSTILE = ('a/b.c "d"\'; drop', "line\nbreak", "🎉", "*", "[a-z]", "x" * 300, "\x00")


def test_codes_are_stable_and_grouped_by_family() -> None:
    codes = list(rules())
    assert codes == sorted(codes)
    order = list(FAMILIES)
    places = [order.index(one.family) for one in rules().values()]
    assert places == sorted(places)
    assert len({one.name for one in rules().values()}) == len(codes)


def test_every_rule_stands_in_one_section_of_the_playbook() -> None:
    for code in rules():
        found = [one for one in CHAPTERS if code.startswith(one.codes or ("-",))]
        assert len(found) == 1, code


def test_every_part_of_the_playbook_is_declared() -> None:
    named = {role for chapter in CHAPTERS for role in chapter.roles}
    assert named <= set(DEFAULT_ROLES)


@pytest.mark.parametrize(
    ("select", "ignore", "count"),
    [(("RUN001",), (), 1), (("RUN00",), ("RUN001",), 6), (("cache",), (), 4)],
)
def test_rules_are_selected_by_code_beginning_or_family(
    select: tuple[str, ...], ignore: tuple[str, ...], count: int
) -> None:
    assert len(chosen(select, ignore)) == count


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"select": ["RUN9X"]}, "no rule and no family"),
        ({"ignore": ["loss-spikes"]}, "did you mean 'loss-spike'"),
        ({"thresholds": {"RUN001": {"ration": 2}}}, "did you mean 'ratio'"),
        ({"thresholds": {"RUN999": {"ratio": 2}}}, "no rule 'RUN999'"),
        ({"metrics": {"los": {"match": ["x"]}}}, "did you mean 'loss'"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(
    config: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        settings(Diagnostics(**config))


def test_a_threshold_by_name_counts_for_its_rule() -> None:
    asked = settings(Diagnostics(thresholds={"loss-spike": {"ratio": 9}}))
    assert asked.limits["RUN001"]["ratio"] == 9
    assert asked.limits["RUN001"]["score"] == 6


def test_a_direction_is_declared_or_the_rule_is_not_testable(make_run: MakeRun) -> None:
    falling = {"my_score": np.linspace(9, 0, 200)}
    config = {"select": ["RUN011"], "metrics": {"reward": {"match": ["my_score"]}}}

    def outcome(direction: str | None, **run: Any) -> str:
        role = {"match": ["my_score"], "direction": direction}
        asked = settings(Diagnostics(**{**config, "metrics": {"reward": role}}))
        rows = findings([make_run(falling, parts=asked.parts, **run)], asked)
        return str(rows.filter(metric="my_score")["outcome"].item())

    assert outcome("higher") == "fired"
    assert outcome("lower") == "clear"
    assert outcome("none") == "not_testable"
    assert outcome("none", goals={"my_score": "higher"}) == "fired"
    assert outcome(None) == "fired"  # the part's own direction


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metric_names_are_only_names(name: str, make_run: MakeRun) -> None:
    values = np.where(np.arange(100) == 50, np.inf, 1.0)
    run = make_run({name: values, "loss": np.ones(100)})
    asked = settings(Diagnostics())
    rows = findings([run], asked)
    found = rows.filter(rule_code="RUN003", outcome="fired")
    assert found["metric"].to_list() == [name]
    assert rows.select("run_path", "rule_code", "metric").is_duplicated().sum() == 0


def test_a_pattern_is_no_regular_expression() -> None:
    parts = Parts({"loss": Role(("(a+)+$", "x*", "[l]oss"))})
    known = ("a" * 60 + "!", "(a+)+$", "xyz", "loss", "[l]oss", "x\ny")
    assert parts.players("loss", known) == ("(a+)+$", "[l]oss", "loss", "x\ny", "xyz")


def test_series_are_cut_where_run_or_metric_changes_and_sorted_by_step() -> None:
    points = pl.DataFrame(
        {
            "run_path": ["b", "a", "a", "a", "b"],
            "metric": ["m", "m", "n", "m", "m"],
            "step": [2, 5, 1, 3, 1],
            "logged_at": [None] * 5,
            "value": [2.0, 5.0, 1.0, None, 1.0],
        },
        schema_overrides={"logged_at": pl.Datetime("us", "UTC")},
    )
    found = series_by_run(points, "step")
    assert found["a"]["m"].steps.tolist() == [3, 5]
    assert np.isnan(found["a"]["m"].values[0])
    assert found["b"]["m"].values.tolist() == [1.0, 2.0]
    assert found["a"]["n"].size == 1
    assert np.isnan(found["a"]["n"].seconds).all()
    assert series_by_run(points.clear(), "step") == {}


def test_a_run_without_anything_has_a_row_for_every_rule(make_run: MakeRun) -> None:
    rows = findings([make_run(state="unknown")], settings(Diagnostics()))
    assert set(rows["rule_code"]) == set(rules())
    told = rows.filter(outcome="not_testable")
    assert told["reason"].null_count() == 0
    assert set(rows["outcome"]) <= {"not_testable", "fired"}
