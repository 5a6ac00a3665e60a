"""Names, wildcards and groups of metrics."""

import time

import pytest

from run_assets.derived.metric_groups import DEFAULT_METRIC_GROUPS, expand, match
from run_assets.errors import UsageError

LOGGED = [
    "trainer/loss",
    "trainer/policy_loss",
    "x/trainer/loss",
    "env_agent/actions_taken/move",
    "env_agent/actions_taken/attack",
    "weights[0]",
    "weights0",
]


def test_the_six_groups_of_the_toolkit_are_there() -> None:
    assert set(DEFAULT_METRIC_GROUPS) == {
        "training_core",
        "training_stats",
        "agent_behavior",
        "eval_navigation",
        "eval_memory",
        "system_metrics",
    }
    assert sum(map(len, DEFAULT_METRIC_GROUPS.values())) == 23


def test_a_group_gives_what_was_logged_of_it_in_its_order() -> None:
    names = ["@agent_behavior", "@training_core"]
    assert expand(names, groups={}, available=LOGGED) == [
        "env_agent/actions_taken/attack",
        "env_agent/actions_taken/move",
        "trainer/loss",
        "trainer/policy_loss",
    ]


def test_a_group_of_ones_own_replaces_the_default() -> None:
    groups = {"training_core": ["x/*"]}
    assert expand(["@training_core"], groups=groups, available=LOGGED) == [
        "x/trainer/loss"
    ]


def test_groups_may_hold_groups_and_a_metric_comes_once() -> None:
    groups = {"all": ["@inner", "trainer/*", "@inner"], "inner": ["trainer/loss"]}
    assert expand(["@all", "trainer/loss"], groups=groups, available=LOGGED) == [
        "trainer/loss",
        "trainer/policy_loss",
    ]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("trainer/*", ["trainer/loss", "trainer/policy_loss"]),
        ("loss", []),
        ("Trainer/*", []),
        ("t.ainer/loss", []),
        ("trainer/los?", ["trainer/loss"]),
        ("*", sorted(LOGGED)),
        ("weights[0]", ["weights[0]"]),
        ("weights[0-9]", ["weights0"]),
    ],
)
def test_wildcards_are_anchored_and_know_upper_case(
    pattern: str, matches: list[str]
) -> None:
    expansion = match([pattern], groups={}, available=LOGGED)
    assert expansion.metrics == matches
    assert expansion.unmatched == ([] if matches else [pattern])


def test_what_matched_nothing_is_reported() -> None:
    names = ["trainer/loss", "nosuch/*", "@eval_memory"]
    assert match(names, groups={}, available=LOGGED).unmatched == [
        "nosuch/*",
        *DEFAULT_METRIC_GROUPS["eval_memory"],
    ]


def test_a_name_written_out_must_exist() -> None:
    with pytest.raises(UsageError, match="did you mean 'trainer/loss'"):
        expand(["trainer/los"], groups={}, available=LOGGED)
    assert expand(["nosuch/*", "@eval_memory"], groups={}, available=LOGGED) == []


@pytest.mark.parametrize("groups", [{}, {"mine": ["@trainig_core"]}])
def test_an_unknown_group_gets_a_suggestion(groups: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError, match="did you mean '@training_core'"):
        expand(["@trainig_core", "@mine"], groups=groups, available=LOGGED)


@pytest.mark.parametrize(
    "groups", [{"a": ["@a"]}, {"a": ["@b"], "b": ["x", "@c"], "c": ["@a"]}]
)
def test_groups_in_a_circle_are_refused(groups: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError, match="in a circle: @"):
        expand(["@a"], groups=groups, available=LOGGED)


def test_doubling_groups_and_many_stars_stay_cheap() -> None:
    doubling = {"g0": LOGGED} | {
        f"g{level}": [f"@g{level - 1}", f"@g{level - 1}"] for level in range(1, 2000)
    }
    long_name = "a" * 2000 + "b"
    start = time.process_time()
    found = expand(["@g1999", "*a" * 200 + "*c"], groups=doubling, available=LOGGED)
    assert expand(["a*" * 60 + "c"], groups={}, available=[long_name]) == []
    assert found == LOGGED
    assert time.process_time() - start < 0.5


def test_empty_wishes_are_empty() -> None:
    assert expand([], groups={}, available=LOGGED) == []
    assert expand(["*"], groups={"none": []}, available=[]) == []
