"""Synthetic runs whose faults are known; nothing here knows the rules' code.

A healthy run has noise with autocorrelation and heavy tails, warm-up, drops and a
cosine end of the learning rate, missing points and restarts. A fault is put into one
of them with one of three sizes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
START = 1_767_000_000.0
LENGTHS = (30, 60, 120, 300, 1_000, 3_000, 10_000, 100_000)
WEIGHTS = (0.1, 0.1, 0.15, 0.2, 0.25, 0.12, 0.06, 0.02)
SIZES = ("small", "middle", "large")


@dataclass
class LabelledRun:
    """A run as it was logged, and what is wrong with it.

    Attributes:
        n: Steps.
        metrics: Values by name, NaN where nothing was logged; each of shape ``(n,)``.
        seconds: When each step was logged; shape ``(n,)``.
        system: System metrics by name.
        state: Of the run.
        config: Text by key.
        summary: Numbers by metric.
        artifacts: Type and name.
    """

    n: int
    metrics: dict[str, Floats]
    seconds: Floats
    system: dict[str, Floats] = field(default_factory=dict)
    state: str = "finished"
    config: dict[str, str] = field(default_factory=dict)
    summary: dict[str, float] = field(default_factory=dict)
    artifacts: tuple[tuple[str, str], ...] = (("eval", "eval-replays-1"),)


@dataclass(frozen=True)
class Noise:
    """How a run scatters: autocorrelation and tails."""

    phi: float
    freedom: float
    rng: np.random.Generator

    def draw(self, n: int, sd: float) -> Floats:
        """Autoregressive noise of this standard deviation, mean zero."""
        if np.isinf(self.freedom):
            drawn = self.rng.normal(size=n)
        else:
            drawn = self.rng.standard_t(self.freedom, size=n)
            drawn /= np.sqrt(self.freedom / (self.freedom - 2))
        if self.phi:
            from scipy.signal import lfilter

            drawn = lfilter([np.sqrt(1 - self.phi**2)], [1, -self.phi], drawn)
        return sd * drawn


def length(rng: np.random.Generator, least: int = 30) -> int:
    """A number of steps from 30 to 100,000."""
    lengths = np.array([one for one in LENGTHS if one >= least])
    weights = np.array(WEIGHTS[-lengths.size :])
    return int(rng.choice(lengths, p=weights / weights.sum()))


def healthy(rng: np.random.Generator, n: int) -> LabelledRun:
    """A run without fault: it learns, at its pace."""
    noise = Noise(rng.choice([0.0, 0.5, 0.8]), rng.choice([np.inf, 5.0]), rng)
    time = np.arange(n) / n
    steps = np.arange(n) + 1.0
    metrics = {
        **_training(rng, noise, n, steps, time),
        **_performance(rng, noise, n, time),
        **_extraction(rng, n),
        **_cache(noise, n, steps),
        **_league(rng, noise, n, time),
        **_evaluation(rng, n),
        **_scaling(noise, n, steps),
        **_components(noise, n, time),
    }
    if n >= 60 and rng.random() < 0.4:
        _lose_points(rng, metrics)
    seconds = START + np.cumsum(rng.lognormal(np.log(90), 0.1, n))
    if n >= 300 and rng.random() < 0.3:  # preempted and resumed, at once
        seconds[int(rng.uniform(0.2, 0.9) * n) :] += 400
    samples = max(n // 2, 30)
    return LabelledRun(
        n,
        metrics,
        seconds,
        system={
            "gpu.0.gpu": np.clip(80 + noise.draw(samples, 10), 0, 100),
            "proc.memory.rssMB": 8_000 * (1 - 0.3 * np.exp(-np.arange(samples) / 20))
            + noise.draw(samples, 50),
        },
        config={"total_steps": str(n)},
        summary={"benchmark/loss": float(_last(metrics["benchmark/loss"]))},
    )


def _last(values: Floats) -> float:
    return float(values[np.isfinite(values)][-1])


def _training(
    rng: np.random.Generator, noise: Noise, n: int, steps: Floats, time: Floats
) -> dict[str, Floats]:
    schedule = rng.choice(["constant", "cosine", "drops"])
    rate = np.full(n, 3e-4)
    drop = np.ones(n)
    if schedule == "cosine":
        rate = 3e-4 * (0.5 + 0.5 * np.cos(np.pi * time)) + 1e-7
    elif schedule == "drops":
        for place in (0.5, 0.75):
            rate[int(place * n) :] *= 0.3
            drop[int(place * n) :] *= rng.uniform(0.9, 0.97)
    exponent = rng.uniform(0.2, 0.6)
    loss = (0.5 + 2.5 * steps**-exponent) * drop
    loss *= 1 + 2 * np.exp(-steps / (0.01 * n + 1))  # warm-up
    gain = np.log(steps) / np.log(n)
    return {
        "benchmark/loss": loss * np.exp(noise.draw(n, 0.02)),
        "benchmark/reward_mean": 10 * gain + noise.draw(n, rng.uniform(0.1, 0.4)),
        "benchmark/kl": np.abs(0.03 + noise.draw(n, 0.008)),
        "benchmark/grad_norm": (1 + 5 * np.exp(-steps / (0.01 * n + 1)))
        * np.exp(noise.draw(n, 0.25)),
        "benchmark/entropy": 2 * (1 - 0.5 * time) + noise.draw(n, 0.05),
        "optim/lr": rate,
    }


def _performance(
    rng: np.random.Generator, noise: Noise, n: int, time: Floats
) -> dict[str, Floats]:
    compiling = 1 + 4 * (np.arange(n) < 2)
    rollout = 60 * np.exp(noise.draw(n, 0.1)) * compiling
    training = 40 * np.exp(noise.draw(n, 0.1)) * compiling
    evaluating = 1 - 0.4 * (np.arange(n) % 25 == 24)  # dips that are no level
    return {
        "benchmark/rollout_time_s": rollout,
        "benchmark/training_time_s": training,
        "benchmark/pipeline_overlap_s": 0.8 * np.minimum(rollout, training),
        "benchmark/trajectories": np.round(64 + noise.draw(n, 1.5)),
        "perf/throughput": 5_000 / compiling * evaluating * np.exp(noise.draw(n, 0.05))
        + 0 * time,
        "rollout/failed_count": rng.poisson(0.05, n).astype(float),
        "rollout/max_volume_reload_s": 2 * np.exp(noise.draw(n, 0.2)),
        "rollout/max_total_s": 75 * np.exp(noise.draw(n, 0.1)),
    }


def _extraction(
    rng: np.random.Generator, n: int, rate: float = 0.98
) -> dict[str, Floats]:
    expected = rng.poisson(200, n).astype(float)
    shares = rng.beta(rate * 150, (1 - rate) * 150, n)
    return {
        "extraction/orders_expected": expected,
        "extraction/orders_extracted": rng.binomial(expected.astype(int), shares) * 1.0,
        "extraction/empty_responses": rng.binomial(200, 0.005, n) * 1.0,
        "extraction/partial_responses": rng.binomial(200, 0.01, n) * 1.0,
    }


def _cache(noise: Noise, n: int, steps: Floats) -> dict[str, Floats]:
    rate = np.clip(0.75 - 0.4 * np.exp(-steps / (0.1 * n)) + noise.draw(n, 0.02), 0, 1)
    queries = np.full(n, 10_000.0)
    return {
        "cache/hit_rate": rate,
        "cache/total_queries": queries,
        "cache/total_hits": np.round(rate * queries),
        "cache/prompt_tokens": np.full(n, 50_000.0),
    }


def _league(
    rng: np.random.Generator, noise: Noise, n: int, time: Floats
) -> dict[str, Floats]:
    games = max(40.0, np.ceil(6_000 / n))
    return {
        "elo/challenger": 1_000 + 150 * np.sqrt(time) + noise.draw(n, 15),
        "elo/games_played": np.full(n, games),
        "elo/win_rate": rng.binomial(int(games), 0.54, n) / games,
        "league/num_checkpoints": np.floor(time * 20) + 1,
    }


def _evaluation(rng: np.random.Generator, n: int) -> dict[str, Floats]:
    """Every tenth step against two opponents."""
    at = np.arange(n) % max(n // 40, 1) == 0
    found = {}
    for opponent, share in (("chaos_bot", 0.75), ("defensive_bot", 0.65)):
        wins = np.where(at, rng.binomial(50, share, n) / 50, np.nan)
        found[f"eval/vs_{opponent}/win_rate"] = wins
        found[f"eval/vs_{opponent}/games"] = np.where(at, 50.0, np.nan)
        survival = rng.binomial(50, 0.85, n) / 50
        found[f"eval/vs_{opponent}/survival_rate"] = np.where(at, survival, np.nan)
        centers = 8 + rng.normal(0, 0.8, n)
        found[f"eval/vs_{opponent}/avg_centers"] = np.where(at, centers, np.nan)
    return found


def _scaling(noise: Noise, n: int, steps: Floats) -> dict[str, Floats]:
    return {
        "power_law/cumulative_simulated_years": 50 * steps,
        "power_law/simulated_years_per_step": np.full(n, 50.0),
        "power_law/reward_at_compute": (1 + 0.3 * (50 * steps) ** 0.25)
        * np.exp(noise.draw(n, 0.02)),
    }


def _components(noise: Noise, n: int, time: Floats) -> dict[str, Floats]:
    return {
        "reward_components/center": 1 + time + noise.draw(n, 0.1),
        "reward_components/survival": 1 + 0.2 * time + noise.draw(n, 0.1),
        "reward_components/format": 0.8 + noise.draw(n, 0.05),
    }


def _lose_points(rng: np.random.Generator, metrics: dict[str, Floats]) -> None:
    """A tenth of the values of each series was never logged."""
    for values in metrics.values():
        lost = rng.random(values.size) < 0.1
        lost[0] = lost[-1] = False
        values[lost] = np.nan


# --- faults -----------------------------------------------------------------------

Fault = Callable[[LabelledRun, np.random.Generator, float], None]
Absent = Callable[[LabelledRun, np.random.Generator], None]


@dataclass(frozen=True)
class Scenario:
    """A fault, and what it looks like in three sizes.

    Attributes:
        code: The rule that should see it.
        sizes: Small, middle, large.
        fault: Puts it into a healthy run.
        unit: What the sizes measure.
        least: The shortest run in which it can be seen.
        absent: Makes a healthy run one without what is looked for; where it is no
            fault but the usual case.
        severity: Only findings of this severity count.
    """

    code: str
    sizes: tuple[float, float, float]
    fault: Fault
    unit: str
    least: int = 30
    absent: Absent | None = None
    severity: str | None = None


def _spike(metric: str) -> Fault:
    def fault(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
        values = run.metrics[metric]
        place = int(rng.uniform(0.6, 0.9) * run.n)
        lasts = int(rng.integers(1, 4))
        fading = np.log(size) * 0.8 ** np.arange(lasts)
        values[place : place + lasts] = _near(values, place) * np.exp(fading)

    return fault


def _near(values: Floats, place: int) -> float:
    return float(np.nanmedian(values[max(place - 15, 0) : place + 15]))


def _not_a_number(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    count = max(int(size * run.n), 1)
    places = rng.choice(run.n, count, replace=False)
    run.metrics["benchmark/loss"][places] = np.inf


def _diverge(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    loss = run.metrics["benchmark/loss"]
    start = int(rng.uniform(0.5, 0.75) * run.n)
    gained = np.nanmedian(loss[: max(run.n // 10, 5)]) - _near(loss, start)
    ramp = np.clip((np.arange(run.n) - start) / (0.15 * run.n), 0, 1)
    loss += size * gained * ramp


def _scatter(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    reward = run.metrics["benchmark/reward_mean"]
    start = int(0.55 * run.n)
    level = 10 * np.log(np.arange(run.n) + 1) / np.log(run.n)
    reward[start:] = level[start:] + size * (reward - level)[start:]
    del rng


def _raise_kl(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    ramp = np.clip((np.arange(run.n) / run.n - 0.5) / 0.2, 0, 1)
    run.metrics["benchmark/kl"] += (size - 0.03) * ramp
    del rng


def _lose_entropy(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    time = np.arange(run.n) / run.n
    left = np.maximum(np.exp(-np.maximum(time - 0.1, 0) / 0.04), size)
    run.metrics["benchmark/entropy"] = 2 * left * np.exp(rng.normal(0, 0.05, run.n))


def _flatten(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    reward = run.metrics["benchmark/reward_mean"]
    run.metrics["optim/lr"][:] = 3e-4
    level = 10 * np.log(np.arange(run.n) + 1) / np.log(run.n)
    start = int(size * run.n)
    reward[start:] += level[start] - level[start:]
    del rng


def _regress(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    start = rng.uniform(0.55, 0.75)
    ramp = np.clip((np.arange(run.n) / run.n - start) / (0.85 - start), 0, 1)
    reward = run.metrics["benchmark/reward_mean"]
    level = 10 * np.log(np.arange(run.n) + 1) / np.log(run.n)
    top = 10 * np.log(start * run.n + 1) / np.log(run.n)
    reward += ramp * (top * (1 - size) - level)


def _no_learning(run: LabelledRun, rng: np.random.Generator) -> None:
    reward = run.metrics["benchmark/reward_mean"]
    reward -= 10 * np.log(np.arange(run.n) + 1) / np.log(run.n)
    del run.metrics["benchmark/loss"], run.metrics["elo/challenger"], rng


def _learn(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    _no_learning(run, rng)
    reward = run.metrics["benchmark/reward_mean"]
    reward += size * float(np.nanstd(reward)) * np.arange(run.n) / run.n


def _learn_late(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    _no_learning(run, rng)
    time = np.arange(run.n) / run.n
    run.metrics["benchmark/reward_mean"] += 10 / (1 + np.exp(-(time - size) / 0.015))


def _flat_end(run: LabelledRun, rng: np.random.Generator) -> None:
    del run.metrics["benchmark/loss"], run.metrics["elo/challenger"]
    _flatten(run, rng, 0.4)


def _rising_end(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    _flat_end(run, rng)
    ramp = np.clip(np.arange(run.n) / run.n - 0.6, 0, 1) / 0.4
    run.metrics["benchmark/reward_mean"] += 10 * size * ramp


def _level(metric: str) -> Fault:
    def fault(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
        run.metrics[metric][int(rng.uniform(0.4, 0.8) * run.n) :] *= size

    return fault


def _tail(metric: str) -> Fault:
    def fault(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
        values = run.metrics[metric]
        slow = rng.random(run.n) < 0.12
        slow[: max(4, run.n // 10)] = True
        values[slow] = size * rng.lognormal(0, 0.1, int(slow.sum()))
        if metric == "rollout/max_total_s":
            values[~slow] *= 0.4

    return fault


def _fail(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    failed = rng.binomial(64, size * rng.gamma(2, 0.5, run.n).clip(0, 3)) * 1.0
    run.metrics["rollout/failed_count"] = failed


def _overlap(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.metrics["benchmark/pipeline_overlap_s"] *= size / 0.8
    del rng


def _lopsided(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    rollout = run.metrics["benchmark/rollout_time_s"]
    run.metrics["benchmark/training_time_s"] = rollout * (1 - size) / size
    del rng


def _stall(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    whole = run.seconds[-1] - run.seconds[0]
    lost = max(size / (1 - size) * whole, 2_500)
    run.seconds[int(rng.uniform(0.2, 0.9) * run.n) :] += lost


def _restart(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.seconds[int(rng.uniform(0.2, 0.9) * run.n) :] += size * 3_600


def _idle(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    values = run.system["gpu.0.gpu"]
    run.system["gpu.0.gpu"] = np.clip(size + (values - 80) * 0.5, 0, 100)
    del rng


def _leak(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    values = run.system["proc.memory.rssMB"]
    values += 8_000 * (size - 1) * np.arange(values.size) / values.size
    del rng


def _extract(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.metrics |= _extraction(rng, run.n, size)


def _extract_less(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    later = _extraction(rng, run.n, 0.98 - size)
    start = int(0.8 * run.n)
    for name in ("extraction/orders_expected", "extraction/orders_extracted"):
        run.metrics[name][start:] = later[name][start:]


def _gaps(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    bad = rng.random(run.n) < size
    bad[rng.choice(run.n, 4, replace=False)] = True
    run.metrics["extraction/orders_extracted"][bad] *= 0.5


def _responses(metric: str) -> Fault:
    def fault(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
        rates = size * np.clip((np.arange(run.n) / run.n - 0.3) / 0.4, 0, 1)
        run.metrics[metric] += rng.binomial(200, rates)

    return fault


def _vanish(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    values = run.metrics["reward_components/survival"]
    values[int(rng.uniform(0.4, 0.8) * run.n) :] *= size


def _dominate(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    others = run.metrics["reward_components/survival"]
    others += run.metrics["reward_components/format"]
    run.metrics["reward_components/center"] = np.abs(others) * size / (1 - size)
    del rng


def _cold_cache(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    for name in ("cache/hit_rate", "cache/total_hits"):
        run.metrics[name] *= size / 0.7
    del rng


def _flat_cache(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.metrics["cache/hit_rate"] = np.clip(size + rng.normal(0, 0.02, run.n), 0, 1)


def _no_cache(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    if size <= 2:
        for name in ("cache/hit_rate", "cache/total_hits"):
            run.metrics[name][:] = 0
    if size >= 2:
        run.config["inference.prefix_cache_optimized"] = "False"
    del rng


def _cached_but_slow(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    ramp = 1 + (size - 1) * np.arange(run.n) / run.n
    run.metrics["benchmark/rollout_time_s"][2:] *= ramp[2:]
    del rng


def _power_law(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    compute = run.metrics["power_law/cumulative_simulated_years"]
    law = 0.2 * compute**size
    run.metrics["power_law/reward_at_compute"] = law * rng.lognormal(0, 0.02, run.n)


def _log_linear(run: LabelledRun, rng: np.random.Generator) -> None:
    compute = run.metrics["power_law/cumulative_simulated_years"]
    line = 1 + 0.8 * np.log(compute)
    run.metrics["power_law/reward_at_compute"] = line * rng.lognormal(0, 0.02, run.n)


def _elo(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    elo = run.metrics["elo/challenger"]
    time = np.arange(run.n) / run.n
    elo -= 150 * np.sqrt(time) + size * time
    del rng


def _past_peak(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    elo = run.metrics["elo/challenger"]
    time = np.arange(run.n) / run.n
    start = rng.uniform(0.4, 0.6)
    ramp = np.clip((time - start) / (0.9 - start), 0, 1)
    elo -= ramp * (150 * (np.sqrt(time) - np.sqrt(start)) + size)


def _lose_games(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    games = run.metrics["elo/games_played"]
    count = int(np.nanmax(games))
    run.metrics["elo/win_rate"] = rng.binomial(count, size, run.n) / count


def _stop_league(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    values = run.metrics["league/num_checkpoints"]
    np.minimum(values, np.nanmax(values[: int(size * run.n)]), out=values)
    del rng


def _few_games(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    counts = rng.poisson(size / run.n, run.n).astype(float)
    run.metrics["elo/games_played"] = counts


def _weak(metric: str) -> Fault:
    def fault(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
        values = run.metrics[f"eval/vs_chaos_bot/{metric}"]
        logged = np.isfinite(values)
        values[logged] = rng.binomial(50, size, int(logged.sum())) / 50

    return fault


def _lose_centers(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    values = run.metrics["eval/vs_chaos_bot/avg_centers"]
    values -= size * np.arange(run.n) / run.n
    del rng


def _no_artifacts(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.artifacts = tuple(("model", f"weights-{i}") for i in range(int(size)))
    del rng


def _stop_logging(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.metrics["benchmark/kl"][int(size * run.n) :] = np.nan
    del rng


def _other_summary(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.summary["benchmark/loss"] *= 1 - size * 0.5
    run.summary["benchmark/loss"] -= 1e-3 * size
    del rng


def _rewind(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    if size < 1:  # a second process, logging at the same time
        other = np.arange(run.n) % 2 == 1
        run.seconds[other] -= 200 * (1 + size)
    else:
        run.seconds[int(rng.uniform(0.3, 0.7) * run.n) :] -= (
            0.2 * size * (run.seconds[-1] - run.seconds[0])
        )


def _shorten(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.config["total_steps"] = str(int(run.n / size))
    del rng


def _end(run: LabelledRun, rng: np.random.Generator, size: float) -> None:
    run.state = ("killed", "failed", "crashed")[int(size)]
    del rng


SCENARIOS = (
    Scenario("RUN001", (1.3, 2, 4), _spike("benchmark/loss"), "times its level", 60),
    Scenario("RUN002", (5, 100, 1_000), _spike("benchmark/grad_norm"), "times", 60),
    Scenario("RUN003", (0.001, 0.01, 0.1), _not_a_number, "share of steps"),
    Scenario("RUN004", (0.7, 1.5, 3), _diverge, "of the gain", 120),
    Scenario("RUN005", (2, 5, 8), _scatter, "times the sd", 300),
    Scenario("RUN006", (0.12, 0.2, 0.5), _raise_kl, "nats"),
    Scenario("RUN007", (0.08, 0.04, 0.01), _lose_entropy, "of the first"),
    Scenario("RUN010", (0.7, 0.45, 0.3), _flatten, "flat from", 300),
    Scenario("RUN011", (0.15, 0.3, 0.6), _regress, "of the gain", 120),
    Scenario("RUN012", (2, 8, 20), _learn, "sd", 60, _no_learning),
    Scenario("RUN013", (0.87, 0.9, 0.93), _learn_late, "of the run", 60, _no_learning),
    Scenario("RUN014", (0.1, 0.4, 1), _rising_end, "of the gain", 120, _flat_end),
    Scenario("RUN020", (0.82, 0.7, 0.5), _level("perf/throughput"), "left", 60),
    Scenario("RUN021", (0.82, 0.7, 0.5), _level("benchmark/trajectories"), "left", 60),
    Scenario("RUN022", (150, 300, 600), _tail("rollout/max_total_s"), "s", 60),
    Scenario("RUN023", (15, 40, 120), _tail("rollout/max_volume_reload_s"), "s", 60),
    Scenario("RUN024", (0.02, 0.05, 0.2), _fail, "of rollouts"),
    Scenario("RUN025", (0.4, 0.2, 0.05), _overlap, "of the shorter", 60),
    Scenario("RUN026", (0.92, 0.95, 0.99), _lopsided, "of the step", 60),
    Scenario("RUN027", (0.1, 0.3, 0.6), _stall, "of the time"),
    Scenario("RUN028", (25, 10, 2), _idle, "%"),
    Scenario("RUN029", (1.8, 2.5, 5), _leak, "times", 60),
    Scenario("RUN030", (1.5, 5, 24), _restart, "hours"),
    Scenario("RUN040", (0.93, 0.88, 0.6), _extract, "rate"),
    Scenario("RUN041", (0.02, 0.05, 0.2), _extract_less, "of the rate", 120),
    Scenario("RUN042", (0.03, 0.08, 0.2), _gaps, "of steps", 60),
    Scenario(
        "RUN043",
        (0.08, 0.15, 0.4),
        _responses("extraction/empty_responses"),
        "rate",
        60,
    ),
    Scenario(
        "RUN044",
        (0.13, 0.25, 0.5),
        _responses("extraction/partial_responses"),
        "rate",
        60,
    ),
    Scenario("RUN045", (0.15, 0.3, 0.6), _regress, "of the gain", 120),
    Scenario("RUN046", (0.01, 0.003, 0), _vanish, "left", 60),
    Scenario("RUN047", (0.93, 0.97, 0.99), _dominate, "of the sum", 60),
    Scenario("RUN050", (0.45, 0.3, 0.1), _cold_cache, "rate"),
    Scenario("RUN051", (0.45, 0.3, 0.1), _flat_cache, "rate", 60),
    Scenario("RUN052", (1, 2, 3), _no_cache, "case"),
    Scenario("RUN053", (1.2, 1.5, 2.5), _cached_but_slow, "times", 120),
    Scenario("RUN060", (0.3, 0.5, 0.8), _power_law, "exponent", 60, _log_linear),
    Scenario(
        "RUN061",
        (1.2, 1.5, 3),
        _level("power_law/simulated_years_per_step"),
        "times",
        60,
    ),
    Scenario("RUN070", (30, 80, 200), _elo, "points", 60, severity="warning"),
    Scenario("RUN071", (30, 60, 150), _past_peak, "points", 60),
    Scenario("RUN072", (0.45, 0.4, 0.2), _lose_games, "rate"),
    Scenario("RUN073", (0.45, 0.3, 0.15), _stop_league, "of the run", 60),
    Scenario("RUN074", (1_500, 500, 50), _few_games, "games"),
    Scenario("RUN080", (0.4, 0.25, 0.1), _weak("win_rate"), "rate"),
    Scenario("RUN081", (0.4, 0.25, 0.1), _weak("survival_rate"), "rate"),
    Scenario("RUN082", (1, 3, 6), _lose_centers, "centres", 60),
    Scenario("RUN083", (0, 1, 5), _no_artifacts, "others"),
    Scenario("RUN090", (0.8, 0.6, 0.3), _stop_logging, "of the run", 120),
    Scenario("RUN091", (0.01, 0.1, 1), _other_summary, "relative"),
    Scenario("RUN092", (0.5, 1, 3), _rewind, "case"),
    Scenario("RUN093", (0.8, 0.5, 0.1), _shorten, "of the plan"),
    Scenario("RUN094", (0, 1, 2), _end, "state"),
)


def faulty_runs(
    scenario: Scenario, size: float, count: int, seed: int
) -> Iterator[LabelledRun]:
    """Runs with a fault of this size."""
    for rng in _streams(seed, count):
        run = healthy(rng, length(rng, scenario.least))
        scenario.fault(run, rng, size)
        yield run


def runs_without(scenario: Scenario, count: int, seed: int) -> Iterator[LabelledRun]:
    """Runs without what the scenario is about."""
    for rng in _streams(seed, count):
        run = healthy(rng, length(rng, scenario.least))
        if scenario.absent:
            scenario.absent(run, rng)
        yield run


def healthy_runs(count: int, seed: int) -> Iterator[LabelledRun]:
    """Runs without any fault."""
    for rng in _streams(seed, count):
        yield healthy(rng, length(rng))


def _streams(seed: int, count: int) -> Iterator[np.random.Generator]:
    for child in np.random.SeedSequence(seed).spawn(count):
        yield np.random.default_rng(child)
