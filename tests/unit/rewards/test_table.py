import math
import statistics

import numpy as np
import polars as pl
import pytest

from run_assets.config import Rewards
from run_assets.contracts.tables import table
from run_assets.diagnostics.roles import Parts
from run_assets.rewards.components import parts_of
from run_assets.rewards.table import REWARD_COMPONENTS, reward_components
from run_assets.store.lake import schema_of
from tests.support.points import points_of

SETTINGS = Rewards(weights={"reward/a": 1.0, "reward/b": 3.0})


def rows_of(curves: dict[str, dict[int, float]], run_path: str = "r") -> pl.DataFrame:
    points = points_of(curves).with_columns(run_path=pl.lit(run_path))
    parts = parts_of(curves, SETTINGS, {}, Parts())
    return reward_components(points, parts, SETTINGS)


def test_the_columns_are_those_of_the_contract() -> None:
    assert schema_of(table("diagnostics.reward_components")) == REWARD_COMPONENTS
    assert rows_of({}).schema == REWARD_COMPONENTS


def test_statistics_are_those_of_the_finite_values() -> None:
    values = [3.0, math.nan, 1.0, math.inf, 2.0, 7.5]
    [row] = rows_of({"reward": dict(enumerate(values))}).to_dicts()
    finite = [one for one in values if math.isfinite(one)]
    assert (row["n_points"], row["n_nonfinite"]) == (6, 2)
    assert row["mean"] == pytest.approx(statistics.mean(finite))
    assert row["median"] == statistics.median(finite)
    assert row["std"] == pytest.approx(statistics.stdev(finite))
    assert (row["min"], row["max"], row["last"]) == (1.0, 7.5, 7.5)


def test_the_last_value_is_the_last_whatever_it_is() -> None:
    [row] = rows_of({"reward": {0: 1.0, 1: math.nan}}).to_dicts()
    assert math.isnan(row["last"])
    assert row["std"] is None
    assert row["verdict"] == "constant"


def test_nothing_finite_is_not_testable() -> None:
    [row] = rows_of({"reward": {0: math.nan}}).to_dicts()
    assert (row["mean"], row["verdict"]) == (None, "not_testable")


def test_runs_and_the_order_of_rows_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    curves = {"reward/a": dict(enumerate(rng.random(20))), "reward/b": {0: 1.0, 7: 2.0}}
    points = pl.concat(
        points_of(curves).with_columns(run_path=pl.lit(path)) for path in ("r1", "r2")
    )
    parts = parts_of(curves, SETTINGS, {}, Parts())
    straight = reward_components(points, parts, SETTINGS)
    shuffled = reward_components(
        points.sample(fraction=1, shuffle=True, seed=1), parts, SETTINGS
    )
    assert straight.equals(shuffled)
    one = straight.filter(run_path="r1").drop("run_path")
    assert one.equals(straight.filter(run_path="r2").drop("run_path"))
    assert one.drop("run_path", strict=False).equals(rows_of(curves).drop("run_path"))


def test_shares_are_of_the_common_steps() -> None:
    found = rows_of({"reward/a": {0: 3.0, 1: 9.0}, "reward/b": {0: 1.0}})
    assert found["share"].to_list() == [0.5, 0.5]
    assert found["weight"].to_list() == [1.0, 3.0]
