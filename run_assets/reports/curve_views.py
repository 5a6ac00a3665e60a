"""The section on predicted training curves: sentences and tables, no plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from run_assets.reports.curve_content import STACK, WITHOUT, CurveContent
from run_assets.reports.text import NOTHING, count, number
from run_assets.reports.views import Cell, Column, Sentence, TableView, name

_PLACES = 3
_LEARNED = "variational"
_MOST_CLIPPED = 5


@dataclass(frozen=True)
class CurveView:
    """The section, ready to be written.

    Attributes:
        question: What is predicted.
        verdicts: How good that is, a sentence each.
        tables: Scores, running runs, environments, suggestions, features.
    """

    question: Sentence
    verdicts: tuple[Sentence, ...]
    tables: tuple[TableView, ...]


def curve_view(content: CurveContent, max_rows: int) -> CurveView:
    """Everything the section says.

    Args:
        content: Its frames.
        max_rows: Rows shown of a table.
    """
    question: Sentence = (
        "Training curves of ",
        name(content.settings.metric),
        " predicted from configurations, on shares of the planned budget.",
    )
    if not content.is_trained:
        hint = "No model was trained yet: `run-assets curves train` trains one."
        return CurveView(question, ((hint,),), ())
    found = (
        *(_scores(content, one, max_rows) for one in content.situations),
        _outlooks(content, max_rows),
        _difficulty(content, max_rows),
        _suggestions(content, max_rows),
        _importances(content, max_rows),
    )
    tables = tuple(one for one in found if one is not None)
    return CurveView(question, _verdicts(content), tables)


def _verdicts(content: CurveContent) -> tuple[Sentence, ...]:
    said: list[Sentence] = []
    for situation in content.situations:
        rows = {row["model"]: row for row in content.whole(situation).to_dicts()}
        stack = rows[STACK]
        text = (
            f"{situation.capitalize()}: the stack explains "
            f"{number(100 * stack['r_squared'], 0)} % of what differs between held-out "
            f"curves; {number(100 * stack['coverage_rate'], 0)} % of their points lie "
            f"in its {content.settings.model.confidence:.0%} intervals."
        )
        said.append((text,))
        said.append((ablation_sentence(rows),))
    said += [
        ("The member ", name(one), f" was left out: {why}.")
        for one, why in sorted(content.left_out.items())
    ]
    return (*said, *_clipped(content.clipped_runs))


def _clipped(run_paths: Sequence[str]) -> tuple[Sentence, ...]:
    """Runs that diverged: they count, but not a hundred times."""
    if not run_paths:
        return ()
    shown = [name(one) for one in run_paths[:_MOST_CLIPPED]]
    listed = [part for one in shown for part in (one, ", ")][:-1]
    more = len(run_paths) - len(shown)
    head = (
        f"Rewards of {count(len(run_paths), 'run')} lie far beyond those of the "
        "others and were clipped before training: "
    )
    return ((head, *listed, f" and {more:,} more." if more else "."),)


def ablation_sentence(rows: dict[str, dict[str, Any]]) -> str:
    """Whether the variational member helps, whichever way that is.

    >>> told = {"stack": {"crps": 0.09}, "stack without variational": {"crps": 0.1}}
    >>> ablation_sentence(told)
    'The variational member helps: without it the error (CRPS) is 11.1 % larger.'
    """
    without = rows.get(f"{WITHOUT}{_LEARNED}")
    if without is None:
        return "The model has no variational member."
    change = without["crps"] / rows[STACK]["crps"] - 1
    if change <= 0:
        return (
            "The variational member does not help here: without it the error (CRPS) is "
            f"{-100 * change:.1f} % smaller."
        )
    return (
        "The variational member helps: without it the error (CRPS) is "
        f"{100 * change:.1f} % larger."
    )


def _scores(content: CurveContent, situation: str, max_rows: int) -> TableView:
    rows = content.whole(situation).sort("crps", "model")
    return _table(
        rows,
        (
            ("Model", "name", "model"),
            ("CRPS", "number", "crps"),
            ("R2", "number", "r_squared"),
            ("Rank correlation", "number", "rank_correlation"),
            ("Coverage", "number", "coverage_rate"),
            ("Weight", "number", "weight"),
        ),
        f"Held-out forecasts: {situation}",
        "curves.evaluation",
        max_rows,
    )


def _outlooks(content: CurveContent, max_rows: int) -> TableView | None:
    rows = content.tables["curves.outlooks"].sort(
        "probability_improvement", "run_path", descending=[True, False], nulls_last=True
    )
    columns = (
        ("Run", "name", "run_path"),
        ("Trained", "number", "observed_fraction"),
        ("Final", "number", "predicted_final"),
        ("From", "number", "predicted_low"),
        ("To", "number", "predicted_high"),
        ("Best so far", "number", "best_so_far"),
        ("P(better)", "number", "probability_improvement"),
    )
    return _or_none(rows, columns, "Running runs", "curves.outlooks", max_rows)


def _difficulty(content: CurveContent, max_rows: int) -> TableView | None:
    columns = (
        ("Environment", "name", "environment"),
        ("Difficulty", "number", "difficulty"),
        ("Final, expected", "number", "predicted_final"),
        ("Final, observed", "number", "observed_final"),
        ("Driven by", "name", "driver"),
        ("Failed at once", "number", "failure_rate"),
    )
    rows = content.tables["curves.difficulty"].sort("rank", "environment")
    return _or_none(
        rows, columns, "Environments, easy to hard", "curves.difficulty", max_rows
    )


def _suggestions(content: CurveContent, max_rows: int) -> TableView | None:
    columns = (
        ("Environment", "name", "environment"),
        ("Configuration", "name", "config_json"),
        ("Expected gain", "number", "expected_improvement"),
        ("P(better)", "number", "probability_improvement"),
        ("Best so far", "number", "best_so_far"),
    )
    rows = content.tables["curves.suggestions"].filter(position=1)
    ordered = rows.sort("expected_improvement", "environment", descending=[True, False])
    return _or_none(
        ordered, columns, "Worth trying next", "curves.suggestions", max_rows
    )


def _importances(content: CurveContent, max_rows: int) -> TableView | None:
    columns = (
        ("Feature", "name", "feature"),
        ("Role", "text", "role"),
        ("Importance", "number", "importance"),
        ("Direction", "number", "direction_correlation"),
    )
    rows = content.tables["curves.importances"].sort(
        "importance", "feature", descending=[True, False]
    )
    title = "What final rewards depend on"
    return _or_none(rows, columns, title, "curves.importances", max_rows)


_Columns = Sequence[tuple[str, str, str]]


def _or_none(
    rows: pl.DataFrame, columns: _Columns, title: str, address: str, max_rows: int
) -> TableView | None:
    if rows.is_empty():
        return None
    return _table(rows, columns, title, address, max_rows)


def _table(
    rows: pl.DataFrame, columns: _Columns, title: str, address: str, max_rows: int
) -> TableView:
    heads: list[Column] = [(head, kind) for head, kind, _ in columns]  # type: ignore[misc]
    shown = rows.head(max_rows).to_dicts()
    return TableView(
        title=title,
        columns=tuple(heads),
        rows=tuple(
            tuple(_cell(row[key], kind) for _, kind, key in columns) for row in shown
        ),
        n_rows=rows.height,
        address=address,
    )


def _cell(value: Any, kind: str) -> Cell:
    if value is None:
        return Cell(NOTHING)
    if kind == "number":
        return Cell(number(value, _PLACES))
    return Cell(name(str(value), 80) if kind == "name" else str(value))
