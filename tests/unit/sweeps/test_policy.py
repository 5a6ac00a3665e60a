from typing import Any

import pytest

from run_assets.sweeps.policy import affordable, after_failure, retry_delay
from tests.support.sweeps import toy


@pytest.mark.parametrize(
    ("error_class", "failures", "changes", "status"),
    [
        ("rate_limit", 1, {}, "will_retry"),
        ("rate_limit", 2, {}, "will_retry"),
        ("rate_limit", 3, {}, "failed_final"),
        ("rate_limit", 1, {"max_retries": 0}, "failed_final"),
        ("rate_limit", 1, {"retry_failed_runs": False}, "failed_final"),
        ("bad_result", 1, {}, "failed_final"),
        ("exit_2", 1, {"never_retry": ["exit_*"]}, "failed_final"),
        ("exit_2", 1, {"never_retry": ["exit"]}, "will_retry"),
    ],
)
def test_a_failed_trial_is_tried_again_or_not(
    error_class: str, failures: int, changes: dict[str, Any], status: str
) -> None:
    assert after_failure(error_class, failures, toy(**changes)) == status


def test_delays_double_with_jitter_and_repeat_by_seed() -> None:
    config = toy(retry_delay_seconds=2)
    delays = [retry_delay("trial", n, config) for n in range(1, 6)]

    for n, delay in enumerate(delays):
        assert 2 * 2**n * 0.5 <= delay <= 2 * 2**n * 1.5
    assert delays == [retry_delay("trial", n, config) for n in range(1, 6)]
    assert len({retry_delay(f"t{n}", 1, config) for n in range(20)}) == 20
    assert retry_delay("trial", 100, config) == 3600


@pytest.mark.parametrize(
    ("limit", "spent", "mean", "running", "more"),
    [
        (None, 1e9, 1.0, 5, None),
        (10.0, 0.0, None, 0, None),
        (10.0, 10.0, None, 0, 0),
        (10.0, 9.5, 1.0, 0, 0),
        (10.0, 7.0, 1.0, 1, 2),
        (0.3, 0.2, 0.1, 0, 1),
        (10.0, 5.0, 1.0, 9, 0),
    ],
)
def test_the_budget_counts_what_runs(
    limit: float | None, spent: float, mean: float | None, running: int, more: int
) -> None:
    assert affordable(limit, spent, mean, running) == more
