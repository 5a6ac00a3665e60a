import pytest

from run_assets.rewards.ledger import ledger_of
from tests.support.points import points_of

WEIGHTS = {"good": 2.0, "penalty": -1.0}


def test_contributions_are_weights_times_means_at_common_steps() -> None:
    points = points_of(
        {"good": {0: 1.0, 1: 3.0, 5: 100.0}, "penalty": {0: 1.0, 1: 1.0, 9: 7.0}}
    )
    found = ledger_of(points, WEIGHTS, None)
    assert found.n_steps == 2
    assert found.contributions == {"good": 4.0, "penalty": -1.0}
    assert found.shares == {"good": 0.8, "penalty": 0.2}
    assert found.total == 3.0
    assert found.logged_total is None


def test_the_ledger_is_held_against_the_logged_total() -> None:
    points = points_of(
        {
            "good": {0: 1.0, 1: 2.0},
            "penalty": {0: 0.0, 1: 1.0},
            "total": {0: 2.0, 1: 3.5},
        }
    )
    found = ledger_of(points, WEIGHTS, "total")
    assert found.total == 2.5
    assert found.logged_total == 2.75
    assert found.largest_difference == 0.5


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        ({"good": {0: 1.0}}, "not logged: penalty"),
        ({"good": {0: 1.0}, "penalty": {1: 1.0}}, "share no step"),
        ({"good": {0: 0.0}, "penalty": {0: 0.0}}, "every contribution is 0"),
        ({"good": {0: float("nan")}, "penalty": {0: 1.0}}, "not logged: good"),
    ],
)
def test_what_cannot_be_shared_out_says_why(
    curves: dict[str, dict[int, float]], said: str
) -> None:
    found = ledger_of(points_of(curves), WEIGHTS, None)
    assert not found.shares
    assert said in str(found.note)
