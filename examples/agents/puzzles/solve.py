"""One trial: a solver on a random instance of a puzzle, as a sweep calls it."""

from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from .games import PUZZLES
from .solvers import SOLVERS

if TYPE_CHECKING:
    from run_assets.sweeps import Attempt


def solve(attempt: "Attempt") -> dict[str, Any]:
    """Let a solver look at states until one is solved or it has seen enough.

    The instance depends on task and trial alone, so that all solvers face the same
    ones. The reward is the share of the way to a solution; each improvement is a step
    of the trajectory, and every state that was looked at counts as one token.

    Args:
        attempt: ``model`` is a solver, ``task`` a puzzle, ``options.states`` the most
            states to look at.
    """
    puzzle = PUZZLES[attempt.task]
    start = puzzle.start(Random(attempt.seed))  # noqa: S311  # a puzzle is no secret
    rng = Random(f"{attempt.seed} {attempt.model}")  # noqa: S311
    far = best = puzzle.distance(start)
    trajectory: list[dict[str, Any]] = []
    since = looked = 0
    seen = SOLVERS[attempt.model](puzzle, start, rng)
    for _, distance in islice(seen, attempt.options["states"]):
        since, looked = since + 1, looked + 1
        if distance < best:
            best = distance
            trajectory.append({"reward": 1 - best / far, "tokens": since})
            since = 0
        if best == 0:
            break
    if since:
        trajectory.append({"reward": 1 - best / far, "tokens": since})
    return {"trajectory": trajectory, "success": best == 0, "tokens": looked}
