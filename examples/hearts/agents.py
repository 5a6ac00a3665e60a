"""Tabular agents: how they act and what they learn from one step, in pure numpy.

All agents of a run share one table of action values, shape ``(states, actions)``;
a *lane* is one agent of one world.

Source: Sutton and Barto 2018, sections 6.4 (SARSA), 6.5 (Q-learning) and 6.6
(expected SARSA).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .world import randomly_replaced

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LearnerParameters:
    """What an agent is told about learning.

    Attributes:
        algorithm: A key of ``BOOTSTRAPS``.
        learning_rate: Share of the error by which a value moves; above 2 it diverges.
        gamma: Discount per step.
        epsilon_start: Share of random actions at the start of training.
        epsilon_end: Share of random actions once exploration is over.
        exploration_fraction: Share of the training over which epsilon falls.
    """

    algorithm: str
    learning_rate: float
    gamma: float
    epsilon_start: float
    epsilon_end: float
    exploration_fraction: float

    def epsilon(self, progress: float) -> float:
        """Share of random actions at a point of the training, 0 to 1."""
        done = min(1.0, progress / self.exploration_fraction)
        return self.epsilon_start + done * (self.epsilon_end - self.epsilon_start)


def first_table(num_states: int, num_actions: int, rng: np.random.Generator) -> Floats:
    """Action values before any learning: tiny and random, so that no two tie."""
    return rng.normal(scale=1e-6, size=(num_states, num_actions))


def choose_actions(values: Floats, epsilon: float, rng: np.random.Generator) -> Ints:
    """Epsilon-greedy actions.

    Args:
        values: Action values, shape ``(lanes, actions)``.
        epsilon: Share of random actions.
        rng: Decides which lanes explore, and what they do.

    Returns:
        One action a lane, shape ``(lanes,)``.
    """
    return randomly_replaced(values.argmax(axis=1), epsilon, rng)


def policy_entropy(epsilon: float, num_actions: int) -> float:
    """Entropy of the epsilon-greedy policy, in nats; the same in every state.

    >>> round(policy_entropy(1.0, num_actions=2), 4)
    0.6931
    >>> policy_entropy(0.0, num_actions=2)
    0.0
    """
    other = epsilon / num_actions
    probabilities = np.array([1 - epsilon + other, *[other] * (num_actions - 1)])
    possible = probabilities[probabilities > 0]
    return max(0.0, float(-(possible * np.log(possible)).sum()))


# What an algorithm expects after a step, given the next state's action values
# (lanes, actions), the next actions (lanes,) and epsilon; shape (lanes,).
Bootstrap = Callable[[Floats, Ints, float], Floats]


def q_learning_bootstrap(values: Floats, _actions: Ints, _epsilon: float) -> Floats:
    """The best action's value, whatever is done next.

    Source: Sutton and Barto 2018, equation 6.8.
    """
    return np.asarray(values.max(axis=1))


def sarsa_bootstrap(values: Floats, actions: Ints, _epsilon: float) -> Floats:
    """The value of the action that is done next.

    Source: Sutton and Barto 2018, equation 6.7.
    """
    return values[np.arange(len(actions)), actions]


def expected_sarsa_bootstrap(values: Floats, _actions: Ints, epsilon: float) -> Floats:
    """The mean value over the actions that the policy may do next.

    Source: Sutton and Barto 2018, equation 6.9.
    """
    best, mean = values.max(axis=1), values.mean(axis=1)
    return np.asarray((1 - epsilon) * best + epsilon * mean)


BOOTSTRAPS: dict[str, Bootstrap] = {
    "q-learning": q_learning_bootstrap,
    "sarsa": sarsa_bootstrap,
    "expected-sarsa": expected_sarsa_bootstrap,
}


def learn(
    table: Floats, states: Ints, actions: Ints, targets: Floats, learning_rate: float
) -> Floats:
    """Move the values of what was done towards their targets, in place.

    Lanes that did the same in the same state teach their mean error, so that a
    crowd in one cell does not multiply the learning rate.

    Args:
        table: Action values, shape ``(states, actions)``; changed.
        states: Shape ``(lanes,)``.
        actions: Shape ``(lanes,)``.
        targets: What the values should have been, shape ``(lanes,)``.
        learning_rate: Share of the error by which a value moves.

    Returns:
        The errors before the update, shape ``(lanes,)``.
    """
    entries = states * table.shape[1] + actions
    values = table.ravel()
    errors: Floats = targets - values[entries]
    sums = np.bincount(entries, weights=errors, minlength=values.size)[entries]
    counts = np.bincount(entries, minlength=values.size)[entries]
    values[entries] += learning_rate * sums / counts
    return errors
