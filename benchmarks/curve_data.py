"""Runs whose curves are predicted: real PPO runs, drawn grid worlds, and noise."""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from examples.hearts.environments import draw_learner, plan_drawn_run
from examples.hearts.learning import train
from run_assets.curves.dataset import budget_curves, curve_table
from run_assets.curves.examples import CurveTable
from run_assets.curves.features import run_features
from run_assets.curves.settings import Curves, Feature

DATA = Path(__file__).resolve().parent / "data"

PPO_FEATURES = (
    "reward_scaling",
    "discounting",
    "unroll_length",
    "batch_size",
    "num_minibatches",
    "num_update_epochs",
)


def ppo_settings() -> Curves:
    return Curves(
        metric="reward",
        environment="env",
        task="env",
        budget={"key": "total_env_steps"},
        environment_features=(),
        agent_features=tuple(Feature(name=one, key=one) for one in PPO_FEATURES),
    )


def ppo_table(path: Path) -> CurveTable:
    """The runs through the project's own road: features, grid, table."""
    if path.suffix == ".json":
        runs = json.loads(path.read_text(encoding="utf-8"))
    else:
        with tarfile.open(path) as archive:
            name = next(one for one in archive.getnames() if one.endswith(".json"))
            runs = json.load(archive.extractfile(name))  # type: ignore[arg-type]  # a file
    configs, points = [], []
    for number, run in enumerate(runs):
        run_path = f"google/brax/{number:04d}"
        configs += [(run_path, key, value) for key, value in run["hyperparams"].items()]
        # Some runs have one more wall clock reading than rewards.
        for x, value in zip(run["env_steps"], run["reward"], strict=False):
            points.append((run_path, float(x), value))
    return as_table(configs, points, ppo_settings())


def world_settings() -> Curves:
    game = "trainer.env_overrides.game."
    places = {
        "max_steps": "max_steps",
        "num_agents": "num_agents",
        "slip_rate": "slip_rate",
        "map_width": "map_builder.width",
        "map_height": "map_builder.height",
        "num_rooms": "map_builder.num_rooms",
        "num_altars": "map_builder.objects.altar",
        "num_mines": "map_builder.objects.mine_red",
        "num_generators": "map_builder.objects.generator_red",
        "num_walls": "map_builder.objects.wall",
    }
    agents = {
        "learning_rate": "trainer.optimizer.learning_rate",
        "gamma": "trainer.gamma",
        "epsilon_start": "trainer.exploration.epsilon_start",
        "epsilon_end": "trainer.exploration.epsilon_end",
        "exploration_fraction": "trainer.exploration.fraction",
    }
    algorithm = Feature(name="algorithm", key="trainer.algorithm", kind="category")
    return Curves(
        metric="overview/reward",
        environment="env",
        environment_features=tuple(
            Feature(name=name, key=game + key) for name, key in places.items()
        ),
        agent_features=(
            algorithm,
            *(Feature(name=name, key=key) for name, key in agents.items()),
        ),
    )


def world_table(worlds: int, agents: int) -> CurveTable:
    """Drawn agents in drawn grid worlds; trained once, then read."""
    file = DATA / f"worlds-{worlds}-{agents}.json"
    if not file.exists():
        jobs = [(world, agent) for world in range(worlds) for agent in range(agents)]
        print(f"training {len(jobs)} runs in {worlds} grid worlds into {file}")
        with ProcessPoolExecutor(2) as pool:
            runs = list(pool.map(world_run, jobs, chunksize=4))
        DATA.mkdir(exist_ok=True)
        file.write_text(json.dumps(runs), encoding="utf-8")
    runs = json.loads(file.read_text(encoding="utf-8"))
    configs = [tuple(row) for run in runs for row in run["config"]]
    points = [tuple(row) for run in runs for row in run["points"]]
    return as_table(configs, points, world_settings())


def world_run(job: tuple[int, int]) -> dict[str, list[Any]]:
    world, agent = job
    learner = draw_learner(np.random.default_rng([world, agent, 1]))
    plan = plan_drawn_run(world, learner, agent)
    run_path = f"local/hearts/{plan.run_id}"
    return {
        "config": [(run_path, *one) for one in flat(plan.config())],
        "points": [
            (run_path, row["metric/agent_step"], row["overview/reward"])
            for row in train(plan.parameters)
            if "overview/reward" in row
        ],
    }


def flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def as_table(
    configs: Sequence[tuple[Any, ...]],
    points: Sequence[tuple[Any, ...]],
    settings: Curves,
) -> CurveTable:
    rows = [
        (path, key, number_of(value), None if value is None else str(value))
        for path, key, value in configs
    ]
    schema = {
        "run_path": pl.String,
        "key": pl.String,
        "value_double": pl.Float64,
        "value_text": pl.String,
    }
    config = pl.DataFrame(rows, schema, orient="row")
    runs = config.select("run_path").unique().sort("run_path")
    features = run_features(runs, config, settings)
    axes = {"run_path": pl.String, "x": pl.Float64, "value": pl.Float64}
    logged = pl.DataFrame(points, axes, orient="row", strict=False)
    curves = budget_curves(logged, features, settings)
    table = curve_table(runs, features, curves, settings)
    return table.rows(np.isfinite(table.curves).sum(axis=1) >= settings.min_points)


def number_of(value: Any) -> float | None:
    return float(value) if isinstance(value, bool | int | float) else None


def random_table(runs: int) -> CurveTable:
    """As large as a real table of 80 grid worlds, and quickly made."""
    rng = np.random.default_rng(0)
    settings = world_settings()
    world = rng.integers(80, size=runs)
    places = rng.normal(size=(80, len(settings.environment_features)))[world]
    agents = rng.normal(size=(runs, len(settings.agent_features) - 1))
    columns = dict(
        zip((one.name for one in settings.environment_features), places.T, strict=True)
    )
    numbers = (one.name for one in settings.agent_features if one.kind == "number")
    columns |= dict(zip(numbers, agents.T, strict=True))
    features = pl.DataFrame(columns).with_columns(
        algorithm=pl.Series(rng.choice(["a", "b", "c"], runs).tolist()),
        task=pl.lit("all"),
    )
    at = np.linspace(0, 1, settings.points)
    speed = np.exp(agents[:, [0]] + places[:, [0]])
    curves = (1 - np.exp(-speed * at)) / (1 + np.exp(-places[:, [1]]))
    return CurveTable(
        np.char.mod("%d", np.arange(runs)),
        features,
        np.char.mod("world-%d", world),
        np.full(runs, "all"),
        curves + rng.normal(0, 0.02, curves.shape),
    )
