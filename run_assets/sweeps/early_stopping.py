"""Pass rates of a sweep that stops a task once it is solved."""

from collections.abc import Iterable, Mapping
from typing import Any

from run_assets.stats.pass_rates import share_interval

_CONFIDENCE = 0.95
Trials = Iterable[Mapping[str, Any]]


def first_k_rate(trials: Trials, k: int) -> dict[str, Any]:
    """Chance that at least one of the first k trials of a task succeeds.

    Whoever stops at the first success has chosen which trials exist by their outcome:
    the share of successes is too high, and leaving stopped tasks out is far too low.
    Whether one of the *first k* trials succeeded is known all the same, because a stop
    only leaves out later ones. Its mean over tasks estimates pass@k without bias.

    Args:
        trials: Of one model: task, trial, status and success of each.
        k: Number of trials.

    Returns:
        ``k, estimate, ci_low, ci_high, n_tasks, notes``; no estimate where some task
        has neither a success nor k finished trials.

    >>> stopped = [
    ...     {"task": "a", "trial": 0, "status": "successful", "success": 1},
    ...     {"task": "a", "trial": 1, "status": "skipped_early_stop", "success": None},
    ...     {"task": "b", "trial": 0, "status": "successful", "success": 0},
    ...     {"task": "b", "trial": 1, "status": "successful", "success": 0},
    ... ]
    >>> first_k_rate(stopped, 2)["estimate"]
    0.5
    """
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    for one in trials:
        by_task.setdefault(one["task"], []).append(one)
    told = [_any_of_first(mine, k) for mine in by_task.values()]
    known = [one for one in told if one is not None]
    row: dict[str, Any] = {"k": k, "n_tasks": len(told)}
    row |= dict.fromkeys(("estimate", "ci_low", "ci_high"))
    if len(known) < len(told) or not told:
        open_ones = len(told) - len(known)
        why = f"{open_ones} of {len(told)} tasks have no success and fewer than k = {k}"
        return {**row, "notes": f"no estimate: {why} finished trials"}
    mean = sum(known) / len(known)
    row["estimate"] = mean
    if len(known) > 1:
        squares = sum((one - mean) ** 2 for one in known)
        row["ci_low"], row["ci_high"] = share_interval(
            mean, squares, len(known), _CONFIDENCE
        )
    return {**row, "notes": "any of the first k trials, since successes stop a task"}


def _any_of_first(trials: list[Mapping[str, Any]], k: int) -> float | None:
    """1 or 0, or nothing where that cannot be known."""
    finished = [one for one in trials if one["status"] == "successful"]
    first = [one for one in finished if one["trial"] < k]
    if any(one["success"] for one in first):
        return 1.0
    return 0.0 if len(first) == k else None
