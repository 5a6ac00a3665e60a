import math

import numpy as np
import pytest
from scipy.stats import ttest_ind

from run_assets.reading.axes import placed
from run_assets.reading.comparison import (
    Aim,
    compared,
    config_differences,
    differences,
    replicate_groups,
)
from run_assets.reading.run import Run
from tests.support.points import run_of

CURVE = {0: 1.0, 10: 5.0, 20: math.nan, 30: 5.0, 40: 2.0}


def row(aim: Aim, curve: dict[int, float] | None = None) -> dict[str, object]:
    run = run_of({"m": curve or CURVE})
    [found] = compared([run], {"m": aim}).to_dicts()
    return found


def test_the_best_is_the_first_of_the_best_in_the_declared_direction() -> None:
    found = row(Aim("higher"))
    assert (found["best"], found["best_step"]) == (5.0, 10)
    assert row(Aim("lower"))["best"] == 1.0


def test_without_a_direction_there_is_no_best() -> None:
    found = row(Aim())
    assert (found["best"], found["best_step"], found["direction"]) == (None, None, None)
    assert (found["last"], found["n_nonfinite"]) == (2.0, 1)
    assert found["mean"] == pytest.approx(np.mean([1, 5, 5, 2]))
    assert found["std"] == pytest.approx(np.std([1, 5, 5, 2], ddof=1))


def test_a_level_is_reached_at_the_true_step_and_second() -> None:
    found = row(Aim("higher", 4.0))
    assert (found["steps_to_level"], found["seconds_to_level"]) == (10, 20.0)
    never = row(Aim("higher", 9.0))
    assert (never["level"], never["steps_to_level"]) == (9.0, None)
    assert row(Aim("lower", 2.0), {0: 3.0, 7: 2.0})["steps_to_level"] == 7
    assert row(Aim("none", 4.0))["steps_to_level"] is None


def test_nothing_finite_has_no_best() -> None:
    assert row(Aim("higher", 1.0), {0: math.nan})["best"] is None


def test_a_run_without_the_metric_has_no_row() -> None:
    runs = [run_of({"m": CURVE}), run_of({"other": CURVE}, run_id="r2")]
    assert compared(runs, {"m": Aim()})["run_path"].to_list() == ["lab/p/r1"]


def replicates(values: dict[str, list[float]]) -> list[Run]:
    return [
        run_of(
            {"m": {0: value}},
            run_id=f"{name}{seed}",
            config={"algorithm": name, "seed": seed, "env": {"seed": seed}},
        )
        for name, lasts in values.items()
        for seed, value in enumerate(lasts)
    ]


def test_differences_have_welchs_interval() -> None:
    values = {"a": [1.0, 2.0, 4.0], "b": [3.0, 5.5]}
    [found] = differences(replicates(values), ["m"], 0.9).to_dicts()
    wanted = ttest_ind(values["a"], values["b"], equal_var=False)
    ends = wanted.confidence_interval(0.9)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((ends.low, ends.high))
    assert found["mean_difference"] == pytest.approx(7 / 3 - 4.25)
    assert (found["group_x"], found["group_y"]) == ('algorithm="a"', 'algorithm="b"')


def test_one_run_a_side_has_no_interval() -> None:
    assert differences(replicates({"a": [1.0], "b": [2.0, 3.0]}), ["m"]).is_empty()


def test_a_run_that_ended_in_nan_is_left_out_and_counted() -> None:
    values = {"a": [1.0, 2.0, math.nan], "b": [3.0, 5.0]}
    [found] = differences(replicates(values), ["m"]).to_dicts()
    assert (found["n_x"], found["mean_x"]) == (2, 1.5)
    assert "1 runs ended in NaN" in found["notes"]


def test_runs_that_do_not_scatter_have_no_interval() -> None:
    [found] = differences(
        replicates({"a": [1.0, 1.0], "b": [2.0, 2.0]}), ["m"]
    ).to_dicts()
    assert (found["mean_difference"], found["ci_low"]) == (-1.0, None)
    assert "do not scatter" in found["notes"]


def test_replicates_differ_in_their_seeds_alone() -> None:
    runs = replicates({"a": [1.0, 2.0], "b": [3.0]})
    groups = replicate_groups(runs)
    assert [len(members) for members in groups.values()] == [2, 1]
    assert len(replicate_groups(runs, seeds=())) == 3


def test_config_keys_that_differ_are_listed_with_every_value() -> None:
    runs = [
        run_of({}, run_id="r1", config={"lr": 0.1, "same": 1, "env": {"size": 3}}),
        run_of({}, run_id="r2", config={"lr": 0.2, "same": 1}),
    ]
    assert config_differences(runs).rows() == [
        ("env.size", "lab/p/r1", "3"),
        ("env.size", "lab/p/r2", None),
        ("lr", "lab/p/r1", "0.1"),
        ("lr", "lab/p/r2", "0.2"),
    ]


def test_a_sparse_metric_keeps_its_steps_on_every_axis() -> None:
    """Zipping all x values with the values that are there would shift 48 of 48."""
    run = run_of(
        {
            "dense": {step: float(step) * 2 for step in range(50)},
            "sparse": {step: float(step) for step in range(0, 50, 10)},
        }
    )
    for axis in ("_step", "_runtime", "dense"):
        found = placed(run, run.points("sparse"), axis)
        factor = 1 if axis == "_step" else 2
        assert found["x"].to_list() == [at * factor for at in range(0, 50, 10)]
        assert found["value"].to_list() == list(range(0, 50, 10))
