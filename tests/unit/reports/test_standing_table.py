"""Ranks, speed and gaps of the groups, where they are known."""

from dataclasses import replace

import polars as pl

from run_assets.reports.standing_table import standing_table, wins
from tests.support.report_content import frame, navigation

ANALYSIS = navigation()


def test_every_known_number_has_a_column() -> None:
    table = standing_table(ANALYSIS, 10)
    assert table is not None
    assert [heading for heading, _ in table.columns] == [
        "Group",
        "Rank",
        "Chance to be best",
        "Below the optimum",
        "Mean over training",
    ]
    first = [cell.text for cell in table.rows[0]]
    assert first == ["expected-sarsa", "1", "80%", "22.6%", "0.680"]


def test_what_is_not_known_has_no_column() -> None:
    without = replace(
        ANALYSIS,
        rank_stability=frame("stats.rank_stability"),
        optimality_gaps=frame("stats.optimality_gaps"),
    )
    table = standing_table(without, 2)
    assert table is not None
    assert [heading for heading, _ in table.columns] == ["Group", "Mean over training"]
    assert (len(table.rows), table.n_rows) == (2, 3)
    nothing = replace(without, sample_efficiency=frame("stats.sample_efficiency"))
    assert standing_table(nothing, 2) is None


def test_a_gap_without_a_rate_is_in_the_unit_of_the_score() -> None:
    gaps = ANALYSIS.optimality_gaps.with_columns(
        gap_rate=pl.lit(None, pl.Float64), gap=pl.col("gap") * 100
    )
    table = standing_table(replace(ANALYSIS, optimality_gaps=gaps), 10)
    assert table is not None
    assert table.rows[0][3].text == "22.6"


def test_ranks_without_numbers_are_dashes() -> None:
    ranks = ANALYSIS.rank_stability.with_columns(
        pl.lit(None, pl.Float64).alias(name)
        for name in ("rank", "rank_low", "rank_high", "probability_best")
    )
    table = standing_table(replace(ANALYSIS, rank_stability=ranks), 10)
    assert table is not None
    assert [cell.text for cell in table.rows[0][1:3]] == ["—", "—"]


def test_small_scores_that_are_good_have_no_ranks_here() -> None:
    small = replace(ANALYSIS, direction="minimize")
    assert standing_table(small, 10) is None
    assert wins(small) == {}


def test_wins_are_shares_with_intervals() -> None:
    won = wins(ANALYSIS)
    assert len(won) == 6
    assert won["expected-sarsa", "sarsa"].text == "88.2%"
    unsure = ANALYSIS.probability_of_improvement.with_columns(
        ci_low=pl.lit(None, pl.Float64)
    )
    open_ended = wins(replace(ANALYSIS, probability_of_improvement=unsure))
    assert {cell.detail for cell in open_ended.values()} == {"no interval"}
