"""Paired differences over items: pairing, clusters, and what is refused."""

import math

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.paired import SCHEMA

Rows = list[tuple[str, str, str, float | None]]


def frame(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=["group_name", "question", "text", "score"], orient="row"
    )


def answers(**groups: list[float]) -> pl.DataFrame:
    """Item i of every group; two items a text."""
    rows: Rows = [
        (group, f"q{i}", f"text {i // 2}", float(value))
        for group, values in groups.items()
        for i, value in enumerate(values)
    ]
    return frame(rows)


NEW = [3.0, 5, 4, 8, 6, 9]
OLD = [1.0, 4, 4, 5, 5, 6]


def test_the_difference_and_its_error_are_those_of_the_pairs() -> None:
    result = stats.paired_difference(answers(new=NEW, old=OLD), item="question")
    assert result.schema == SCHEMA
    row = result.row(0, named=True)
    differences = [2, 1, 0, 3, 1, 3]
    mean = sum(differences) / 6
    spread = math.sqrt(sum((one - mean) ** 2 for one in differences) / 5)
    assert row["estimate"] == pytest.approx(mean)
    assert row["standard_error"] == pytest.approx(spread / math.sqrt(6))
    assert row["standard_error"] < row["unpaired_standard_error"]
    assert row["correlation"] > 0.7
    assert (row["n_items"], row["n_clusters"]) == (6, 6)
    assert row["ci_low"] < mean < row["ci_high"]
    assert row["p_value"] == row["p_adjusted"]


def test_clusters_count_by_their_sums() -> None:
    scores = answers(new=NEW, old=OLD)
    row = stats.paired_difference(scores, item="question", cluster="text").row(
        0, named=True
    )
    # Differences by text: 2 1 | 0 3 | 1 3, mean 5/3; sums of distances -1/3, -1/3, 2/3.
    squares = (1 + 1 + 4) / 9
    assert row["standard_error"] == pytest.approx(math.sqrt(squares * 3 / 2) / 6)
    assert row["n_clusters"] == 3
    assert row["notes"] == "few clusters (3): the true error may be larger"


def test_repeated_trials_of_an_item_are_one_value() -> None:
    twice = pl.concat([answers(new=NEW, old=OLD), answers(new=NEW)])
    row = stats.paired_difference(twice, item="question").row(0, named=True)
    once = stats.paired_difference(answers(new=NEW, old=OLD), item="question")
    assert row["estimate"] == once["estimate"].item()
    assert row["notes"] == "new: 12 rows averaged into 6 items"


def test_items_without_a_partner_and_missing_scores_are_left_out_and_counted() -> None:
    scores = answers(new=[*NEW, 1.0, math.nan], old=OLD)
    row = stats.paired_difference(scores, item="question").row(0, named=True)
    assert row["n_items"] == 6
    assert row["notes"] == (
        "new: 1 of 8 scores left out (1 missing); 1 item(s) without a partner left out"
    )


@pytest.mark.parametrize(
    ("new", "old", "reason"),
    [
        ([], [1.0], "no item in common"),
        ([1.0], [2.0], "no interval: one item"),
        ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], "no test: the differences do not scatter"),
    ],
)
def test_what_cannot_be_tested_says_why(
    new: list[float], old: list[float], reason: str
) -> None:
    scores = answers(new=[*new, math.nan], old=old)
    row = stats.paired_difference(scores, item="question").row(0, named=True)
    assert (row["p_value"], row["ci_low"]) == (None, None)
    assert reason in row["notes"]


def test_one_cluster_has_no_interval() -> None:
    scores = answers(new=NEW[:2], old=OLD[:2])
    row = stats.paired_difference(scores, item="question", cluster="text").row(
        0, named=True
    )
    assert row["estimate"] == 1.5
    assert row["notes"] == "no interval: one cluster"


def test_scores_without_spread_have_no_correlation() -> None:
    scores = answers(new=[1.0, 1.0, 1.0], old=[0.0, 1.0, 0.0])
    row = stats.paired_difference(scores, item="question").row(0, named=True)
    assert row["correlation"] is None
    assert row["p_value"] is not None


def test_p_values_are_corrected_over_all_pairs() -> None:
    scores = answers(a=NEW, b=OLD, c=[2, 4, 5, 6, 6, 7])
    result = stats.paired_difference(scores, item="question", correction="bonferroni")
    expected = [min(1.0, 3 * p) for p in result["p_value"]]
    assert result["p_adjusted"].to_list() == pytest.approx(expected)
    chosen = stats.paired_difference(scores, item="question", pairs=[("c", "a")])
    assert chosen.select("group_x", "group_y").rows() == [("c", "a")]


def test_an_empty_frame_has_no_pairs() -> None:
    empty = answers(a=[1.0]).clear()
    assert stats.paired_difference(empty, item="question").schema == SCHEMA


def test_an_item_in_two_clusters_is_refused() -> None:
    torn = frame([("a", "q1", "one", 1.0), ("b", "q1", "two", 1.0)])
    with pytest.raises(UsageError, match="item 'q1' in several of 'text'"):
        stats.paired_difference(torn, item="question", cluster="text")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"item": "questions"}, "no column 'questions'; did you mean 'question'"),
        ({"cluster": "txt"}, "no column 'txt'; did you mean 'text'"),
        ({"correction": "fdr"}, "unknown correction 'fdr'"),
        ({"confidence": 95}, "confidence must be between 0 and 1"),
        ({"pairs": [("a", "c")]}, "no group 'c' in the scores"),
    ],
)
def test_options_without_meaning_are_refused(
    options: dict[str, object], message: str
) -> None:
    given = {"item": "question", **options}
    with pytest.raises(UsageError, match=message):
        stats.paired_difference(answers(a=[1.0], b=[2.0]), **given)  # type: ignore[arg-type]  # on purpose
