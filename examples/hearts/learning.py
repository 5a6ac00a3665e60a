"""One run's learning: epochs of training, an evaluation now and then, as numbers.

Nothing here reads a clock, a file or wandb; the same parameters give the same metrics.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agents import (
    BOOTSTRAPS,
    LearnerParameters,
    choose_actions,
    first_table,
    learn,
    policy_entropy,
)
from .world import ACTIONS, GameParameters, Outcome, Situation, World, build_world

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TrainingParameters:
    """How long, how wide and with what a run trains.

    Attributes:
        game: The rules and the map.
        learner: The agent.
        seed: Seeds everything but the map, which has a seed of its own.
        epochs: Times that metrics are written.
        steps_per_epoch: Steps of all lanes between two writes.
        lanes: Agents that learn side by side, over all worlds.
        evaluate_interval: Epochs between two evaluations.
        evaluation_epsilon: Share of random actions in evaluations.
        new_walls: Walls that the curriculum adds at each evaluation.
    """

    game: GameParameters
    learner: LearnerParameters
    seed: int
    epochs: int = 100
    steps_per_epoch: int = 40
    lanes: int = 48
    evaluate_interval: int = 5
    evaluation_epsilon: float = 0.05
    new_walls: int = 0

    @property
    def num_worlds(self) -> int:
        """Copies of the world that hold all lanes."""
        return self.lanes // self.game.num_agents

    @property
    def batch_size(self) -> int:
        """Agent steps of one epoch."""
        return self.steps_per_epoch * self.lanes


class StepRecord(NamedTuple):
    """What one training step adds to its epoch, each of shape ``(lanes,)``."""

    actions: Ints
    errors: Floats
    targets: Floats
    ended: NDArray[np.bool_]
    delivered: NDArray[np.bool_]
    returns: Floats
    lengths: Ints


@dataclass
class Training:
    """The state of a run between two epochs."""

    parameters: TrainingParameters
    world: World
    rng: np.random.Generator
    table: Floats
    situation: Situation
    actions: Ints
    returns: Floats


def train(parameters: TrainingParameters) -> Iterator[Metrics]:
    """Train one run.

    Yields:
        The metrics of each epoch by their W&B names; those of evaluations only in
        the epochs that hold one. ``metric/agent_step`` counts steps of single agents.

    Raises:
        UsageError: The map cannot be drawn, at first or when walls are added.
    """
    training = _begin(parameters)
    for epoch in range(1, parameters.epochs + 1):
        progress = (epoch - 1) / parameters.epochs
        epsilon = parameters.learner.epsilon(progress)
        metrics: Metrics = {
            "metric/epoch": epoch,
            "metric/agent_step": epoch * parameters.batch_size,
            **_train_epoch(training, epsilon),
        }
        if epoch % parameters.evaluate_interval == 0:
            metrics |= evaluate(training, epoch)
            _add_walls(training, epoch)
        yield metrics


def _begin(parameters: TrainingParameters) -> Training:
    world = build_world(parameters.game)
    rng = np.random.default_rng(parameters.seed)
    return Training(
        parameters=parameters,
        world=world,
        rng=rng,
        table=first_table(world.num_states, len(ACTIONS), rng),
        situation=_start(parameters, world, rng),
        actions=rng.integers(len(ACTIONS), size=parameters.lanes),
        returns=np.zeros(parameters.lanes),
    )


def _start(
    parameters: TrainingParameters, world: World, rng: np.random.Generator
) -> Situation:
    """Agents at random points of their first episode, so that not all end at once."""
    situation = world.start(parameters.num_worlds, rng)
    ages = rng.integers(parameters.game.max_steps, size=situation.age.shape)
    return replace(situation, age=ages)


def _add_walls(training: Training, epoch: int) -> None:
    """The curriculum: the same map with more walls, agents set down anew."""
    parameters = training.parameters
    if parameters.new_walls == 0:
        return
    game = parameters.game
    added = parameters.new_walls * (epoch // parameters.evaluate_interval)
    harder = replace(game.map, num_walls=game.map.num_walls + added)
    training.world = build_world(replace(game, map=harder))
    training.situation = _start(parameters, training.world, training.rng)
    training.returns = np.zeros(parameters.lanes)


def _train_epoch(training: Training, epsilon: float) -> Metrics:
    # A learning rate that is too high is allowed to overflow: its run is meant to
    # show infinities and NaN as they really come about.
    with np.errstate(over="ignore", invalid="ignore"):
        steps = range(training.parameters.steps_per_epoch)
        records = [_train_step(training, epsilon) for _ in steps]
        return {
            **_epoch_metrics(StepRecord(*map(np.stack, zip(*records, strict=True)))),
            "trainer/entropy": policy_entropy(epsilon, len(ACTIONS)),
            "trainer/epsilon": epsilon,
            "trainer/learning_rate": training.parameters.learner.learning_rate,
        }


def _train_step(training: Training, epsilon: float) -> StepRecord:
    learner, world, rng = training.parameters.learner, training.world, training.rng
    shape = training.situation.position.shape
    states = world.observe(training.situation).ravel()
    outcome = world.step(training.situation, training.actions.reshape(shape), rng)

    next_states = world.observe(outcome.situation).ravel()
    next_values = training.table[next_states]
    next_actions = choose_actions(next_values, epsilon, rng)
    bootstrap = BOOTSTRAPS[learner.algorithm](next_values, next_actions, epsilon)
    # An episode that ran out of time would have gone on: only a heart ends the sum.
    future = np.where(outcome.delivered.ravel(), 0.0, learner.gamma * bootstrap)
    targets = outcome.reward.ravel() + future
    errors = learn(
        training.table, states, training.actions, targets, learner.learning_rate
    )

    training.returns = training.returns + outcome.reward.ravel()
    record = StepRecord(
        actions=training.actions,
        errors=errors,
        targets=targets,
        ended=outcome.ended.ravel(),
        delivered=outcome.delivered.ravel(),
        returns=training.returns,
        lengths=outcome.situation.age.ravel(),
    )
    _go_on(training, outcome, next_actions, epsilon)
    return record


def _go_on(
    training: Training, outcome: Outcome, next_actions: Ints, epsilon: float
) -> None:
    """Set the scene of the next step: new episodes for the agents that ended."""
    ended = outcome.ended.ravel()
    training.returns = np.where(ended, 0.0, training.returns)
    training.actions = next_actions
    training.situation = outcome.situation
    if ended.any():
        world, rng = training.world, training.rng
        training.situation = world.respawn(outcome.situation, outcome.ended, rng)
        states = world.observe(training.situation).ravel()
        fresh_actions = choose_actions(training.table[states], epsilon, rng)
        training.actions = np.where(ended, fresh_actions, next_actions)


def _epoch_metrics(records: StepRecord) -> Metrics:
    """Reduce the steps of an epoch, each array of shape ``(steps, lanes)``."""
    metrics: Metrics = {
        "trainer/loss": float(np.mean(records.errors**2)),
        "trainer/explained_variance": _explained_variance(
            records.targets, records.errors
        ),
        "overview/hearts": float(records.delivered.sum()),
    }
    counts = np.bincount(records.actions.ravel(), minlength=len(ACTIONS))
    for action, count in zip(ACTIONS, counts, strict=True):
        metrics[f"env_agent/actions_taken/{action}"] = float(count)
    if records.ended.any():
        mean_return = float(records.returns[records.ended].mean())
        metrics["overview/reward"] = mean_return
        metrics["env_agent/reward_mean"] = mean_return
        metrics["env_agent/episode_length_mean"] = float(
            records.lengths[records.ended].mean()
        )
    return metrics


def _explained_variance(targets: Floats, errors: Floats) -> float:
    """Share of the targets' variance that the values foresaw; NaN without variance."""
    variance = float(np.var(targets))
    return 1 - float(np.var(errors)) / variance if variance else float("nan")


def evaluate(training: Training, epoch: int) -> Metrics:
    """Play one episode a lane with what was learned so far, learning nothing.

    Path efficiency is success weighted by path length: the fewest possible steps
    over those taken, 0 without a heart.

    Source: Anderson et al. 2018, "On evaluation of embodied navigation agents".
    """
    parameters, world = training.parameters, training.world
    # A stream of its own, so that evaluating more often does not change learning.
    rng = np.random.default_rng([parameters.seed, epoch])
    situation = world.start(parameters.num_worlds, rng)
    fewest = world.steps_to_heart[world.observe(situation)]
    steps = np.full(fewest.shape, parameters.game.max_steps)
    returns = np.zeros(fewest.shape)
    playing = np.ones(fewest.shape, dtype=np.bool_)
    success = ~playing
    for step in range(1, parameters.game.max_steps + 1):
        values = training.table[world.observe(situation).ravel()]
        actions = choose_actions(values, parameters.evaluation_epsilon, rng)
        outcome = world.step(situation, actions.reshape(fewest.shape), rng)
        returns += np.where(playing, outcome.reward, 0.0)
        steps[playing & outcome.delivered] = step
        success |= playing & outcome.delivered
        playing &= ~outcome.ended
        situation = world.respawn(outcome.situation, outcome.ended, rng)
        if not playing.any():
            break
    return {
        "eval_navigation/success_rate": float(success.mean()),
        "eval_navigation/path_efficiency": float((success * fewest / steps).mean()),
        "eval_navigation/steps_mean": float(steps.mean()),
        "eval_navigation/reward_mean": float(returns.mean()),
    }
