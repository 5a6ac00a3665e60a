"""Pictures of evaluations: what is drawn, what stays empty, hostile names."""

import re
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from run_assets.config_evaluations import Evaluations
from run_assets.reports.evaluation_content import (
    EvaluationContent,
    evaluation_of,
    shown_sweeps,
)
from run_assets.reports.evaluation_figures import (
    EVALUATION_PLOTS,
    evaluation_figures,
)
from run_assets.reports.evaluation_files import evaluation_files
from run_assets.reports.evaluation_tasks import task_heatmap
from run_assets.reports.evaluation_views import evaluation_view
from run_assets.stats.evaluation_answers import evaluation_rows
from run_assets.store.lake import empty
from run_assets.store.trial_marts import trial_marts
from tests.support.trials import START, Counts, trials_of

COUNTS = {
    ("a", "easy"): (7, 8),
    ("a", "hard"): (1, 8),
    ("b", "easy"): (4, 8),
    ("b", "only b"): (0, 8),
}
HOSTILE = '<script>alert(1)</script>"\x1b\u202e'


def content_of(trials: pl.DataFrame) -> EvaluationContent:
    marts = trial_marts(trials)

    def read(name: str) -> pl.DataFrame:
        if name == "core.trials":
            return trials
        if name in marts:
            return marts[name]
        rows = evaluation_rows(name, Evaluations(resamples=100), trials)
        return rows if rows.width else empty(name)

    return evaluation_of("*", read)


def spread(counts: Counts) -> pl.DataFrame:
    """Trials whose tokens and times differ."""
    trials = trials_of(counts)
    number = pl.int_range(pl.len())
    at = START + pl.duration(hours=number)
    return trials.with_columns(total_tokens=1000 + number, ended_at=at)


@pytest.fixture(scope="module")
def content() -> EvaluationContent:
    return content_of(spread(COUNTS))


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(svg).iter() if one.text]


@pytest.mark.parametrize("kind", EVALUATION_PLOTS)
def test_each_picture_is_drawn_for_both_pages_with_the_same_bytes(
    content: EvaluationContent, kind: str
) -> None:
    figure, again = (EVALUATION_PLOTS[kind](content) for _ in range(2))
    assert figure is not None
    assert again is not None
    assert (figure.svg, figure.narrow_svg) == (again.svg, again.narrow_svg)
    assert figure.kind == kind
    assert figure.svg != figure.narrow_svg
    assert "Numbers:" in figure.caption


def test_a_cell_that_was_never_run_is_empty_not_zero(
    content: EvaluationContent,
) -> None:
    figure = task_heatmap(content)
    assert figure is not None
    shares = [one for one in texts(figure.svg) if one.endswith("%")]
    assert sorted(shares) == ["0%", "12%", "50%", "88%"]  # of six cells four were run


def test_a_cell_that_was_stopped_early_shows_no_rate() -> None:
    whole = trials_of({("a", "t"): (2, 4)})
    stopped = trials_of({("a", "u"): (1, 1)}, is_stopped_early=True)
    figure = task_heatmap(content_of(pl.concat([whole, stopped])))
    assert figure is not None
    assert "•" in texts(figure.svg)
    assert "100%" not in texts(figure.svg)


def test_without_an_outcome_nothing_is_drawn() -> None:
    running = trials_of(COUNTS).with_columns(is_success=pl.lit(None, pl.Boolean))
    assert evaluation_figures(content_of(running)) == {}
    assert list(shown_sweeps(running)) == []


def test_one_trial_is_enough_for_every_picture_that_makes_sense() -> None:
    drawn = evaluation_figures(content_of(trials_of({("a", "t"): (1, 1)})))
    kinds = {one.kind for one in drawn.values()}
    assert kinds == set(EVALUATION_PLOTS) - {"learning_curves"}


def test_names_of_strangers_are_harmless() -> None:
    counts = {(HOSTILE, HOSTILE): (1, 8), (HOSTILE, "t"): (2, 8)}
    trials = spread(counts).with_columns(sweep_id=pl.lit(HOSTILE))
    found = content_of(trials)
    for figure in evaluation_figures(found).values():
        assert "<script" not in figure.svg
        assert re.fullmatch(r"[a-z0-9_-]+", figure.name)
    assert all("/" not in name for name in evaluation_files(found))


def test_a_table_cell_that_looks_like_a_formula_is_quoted() -> None:
    files = evaluation_files(content_of(trials_of({("=1+1", "t"): (1, 8)})))
    assert "'=1+1" in str(files["leaderboard.csv"])


def test_the_view_names_the_leader_and_what_did_not_count(
    content: EvaluationContent,
) -> None:
    view = evaluation_view(content, 20)
    assert view.headline[0] == "a"
    assert "32 trials with an outcome: 2 models on 3 tasks" in view.coverage[0]
    assert view.pairs is not None
    assert [row[0].text for row in view.models.rows] == ["a", "b"]
    assert [row[0].text for row in view.tasks.rows] == ["only b", "hard", "easy"]


def test_models_that_tie_are_both_named() -> None:
    counts = {("a", "t"): (4, 8), ("b", "t"): (4, 8)}
    view = evaluation_view(content_of(trials_of(counts)), 20)
    assert view.headline[0].startswith("Tied at the top: a and b.")


def test_stopped_cells_are_said_and_give_no_rank() -> None:
    trials = trials_of({("a", "t"): (1, 1)}, is_stopped_early=True)
    view = evaluation_view(content_of(trials), 20)
    assert "1 cell stopped at the first success" in view.coverage[0]
    assert view.headline[0].startswith("No ranking")


def test_the_newest_sweeps_are_shown_and_all_where_some_have_none() -> None:
    frames = [
        trials_of({("a", "t"): (1, 2)}, sweep_id=name, ended_at=START.replace(day=day))
        for day, name in enumerate(("s1", "s2", "s3", "s4", ""), start=3)
    ]
    assert list(shown_sweeps(pl.concat(frames))) == ["s4", "s3", "s2", "*"]
    assert list(shown_sweeps(pl.concat(frames[:2]))) == ["s2", "s1"]
