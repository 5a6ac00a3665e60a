"""Who is best, by how much, and whether that is certain; pure rules, no text.

The rules are cautious on purpose: *better* needs the test **and** the interval to
agree, everything else is *unclear*, which does not mean *equal*.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from run_assets.reports.content import AnalysisContent, Changes, Direction, Estimate

Relation = Literal["better", "worse", "unclear"]
_OPPOSITE: dict[Relation, Relation] = {
    "better": "worse",
    "worse": "better",
    "unclear": "unclear",
}
Outcome = Literal["clear", "partial", "open", "alone", "empty"]


class Pair(NamedTuple):
    """One row of ``stats.comparisons``, seen from one of its two groups.

    Attributes:
        group: The group that is judged.
        other: The group it is compared with.
        difference: Mean score of ``group`` minus that of ``other``.
        low: Lower end of the interval of the difference.
        high: Upper end of the interval of the difference.
        p_adjusted: p-value corrected for all pairs; ``None`` where not testable.
        effect: Name of the effect size.
        effect_size: Of ``group`` over ``other``; its sign turns with the pair.
        n_runs: Runs or pairs of runs of ``group`` and of ``other``.
        notes: What a reader must know about the comparison.
        relation: Whether ``group`` is better; see ``relation``.
    """

    group: str
    other: str
    difference: float | None
    low: float | None
    high: float | None
    p_adjusted: float | None
    effect: str | None
    effect_size: float | None
    n_runs: tuple[int | None, int | None]
    notes: str | None
    relation: Relation


class Movement(NamedTuple):
    """An estimate beside its predecessor.

    Attributes:
        before: In the previous report.
        now: In this one.
        relation: See ``movement_relation``.
    """

    before: Estimate
    now: Estimate
    relation: Relation

    @property
    def is_unchanged(self) -> bool:
        """Same estimate and same interval."""
        return self.before[2:5] == self.now[2:5]


@dataclass(frozen=True)
class Verdict:
    """The answer of one analysis.

    Attributes:
        outcome: ``clear``: better than every other group; ``partial``: than some;
            ``open``: than none; ``alone``: no other group; ``empty``: no estimate.
        best: Group with the best primary statistic.
        against: It against each other group, the closest rival first.
        movement: It against the previous report; ``None`` where not comparable.
    """

    outcome: Outcome
    best: Estimate | None = None
    against: tuple[Pair, ...] = ()
    movement: Movement | None = None


def relation(row: dict[str, Any], alpha: float, direction: Direction) -> Relation:
    """Whether ``group_x`` of a comparison is better than ``group_y``.

    Better or worse needs three things to agree: the corrected p-value is below
    ``alpha``, the difference of means has a sign, and its interval (where there is
    one) lies on that side of zero. A rank test and an interval of means can
    disagree; then the data do not carry a verdict.

    Args:
        row: One row of ``stats.comparisons``.
        alpha: One minus the confidence of the analysis.
        direction: Which scores are good.
    """
    p, difference = _known(row["p_adjusted"]), _known(row["mean_difference"])
    if p is None or not difference or p >= alpha:
        return "unclear"
    low, high = _known(row["ci_low"]), _known(row["ci_high"])
    if low is not None and high is not None and low <= 0 <= high:
        return "unclear"
    return "better" if (difference > 0) == (direction == "maximize") else "worse"


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def ranked(analysis: AnalysisContent, statistic: str) -> list[Estimate]:
    """Estimates of one statistic, the best group first; unknown ones come last."""
    found = [one for one in analysis.estimates if one.statistic == statistic]
    sign = 1 if lower_is_better(analysis, statistic) else -1

    def rank(one: Estimate) -> tuple[bool, float, str]:
        value = _known(one.value)
        return value is None, sign * (value or 0.0), one.group

    return sorted(found, key=rank)


def lower_is_better(analysis: AnalysisContent, statistic: str) -> bool:
    """A small score or a small gap is the aim."""
    return analysis.direction == "minimize" or statistic == "optimality_gap"


def group_order(analysis: AnalysisContent) -> list[str]:
    """Groups by the primary statistic, the best first; then those without one."""
    first = [one.group for one in ranked(analysis, analysis.primary)]
    rest = {one.group for one in analysis.estimates} | set(
        analysis.scores["group_name"].drop_nulls()
    )
    return first + sorted(rest - set(first))


def pairs(analysis: AnalysisContent) -> list[Pair]:
    """Every comparison, the group with the better estimate first in its pair."""
    order = {name: at for at, name in enumerate(group_order(analysis))}
    alpha = round(1 - analysis.config.interval.confidence, 12)
    last = len(order)
    found = []
    for row in analysis.comparisons.iter_rows(named=True):
        pair = _pair(row, relation(row, alpha, analysis.direction))
        is_in_order = order.get(pair.group, last) <= order.get(pair.other, last)
        found.append(pair if is_in_order else _turned(pair))
    return sorted(
        found, key=lambda one: (order.get(one.group, last), order.get(one.other, last))
    )


def _pair(row: dict[str, Any], related: Relation) -> Pair:
    return Pair(
        group=row["group_x"],
        other=row["group_y"],
        difference=_known(row["mean_difference"]),
        low=_known(row["ci_low"]),
        high=_known(row["ci_high"]),
        p_adjusted=_known(row["p_adjusted"]),
        effect=row["effect"],
        effect_size=_known(row["effect_size"]),
        n_runs=(row["n_x"], row["n_y"]),
        notes=row["notes"],
        relation=related,
    )


def _turned(pair: Pair) -> Pair:
    return pair._replace(
        group=pair.other,
        other=pair.group,
        difference=_negative(pair.difference),
        low=_negative(pair.high),
        high=_negative(pair.low),
        effect_size=_negative(pair.effect_size),
        n_runs=(pair.n_runs[1], pair.n_runs[0]),
        relation=_OPPOSITE[pair.relation],
    )


def _negative(value: float | None) -> float | None:
    return None if value is None else 0.0 - value


def movement_relation(before: Estimate, now: Estimate, *, lower: bool) -> Relation:
    """Whether an estimate has moved for the better since the previous report.

    Both estimates share most of their runs, so no test applies. Better or worse is
    said only where each estimate lies outside the other's interval.

    Args:
        before: In the previous report.
        now: In this one.
        lower: Smaller is better.
    """
    if before.value is None or now.value is None:
        return "unclear"
    if _holds(before, now.value) or _holds(now, before.value):
        return "unclear"
    return "better" if (now.value < before.value) == lower else "worse"


def _holds(estimate: Estimate, value: float) -> bool:
    """The interval contains the value; one without ends contains every value."""
    if estimate.low is None or estimate.high is None:
        return True
    return not (value < estimate.low or value > estimate.high)


def movements(analysis: AnalysisContent, changes: Changes) -> list[Movement]:
    """Every estimate that has a predecessor, the best group first."""
    before = {
        (one.group, one.statistic): one
        for one in changes.previous.get(analysis.name, ())
    }
    statistics = dict.fromkeys(one.statistic for one in analysis.estimates)
    found = []
    for statistic in statistics:
        lower = lower_is_better(analysis, statistic)
        for now in ranked(analysis, statistic):
            if old := before.get((now.group, statistic)):
                related = movement_relation(old, now, lower=lower)
                found.append(Movement(old, now, related))
    return found


def verdict(analysis: AnalysisContent, changes: Changes) -> Verdict:
    """The answer of an analysis: best group, its rivals, and since last time."""
    order = ranked(analysis, analysis.primary)
    if not order or _known(order[0].value) is None:
        return Verdict("empty")
    best = order[0]
    moved = [
        one
        for one in movements(analysis, changes)
        if one.now.group == best.group and one.now.statistic == best.statistic
    ]
    against = tuple(one for one in pairs(analysis) if one.group == best.group)
    return Verdict(
        _outcome(against, n_others=len(order) - 1),
        best,
        against,
        moved[0] if moved else None,
    )


def _outcome(against: Sequence[Pair], n_others: int) -> Outcome:
    if n_others == 0:
        return "alone"
    n_better = sum(one.relation == "better" for one in against)
    if n_better == n_others:
        return "clear"
    return "partial" if n_better else "open"
