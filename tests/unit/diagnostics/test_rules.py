"""Every rule: fires at a clear effect, is clear on health, and says what it lacks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from run_assets.diagnostics.model import Run
from run_assets.diagnostics.registry import rules
from tests.unit.diagnostics.conftest import Judge, MakeRun

Floats = NDArray[np.float64]
N = 300
_RNG = np.random.default_rng(11)
STEPS = np.arange(N)
LATE = STEPS >= 200


def noise(sd: float, n: int = N) -> Floats:
    return np.asarray(_RNG.normal(0, sd, n))


def loss() -> Floats:
    return np.asarray((0.5 + 2 / np.sqrt(STEPS + 1)) * np.exp(noise(0.01)))


def reward() -> Floats:
    return np.asarray(2 * np.log(STEPS + 1) + noise(0.1))


def level(value: float, sd: float = 0.02) -> Floats:
    return np.asarray(value * np.exp(noise(sd)))


def orders(rate: float) -> Floats:
    return np.asarray(_RNG.binomial(200, rate, N), dtype=np.float64)


EXPECTED = np.full(N, 200.0)
GAMES = np.full(N, 50.0)
CLOCK = 1e9 + 60.0 * STEPS
COMPUTE = 10.0 * (STEPS + 1)
OVERLAP = {
    "benchmark/rollout_time_s": level(60),
    "benchmark/training_time_s": level(40),
}
FLAT = 2 * np.log(np.minimum(STEPS, 90) + 1) + noise(0.1)
LATE_LOSS = np.where(LATE, orders(0.8), orders(0.98))
LATE_CUTS = np.where(LATE, orders(0.4), orders(0.02))
POWER = "power_law/cumulative_simulated_years"
AT = "power_law/reward_at_compute"
EVAL = "eval/vs_bot"


def with_value(values: Floats, places: Any, value: Any) -> Floats:
    changed = values.copy()
    changed[places] = value
    return changed


# Code: what makes it fire, what makes it clear; each the arguments of `make_run`.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "RUN001": (
        {"metrics": {"loss": with_value(loss(), [220, 221], 3.0)}},
        {"metrics": {"loss": loss()}},
    ),
    "RUN002": (
        {"metrics": {"grad_norm": with_value(level(1, 0.2), 220, 40.0)}},
        {"metrics": {"grad_norm": level(1, 0.2)}},
    ),
    "RUN003": (
        {"metrics": {"loss": with_value(loss(), 9, np.nan)}},
        {"metrics": {"loss": loss()}},
    ),
    "RUN004": (
        {"metrics": {"loss": loss() + np.maximum(STEPS - 150, 0) / 50}},
        {"metrics": {"loss": loss()}},
    ),
    "RUN005": (
        {"metrics": {"reward/mean": 5 + noise(0.1) * np.where(LATE, 8, 1)}},
        {"metrics": {"reward/mean": 5 + noise(0.1)}},
    ),
    "RUN006": (
        {"metrics": {"benchmark/kl": level(0.4)}},
        {"metrics": {"benchmark/kl": level(0.03)}},
    ),
    "RUN007": (
        {"metrics": {"entropy": np.where(STEPS > 60, 0.01, 1.0) * level(1)}},
        {"metrics": {"entropy": 1 - 0.5 * STEPS / N}},
    ),
    "RUN010": (
        {
            "metrics": {
                "reward/mean": 2 * np.log(np.minimum(STEPS, 90) + 1) + noise(0.1)
            }
        },
        {"metrics": {"reward/mean": reward()}},
    ),
    "RUN011": (
        {"metrics": {"reward/mean": reward() - np.maximum(STEPS - 180, 0) / 20}},
        {"metrics": {"reward/mean": reward()}},
    ),
    "RUN012": (
        {"metrics": {"reward/mean": reward()}},
        {"metrics": {"reward/mean": 5 + noise(0.1)}},
    ),
    "RUN013": (
        {"metrics": {"reward/mean": 9 / (1 + np.exp(270 - STEPS)) + noise(0.1)}},
        {"metrics": {"reward/mean": 9 / (1 + np.exp(30 - STEPS)) + noise(0.1)}},
    ),
    "RUN014": (
        {"metrics": {"reward/mean": STEPS / 10 + noise(0.1)}},
        {"metrics": {"reward/mean": np.minimum(STEPS, 60) / 10 + noise(0.1)}},
    ),
    "RUN020": (
        {"metrics": {"sps": level(100) * np.where(LATE, 0.6, 1)}},
        {"metrics": {"sps": level(100)}},
    ),
    "RUN021": (
        {"metrics": {"benchmark/trajectories": level(64) * np.where(LATE, 0.5, 1)}},
        {"metrics": {"benchmark/trajectories": level(64)}},
    ),
    "RUN022": (
        {"metrics": {"rollout/max_total_s": np.where(STEPS % 8 == 0, 400, level(50))}},
        {"metrics": {"rollout/max_total_s": level(50)}},
    ),
    "RUN023": (
        {
            "metrics": {
                "rollout/max_volume_reload_s": np.where(STEPS % 8 == 0, 40, level(2))
            }
        },
        {"metrics": {"rollout/max_volume_reload_s": level(2)}},
    ),
    "RUN024": (
        {
            "metrics": {
                "rollout/failed_count": np.full(N, 6.0),
                "benchmark/trajectories": np.full(N, 58.0),
            }
        },
        {
            "metrics": {
                "rollout/failed_count": with_value(np.zeros(N), 7, 1.0),
                "benchmark/trajectories": np.full(N, 64.0),
            }
        },
    ),
    "RUN025": (
        {"metrics": {**OVERLAP, "benchmark/pipeline_overlap_s": level(4)}},
        {"metrics": {**OVERLAP, "benchmark/pipeline_overlap_s": level(36)}},
    ),
    "RUN026": (
        {"metrics": {**OVERLAP, "benchmark/training_time_s": level(1)}},
        {"metrics": OVERLAP},
    ),
    "RUN027": (
        {"metrics": {"loss": loss()}, "seconds": CLOCK + 9_000.0 * LATE},
        {"metrics": {"loss": loss()}, "seconds": CLOCK},
    ),
    "RUN028": (
        {"system": {"gpu.0.gpu": level(5)}},
        {"system": {"gpu.0.gpu": level(90)}},
    ),
    "RUN029": (
        {"system": {"proc.memory.rssMB": 100 + 2.0 * STEPS + noise(1)}},
        {"system": {"proc.memory.rssMB": level(100)}},
    ),
    "RUN030": (
        {"metrics": {"loss": loss()}, "seconds": CLOCK + 9_000.0 * LATE},
        {"metrics": {"loss": loss()}, "seconds": CLOCK},
    ),
    "RUN040": (
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/orders_extracted": orders(0.8),
            }
        },
        {
            "metrics": {
                "extraction/orders_expected": np.full(N, 20.0),
                "extraction/orders_extracted": np.full(N, 19.0),
            }
        },
    ),
    "RUN041": (
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/orders_extracted": np.where(
                    LATE, orders(0.8), orders(0.98)
                ),
            }
        },
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/orders_extracted": orders(0.97),
            }
        },
    ),
    "RUN042": (
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/orders_extracted": np.where(STEPS % 10 == 0, 90, 196.0),
            }
        },
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/orders_extracted": orders(0.97),
            }
        },
    ),
    "RUN043": (
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/empty_responses": np.where(LATE, orders(0.3), orders(0.01)),
            }
        },
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/empty_responses": orders(0.01),
            }
        },
    ),
    "RUN044": (
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/partial_responses": np.where(
                    LATE, orders(0.4), orders(0.02)
                ),
            }
        },
        {
            "metrics": {
                "extraction/orders_expected": EXPECTED,
                "extraction/partial_responses": orders(0.02),
            }
        },
    ),
    "RUN045": (
        {
            "metrics": {
                "loss": loss(),
                "reward/mean": reward() - np.maximum(STEPS - 180, 0) / 20,
            }
        },
        {
            "metrics": {
                "loss": loss() + np.maximum(STEPS - 150, 0) / 50,
                "reward/mean": reward() - np.maximum(STEPS - 180, 0) / 20,
            }
        },
    ),
    "RUN046": (
        {"metrics": {"reward_components/a": np.where(LATE, 0, level(1))}},
        {"metrics": {"reward_components/a": -np.where(LATE, 0, level(1))}},
    ),
    "RUN047": (
        {"metrics": {f"reward_components/{i}": level((1, 1, 90)[i]) for i in range(3)}},
        {"metrics": {f"reward_components/{i}": level(1) for i in range(3)}},
    ),
    "RUN050": (
        {"metrics": {"cache/hit_rate": level(0.1)}},
        {"metrics": {"cache/hit_rate": 100 * level(0.7)}},
    ),
    "RUN051": (
        {"metrics": {"cache/hit_rate": level(0.2)}},
        {"metrics": {"cache/hit_rate": 0.1 + 0.3 * STEPS / N}},
    ),
    "RUN052": (
        {"metrics": {"cache/hit_rate": np.zeros(N)}},
        {"metrics": {"cache/hit_rate": level(0.2)}},
    ),
    "RUN053": (
        {
            "metrics": {
                "cache/hit_rate": level(0.8),
                "benchmark/rollout_time_s": level(60) * (1 + STEPS / N),
            }
        },
        {
            "metrics": {
                "cache/hit_rate": level(0.8),
                "benchmark/rollout_time_s": level(60),
            }
        },
    ),
    "RUN060": (
        {"metrics": {POWER: COMPUTE, AT: 0.3 * COMPUTE**0.6 * level(1)}},
        {"metrics": {POWER: COMPUTE, AT: (2 + 3 * np.log(COMPUTE)) * level(1, 0.001)}},
    ),
    "RUN061": (
        {"metrics": {"power_law/simulated_years_per_step": np.where(LATE, 90.0, 50.0)}},
        {"metrics": {"power_law/simulated_years_per_step": np.full(N, 50.0)}},
    ),
    "RUN070": (
        {"metrics": {"elo/challenger": 1_000 - STEPS / 2 + noise(5)}},
        {"metrics": {"elo/challenger": 1_000 + noise(5)}},
    ),
    "RUN071": (
        {"metrics": {"elo/challenger": 1_000 - np.abs(STEPS - 150.0) + noise(5)}},
        {"metrics": {"elo/challenger": 1_000 + STEPS / 2 + noise(5)}},
    ),
    "RUN072": (
        {"metrics": {"elo/win_rate": np.full(N, 0.3), "elo/games_played": GAMES}},
        {"metrics": {"elo/win_rate": np.full(N, 0.5), "elo/games_played": GAMES}},
    ),
    "RUN073": (
        {"metrics": {"league/num_checkpoints": np.minimum(STEPS // 10, 8) * 1.0}},
        {"metrics": {"league/num_checkpoints": STEPS // 10 * 1.0}},
    ),
    "RUN074": (
        {"metrics": {"elo/games_played": np.where(STEPS % 30 == 0, 2.0, 0.0)}},
        {"metrics": {"elo/games_played": np.cumsum(GAMES)}},
    ),
    "RUN080": (
        {"metrics": {f"{EVAL}/win_rate": np.full(N, 0.2), f"{EVAL}/games": GAMES}},
        {"metrics": {f"{EVAL}/win_rate": np.full(N, 0.5), f"{EVAL}/games": GAMES}},
    ),
    "RUN081": (
        {"metrics": {f"{EVAL}/survival_rate": np.full(N, 0.2), f"{EVAL}/games": GAMES}},
        {"metrics": {f"{EVAL}/survival_rate": level(0.8)}},
    ),
    "RUN082": (
        {"metrics": {f"{EVAL}/avg_centers": 9 - 5 * STEPS / N + noise(0.5)}},
        {"metrics": {f"{EVAL}/avg_centers": 9 + noise(0.5)}},
    ),
    "RUN083": (
        {
            "metrics": {f"{EVAL}/win_rate": np.full(N, 0.6)},
            "artifacts": (("model", "weights"),),
        },
        {
            "metrics": {f"{EVAL}/win_rate": np.full(N, 0.6)},
            "artifacts": (("replays", "eval-replays-3"),),
        },
    ),
    "RUN090": (
        {"metrics": {"loss": loss(), "kl": level(1)[:100]}},
        {"metrics": {"loss": loss(), "kl": level(1)}},
    ),
    "RUN091": (
        {"metrics": {"loss": np.arange(5.0)}, "summary": {"loss": 3.5}},
        {"metrics": {"loss": np.arange(5.0)}, "summary": {"loss": 4.0}},
    ),
    "RUN092": (
        {"metrics": {"loss": loss()}, "seconds": CLOCK - 200.0 * (STEPS % 2)},
        {"metrics": {"loss": loss()}, "seconds": CLOCK},
    ),
    "RUN093": ({"history_rows": 5}, {"history_rows": 300}),
    "RUN094": ({"state": "crashed"}, {"state": "finished"}),
}
# Rules that judge what is always known of a run: they cannot lack anything.
ALWAYS = {"RUN093"}


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == set(rules())


@pytest.mark.parametrize("code", CASES)
def test_it_fires_where_the_effect_is_clear(
    code: str, make_run: MakeRun, judge: Judge
) -> None:
    found = judge(code, make_run(**CASES[code][0]))
    fired = [one for one in found if one.state == "fired"]
    assert fired, [one.reason for one in found]
    for one in fired:
        assert one.evidence
        low, high = one.steps
        assert (low is None) == (high is None)
        assert low is None or high is None or low <= high
        effect = one.effect
        if effect and effect.low is not None and effect.high is not None:
            assert effect.low <= effect.size <= effect.high


@pytest.mark.parametrize("code", CASES)
def test_it_is_clear_where_nothing_is_wrong(
    code: str, make_run: MakeRun, judge: Judge
) -> None:
    found = judge(code, make_run(**CASES[code][1]))
    assert {one.state for one in found} == {"clear"}, found


@pytest.mark.parametrize("code", sorted(set(CASES) - ALWAYS))
def test_it_says_why_it_cannot_be_tested(
    code: str, make_run: MakeRun, judge: Judge
) -> None:
    (only,) = judge(code, make_run(state="unknown"))
    assert only.state == "not_testable"
    assert only.reason


def cut(run: Run, keep: Callable[[Floats], NDArray[np.bool_]]) -> Run:
    """The run with some of its points only."""
    from dataclasses import replace

    return replace(
        run,
        series={k: v.where(keep(v.values)) for k, v in run.series.items()},
        system={k: v.where(keep(v.values)) for k, v in run.system.items()},
    )


@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("code", CASES)
def test_a_run_of_a_few_points_is_no_finding_of_noise(
    code: str, n: int, make_run: MakeRun, judge: Judge
) -> None:
    """Too short to judge; only facts that a single point proves may fire."""
    proven = {"RUN003", "RUN052", "RUN083", "RUN091", "RUN093", "RUN094"}
    proven |= {"RUN072", "RUN074", "RUN080", "RUN081"}  # hundreds of games in a point
    run = make_run(**CASES[code][0])
    found = judge(code, cut(run, lambda values: np.arange(values.size) < n))
    states = {one.state for one in found}
    assert states <= {"not_testable", "clear"} or code in proven


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
@pytest.mark.parametrize("code", CASES)
def test_a_constant_is_constant(
    code: str, value: float, make_run: MakeRun, judge: Judge
) -> None:
    """A logged constant has no trend, no spike, no change and no noise."""
    made = make_run(**CASES[code][0])
    metrics = {name: np.full(N, value) for name in made.series}
    system = {name: np.full(N, abs(value) * 90) for name in made.system}
    run = make_run(metrics, system=system, seconds=CLOCK, history_rows=N)
    # What a level alone decides may fire on a level.
    by_level = {"RUN006", "RUN025", "RUN026", "RUN040", "RUN042", "RUN050", "RUN051"}
    by_level |= {"RUN024", "RUN028", "RUN043", "RUN044", "RUN052", "RUN072", "RUN074"}
    by_level |= {"RUN080", "RUN081", "RUN083"}
    states = {one.state for one in judge(code, run)}
    assert "fired" not in states or code in by_level


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("code", sorted(set(CASES) - {"RUN003", "RUN004", "RUN091"}))
def test_values_that_are_no_numbers_change_nothing_else(
    code: str, bad: float, make_run: MakeRun, judge: Judge
) -> None:
    """NaN and infinities are RUN003's; every other rule leaves them out."""
    run = make_run(**CASES[code][1])
    spoilt = {
        name: with_value(one.values, [40, 170][: max(one.size - 171, 0)], bad)
        for name, one in run.series.items()
    }
    times = next((one.seconds for one in run.series.values()), None)
    again = make_run(
        spoilt,
        seconds=times,
        system={name: one.values for name, one in run.system.items()},
        state=run.state,
        artifacts=run.artifacts,
        history_rows=run.history_rows,
    )
    assert "fired" not in {one.state for one in judge(code, again)}
