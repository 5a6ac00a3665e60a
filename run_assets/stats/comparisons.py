"""Pairs of groups compared: test, corrected p-value, mean difference, effect size."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from run_assets.errors import UsageError
from run_assets.stats.corrections import CORRECTIONS, adjust_p_values
from run_assets.stats.options import check_choice, check_confidence
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    read_groups,
    select_group,
)
from run_assets.stats.significance import (
    EFFECTS,
    TESTS,
    Samples,
    TestResult,
    mean_difference,
    smallest_p_value,
)

SCHEMA = {
    "group_x": pl.String,
    "group_y": pl.String,
    "test": pl.String,
    "statistic": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "correction": pl.String,
    "mean_difference": pl.Float64,
    "effect": pl.String,
    "effect_size": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "n_x": pl.Int64,
    "n_y": pl.Int64,
    "notes": pl.String,
}

_PAIRED_ONLY = ("wilcoxon",)
_UNPAIRED_ONLY = ("mannwhitney", "welch")

Row = dict[str, object]


@dataclass(frozen=True)
class _Comparison:
    """How two groups are compared, checked."""

    test: str
    effect: str
    confidence: float
    keys: tuple[str, ...]  # columns that make a pair; empty when unpaired


def compare_groups(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    test: str = "wilcoxon",
    correction: str = "holm",
    paired_by: str | None = None,
    effect: str = "cohen_d",
    confidence: float = 0.95,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> pl.DataFrame:
    """Compare groups two by two, with p-values corrected over all pairs compared.

    What is compared depends on ``paired_by``. Unpaired: the runs; the scores of a run
    in several tasks are averaged first. Paired by the task: the mean of each task over
    its runs. Paired by another column (a seed): the mean of each task and key.
    ``wilcoxon`` is always paired, by the task unless told otherwise.

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one task.
        score: Column with the number.
        replicate: Column with the independent run, or None when each row is one.
        test: ``wilcoxon`` (paired), ``mannwhitney`` or ``welch`` (unpaired), ``ttest``
            (either). All two-sided.
        correction: ``holm``, ``bonferroni``, ``bh`` or ``none``.
        paired_by: Column that tells which values belong together, ``"task"`` for the
            task column whatever its name, or None.
        effect: ``cohen_d`` or ``cliffs_delta`` of the values compared.
        confidence: Nominal coverage of the t interval of the mean difference (paired,
            Student's for an unpaired ``ttest``, Welch's for the others), in (0, 1). It
            is not corrected for the number of comparisons.
        pairs: Which groups to compare; all unordered pairs when None.

    Returns:
        One row per pair with the columns of ``SCHEMA``; differences are x minus y,
        ``n_x`` and ``n_y`` count the values compared. A test that cannot be made has
        nulls, a reason in ``notes``, and no part in the correction.

    Raises:
        UsageError: An option, column or group is unknown, or the test cannot be paired
            as asked.

    >>> scores = pl.DataFrame({
    ...     "group_name": ["a"] * 3 + ["b"] * 3, "score": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    ... })
    >>> compare_groups(scores, task=None, replicate=None, test="mannwhitney").select(
    ...     "group_x", "group_y", "statistic", "p_value", "mean_difference", "notes"
    ... ).row(0)
    ('a', 'b', 0.0, 0.1, -3.0, 'at these sizes p cannot be below 0.1')
    """
    check_choice("test", test, tuple(TESTS))
    check_choice("correction", correction, CORRECTIONS)
    check_choice("effect", effect, tuple(EFFECTS))
    check_confidence(confidence)
    keys = _pair_keys(test, paired_by, task)
    how = _Comparison(test, effect, confidence, keys)
    pair_column = paired_by if "pair" in keys else None
    columns = ScoreColumns(group, task, score, replicate, pair_column)
    groups = {item.name: item for item in read_groups(scores, columns)}
    chosen = combinations(groups, 2) if pairs is None else pairs
    rows = [
        _compare(select_group(groups, x), select_group(groups, y), how)
        for x, y in chosen
    ]
    return _corrected(pl.DataFrame(rows, schema=SCHEMA), correction)


def _pair_keys(test: str, paired_by: str | None, task: str | None) -> tuple[str, ...]:
    """The canonical columns that make a pair; empty for an unpaired comparison."""
    if paired_by is None and test not in _PAIRED_ONLY:
        return ()
    if test in _UNPAIRED_ONLY:
        message = (
            f"test {test!r} compares unpaired runs, got paired_by={paired_by!r}; "
            "drop paired_by, or use wilcoxon or ttest"
        )
        raise UsageError(message)
    if paired_by in {None, "task", task}:
        return ("task",)
    return ("task", "pair")


def _corrected(rows: pl.DataFrame, correction: str) -> pl.DataFrame:
    adjusted = adjust_p_values(rows["p_value"].to_list(), correction=correction)
    return rows.with_columns(
        pl.lit(correction).alias("correction"),
        pl.Series("p_adjusted", adjusted, dtype=pl.Float64),
    )


def _compare(x: GroupScores, y: GroupScores, how: _Comparison) -> Row:
    samples, notes = _paired(x, y, how.keys) if how.keys else _unpaired(x, y)
    named = [f"{item.name}: {note}" for item in (x, y) for note in item.notes]
    return {
        "group_x": x.name,
        "group_y": y.name,
        "test": how.test,
        "effect": how.effect,
        "confidence": how.confidence,
        "n_x": samples.x.size,
        "n_y": samples.y.size,
        **_results(samples, how, [*named, *notes]),
    }


def _results(samples: Samples, how: _Comparison, notes: Sequence[str]) -> Row:
    smaller = min(samples.x.size, samples.y.size)
    if smaller < 2:
        unit = "pair" if samples.paired else "run in a group"
        reason = f"no test: {smaller or 'no'} {unit}, at least 2 are needed"
        difference = samples.x.mean() - samples.y.mean() if smaller else None
        return {"mean_difference": difference, "notes": "; ".join([*notes, reason])}
    difference = mean_difference(samples, equal_variances=how.test == "ttest")
    result = TESTS[how.test](samples)
    size = EFFECTS[how.effect](samples)
    low, high = (
        difference.interval(how.confidence)
        if difference.standard_error > 0
        else (None, None)
    )
    warnings = _warnings(samples, how, result)
    if size is None:
        warnings.append("no effect size: the values do not scatter")
    return {
        "statistic": result.statistic,
        "p_value": result.p_value,
        "mean_difference": difference.difference,
        "effect_size": size,
        "ci_low": low,
        "ci_high": high,
        "notes": "; ".join([*notes, *result.notes, *warnings]),
    }


def _warnings(samples: Samples, how: _Comparison, result: TestResult) -> list[str]:
    floor = smallest_p_value(how.test, samples)
    if result.p_value is None or floor <= 1 - how.confidence:
        return []
    return [f"at these sizes p cannot be below {floor:.3g}"]


def _unpaired(x: GroupScores, y: GroupScores) -> tuple[Samples, list[str]]:
    sides = [_run_means(item) for item in (x, y)]
    notes = []
    if set(x.runs["task"]) != set(y.runs["task"]):
        notes.append("the groups were not scored on the same tasks")
    if any(
        side.len() < item.runs.height for side, item in zip(sides, (x, y), strict=True)
    ):
        notes.append("scores of a run were averaged over its tasks")
    return Samples(sides[0].to_numpy(), sides[1].to_numpy(), paired=False), notes


def _run_means(group: GroupScores) -> pl.Series:
    means = group.runs.group_by("run", maintain_order=True).agg(pl.col("score").mean())
    return means["score"].sort()


def _paired(
    x: GroupScores, y: GroupScores, keys: Sequence[str]
) -> tuple[Samples, list[str]]:
    sides = [
        item.runs.group_by(keys, maintain_order=True).agg(pl.col("score").mean())
        for item in (x, y)
    ]
    pairs = sides[0].join(sides[1], on=list(keys), nulls_equal=True, suffix="_y")
    pairs = pairs.sort(keys)
    alone = sides[0].height + sides[1].height - 2 * pairs.height
    unit = "task" if keys == ("task",) else "value"
    notes = [f"{alone} {unit}(s) without a partner left out"] if alone else []
    values = (pairs["score"].to_numpy(), pairs["score_y"].to_numpy())
    return Samples(*values, paired=True), notes
