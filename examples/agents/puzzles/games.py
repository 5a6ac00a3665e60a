"""The puzzles: a start, the states that one move leads to, and how far a state is off.

States are tuples. A puzzle is solved at distance 0; what a distance counts (tiles,
lights, attacks …) is the puzzle's own affair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from random import Random

State = tuple[int, ...]


@dataclass(frozen=True)
class Puzzle:
    """A puzzle of one size.

    Attributes:
        start: A random instance.
        successors: States after each possible move.
        distance: How far a state is from being solved; 0 is solved.
    """

    start: Callable[[Random], State]
    successors: Callable[[State], list[State]]
    distance: Callable[[State], float]


def sliding(moves: int) -> Puzzle:
    """Eight tiles in a 3 x 3 frame, so many random moves from being in order."""
    solved: State = (1, 2, 3, 4, 5, 6, 7, 8, 0)
    beside = {
        at: [
            other
            for other in range(9)
            if abs(at // 3 - other // 3) + abs(at % 3 - other % 3) == 1
        ]
        for at in range(9)
    }

    def successors(state: State) -> list[State]:
        hole = state.index(0)
        return [_swapped(state, hole, other) for other in beside[hole]]

    def start(rng: Random) -> State:
        state = solved
        for _ in range(moves):
            state = rng.choice(successors(state))
        return state if state != solved else start(rng)

    def distance(state: State) -> float:
        return sum(
            abs(at // 3 - (tile - 1) // 3) + abs(at % 3 - (tile - 1) % 3)
            for at, tile in enumerate(state)
            if tile
        )

    return Puzzle(start, successors, distance)


def lights_out(size: int, presses: int) -> Puzzle:
    """A press turns a light and its neighbours; all must go out."""
    cells = range(size * size)
    reach = [
        [
            other
            for other in cells
            if abs(at // size - other // size) + abs(at % size - other % size) <= 1
        ]
        for at in cells
    ]

    def pressed(state: State, at: int) -> State:
        return tuple(
            1 - light if cell in reach[at] else light
            for cell, light in enumerate(state)
        )

    def start(rng: Random) -> State:
        state = (0,) * len(cells)
        for at in rng.sample(cells, presses):
            state = pressed(state, at)
        return state if any(state) else start(rng)

    return Puzzle(start, lambda state: [pressed(state, at) for at in cells], sum)


def queens(size: int) -> Puzzle:
    """A queen in each row and column; none may attack another on a diagonal."""

    def start(rng: Random) -> State:
        columns = list(range(size))
        rng.shuffle(columns)
        state = tuple(columns)
        return state if distance(state) else start(rng)

    def successors(state: State) -> list[State]:
        return [_swapped(state, one, other) for one, other in pairs]

    def distance(state: State) -> float:
        return sum(
            abs(state[one] - state[other]) == other - one for one, other in pairs
        )

    pairs = list(combinations(range(size), 2))
    return Puzzle(start, successors, distance)


def coloring(nodes: int) -> Puzzle:
    """Three colours for a random graph that can be coloured; no edge within one.

    A state is the edges (as pairs behind each other) and then the colour of each node.
    """

    def start(rng: Random) -> State:
        hidden = [rng.randrange(3) for _ in range(nodes)]
        possible = [
            edge
            for edge in combinations(range(nodes), 2)
            if hidden[edge[0]] != hidden[edge[1]]
        ]
        edges = sorted(rng.sample(possible, min(len(possible), nodes * 9 // 5)))
        flat = [node for edge in edges for node in edge]
        state = (*flat, *(rng.randrange(3) for _ in range(nodes)))
        return state if distance(state) else start(rng)

    def bad_edges(state: State) -> list[tuple[int, int]]:
        ends = state[:-nodes]
        colors = state[-nodes:]
        edges = zip(ends[::2], ends[1::2], strict=True)
        return [(one, other) for one, other in edges if colors[one] == colors[other]]

    def successors(state: State) -> list[State]:
        wrong = sorted({node for edge in bad_edges(state) for node in edge})
        first = len(state) - nodes
        return [
            (*state[: first + node], color, *state[first + node + 1 :])
            for node in wrong
            for color in range(3)
            if color != state[first + node]
        ]

    def distance(state: State) -> float:
        return len(bad_edges(state))

    return Puzzle(start, successors, distance)


def knights_tour(size: int) -> Puzzle:
    """A knight visits every square once; a state is the squares in order."""
    steps = ((1, 2), (2, 1), (2, -1), (1, -2), (-1, -2), (-2, -1), (-2, 1), (-1, 2))
    squares = range(size * size)
    reach = [
        [
            (at // size + down) * size + at % size + right
            for down, right in steps
            if 0 <= at // size + down < size and 0 <= at % size + right < size
        ]
        for at in squares
    ]

    def onward(state: State) -> list[int]:
        return [at for at in reach[state[-1]] if at not in state]

    def start(rng: Random) -> State:
        # On an odd board a tour must begin on the colour that has one square more.
        return (
            rng.choice([at for at in squares if (at // size + at % size) % 2 == 0]),
        )

    def successors(state: State) -> list[State]:
        return [(*state, at) for at in onward(state)]

    def distance(state: State) -> float:
        left = len(squares) - len(state)
        # Warnsdorff 1823: go where the fewest ways lead on.
        return left + len(onward(state)) / 10 if left else 0.0

    return Puzzle(start, successors, distance)


def partition(count: int) -> Puzzle:
    """Numbers on two scales that must balance; a state is signed numbers."""

    def start(rng: Random) -> State:
        half = [rng.randint(1, 499) for _ in range(count // 2)]
        other = list(half)
        for _ in range(3 * count):  # two different halves of the same sum
            one, two = rng.sample(range(len(other)), 2)
            by = rng.randint(0, other[one] - 1)
            other[one], other[two] = other[one] - by, other[two] + by
        state = tuple(number * rng.choice((1, -1)) for number in (*half, *other))
        return state if distance(state) else start(rng)

    def successors(state: State) -> list[State]:
        return [
            (*state[:at], -number, *state[at + 1 :]) for at, number in enumerate(state)
        ]

    def distance(state: State) -> float:
        return abs(sum(state))

    return Puzzle(start, successors, distance)


PUZZLES = {
    "sliding-easy": sliding(12),
    "sliding-hard": sliding(60),
    "lights-3x3": lights_out(3, 3),
    "lights-5x5": lights_out(5, 6),
    "queens-8": queens(8),
    "queens-12": queens(12),
    "coloring-12": coloring(12),
    "coloring-24": coloring(24),
    "knight-5x5": knights_tour(5),
    "knight-6x6": knights_tour(6),
    "partition-10": partition(10),
    "partition-16": partition(16),
}


def _swapped(state: State, one: int, other: int) -> State:
    changed = list(state)
    changed[one], changed[other] = changed[other], changed[one]
    return tuple(changed)
