"""The sweep: which runs there are, each with its map, its agent and its fate."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from .agents import BOOTSTRAPS, LearnerParameters
from .learning import TrainingParameters
from .maps import MapParameters
from .world import GameParameters

PROJECT = "hearts"
SWEEP = "algorithms-by-map"

MAPS = {
    "open": MapParameters(
        width=11,
        height=11,
        num_rooms=1,
        num_mines=1,
        num_generators=1,
        num_altars=1,
        num_walls=6,
        seed=1,
    ),
    "rooms": MapParameters(
        width=13,
        height=13,
        num_rooms=4,
        num_mines=2,
        num_generators=2,
        num_altars=2,
        num_walls=6,
        seed=7,
    ),
    "maze": MapParameters(
        width=15,
        height=13,
        num_rooms=8,
        num_mines=2,
        num_generators=2,
        num_altars=2,
        num_walls=12,
        seed=3,
    ),
    "crowd": MapParameters(
        width=13,
        height=11,
        num_rooms=2,
        num_mines=3,
        num_generators=3,
        num_altars=3,
        num_walls=6,
        seed=4,
    ),
}
# About 1.5 times the fewest steps from the farthest corner of the map, so that only
# an agent that wastes few steps succeeds; in the crowd agents wait for each other.
MAX_STEPS = {"open": 18, "rooms": 34, "maze": 50, "crowd": 60}
NUM_AGENTS = {"open": 1, "rooms": 1, "maze": 1, "crowd": 4}

LEARNER = LearnerParameters(
    algorithm="q-learning",
    learning_rate=0.3,
    gamma=0.97,
    epsilon_start=0.8,
    epsilon_end=0.15,
    exploration_fraction=0.7,
)


class Mishap(Enum):
    """What may happen to a run; the sentence becomes a part of its W&B notes."""

    NONE = "Nothing special."
    DIVERGES = "The learning rate is far too high: values overflow."
    FILLS_UP = "Its curriculum adds walls until the map is full and cannot be drawn."
    KILLED = "Its process is killed while it logs, as by the out-of-memory killer."
    EXITS = "Its process leaves at once while it logs, as native code does on a fault."

    @property
    def ends_process(self) -> bool:
        """Whether the run takes its process with it."""
        return self in {Mishap.KILLED, Mishap.EXITS}


# (algorithm, map, seed): seed 0 is spared, so that one seed is a clean sweep.
MISHAPS = {
    ("sarsa", "maze", 1): Mishap.KILLED,
    ("q-learning", "rooms", 1): Mishap.FILLS_UP,
    ("expected-sarsa", "open", 1): Mishap.DIVERGES,
    ("q-learning", "crowd", 3): Mishap.EXITS,
    ("sarsa", "rooms", 3): Mishap.DIVERGES,
    ("expected-sarsa", "maze", 4): Mishap.FILLS_UP,
}
# At this share of its epochs a run's process ends.
LAST_BREATH = 0.6


@dataclass(frozen=True)
class RunPlan:
    """One run of the sweep."""

    algorithm: str
    env: str
    seed: int
    mishap: Mishap
    parameters: TrainingParameters

    @property
    def run_id(self) -> str:
        """The W&B run id, the same for every sweep: ``q-learning-maze-s0``."""
        return f"{self.algorithm}-{self.env}-s{self.seed}"

    @property
    def name(self) -> str:
        """The W&B display name."""
        return f"{self.algorithm} in {self.env}, seed {self.seed}"

    @property
    def tags(self) -> list[str]:
        """The W&B tags: map, agents and what was varied beside the algorithm."""
        tags = [f"map:{self.env}"]
        if self.parameters.game.num_agents > 1:
            tags.append("multi-agent")
        if self.mishap is Mishap.FILLS_UP:
            tags.append("curriculum")
        if self.mishap is Mishap.DIVERGES:
            tags.append("high-learning-rate")
        return tags

    @property
    def notes(self) -> str:
        """The W&B notes."""
        return (
            f"Tabular {self.algorithm} on the map {self.env!r}. {self.mishap.value} "
            "See examples/hearts/README.md."
        )

    def config(self) -> dict[str, Any]:
        """The W&B config, nested as a training framework nests it."""
        training, learner = self.parameters, self.parameters.learner
        return {
            "seed": self.seed,
            "env": self.env,
            "trainer": {
                "algorithm": self.algorithm,
                "optimizer": {"learning_rate": learner.learning_rate},
                "gamma": learner.gamma,
                "exploration": {
                    "epsilon_start": learner.epsilon_start,
                    "epsilon_end": learner.epsilon_end,
                    "fraction": learner.exploration_fraction,
                },
                "batch_size": training.batch_size,
                "minibatch_size": training.lanes,
                "total_timesteps": training.epochs * training.batch_size,
                "evaluate_interval": training.evaluate_interval,
                "curriculum": {"new_walls": training.new_walls},
                "env_overrides": {"game": _game_config(training.game)},
            },
        }


def plan_sweep(seeds: int) -> Iterator[RunPlan]:
    """Every algorithm on every map with the seeds ``0 .. seeds - 1``."""
    for env in MAPS:
        for algorithm in BOOTSTRAPS:
            for seed in range(seeds):
                yield plan_run(algorithm, env, seed)


def plan_run(algorithm: str, env: str, seed: int) -> RunPlan:
    """One run of the sweep, by what it is.

    >>> plan_run("q-learning", "maze", 0).run_id
    'q-learning-maze-s0'
    """
    mishap = MISHAPS.get((algorithm, env, seed), Mishap.NONE)
    learner = replace(LEARNER, algorithm=algorithm)
    if mishap is Mishap.DIVERGES:
        learner = replace(learner, learning_rate=2.6)
    parameters = TrainingParameters(
        game=GameParameters(
            max_steps=MAX_STEPS[env],
            num_agents=NUM_AGENTS[env],
            slip_rate=0.1,
            cooldown_steps=3,
            rewards=(0.1, 0.3, 1.0),
            map=MAPS[env],
        ),
        learner=learner,
        seed=seed,
        new_walls=5 if mishap is Mishap.FILLS_UP else 0,
    )
    return RunPlan(algorithm, env, seed, mishap, parameters)


def _game_config(game: GameParameters) -> dict[str, Any]:
    ore, battery, heart = game.rewards
    return {
        "max_steps": game.max_steps,
        "num_agents": game.num_agents,
        "slip_rate": game.slip_rate,
        "cooldown_steps": game.cooldown_steps,
        "agent": {"rewards": {"ore_red": ore, "battery_red": battery, "heart": heart}},
        "map_builder": {
            "width": game.map.width,
            "height": game.map.height,
            "num_rooms": game.map.num_rooms,
            "seed": game.map.seed,
            "objects": {
                "mine_red": game.map.num_mines,
                "generator_red": game.map.num_generators,
                "altar": game.map.num_altars,
                "wall": game.map.num_walls,
            },
        },
    }
