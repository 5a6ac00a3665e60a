import pytest

from run_assets.config import Rewards
from run_assets.diagnostics.roles import Parts
from run_assets.errors import UsageError
from run_assets.rewards.components import parts_of

METRICS = (
    *("reward/format", "reward/accuracy", "benchmark/reward_mean", "underscore"),
    *("env/score", "loss/mean", "optim/lr", "maze/success_rate", "success_rate/nav"),
    *("total_reward", "learning_rewarded"),
)


def kinds(settings: Rewards) -> dict[str, str]:
    return {
        name: one.kind for name, one in parts_of(METRICS, settings, {}, Parts()).items()
    }


def test_without_names_whole_words_decide() -> None:
    found = kinds(Rewards())
    assert {name for name, kind in found.items() if kind == "component"} == {
        "reward/format",
        "reward/accuracy",
        "benchmark/reward_mean",
        "env/score",
        "total_reward",
    }
    assert found["loss/mean"] == found["optim/lr"] == "training"


def test_names_wildcards_and_the_ledger_name_components() -> None:
    settings = Rewards(
        components=("reward/*",), weights={"env/score": 1.0}, total="total_reward"
    )
    found = kinds(settings)
    named = {name for name, kind in found.items() if kind == "component"}
    assert named == {"reward/format", "reward/accuracy", "env/score"}
    assert found["total_reward"] == "total"


def test_components_are_grouped_by_prefix() -> None:
    found = parts_of(METRICS, Rewards(), {}, Parts())
    assert found["reward/format"].prefix == found["reward/accuracy"].prefix == "reward"
    assert found["total_reward"].prefix == ""


def test_a_success_rate_knows_its_task() -> None:
    found = parts_of(METRICS, Rewards(), {}, Parts())
    assert found["maze/success_rate"].task == "maze"
    assert found["success_rate/nav"].task == "nav"


def test_directions_are_declared_with_the_parts() -> None:
    found = parts_of(METRICS, Rewards(training=("loss/*",)), {}, Parts())
    assert found["loss/mean"].direction == "lower"
    assert "optim/lr" not in found


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(UsageError, match="unknown metric group"):
        parts_of(METRICS, Rewards(components=("@mine",)), {}, Parts())
