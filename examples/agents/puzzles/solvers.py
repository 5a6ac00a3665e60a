"""Three ways to look for a solution; each yields the states it looks at, one by one."""

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from random import Random

from .games import Puzzle, State

Looked = tuple[State, float]
"""A state and its distance."""
Solver = Callable[[Puzzle, State, Random], Iterator[Looked]]


def random_walk(puzzle: Puzzle, start: State, rng: Random) -> Iterator[Looked]:
    """Any move, whatever it leads to; from the start again where none is left."""
    state = start
    while True:
        after = puzzle.successors(state)
        state = rng.choice(after) if after else start
        yield state, puzzle.distance(state)


def hill_climber(puzzle: Puzzle, start: State, rng: Random) -> Iterator[Looked]:
    """The best move of all; some random ones where none is better.

    It looks at every state that one move leads to, so that each step of it costs more
    than one of the random walk.
    """
    state, here = start, puzzle.distance(start)
    while True:
        after = [(one, puzzle.distance(one)) for one in puzzle.successors(state)]
        yield from after
        best = min((distance for _, distance in after), default=here)
        if after and best < here:
            state, here = rng.choice([one for one in after if one[1] == best])
            continue
        for _ in range(rng.randint(1, 4)):
            nearby = puzzle.successors(state)
            state = rng.choice(nearby) if nearby else start
        here = puzzle.distance(state)
        yield state, here


def best_first(puzzle: Puzzle, start: State, rng: Random) -> Iterator[Looked]:
    """The nearest state of all that were seen; nothing is looked at twice."""
    order = count()
    waiting = [(puzzle.distance(start), rng.random(), next(order), start)]
    seen = {start}
    while waiting:
        *_, state = heapq.heappop(waiting)
        for one in puzzle.successors(state):
            if one in seen:
                continue
            seen.add(one)
            distance = puzzle.distance(one)
            yield one, distance
            heapq.heappush(waiting, (distance, rng.random(), next(order), one))


SOLVERS: dict[str, Solver] = {
    "random-walk": random_walk,
    "hill-climber": hill_climber,
    "best-first": best_first,
}
