"""The second example: puzzles, solvers, and the sweep of both as the demo runs it."""

from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from examples.agents.puzzles.games import PUZZLES, Puzzle
from examples.agents.puzzles.solve import solve
from examples.agents.puzzles.solvers import SOLVERS
from run_assets import demo
from run_assets.cli.session import Session
from run_assets.lab import Lab
from run_assets.sweeps import Attempt, load_sweep
from run_assets.sweeps.ledger import ledger_path, open_ledger
from run_assets.sweeps.overview import pass_rates_of
from tests.support.sweeps import assert_accounted, query, statuses, sweep_lab

FILE = Path(__file__).parents[3] / "examples" / "agents" / "sweep.yaml"
QUIET = Session(None, None, quiet=True)


def attempt(model: str, task: str, seed: int = 1, states: int = 800) -> Attempt:
    return Attempt("s", "t", model, task, 0, seed, 1, {"states": states})


@pytest.mark.parametrize("puzzle", PUZZLES.values(), ids=PUZZLES)
def test_a_puzzle_starts_unsolved_and_every_move_keeps_its_rules(
    puzzle: Puzzle,
) -> None:
    for seed in range(20):
        start = puzzle.start(Random(seed))
        assert puzzle.distance(start) > 0
        assert start == puzzle.start(Random(seed))
        after = puzzle.successors(start)
        assert after
        assert start not in after
        assert len({len(one) for one in after}) == 1
    assert len({puzzle.start(Random(seed)) for seed in range(20)}) > 5


@pytest.mark.parametrize(
    ("task", "state"),
    [
        ("sliding-hard", (1, 2, 3, 4, 5, 6, 7, 8, 0)),
        ("lights-3x3", (0,) * 9),
        ("queens-8", (0, 4, 7, 5, 2, 6, 1, 3)),
        ("partition-10", (1, 2, 3, 4, 5, -1, -2, -3, -4, -5)),
    ],
)
def test_a_known_solution_is_one(task: str, state: tuple[int, ...]) -> None:
    assert PUZZLES[task].distance(state) == 0


def test_a_tour_is_solved_when_every_square_was_visited_by_a_knight() -> None:
    puzzle = PUZZLES["knight-5x5"]
    found = solve(attempt("hill-climber", "knight-5x5", seed=3))
    assert found["success"]
    start = puzzle.start(Random(3))
    seen = SOLVERS["hill-climber"](puzzle, start, Random("3 hill-climber"))
    tour = next(state for state, distance in seen if distance == 0)
    assert sorted(tour) == list(range(25))
    for one, other in pairwise(tour):
        steps = sorted((abs(one // 5 - other // 5), abs(one % 5 - other % 5)))
        assert steps == [1, 2]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", PUZZLES)
def test_a_solver_only_moves_as_the_rules_allow(solver: str, task: str) -> None:
    puzzle = PUZZLES[task]
    start = puzzle.start(Random(5))
    reached = {start}
    for state, distance in islice(SOLVERS[solver](puzzle, start, Random(6)), 60):
        assert distance == puzzle.distance(state)
        reached.add(state)
    assert len(reached) > 1


def test_a_trial_says_how_it_came_to_its_reward() -> None:
    found = solve(attempt("hill-climber", "queens-12"))
    rewards = [step["reward"] for step in found["trajectory"]]
    assert rewards == sorted(rewards)
    assert sum(step["tokens"] for step in found["trajectory"]) == found["tokens"]
    assert found["success"] == (rewards[-1] == 1)
    assert found == solve(attempt("hill-climber", "queens-12"))
    few = solve(attempt("random-walk", "knight-6x6", states=10))
    assert (few["tokens"], few["success"]) == (10, False)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    lab = sweep_lab(tmp_path_factory.mktemp("agents"))
    return lab, demo._sweep(QUIET, lab)


def test_the_demo_runs_the_sweep_once(swept: tuple[Lab, str]) -> None:
    lab, sweep_id = swept
    path = ledger_path(lab.config.data_path, sweep_id)
    assert statuses(path) == {"successful": 3 * 12 * 8}
    assert_accounted(path)
    assert demo._sweep(QUIET, lab) == sweep_id
    assert query(path, "select count(*) from managers") == [(2,)]
    shown = demo._solved(lab, sweep_id)
    assert shown["statistic"].unique(maintain_order=True).to_list() == [
        "pass@1",
        "pass@8",
        "pass^8",
    ]
    assert shown.height == 3 * 3


def test_the_solvers_differ_in_strength_and_the_puzzles_in_difficulty(
    swept: tuple[Lab, str],
) -> None:
    lab, sweep_id = swept
    with open_ledger(ledger_path(lab.config.data_path, sweep_id)) as ledger:
        rates = pass_rates_of(ledger).filter(statistic="pass@k", k=1)
        hardest: Any = ledger.value(
            "select min(rate) from (select avg(success) as rate from trials"
            " group by task)"
        )
    found = dict(rates.select("model", "estimate").iter_rows())
    assert found["random-walk"] + 0.1 < found["hill-climber"] < found["best-first"]
    assert hardest < 0.3


def test_the_file_of_the_example_names_what_there_is() -> None:
    config = load_sweep(FILE)
    assert list(config.models) == list(SOLVERS)
    assert list(config.tasks) == list(PUZZLES)
    assert config.num_trials_per_config == 8
