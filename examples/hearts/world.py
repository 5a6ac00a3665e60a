"""The rules: agents carry ore from a mine to a generator, its battery to an altar.

Many copies of one world advance together, so every array has a row per world and a
column per agent. All functions are pure numpy.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .maps import MapParameters, Tile, TileGrid, build_map

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Item(IntEnum):
    """What an agent carries; each use of the right object gives the next one."""

    NOTHING = 0
    ORE = 1
    BATTERY = 2


ACTIONS = ("move_north", "move_east", "move_south", "move_west", "use")
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))
USE = ACTIONS.index("use")
# Indexed by what an agent carries: the object that takes it.
TAKEN_BY = np.array([Tile.MINE, Tile.GENERATOR, Tile.ALTAR])


@dataclass(frozen=True, kw_only=True)
class GameParameters:
    """The rules that a run may change.

    Attributes:
        max_steps: Steps after which an agent's episode ends without a heart.
        num_agents: Agents in one world; none enters a cell where another stands.
        slip_rate: Share of steps at which a random action replaces the chosen one.
        cooldown_steps: Steps for which an object that was used serves nobody.
        rewards: For ore, for a battery, for a heart.
        map: What the map is drawn from.
    """

    max_steps: int
    num_agents: int
    slip_rate: float
    cooldown_steps: int
    rewards: tuple[float, float, float]
    map: MapParameters


@dataclass(frozen=True)
class Situation:
    """Where all agents are at one instant.

    Attributes:
        position: Cell of each agent, shape ``(worlds, agents)``.
        item: What each agent carries, an ``Item``, shape ``(worlds, agents)``.
        age: Steps since the agent's episode began, shape ``(worlds, agents)``.
        busy_until: First step at which an object serves again, ``(worlds, cells)``.
        now: Steps since the worlds began.
    """

    position: Ints
    item: Ints
    age: Ints
    busy_until: Ints
    now: int


@dataclass(frozen=True)
class Outcome:
    """What one step led to, all of shape ``(worlds, agents)``."""

    situation: Situation
    reward: Floats
    delivered: Bools
    out_of_time: Bools

    @property
    def ended(self) -> Bools:
        """Whether the agent's episode ended: with a heart or out of time."""
        return self.delivered | self.out_of_time


@dataclass(frozen=True)
class World:
    """A map with its rules, prepared for fast steps."""

    game: GameParameters
    tiles: TileGrid

    @cached_property
    def kinds(self) -> NDArray[np.int8]:
        """The tile of each cell, shape ``(cells,)``; cells count row by row."""
        return self.tiles.ravel()

    @cached_property
    def spawn_cells(self) -> Ints:
        """The cells where an episode may begin: plain floor."""
        return np.flatnonzero(self.kinds == Tile.FLOOR)

    @cached_property
    def neighbours(self) -> Ints:
        """Where an action leads from a cell, shape ``(cells, actions)``."""
        rows, columns = np.indices(self.tiles.shape)
        height, width = self.tiles.shape
        targets = []
        for down, right in MOVES:
            row = np.clip(rows + down, 0, height - 1)
            column = np.clip(columns + right, 0, width - 1)
            blocked = self.tiles[row, column] == Tile.WALL
            target = np.where(blocked, rows * width + columns, row * width + column)
            targets.append(target.ravel())
        return np.stack(targets, axis=1)

    @cached_property
    def rewards(self) -> Floats:
        """What an agent gets for the use of an object, by what it carries."""
        return np.array(self.game.rewards)

    @cached_property
    def num_states(self) -> int:
        """How many different things one agent can observe."""
        return len(Item) * self.kinds.size

    @cached_property
    def steps_to_heart(self) -> Floats:
        """Fewest steps to a heart from every state, if nobody is in the way.

        Shape ``(states,)``; infinite where no heart can be reached. Walls count as
        unreachable cells.
        """
        steps = np.full((len(Item), self.kinds.size), np.inf)
        for item in reversed(Item):
            serves = self.kinds == TAKEN_BY[item]
            after = 0.0 if item is Item.BATTERY else steps[item + 1, serves]
            steps[item, serves] = 1 + after
            steps[item] = _walking_steps(steps[item], self.neighbours)
        steps[:, self.kinds == Tile.WALL] = np.inf
        return steps.ravel()

    def observe(self, situation: Situation) -> Ints:
        """Each agent's state: where it is and what it carries, ``(worlds, agents)``."""
        return situation.item * self.kinds.size + situation.position

    def start(self, num_worlds: int, rng: np.random.Generator) -> Situation:
        """Fresh copies of the world, every agent at the start of an episode."""
        shape = (num_worlds, self.game.num_agents)
        return Situation(
            position=self._random_floor(shape, rng),
            item=np.zeros(shape, dtype=np.int64),
            age=np.zeros(shape, dtype=np.int64),
            busy_until=np.zeros((num_worlds, self.kinds.size), dtype=np.int64),
            now=0,
        )

    def step(
        self, situation: Situation, actions: Ints, rng: np.random.Generator
    ) -> Outcome:
        """Let every agent act once; within a world they act in turn.

        Args:
            situation: Where all agents are.
            actions: Indices into ``ACTIONS``, shape ``(worlds, agents)``.
            rng: Decides which actions slip.

        Returns:
            The outcome; agents whose episode ended have not begun a new one.
        """
        actions = randomly_replaced(actions, self.game.slip_rate, rng)
        position, item = situation.position.copy(), situation.item.copy()
        busy_until = situation.busy_until.copy()
        served = np.zeros(actions.shape, dtype=np.bool_)
        for agent in range(self.game.num_agents):
            served[:, agent] = self._use(
                position[:, agent],
                item[:, agent],
                actions[:, agent] == USE,
                busy_until,
                situation.now,
            )
            position[:, agent] = self._move(position, agent, actions[:, agent])
        delivered = served & (item == Item.BATTERY)
        age = situation.age + 1
        return Outcome(
            situation=Situation(
                position=position,
                item=np.where(served, (item + 1) % len(Item), item),
                age=age,
                busy_until=busy_until,
                now=situation.now + 1,
            ),
            reward=np.where(served, self.rewards[item], 0.0),
            delivered=delivered,
            out_of_time=(age >= self.game.max_steps) & ~delivered,
        )

    def respawn(
        self, situation: Situation, ended: Bools, rng: np.random.Generator
    ) -> Situation:
        """Begin a new episode, on a random floor cell, for the agents that ended."""
        if not ended.any():
            return situation
        floor = self._random_floor(ended.shape, rng)
        return replace(
            situation,
            position=np.where(ended, floor, situation.position),
            item=np.where(ended, Item.NOTHING, situation.item),
            age=np.where(ended, 0, situation.age),
        )

    def _random_floor(self, shape: tuple[int, ...], rng: np.random.Generator) -> Ints:
        return self.spawn_cells[rng.integers(len(self.spawn_cells), size=shape)]

    def _use(
        self, cells: Ints, item: Ints, using: Bools, busy_until: Ints, now: int
    ) -> Bools:
        """Which agents are served; what served them is marked busy in place."""
        worlds = np.arange(len(cells))
        served: Bools = (
            using
            & (self.kinds[cells] == TAKEN_BY[item])
            & (busy_until[worlds, cells] <= now)
        )
        busy_until[worlds[served], cells[served]] = now + self.game.cooldown_steps
        return served

    def _move(self, position: Ints, agent: int, actions: Ints) -> Ints:
        """Where one agent of each world goes: it stays if another one stands there."""
        cells = position[:, agent]
        targets = self.neighbours[cells, actions]
        if self.game.num_agents == 1:
            return targets
        taken = (position == targets[:, None]).any(axis=1)
        return np.where(taken, cells, targets)


def randomly_replaced(actions: Ints, rate: float, rng: np.random.Generator) -> Ints:
    """Actions of which a share gives way to random ones.

    Args:
        actions: Indices into ``ACTIONS``, of any shape.
        rate: The share, 0 to 1; a random action may happen to be the same one.
        rng: Decides which, and by what.

    Returns:
        Actions of the same shape.
    """
    # Not rng.integers: this is in the innermost loop, and one draw is cheaper.
    lottery, choice = rng.random((2, *actions.shape))
    random_actions = (choice * len(ACTIONS)).astype(np.int64)
    return np.where(lottery < rate, random_actions, actions)


def build_world(game: GameParameters) -> World:
    """The world of a game.

    Raises:
        UsageError: The map is too small for what it should hold.
    """
    return World(game, build_map(game.map))


def _walking_steps(steps: Floats, neighbours: Ints) -> Floats:
    """Fewest steps when one may walk to where ``steps`` are known, ``(cells,)``."""
    while True:
        walked = np.minimum(steps, 1 + steps[neighbours].min(axis=1))
        if np.array_equal(walked, steps):
            return steps
        steps = walked
