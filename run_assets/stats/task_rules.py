"""Rules of success as rows: which reward of which tasks has to be how large."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from run_assets.config_evaluations import SuccessRule, TaskRule


def rule_rows(
    rules: Sequence[SuccessRule], *, is_error_failure: bool
) -> Iterator[dict[str, Any]]:
    """Rows of ``raw.success_rules`` in the order in which rules are tried.

    Args:
        rules: Those of some tasks, and the default of all others at the end.
        is_error_failure: A trial that ended with an error failed.

    >>> rules = [TaskRule(match="*_ore", quota=16), SuccessRule()]
    >>> for row in rule_rows(rules, is_error_failure=True):
    ...     print(row["task_pattern"], row["success_threshold"], row["is_inclusive"])
    (?s).*_ore 16.0 True
    (?s).* 0.0 False
    """
    for position, rule in enumerate(rules):
        match = rule.match if isinstance(rule, TaskRule) else "*"
        yield {
            "position": position,
            "task_match": match,
            "task_pattern": pattern_of(match),
            "reward_kind": rule.reward,
            "success_threshold": rule.limit,
            "is_inclusive": rule.quota is not None,
            "is_default": not isinstance(rule, TaskRule),
            "is_error_failure": is_error_failure,
        }


def pattern_of(match: str) -> str:
    r"""A wildcard (``*``, ``?``, ``[abc]``, ``[!abc]``) as an RE2 expression.

    As ``fnmatch``, with case; RE2 has no ``\Z``, and the whole name has to match.

    >>> print(pattern_of("iron_[!x]?.*"))
    (?s)iron_[^x].\..*
    """
    return "(?s)" + "".join(_pieces(match))


def _pieces(match: str) -> Iterator[str]:
    at = 0
    while at < len(match):
        sign = match[at]
        end = match.find("]", at + 2) if sign == "[" else -1
        if end > 0:
            inside = match[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            negated = inside.startswith("!")
            body = inside[1:] if negated else inside.replace("^", "\\^", 1)
            yield f"[{'^' if negated else ''}{body}]"
            at = end
        else:
            yield {"*": ".*", "?": "."}.get(sign) or re.escape(sign)
        at += 1
