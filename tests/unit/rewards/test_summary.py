import math

import polars as pl

from run_assets.config import Rewards
from run_assets.diagnostics.roles import Parts
from run_assets.rewards.components import parts_of
from run_assets.rewards.summary import AnalysedRun, reward_values, run_summaries
from run_assets.rewards.table import reward_components
from tests.support.points import run_of

CURVES = {
    "reward/a": {0: 1.0, 5: math.nan},
    "reward/b": {5: 2.0},
    "step": {0: 7.0},
    "loss/mean": {0: 3.0},
}
SETTINGS = Rewards(components=("reward/*", "step"))


def analysed(run_id: str, role: str = "run") -> AnalysedRun:
    run = run_of(CURVES, run_id=run_id)
    parts = parts_of(run.metrics, SETTINGS, {}, Parts())
    points = run.points(*parts).with_columns(run_path=pl.lit(run.path))
    return AnalysedRun(
        run, role, parts, points, reward_components(points, parts, SETTINGS)
    )


def test_values_stand_at_their_steps_and_missing_is_no_nan() -> None:
    found = reward_values([analysed("r2"), analysed("r1")])
    assert found.columns == [
        *("run_path", "step", "logged_at", "reward/a", "reward/b", "step (metric)")
    ]
    assert found["run_path"].to_list() == ["lab/p/r1"] * 2 + ["lab/p/r2"] * 2
    first, second = found.filter(run_path="lab/p/r1").to_dicts()
    assert (first["step"], first["reward/a"], first["reward/b"]) == (0, 1.0, None)
    assert math.isnan(second["reward/a"])
    assert (second["step"], second["reward/b"]) == (5, 2.0)
    assert first["step (metric)"] == 7.0


def test_a_summary_has_the_parts_apart() -> None:
    [found] = run_summaries([analysed("r1", "trainer")], SETTINGS)
    assert found["role"] == "trainer"
    assert found["component_groups"] == {
        "": ["step"],
        "reward": ["reward/a", "reward/b"],
    }
    assert [one["metric"] for one in found["training"]] == ["loss/mean"]
    assert found["ledger"] is None


def test_the_ledger_stands_in_the_summary() -> None:
    settings = SETTINGS.model_copy(update={"weights": {"reward/b": 2.0}})
    [found] = run_summaries([analysed("r1")], settings)
    assert found["ledger"]["contributions"] == {"reward/b": 4.0}
