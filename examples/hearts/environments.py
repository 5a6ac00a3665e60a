"""As many environments and agents as wanted, drawn from a seed.

The sweep compares three algorithms on four maps; a model that is to predict how an
unseen environment will be learned needs many more of both.
"""

from dataclasses import dataclass

import numpy as np

from run_assets.errors import UsageError

from .agents import BOOTSTRAPS, LearnerParameters
from .learning import TrainingParameters
from .maps import MapParameters, build_map
from .sweep import Mishap, RunPlan
from .world import GameParameters

EPOCHS = 60
# Share of the way from one corner to the opposite one that a step limit allows, three
# times over: from mine to generator to altar.
_PATIENCE = (0.8, 2.0)


@dataclass(frozen=True, kw_only=True)
class AgentRanges:
    """Between which values agents are drawn; ``log`` ranges by their logarithm.

    Attributes:
        learning_rate: Log.
        one_minus_gamma: Log.
        epsilon_start: Linear.
        epsilon_end: Log.
        exploration_fraction: Linear.
    """

    learning_rate: tuple[float, float] = (0.01, 1.2)
    one_minus_gamma: tuple[float, float] = (0.005, 0.3)
    epsilon_start: tuple[float, float] = (0.2, 1.0)
    epsilon_end: tuple[float, float] = (0.02, 0.5)
    exploration_fraction: tuple[float, float] = (0.1, 1.0)


def draw_game(seed: int) -> GameParameters:
    """The rules and the map of one environment; the same seed draws the same.

    A map that is too small for its rooms, objects and walls is drawn again.
    """
    rng = np.random.default_rng([seed, 0])
    while True:
        game = _some_game(rng)
        try:
            build_map(game.map)
        except UsageError:
            continue
        return game


def draw_learner(
    rng: np.random.Generator, ranges: AgentRanges | None = None
) -> LearnerParameters:
    """The hyperparameters of one agent."""
    between = ranges or AgentRanges()
    return LearnerParameters(
        algorithm=str(rng.choice(list(BOOTSTRAPS))),
        learning_rate=_log_uniform(rng, between.learning_rate),
        gamma=1 - _log_uniform(rng, between.one_minus_gamma),
        epsilon_start=float(rng.uniform(*between.epsilon_start)),
        epsilon_end=_log_uniform(rng, between.epsilon_end),
        exploration_fraction=float(rng.uniform(*between.exploration_fraction)),
    )


def plan_drawn_run(
    environment: int, learner: LearnerParameters, seed: int, *, epochs: int = EPOCHS
) -> RunPlan:
    """One run of an agent in a drawn environment.

    Args:
        environment: Seed of the environment.
        learner: The agent.
        seed: Of everything but the map.
        epochs: Times that metrics are written.
    """
    parameters = TrainingParameters(
        game=draw_game(environment),
        learner=learner,
        seed=seed,
        epochs=epochs,
        evaluate_interval=epochs,
    )
    return RunPlan(
        learner.algorithm, f"world-{environment}", seed, Mishap.NONE, parameters
    )


def _some_game(rng: np.random.Generator) -> GameParameters:
    width, height = (int(side) for side in rng.integers(8, 18, size=2))
    reach = 3 * (width + height) / 2
    patience = rng.uniform(*_PATIENCE)
    return GameParameters(
        max_steps=int(reach * patience),
        num_agents=int(rng.choice([1, 1, 1, 2, 4])),
        slip_rate=float(rng.uniform(0.0, 0.25)),
        cooldown_steps=3,
        rewards=(0.1, 0.3, 1.0),
        map=MapParameters(
            width=width,
            height=height,
            num_rooms=int(rng.integers(1, 7)),
            num_mines=int(rng.integers(1, 4)),
            num_generators=int(rng.integers(1, 4)),
            num_altars=int(rng.integers(1, 4)),
            num_walls=int(rng.integers(0, 16)),
            seed=int(rng.integers(1_000_000)),
        ),
    )


def _log_uniform(rng: np.random.Generator, between: tuple[float, float]) -> float:
    low, high = np.log(between)
    return float(np.exp(rng.uniform(low, high)))
