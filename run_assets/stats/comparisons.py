"""Pairs of groups compared: test, corrected p-value, mean difference, effect size."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Required, TypedDict

import polars as pl

from run_assets.errors import UsageError
from run_assets.stats.corrections import CORRECTIONS, adjust_p_values
from run_assets.stats.options import (
    check_choice,
    check_confidence,
    check_resampling,
)
from run_assets.stats.permutation import (
    arrangements,
    paired_permutation_test,
    permutation_test,
    smallest_permutation_p,
)
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    check_group,
    read_groups,
)
from run_assets.stats.significance import (
    ALTERNATIVES,
    EFFECTS,
    MeanDifference,
    Samples,
    TestResult,
    mean_difference,
    smallest_p_value,
)
from run_assets.stats.significance import TESTS as OTHER_TESTS
from run_assets.stats.stratified import (
    Stratified,
    stratified,
    stratified_cliffs_delta,
    stratified_cohen_d,
    stratified_difference,
)

SCHEMA = {
    "group_x": pl.String,
    "group_y": pl.String,
    "test": pl.String,
    "alternative": pl.String,
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

TESTS = (*OTHER_TESTS, "permutation")

_PAIRED_ONLY = ("wilcoxon",)
_UNPAIRED_ONLY = ("mannwhitney", "welch")
_STRATIFIED_EFFECTS: Mapping[str, Callable[[Stratified], float | None]] = {
    "cohen_d": stratified_cohen_d,
    "cliffs_delta": stratified_cliffs_delta,
}

Row = dict[str, object]


@dataclass(frozen=True)
class _Comparison:
    """How two groups are compared, checked."""

    test: str
    alternative: str
    effect: str
    confidence: float
    keys: tuple[str, ...]  # columns that make a pair; empty when unpaired
    resamples: int
    seed: int


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
    alternative: str = "two-sided",
    confidence: float = 0.95,
    pairs: Sequence[tuple[str, str]] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Compare groups two by two, with p-values corrected over all pairs compared.

    What is compared depends on ``paired_by``. Unpaired: the runs; the scores of a run
    in several tasks are averaged first. Paired by the task: the mean of each task over
    its runs. Paired by another column (a seed): the mean of each task and key.
    ``wilcoxon`` is always paired, by the task unless told otherwise. ``permutation``
    compares task by task: labels of runs are exchanged within tasks, and difference,
    interval and effect size are means over the tasks that both groups have.

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one task.
        score: Column with the number.
        replicate: Column with the independent run, or None when each row is one.
        test: ``wilcoxon`` (paired), ``mannwhitney`` or ``welch`` (unpaired), ``ttest``
            or ``permutation`` (either).
        correction: ``holm``, ``bonferroni``, ``bh`` or ``none``.
        paired_by: Column that tells which values belong together, ``"task"`` for the
            task column whatever its name, or None.
        effect: ``cohen_d`` or ``cliffs_delta`` of the values compared.
        alternative: ``two-sided``; ``less`` or ``greater`` to ask only whether x is
            below or above y, decided before the data were seen.
        confidence: Nominal coverage of the t interval of the mean difference (paired,
            Student's for an unpaired ``ttest``, Welch's for the others), in (0, 1). It
            has two ends whatever the alternative, and is not corrected for the number
            of comparisons.
        pairs: Which groups to compare; all unordered pairs when None.
        resamples: Of ``permutation``: exact up to this many arrangements, beyond it
            that many at random. p cannot be below about 1 / resamples then.
        seed: Of ``permutation``, from 0 to 2**63 - 1; the same seed, the same bytes.

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
    check_choice("test", test, TESTS)
    check_choice("correction", correction, CORRECTIONS)
    check_choice("effect", effect, tuple(EFFECTS))
    check_choice("alternative", alternative, ALTERNATIVES)
    check_confidence(confidence)
    check_resampling(resamples, seed)
    keys = _pair_keys(test, paired_by, task)
    how = _Comparison(test, alternative, effect, confidence, keys, resamples, seed)
    pair_column = paired_by if "pair" in keys else None
    columns = ScoreColumns(group, task, score, replicate, pair_column)
    groups = {item.name: item for item in read_groups(scores, columns)}
    rows = [_compare(groups[x], groups[y], how) for x, y in chosen_pairs(groups, pairs)]
    return _corrected(pl.DataFrame(rows, schema=SCHEMA), correction)


def chosen_pairs(
    groups: Collection[str], pairs: Sequence[tuple[str, str]] | None
) -> list[tuple[str, str]]:
    """The pairs asked for, all unordered pairs when None.

    Raises:
        UsageError: A group is unknown, or is to be compared with itself.
    """
    chosen = list(combinations(groups, 2)) if pairs is None else list(pairs)
    for name in (name for pair in chosen for name in pair):
        check_group(name, groups)
    if same := [x for x, y in chosen if x == y]:
        message = f"a group cannot be compared with itself, got {same[0]!r} twice"
        raise UsageError(message)
    return chosen


def _pair_keys(test: str, paired_by: str | None, task: str | None) -> tuple[str, ...]:
    """The canonical columns that make a pair; empty for an unpaired comparison."""
    if paired_by is None and test not in _PAIRED_ONLY:
        return ()
    if test in _UNPAIRED_ONLY:
        message = (
            f"test {test!r} compares unpaired runs, got paired_by={paired_by!r}; "
            "drop paired_by, or use wilcoxon, ttest or permutation"
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
    if how.test == "permutation" and not how.keys:
        (n_x, n_y), results = _by_task(x, y, how)
    else:
        samples, notes = _paired(x, y, how.keys) if how.keys else _unpaired(x, y)
        n_x, n_y = samples.x.size, samples.y.size
        results = _results(samples, how, notes)
    named = [f"{item.name}: {note}" for item in (x, y) for note in item.notes]
    return {
        "group_x": x.name,
        "group_y": y.name,
        "test": how.test,
        "alternative": how.alternative,
        "effect": how.effect,
        "confidence": how.confidence,
        "n_x": n_x,
        "n_y": n_y,
        **results,
        "notes": "; ".join([*named, *results["notes"]]),
    }


class _Results(TypedDict, total=False):
    statistic: float | None
    p_value: float | None
    mean_difference: float | None
    effect_size: float | None
    ci_low: float | None
    ci_high: float | None
    notes: Required[list[str]]


def _results(samples: Samples, how: _Comparison, notes: Sequence[str]) -> _Results:
    smaller = min(samples.x.size, samples.y.size)
    if smaller < 2:
        unit = "pair" if samples.paired else "run in a group"
        reason = f"no test: {smaller or 'no'} {unit}, at least 2 are needed"
        difference = samples.x.mean() - samples.y.mean() if smaller else None
        return {"mean_difference": difference, "notes": [*notes, reason]}
    return _told(
        _tested(samples, how),
        mean_difference(samples, equal_variances=how.test == "ttest"),
        EFFECTS[how.effect](samples),
        how,
        notes,
    )


def _tested(samples: Samples, how: _Comparison) -> TestResult:
    if how.test != "permutation":
        result = OTHER_TESTS[how.test](samples, how.alternative)
        floor = smallest_p_value(how.test, samples, how.alternative)
        return _with_floor(result, floor, how)
    result = paired_permutation_test(
        samples, how.alternative, resamples=how.resamples, seed=how.seed
    )
    return _with_floor(result, _permutation_floor(samples, how), how)


def _by_task(
    x: GroupScores, y: GroupScores, how: _Comparison
) -> tuple[tuple[int, int], _Results]:
    """The permutation test of runs, and what it needs to be made."""
    samples = stratified(x.runs, y.runs)
    alone = len(set(x.runs["task"]) ^ set(y.runs["task"]))
    notes = [f"{alone} task(s) that one group lacks left out"] if alone else []
    if not samples.tasks:
        return samples.n_runs, {"notes": [*notes, "no test: no task in common"]}
    result = permutation_test(
        samples, how.alternative, resamples=how.resamples, seed=how.seed
    )
    difference = stratified_difference(samples)
    if difference.standard_error == 0:
        notes.append("no interval: runs that do not scatter, or are alone in a task")
    told = _told(
        _with_floor(result, _permutation_floor(samples, how), how),
        difference,
        _STRATIFIED_EFFECTS[how.effect](samples),
        how,
        notes,
    )
    return samples.n_runs, told


def _told(
    result: TestResult,
    difference: MeanDifference,
    size: float | None,
    how: _Comparison,
    notes: Sequence[str],
) -> _Results:
    has_interval = difference.standard_error > 0
    low, high = difference.interval(how.confidence) if has_interval else (None, None)
    lacking = [] if size is not None else ["no effect size: the values do not scatter"]
    return {
        "statistic": result.statistic,
        "p_value": result.p_value,
        "mean_difference": difference.difference,
        "effect_size": size,
        "ci_low": low,
        "ci_high": high,
        "notes": [*notes, *result.notes, *lacking],
    }


def _permutation_floor(samples: Samples | Stratified, how: _Comparison) -> float:
    return smallest_permutation_p(arrangements(samples), how.alternative, how.resamples)


def _with_floor(result: TestResult, floor: float, how: _Comparison) -> TestResult:
    """The result with a warning when no data could have given a small p-value."""
    if result.p_value is None or floor <= 1 - how.confidence:
        return result
    note = f"at these sizes p cannot be below {floor:.3g}"
    return replace(result, notes=(*result.notes, note))


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
