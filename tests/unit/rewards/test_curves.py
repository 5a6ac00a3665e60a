import numpy as np
import pytest

from run_assets.rewards.curves import Change, change, halves_ratio, milestones

STEPS = np.arange(40)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, 40)


def moved(values: np.ndarray, direction: str = "higher") -> Change:
    at = np.arange(values.size)
    return change(at, values, direction=direction, confidence=0.95)  # type: ignore[arg-type]


def test_the_ratio_compares_the_halves() -> None:
    assert halves_ratio(np.array([1.0, 3.0, 5.0, 5.0])) == 1.5
    assert halves_ratio(np.array([-2.0, -1.0])) == 0.5
    assert halves_ratio(np.array([1.0, 2.0, 4.0])) == 2.0  # the middle goes behind


def test_no_ratio_where_it_means_nothing() -> None:
    assert halves_ratio(np.array([1.0])) is None
    assert halves_ratio(np.array([-1.0, 1.0, 5.0, 5.0])) is None
    assert "first half is 0" in moved(np.array([-1.0, 1.0, 5.0, 5.0])).notes[0]


def test_milestones_stand_at_the_true_steps_of_a_sparse_metric() -> None:
    steps = np.array([0, 10, 20, 300])
    values = np.array([0.0, 0.3, 0.8, 1.0])
    assert milestones(steps, values) == {25: 10, 50: 20, 75: 20, 90: 300}


def test_a_fall_is_a_way_where_lower_is_better() -> None:
    steps, values = np.array([1, 2, 3]), np.array([4.0, 2.0, 0.0])
    assert milestones(steps, values) == dict.fromkeys((25, 50, 75, 90))
    found = milestones(steps, values, is_lower_better=True)
    assert found == {25: 2, 50: 2, 75: 3, 90: 3}


def test_a_flat_curve_and_no_curve_came_no_way() -> None:
    nothing = dict.fromkeys((25, 50, 75, 90))
    assert milestones(np.array([1, 2]), np.array([1.0, 1.0])) == nothing
    assert milestones(np.array([], dtype=int), np.array([])) == nothing


@pytest.mark.parametrize(
    ("slope", "direction", "verdict"),
    [
        (0.05, "higher", "improving"),
        (0.05, "lower", "worsening"),
        (0.05, "none", "rising"),
        (-0.05, "higher", "worsening"),
        (-0.05, "lower", "improving"),
        (-0.05, "none", "falling"),
        (0.0, "higher", "unclear"),
    ],
)
def test_the_direction_decides_what_a_rise_is(
    slope: float, direction: str, verdict: str
) -> None:
    assert moved(slope * STEPS + noise(), direction).verdict == verdict


@pytest.mark.parametrize("direction", ["higher", "lower", "none"])
def test_a_constant_is_constant(direction: str) -> None:
    """A learning rate of 1e-06 all along is not degrading."""
    found = moved(np.full(40, 1e-6), direction)
    assert found.verdict == "constant"
    assert (found.trend_ratio, found.trend_change) == (0.0, 0.0)


def test_ten_values_or_fewer_do_not_degrade() -> None:
    found = moved(np.array([1.0, 2.0, 3.0]))
    assert (found.verdict, found.trend_change) == ("not_testable", None)
    assert "3 points are too few" in found.notes[-1]
    assert moved(np.array([])).verdict == "not_testable"
