"""The example: maps, rules and algorithms, and runs that really end as they should."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from examples.hearts import train as hearts
from examples.hearts.agents import (
    BOOTSTRAPS,
    LearnerParameters,
    choose_actions,
    expected_sarsa_bootstrap,
    learn,
    q_learning_bootstrap,
    sarsa_bootstrap,
)
from examples.hearts.learning import Metrics, train
from examples.hearts.maps import MapParameters, Tile, build_map, is_connected
from examples.hearts.sweep import (
    MAPS,
    PROJECT,
    SWEEP,
    Mishap,
    RunPlan,
    plan_run,
    plan_sweep,
)
from examples.hearts.workers import RunEnd, train_runs
from examples.hearts.world import (
    ACTIONS,
    USE,
    GameParameters,
    Item,
    Situation,
    World,
    build_world,
)
from run_assets.errors import SourceError, UsageError
from run_assets.sources.wandb_files import RunFile, read_run

EAST, WEST = ACTIONS.index("move_east"), ACTIONS.index("move_west")


def corridor(**changes: Any) -> World:
    """Floor, mine, generator and altar in a row: cells 7 to 10 of a 6 x 3 map."""
    tiles = np.full((3, 6), Tile.WALL, dtype=np.int8)
    tiles[1, 1:5] = [Tile.FLOOR, Tile.MINE, Tile.GENERATOR, Tile.ALTAR]
    game = plan_run("sarsa", "open", 0).parameters.game
    return World(replace(game, **({"slip_rate": 0.0} | changes)), tiles)


def situation(world: World, cells: list[int], item: Item) -> Situation:
    """One world with an agent on each cell."""
    start = world.start(1, np.random.default_rng(0))
    items = np.full((1, len(cells)), item, dtype=np.int64)
    return replace(start, position=np.array([cells]), item=items)


def small(plan: RunPlan, epochs: int = 10) -> RunPlan:
    return replace(plan, parameters=replace(plan.parameters, epochs=epochs))


# Maps


@pytest.mark.parametrize("name", MAPS)
def test_a_map_holds_what_was_asked_for_and_is_connected(name: str) -> None:
    parameters = MAPS[name]
    tiles = build_map(parameters)
    assert tiles.shape == (parameters.height, parameters.width)
    assert np.count_nonzero(tiles == Tile.MINE) == parameters.num_mines
    assert np.count_nonzero(tiles == Tile.GENERATOR) == parameters.num_generators
    assert np.count_nonzero(tiles == Tile.ALTAR) == parameters.num_altars
    assert is_connected(tiles != Tile.WALL)
    np.testing.assert_array_equal(tiles, build_map(parameters))


@pytest.mark.parametrize("seed", range(20))
def test_rooms_are_walled_off_and_joined_by_one_door_each(seed: int) -> None:
    base = MapParameters(
        width=17,
        height=14,
        num_rooms=1,
        num_mines=0,
        num_generators=0,
        num_altars=0,
        num_walls=0,
        seed=seed,
    )
    walls = [
        np.count_nonzero(build_map(replace(base, num_rooms=rooms)) == Tile.WALL)
        for rooms in range(1, 9)
    ]
    assert all(fewer < more for fewer, more in pairwise(walls))
    assert is_connected(build_map(replace(base, num_rooms=8)) != Tile.WALL)


def test_more_walls_are_added_to_the_same_map() -> None:
    parameters = MAPS["rooms"]
    few = build_map(parameters)
    more = build_map(replace(parameters, num_walls=parameters.num_walls + 7))
    changed = few != more
    assert np.count_nonzero(changed) == 7
    assert set(more[changed]) == {Tile.WALL}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_walls": 500}, r"full after \d+ of 500 walls"),
        ({"num_rooms": 500}, r"holds only \d+ of 500 rooms"),
        ({"num_mines": 500}, r"has room for \d+ of \d+ objects"),
    ],
)
def test_a_map_that_cannot_hold_it_says_so(
    changes: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build_map(replace(MAPS["open"], **changes))


# Rules


def test_ore_becomes_a_battery_and_then_a_heart() -> None:
    world, rng = corridor(rewards=(1.0, 2.0, 4.0)), np.random.default_rng(0)
    now, rewards, delivered = situation(world, [8], Item.NOTHING), [], []
    for action in (USE, EAST, USE, EAST, USE):
        outcome = world.step(now, np.array([[action]]), rng)
        now = outcome.situation
        rewards.append(outcome.reward.item())
        delivered.append(outcome.delivered.item())
    assert rewards == [1.0, 0.0, 2.0, 0.0, 4.0]
    assert delivered == [False, False, False, False, True]
    assert now.item.item() == Item.NOTHING


def test_an_object_that_was_used_rests() -> None:
    world = corridor(num_agents=2, cooldown_steps=2)
    now, rng = situation(world, [8, 8], Item.NOTHING), np.random.default_rng(0)
    served = []
    for _ in range(3):
        now = world.step(now, np.array([[USE, USE]]), rng).situation
        served.append(now.item.tolist()[0])
    assert served == [[1, 0], [1, 0], [1, 1]]


def test_agents_do_not_enter_each_others_cell() -> None:
    world = corridor(num_agents=2)
    now = situation(world, [7, 8], Item.NOTHING)
    outcome = world.step(now, np.array([[EAST, WEST]]), np.random.default_rng(0))
    assert outcome.situation.position.tolist() == [[7, 8]]


def test_an_episode_without_a_heart_ends_after_max_steps() -> None:
    world, rng = corridor(max_steps=3), np.random.default_rng(0)
    now, ended = situation(world, [7], Item.NOTHING), []
    for _ in range(3):
        outcome = world.step(now, np.array([[WEST]]), rng)
        now = outcome.situation
        ended.append(outcome.ended.item())
    assert ended == [False, False, True]
    fresh = world.respawn(now, np.array([ended[-1:]]), rng)
    assert (fresh.age.item(), fresh.item.item()) == (0, Item.NOTHING)


def test_a_slip_replaces_the_chosen_action_at_its_rate() -> None:
    world = corridor(slip_rate=0.5)
    now = world.start(20_000, np.random.default_rng(0))
    actions = np.full((20_000, 1), EAST)
    moved = world.step(now, actions, np.random.default_rng(1)).situation
    # A slip still goes east once in five times: 0.5 + 0.5 / 5. Three standard
    # errors of 20,000 draws are 0.0104.
    assert np.mean(moved.position == 8) == pytest.approx(0.6, abs=0.0104)


def test_the_fewest_steps_to_a_heart_count_walking_and_using() -> None:
    steps = corridor().steps_to_heart.reshape(len(Item), -1)
    assert steps[Item.NOTHING, 7] == 6
    assert steps[Item.ORE, 10] == 4
    assert steps[Item.BATTERY, 10] == 1
    assert np.isinf(steps[:, 0]).all()


# Algorithms


def test_the_three_algorithms_expect_what_their_equations_say() -> None:
    values = np.array([[1.0, 3.0], [4.0, 2.0]])
    actions = np.array([0, 1])
    np.testing.assert_array_equal(q_learning_bootstrap(values, actions, 0.5), [3, 4])
    np.testing.assert_array_equal(sarsa_bootstrap(values, actions, 0.5), [1, 2])
    expected = expected_sarsa_bootstrap(values, actions, 0.5)
    np.testing.assert_array_equal(expected, [2.5, 3.5])


def test_expected_sarsa_is_the_mean_of_sarsa_over_the_policy() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(1, 5)), 200_000, axis=0)
    actions = choose_actions(values, 0.3, rng)
    sampled = sarsa_bootstrap(values, actions, 0.3)
    expected = expected_sarsa_bootstrap(values[:1], actions[:1], 0.3)[0]
    assert sampled.mean() == pytest.approx(expected, abs=4 * sampled.std() / 447)


def test_lanes_that_did_the_same_teach_their_mean_error() -> None:
    table = np.zeros((2, 2))
    states, actions = np.array([0, 0, 1]), np.array([1, 1, 0])
    errors = learn(table, states, actions, np.array([1.0, 3.0, 5.0]), 0.5)
    np.testing.assert_array_equal(errors, [1, 3, 5])
    np.testing.assert_array_equal(table, [[0, 1], [2.5, 0]])


def test_epsilon_falls_in_a_line_and_then_stays() -> None:
    learner = LearnerParameters(
        algorithm="sarsa",
        learning_rate=0.1,
        gamma=0.9,
        epsilon_start=1.0,
        epsilon_end=0.2,
        exploration_fraction=0.5,
    )
    assert [learner.epsilon(at) for at in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [1.0, 0.6, 0.2, 0.2]
    )


# Learning


def metrics_of(plan: RunPlan) -> list[Metrics]:
    return list(train(plan.parameters))


@pytest.mark.parametrize("algorithm", BOOTSTRAPS)
def test_every_algorithm_learns_the_open_map(algorithm: str) -> None:
    curve = metrics_of(small(plan_run(algorithm, "open", 0), epochs=60))
    success = [
        epoch["eval_navigation/success_rate"]
        for epoch in curve
        if "eval_navigation/success_rate" in epoch
    ]
    assert len(success) == 12
    assert success[0] < 0.5 < max(success)
    assert all(0 <= rate <= 1 for rate in success)
    assert np.mean([epoch["overview/reward"] for epoch in curve[:10]]) < 0.5
    assert np.mean([epoch["overview/reward"] for epoch in curve[-10:]]) > 0.5


def test_the_same_seed_learns_the_same_and_another_does_not() -> None:
    plan = small(plan_run("sarsa", "crowd", 0), epochs=5)
    other = replace(plan, parameters=replace(plan.parameters, seed=1))
    assert metrics_of(plan) == metrics_of(plan)
    assert metrics_of(plan) != metrics_of(other)


def test_evaluating_more_often_does_not_change_learning() -> None:
    plan = small(plan_run("q-learning", "rooms", 0))
    often = replace(plan, parameters=replace(plan.parameters, evaluate_interval=1))
    losses = [[row["trainer/loss"] for row in metrics_of(p)] for p in (plan, often)]
    assert losses[0] == losses[1]


@pytest.mark.filterwarnings("error")
def test_a_learning_rate_that_is_too_high_overflows() -> None:
    losses = [
        row["trainer/loss"]
        for row in metrics_of(small(plan_run("expected-sarsa", "open", 1), epochs=80))
    ]
    assert math.isfinite(losses[0])
    assert math.inf in losses
    assert math.isnan(losses[-1])


def test_the_curriculum_fills_the_map_up_in_the_middle_of_training() -> None:
    training = train(plan_run("q-learning", "rooms", 1).parameters)
    epochs: list[Metrics] = []
    with pytest.raises(UsageError, match=r"full after \d+ of \d+ walls"):
        epochs.extend(training)
    assert 10 < len(epochs) < 100


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 12},
        {"height": 12},
        {"num_rooms": 2},
        {"num_mines": 2},
        {"num_generators": 2},
        {"num_altars": 2},
        {"num_walls": 7},
        {"max_steps": 10},
        {"num_agents": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_environment_parameter_changes_the_world(
    changes: dict[str, int],
) -> None:
    plan = small(plan_run("q-learning", "open", 0), epochs=5)
    changed = replace(plan.parameters, game=_changed(plan.parameters.game, changes))
    assert list(train(changed)) != metrics_of(plan)


def _changed(game: GameParameters, changes: dict[str, int]) -> GameParameters:
    if changes.keys() <= {"max_steps", "num_agents"}:
        return replace(game, **changes)  # type: ignore[arg-type]  # not **float fields
    return replace(game, map=replace(game.map, **changes))


# The sweep


def test_five_seeds_are_sixty_runs_with_ids_of_their_own() -> None:
    plans = list(plan_sweep(5))
    assert len({plan.run_id for plan in plans}) == len(plans) == 60
    mishaps = [plan.mishap for plan in plans if plan.mishap is not Mishap.NONE]
    assert len(mishaps) == 6
    assert set(mishaps) == set(Mishap) - {Mishap.NONE}
    assert all(plan.mishap is Mishap.NONE for plan in plan_sweep(1))


def test_the_config_is_json_and_holds_the_environment_parameters() -> None:
    config = json.loads(json.dumps(plan_run("sarsa", "crowd", 2).config()))
    game = config["trainer"]["env_overrides"]["game"]
    assert config["trainer"]["algorithm"] == "sarsa"
    assert config["env"] == "crowd"
    assert game["num_agents"] == 4
    assert game["map_builder"]["objects"]["mine_red"] == MAPS["crowd"].num_mines
    world = build_world(plan_run("sarsa", "crowd", 2).parameters.game)
    assert world.tiles.shape[::-1] == (
        game["map_builder"]["width"],
        game["map_builder"]["height"],
    )


# Real runs, by the real SDK


@pytest.fixture
def short_sweep(monkeypatch: pytest.MonkeyPatch) -> list[RunPlan]:
    """Three short runs instead of sixty: one finishes, one fails, one is killed."""
    finishes = small(plan_run("sarsa", "open", 0))
    fails = plan_run("q-learning", "rooms", 1)
    full = replace(fails.parameters, new_walls=200, epochs=10)
    # Whole, since only full blocks of 32 KiB reach the file of a killed run.
    killed = plan_run("sarsa", "maze", 1)
    plans = [finishes, replace(fails, parameters=full), killed]
    monkeypatch.setattr(hearts, "plan_sweep", lambda _seeds: iter(plans))
    return plans


def test_training_writes_run_folders_once(
    short_sweep: list[RunPlan],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_RUN_ID", "someone-elses")
    summary = hearts.train(tmp_path)
    assert summary.trained == {
        "sarsa-open-s0": 0,
        "q-learning-rooms-s1": 1,
        "sarsa-maze-s1": -9,
    }
    assert "Traceback" not in capfd.readouterr().err
    runs = [read_back(tmp_path, plan) for plan in short_sweep]
    assert [run.run_state for run in runs] == ["finished", "failed", "crashed"]
    assert [run.is_cut_off for run in runs] == [False, False, True]

    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run-*.wandb")}
    again = hearts.train(tmp_path)
    assert again.trained == {}
    assert set(again.found) == set(summary.trained)
    assert str(again) == f"All 3 runs are in {tmp_path / 'wandb'} already."
    assert files == {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("run-*.wandb")
    }


def test_a_run_file_says_what_the_plan_says(
    short_sweep: list[RunPlan], tmp_path: Path
) -> None:
    hearts.train(tmp_path)
    plan, run = short_sweep[0], read_back(tmp_path, short_sweep[0])
    assert (run.run_id, run.run_name) == (plan.run_id, plan.name)
    assert (run.project, run.run_group, run.job_type) == (PROJECT, SWEEP, "train")
    assert (list(run.tags), run.notes) == (plan.tags, plan.notes)
    assert json.loads(run.config_json) == plan.config()
    logged = run.history.filter(pl.col("metric") == "trainer/loss")
    assert logged["step"].to_list() == list(range(1, 11))
    assert logged["value"].to_list() == [
        row["trainer/loss"] for row in metrics_of(plan)
    ]
    evaluated = run.history.filter(pl.col("metric") == "eval_navigation/success_rate")
    assert evaluated["step"].to_list() == [5, 10]


def read_back(out: Path, plan: RunPlan) -> RunFile:
    """The one file of a run, read by the project's own reader, long after."""
    (folder,) = hearts.run_folders(out, plan.run_id)
    later = datetime(2100, 1, 1, tzinfo=UTC)
    return read_run(folder / f"run-{plan.run_id}.wandb", now=later)


def test_an_interrupted_training_goes_on_with_what_is_missing(
    short_sweep: list[RunPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> Iterator[RunEnd]:
        ends = train_runs(*arguments)
        yield next(ends)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hearts, "train_runs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            hearts.train(tmp_path, workers=1)
    half_done = tmp_path / "wandb" / "offline-run-20200101_000000-sarsa-open-s0"
    half_done.mkdir()
    (half_done / "run-sarsa-open-s0.wandb").touch()

    summary = hearts.train(tmp_path, workers=1)
    assert len(summary.found) == 1
    assert set(summary.trained) == {"sarsa-open-s0", "q-learning-rooms-s1"}
    for plan in short_sweep:
        assert len(hearts.run_folders(tmp_path, plan.run_id)) == 1
    assert not half_done.exists()


def test_a_worker_that_dies_for_no_planned_reason_is_an_error(tmp_path: Path) -> None:
    plan = replace(plan_run("sarsa", "open", 0), algorithm="sarsa")
    learner = replace(plan.parameters.learner, algorithm="no-such-algorithm")
    broken = replace(plan, parameters=replace(plan.parameters, learner=learner))
    with pytest.raises(SourceError, match="sarsa-open-s0 died with exit code 1"):
        list(train_runs([broken], tmp_path, tmp_path, 1, lambda _plan, _epoch: None))


def test_wrong_arguments_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seeds == 0, must be at least 1"):
        hearts.train(tmp_path, seeds=0)
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="choose another --out"):
        hearts.train(tmp_path / "file" / "out", seeds=1)


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "trained.json").write_text("{")
    with pytest.raises(SourceError, match=r"trained\.json is not JSON"):
        hearts.train(tmp_path)
